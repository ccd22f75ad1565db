"""Text folding for search and sort, aliases of sorts, and the filters that a cursor is signed with."""

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
def test_folding_removes_case_and_accents_and_keeps_everything_else(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_folding_keeps_the_voicing_mark_of_kana() -> None:
    assert fold("カ") not in fold("ガ")


def test_no_folded_character_is_an_ascii_capital() -> None:
    # SQLite's LIKE ignores the case of ASCII letters, PostgreSQL's does not: without capitals the two agree.
    everything = fold("".join(chr(code) for code in range(sys.maxunicode + 1)))
    assert not set(string.ascii_uppercase) & set(everything)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_folding_is_idempotent(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_folding_ignores_the_unicode_normalization_form_and_case(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold(unicodedata.normalize(form, text)) == fold(text)
    assert fold(text.casefold()) == fold(text)


@pytest.mark.parametrize(
    ("alias", "canonical"),
    [
        (sign + alias, sign + name)
        for alias, name in {"created": "created_at", "updated": "updated_at", "due_date": "due"}.items()
        for sign in ("", "-")
    ],
)
def test_an_alias_of_a_sort_has_the_canonical_value(alias: str, canonical: str) -> None:
    assert SORTS[alias] == SORTS[canonical] == canonical


def test_the_signed_filters_depend_on_sort_and_filters_but_not_on_page_size_or_total() -> None:
    selection = Selection(limit=10)
    for other in (
        replace(selection, sort="created_at"),
        replace(selection, completed=True),
        replace(selection, completed=False),
        replace(selection, q=""),
        replace(selection, q="x"),
    ):
        assert other.signed_filters != selection.signed_filters
    assert replace(selection, limit=20, cursor="x", with_total=True).signed_filters == selection.signed_filters
