"""Pagination cursors: signed, valid for one user, sort and set of filters, and short enough for any title."""

from __future__ import annotations

import random
import sys
import unicodedata
from dataclasses import replace
from typing import Any

import pytest

from taskapi.auth.tokens import User
from taskapi.http.errors import BadCursor
from taskapi.tasks import state
from taskapi.tasks.folding import fold
from taskapi.tasks.listing.cursors import decode_cursor, encode_cursor
from taskapi.tasks.listing.selection import Selection
from taskapi.tasks.schemas import MAX_CURSOR, MAX_TITLE
from taskapi.tasks.state import State
from tests.conftest import Person

STATE = State(7, "a" * 32)
SELECTION = Selection(limit=10)


@pytest.mark.parametrize(
    "keyset", [(1,), ("long" * 200, 5), (2**62, 2**62), ("", 1), ('タスク "\\ \U0001f95b', 5)], ids=repr
)
def test_decoding_a_cursor_returns_the_keyset_values(keyset: tuple[Any, ...]) -> None:
    cursor = encode_cursor(keyset, SELECTION, STATE)
    assert decode_cursor(replace(SELECTION, cursor=cursor, limit=500), replace(STATE, revision=99)) == keyset


def test_a_selection_without_a_cursor_has_no_keyset_values() -> None:
    assert decode_cursor(SELECTION, STATE) is None


def test_a_cursor_is_url_safe() -> None:
    cursor = encode_cursor(("~/?&=+ é" * 20, 1), SELECTION, STATE)
    assert set(cursor) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def test_a_cursor_of_any_title_is_shorter_than_the_limit() -> None:
    rng = random.Random(0)
    characters = [chr(code) for code in range(0xA0, sys.maxunicode) if unicodedata.category(chr(code))[0] not in "CZ"]
    longest = sorted(characters, key=lambda character: len(fold(character).encode()), reverse=True)[:100]
    for pool in (characters, longest, [c for c in characters if c > "\uffff"]):
        titles = ["".join(rng.choices(pool, k=MAX_TITLE)) for _ in range(50)]
        assert max(len(encode_cursor((fold(title), 2**62), SELECTION, STATE)) for title in titles) < MAX_CURSOR * 2 / 3


def test_a_cursor_with_other_filters_or_another_epoch_is_refused() -> None:
    cursor = encode_cursor((1,), SELECTION, STATE)
    for selection, signing_state in (
        (replace(SELECTION, sort="created_at"), STATE),
        (replace(SELECTION, completed=True), STATE),
        (replace(SELECTION, q="x"), STATE),
        (SELECTION, replace(STATE, epoch="b" * 32)),
    ):
        with pytest.raises(BadCursor):
            decode_cursor(replace(selection, cursor=cursor), signing_state)


def test_a_cursor_with_any_changed_character_is_refused() -> None:
    cursor = encode_cursor((12345, 678), SELECTION, STATE)
    assert len(cursor) > 30
    for n in range(len(cursor) - 1):  # without the last character, of which base64 ignores some bits
        changed = cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1 :]
        for broken in (changed, cursor[:n], cursor + cursor[n]):
            with pytest.raises(BadCursor):
                decode_cursor(replace(SELECTION, cursor=broken), STATE)


@pytest.mark.parametrize("keyset", [[1], ["a", "b"], {"a": 1}, 5, None, [[1], [2]], []], ids=repr)
def test_a_cursor_forged_for_a_user_without_data_is_400(mallory: Person, keyset: Any) -> None:
    # Such a user has no row and no stored epoch. The key of the signature must not be a constant of the source code.
    for key in ("", "None", "0"):
        forged = encode_cursor(keyset, Selection(limit=1, sort="title"), State(0, key))
        assert mallory.get(f"?sort=title&cursor={forged}").status_code == 400


def next_page(alice: Person, filters: str = "") -> str:
    """Return path and query of the second page of one task, relative to `/tasks`."""
    return alice.get(f"?limit=1{filters}").headers["Link"].partition("/tasks")[2].partition(">")[0]


def test_a_cursor_is_valid_in_another_worker(alice: Person) -> None:
    alice.add("One")
    alice.add("Two")
    address = next_page(alice)
    state._last_state.cache_clear()
    assert state.last_state(User("alice")) is None
    assert [task["title"] for task in alice.get(address).json] == ["One"]


@pytest.mark.parametrize("filters", ["", "&q=o"], ids=["plain", "filtered"])
def test_a_cursor_from_before_an_erasure_is_400_in_a_worker_with_a_stale_state(alice: Person, filters: str) -> None:
    for title in ("Old one", "Old two"):
        alice.add(title)
    address = next_page(alice, filters)
    cached = state.last_state(User("alice"))
    assert cached
    assert alice.data("DELETE").status_code == 204
    for titles in ([], ["New one", "New two"]):
        for title in titles:
            alice.add(title)
        stale = state.last_state(User("alice"))
        assert stale
        assert stale.epoch == cached.epoch, "the worker still has the stale state"
        refused = alice.get(address)
        assert (refused.status_code, refused.json["code"]) == (400, "bad-cursor")
        state._last_state("alice")[:] = [cached]


def test_a_current_cursor_is_valid_in_a_worker_with_a_stale_state(alice: Person) -> None:
    alice.add("One")
    alice.add("Two")
    address = next_page(alice)
    state._last_state("alice")[:] = [STATE]
    assert [task["title"] for task in alice.get(address).json] == ["One"]
    assert state.last_state(User("alice")) != STATE, "the cached state has been updated"


def test_a_write_without_effect_does_not_turn_the_cached_revision_back(alice: Person) -> None:
    alice.add("Old")
    alice.add("New")
    alice.get()
    assert alice.put("/1", json={"title": "Old"}).headers["ETag"] == '"1"'
    cached = state.last_state(User("alice"))
    assert cached is not None
    assert cached.revision == 2


def test_a_poll_is_304_although_a_write_that_was_rolled_back_is_cached(alice: Person) -> None:
    alice.add("One")
    etag = alice.get().headers["ETag"]
    state.cache_revision(User("alice"), 99)
    for _ in range(2):
        polled = alice.get(headers={"If-None-Match": etag})
        assert (polled.status_code, polled.headers["ETag"], polled.data) == (304, etag, b"")
