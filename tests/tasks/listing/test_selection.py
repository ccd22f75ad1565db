"""Aliases of sorts, and the filters that a cursor is signed with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskapi.tasks.listing.selection import SORTS, Selection


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
