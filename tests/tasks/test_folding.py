"""Text folding for search and sort: the examples are those that the frontend's folding is tested with, too."""

from __future__ import annotations

import json
import string
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskapi.http.fields.invisible import DEFAULT_IGNORABLE
from taskapi.tasks.folding import LETTERS, MAX_DECOMPOSED, MAX_FOLDED, PUNCTUATION, fold, search_columns

EXAMPLES: list[tuple[str, str]] = json.loads((Path(__file__).parent / "folding.json").read_text())
EVERY_CHARACTER = [chr(code) for code in range(sys.maxunicode + 1)]


@pytest.mark.parametrize(("text", "folded"), EXAMPLES)
def test_folding_removes_case_marks_and_typography_and_keeps_everything_else(text: str, folded: str) -> None:
    assert fold(text) == fold(folded) == folded


def test_the_examples_have_every_letter_and_punctuation_mark_of_the_tables() -> None:
    shown = set("".join(text for text, _ in EXAMPLES))
    assert set("".join([*LETTERS.values(), *PUNCTUATION.values()])) <= shown


def test_every_letter_of_the_table_has_no_decomposition_and_no_other_case() -> None:
    for letters in LETTERS.values():
        for letter in letters:
            assert unicodedata.normalize("NFKD", letter) == letter == letter.casefold(), letter
            assert unicodedata.name(letter).startswith("LATIN SMALL L"), letter


def test_folding_keeps_the_voicing_mark_of_kana() -> None:
    assert fold("カ") not in fold("ガ")


def test_folding_removes_the_marks_of_every_script_and_what_is_not_displayed() -> None:
    kept = [
        each for each in EVERY_CHARACTER if unicodedata.category(each) in ("Mn", "Me") and fold(f"x{each}y") != "xy"
    ]
    assert {*kept} == {"\u3099", "\u309a", "\u0345"}  # U+0345 is the small letter iota below another
    assert all(fold(f"x{chr(code)}y") == "xy" for first, last in DEFAULT_IGNORABLE for code in range(first, last + 1))


def test_no_folded_character_is_an_ascii_capital() -> None:
    # SQLite's LIKE ignores the case of ASCII letters, PostgreSQL's does not: without capitals the two agree.
    assert not set(string.ascii_uppercase) & set().union(*map(fold, EVERY_CHARACTER))


def test_a_text_that_folding_makes_longer_is_folded_up_to_a_limit() -> None:
    assert MAX_FOLDED < len(fold("\ufdfa" * 10_000)) <= MAX_DECOMPOSED
    assert len(search_columns({"title": "x", "description": "\ufdfa" * 10_000})["folded_description"]) == MAX_FOLDED
    assert fold("a\u0301\u0302\u0303" * 2_500 + "Ende") == "a" * 2_500 + "ende"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_folding_is_idempotent(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_folding_ignores_the_unicode_normalization_form_and_case(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold(unicodedata.normalize(form, text)) == fold(text)
    assert fold(text.casefold()) == fold(text)
