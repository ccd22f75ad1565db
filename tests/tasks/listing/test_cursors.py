"""Cursors: sealed for one walk of one user, and long enough for any title."""

from __future__ import annotations

import random
import sys
import unicodedata
from dataclasses import replace
from typing import Any

import pytest

from taskapi.auth.tokens import User
from taskapi.http.errors import BadCursor
from taskapi.tasks.folding import fold
from taskapi.tasks.listing import queries
from taskapi.tasks.listing.cursors import decode_cursor, encode_cursor
from taskapi.tasks.listing.selection import Selection
from taskapi.tasks.schemas import MAX_CURSOR, MAX_TITLE
from taskapi.tasks.state import State
from tests.conftest import Person

STATE = State(7, "a" * 32)
SELECTION = Selection(limit=10)


@pytest.mark.parametrize(
    "place", [(1,), ("long" * 200, 5), (2**62, 2**62), ("", 1), ('タスク "\\ \U0001f95b', 5)], ids=repr
)
def test_a_place_comes_back_as_it_was(place: tuple[Any, ...]) -> None:
    cursor = encode_cursor(place, SELECTION, STATE)
    assert decode_cursor(replace(SELECTION, cursor=cursor, limit=500), replace(STATE, revision=99)) == place


def test_without_a_cursor_there_is_no_place() -> None:
    assert decode_cursor(SELECTION, STATE) is None


def test_a_cursor_needs_no_escaping_in_an_address() -> None:
    cursor = encode_cursor(("~/?&=+ é" * 20, 1), SELECTION, STATE)
    assert set(cursor) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def test_what_a_page_ended_with_fits_whatever_the_title() -> None:
    chance = random.Random(0)
    characters = [chr(code) for code in range(0xA0, sys.maxunicode) if unicodedata.category(chr(code))[0] not in "CZ"]
    longest = sorted(characters, key=lambda character: len(fold(character).encode()), reverse=True)[:100]
    for pool in (characters, longest, [c for c in characters if c > "\uffff"]):
        titles = ["".join(chance.choices(pool, k=MAX_TITLE)) for _ in range(50)]
        assert max(len(encode_cursor((fold(title), 2**62), SELECTION, STATE)) for title in titles) < MAX_CURSOR * 2 / 3


def test_no_cursor_opens_with_another_walk_or_another_life_of_the_user() -> None:
    cursor = encode_cursor((1,), SELECTION, STATE)
    for selection, state in (
        (replace(SELECTION, sort="created_at"), STATE),
        (replace(SELECTION, completed=True), STATE),
        (replace(SELECTION, q="x"), STATE),
        (SELECTION, replace(STATE, epoch="b" * 32)),
    ):
        with pytest.raises(BadCursor):
            decode_cursor(replace(selection, cursor=cursor), state)


def test_no_changed_cursor_opens() -> None:
    cursor = encode_cursor((12345, 678), SELECTION, STATE)
    assert len(cursor) > 30
    for n in range(len(cursor) - 1):  # the last character has bits that stand for nothing
        changed = cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1 :]
        for broken in (changed, cursor[:n], cursor + cursor[n]):
            with pytest.raises(BadCursor):
                decode_cursor(replace(SELECTION, cursor=broken), STATE)


@pytest.mark.parametrize("place", [[1], ["a", "b"], {"a": 1}, 5, None, [[1], [2]], []], ids=repr)
def test_nobody_can_forge_one_for_a_user_who_never_wrote(mallory: Person, place: Any) -> None:
    # There is no row to hold an epoch then, and the key must not be one that the source tells.
    for key in ("", "None", "0"):
        forged = encode_cursor(place, Selection(limit=1, sort="title"), State(0, key))
        assert mallory.get(f"?sort=title&cursor={forged}").status_code == 400


def next_page(alice: Person, filters: str = "") -> str:
    """The address, below the tasks, of what follows a page of one."""
    return alice.get(f"?limit=1{filters}").headers["Link"].partition("/tasks")[2].partition(">")[0]


def test_a_cursor_opens_in_a_worker_that_has_not_sealed_it(alice: Person) -> None:
    alice.add("One")
    alice.add("Two")
    address = next_page(alice)
    queries._last_state.cache_clear()
    assert queries.last_state(User("alice")) is None
    assert [task["title"] for task in alice.get(address).json] == ["One"]


@pytest.mark.parametrize("filters", ["", "&q=o"], ids=["plain", "filtered"])
def test_a_worker_that_remembers_the_life_before_opens_no_cursor_of_it(alice: Person, filters: str) -> None:
    for title in ("Old one", "Old two"):
        alice.add(title)
    address = next_page(alice, filters)
    remembered = queries.last_state(User("alice"))
    assert remembered
    assert alice.data("DELETE").status_code == 204
    for titles in ([], ["New one", "New two"]):
        for title in titles:
            alice.add(title)
        assert queries.last_state(User("alice")) == remembered, "nobody told the worker"
        refused = alice.get(address)
        assert (refused.status_code, refused.json["code"]) == (400, "bad-cursor")
        queries._last_state("alice")[:] = [remembered]


def test_a_worker_that_remembers_another_life_opens_the_cursors_of_this_one(alice: Person) -> None:
    alice.add("One")
    alice.add("Two")
    address = next_page(alice)
    queries._last_state("alice")[:] = [STATE]
    assert [task["title"] for task in alice.get(address).json] == ["One"]
    assert queries.last_state(User("alice")) != STATE, "it has learned"
