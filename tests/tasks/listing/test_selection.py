"""Folding: what search and the order of titles rest on."""

from __future__ import annotations

import string
import sys
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskapi.tasks.folding import fold
from taskapi.tasks.listing.selection import SORTS, Selection


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("", ""),
        ("C++", "c++"),
        ("e-mail", "e-mail"),
        ("CAFÉ", "cafe"),
        ("café", "cafe"),
        ("cafe\u0301", "cafe"),
        ("straße", "strasse"),
        ("STRASSE", "strasse"),
        ("STRAẞE", "strasse"),
        ("タスク", "タスク"),
        ("ﾀｽｸ", "タスク"),
        ("ガ", "ガ"),
        ("カ\u3099", "ガ"),
        ("ｶﾞ", "ガ"),
        ("カ", "カ"),
        ("İ", "i"),
        ("I", "i"),
        ("ı", "ı"),
        ("ﬁ", "fi"),
        ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
        ("Σίσυφος", "σισυφοσ"),
        ("Ё й", "е и"),
        ("한국어", "한국어"),
        ("हिन्दी", "हिन्दी"),
        ("①Ⅳ½", "1iv1⁄2"),
        ("Ａ\u3000Ｂ", "a b"),
        ("naïve\u00a0Ångström", "naive angstrom"),
        ("100 % _ \\ / ' \"", "100 % _ \\ / ' \""),
        ("\U0001f95b", "\U0001f95b"),
        ("a\nb\tc", "a\nb\tc"),
    ],
)
def test_case_and_accents_are_gone_and_all_else_is_kept(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_a_kana_with_a_voicing_mark_is_another_kana() -> None:
    assert fold("カ") not in fold("ガ")


def test_no_character_keeps_a_case_that_a_database_could_fold_by_itself() -> None:
    # LIKE ignores the case of ASCII letters in SQLite and of none in PostgreSQL: they agree where there is no case.
    everything = fold("".join(chr(code) for code in range(sys.maxunicode + 1)))
    assert not set(string.ascii_uppercase) & set(everything)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_folded_stays_as_it_is(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_way_a_text_is_composed_and_its_capitals_make_no_difference(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold(unicodedata.normalize(form, text)) == fold(text)
    assert fold(text.casefold()) == fold(text)


@pytest.mark.parametrize(("spelling", "meant"), [("created", "created_at"), ("-created", "-created_at")])
def test_an_alias_means_the_same_order(spelling: str, meant: str) -> None:
    assert SORTS[spelling] == SORTS[meant] == meant


def test_a_walk_is_another_one_with_any_other_filter_but_not_with_another_page_size() -> None:
    walk = Selection(limit=10)
    for other in (
        replace(walk, sort="created_at"),
        replace(walk, completed=True),
        replace(walk, completed=False),
        replace(walk, q=""),
        replace(walk, q="x"),
    ):
        assert other.filters != walk.filters
    assert replace(walk, limit=20, cursor="x", with_total=True).filters == walk.filters
