"""The token cache: exact lookups, bounded size, thread safety."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from taskapi.auth import token_cache
from taskapi.auth.token_cache import MAX_ENTRIES, TokenCache


def names(count: int) -> list[str]:
    return [f"token-{number}" for number in range(count)]


def kept(cache: TokenCache[str], tokens: list[str]) -> list[str]:
    return [token for token in tokens if cache.get(token) is not None]


@pytest.fixture
def cache() -> TokenCache[str]:
    return TokenCache()


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the cache to three entries."""
    monkeypatch.setattr(token_cache, "MAX_ENTRIES", 3)


def test_a_stored_token_is_found_and_a_removed_one_is_not(cache: TokenCache[str]) -> None:
    assert cache.get("a") is None
    cache.put("a", "alice")
    assert cache.get("a") == "alice"
    cache.remove("a")
    cache.remove("a")
    assert cache.get("a") is None


@pytest.mark.parametrize(
    "other", ["toke", "token ", "Token", "tokem", "tok\u0435n", "token\0", "token\ud800", ""], ids=ascii
)
def test_a_token_that_differs_in_a_character_is_not_found(cache: TokenCache[str], other: str) -> None:
    cache.put("token", "alice")
    assert cache.get(other) is None


def test_tokens_with_different_surrogates_are_different_entries(cache: TokenCache[str]) -> None:
    cache.put("\ud800", "alice")
    assert cache.get("\ud800") == "alice"
    assert cache.get("\ud801") is cache.get("?") is cache.get("") is None


@pytest.mark.usefixtures("three")
def test_a_full_cache_evicts_the_oldest_entry(cache: TokenCache[str]) -> None:
    for token in names(5):
        cache.put(token, "alice")
    assert kept(cache, names(5)) == ["token-2", "token-3", "token-4"]


@pytest.mark.usefixtures("three")
def test_storing_a_token_again_evicts_none_and_makes_it_the_newest(cache: TokenCache[str]) -> None:
    for token in names(3):
        cache.put(token, "alice")
    cache.put("token-0", "alice, renewed")
    assert kept(cache, names(3)) == names(3)
    cache.put("token-3", "alice")
    assert kept(cache, names(4)) == ["token-0", "token-2", "token-3"]
    assert cache.get("token-0") == "alice, renewed"


def test_the_cache_never_has_more_than_ten_thousand_entries(cache: TokenCache[str]) -> None:
    tokens = names(10_050)
    for token in tokens:
        cache.put(token, "alice")
    assert kept(cache, tokens) == tokens[-10_000:]
    assert len(cache._values) == MAX_ENTRIES == 10_000


class Interrupted(dict[bytes, str]):
    """A dictionary that switches to another thread while its oldest key is looked up."""

    def __iter__(self) -> Iterator[bytes]:
        found = super().__iter__()
        time.sleep(0)
        return found


@pytest.mark.usefixtures("three")
def test_concurrent_put_get_and_remove_never_fail_and_return_the_value_of_the_token(
    cache: TokenCache[str],
) -> None:
    """The cache is full after three entries, so that each `put` evicts one while other threads get and remove."""
    cache._values = Interrupted()
    start = Barrier(8)

    def work(thread: int) -> None:
        start.wait(60)
        for turn in range(500):
            token = f"token-{(turn + thread) % 7}"
            cache.put(token, f"user of {token}")
            assert cache.get(token) in (None, f"user of {token}")
            if turn % 3 == 0:
                cache.remove(token)
            assert len(cache._values) <= 3

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, thread) for thread in range(8)]:
            done.result(60)
