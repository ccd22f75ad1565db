"""A key server or DNS that hangs: requests wait without a slot, and few of them; unknown key ids are not stored."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from taskapi.auth import jwks_cache
from taskapi.auth.jwk_parser import Key
from taskapi.auth.jwks_cache import CACHE_TIME, JWKS, MAX_WAITING, MIN_REFETCH_INTERVAL
from taskapi.auth.keys import KeysUnavailable
from taskapi.concurrency import resolver, slots
from tests.auth.conftest import Clock
from tests.auth.issuer import Signer
from tests.auth.key_server import KeyServer
from tests.waiting import WAIT_LIMIT, until

OLD, NEW = Signer("EdDSA", "old"), Signer("EdDSA", "new")


@pytest.fixture
def server(serve_keys: Callable[..., KeyServer]) -> KeyServer:
    """A key server that publishes the old key."""
    return serve_keys(OLD.jwk())


@pytest.fixture
def jwks(server: KeyServer, clock: Clock) -> JWKS:
    return JWKS(server.url, clock=clock)


def knows(jwks: JWKS, signer: Signer) -> bool:
    return len(jwks.find(signer.algorithm, signer.kid)) == 1


def waiting(jwks: JWKS) -> int:
    return MAX_WAITING - jwks._waiting._value


def is_free(slot: threading.BoundedSemaphore) -> bool:
    """Return True if the slot can be acquired now."""
    if free := slot.acquire(blocking=False):
        slot.release()
    return free


def test_a_request_that_waits_for_an_unknown_key_releases_its_slot(server: KeyServer, jwks: JWKS) -> None:
    server.mode = "slow"
    slot = threading.BoundedSemaphore(1)
    held = threading.Event()

    def request(kid: str) -> Sequence[Key]:
        with slots.held(slot):
            held.set()
            return jwks.find("EdDSA", kid)

    with ThreadPoolExecutor(12) as pool:
        requests = [pool.submit(request, f"invented-{number}") for number in range(12)]
        assert held.wait(WAIT_LIMIT)
        until(lambda: waiting(jwks) == 12, otherwise="each of the others has waited for the slot")
        assert is_free(slot)
        server.over.set()
        assert [waiter.result() for waiter in requests] == [()] * 12
    assert is_free(slot)
    assert len(server.fetches) == 1


def test_a_request_that_waits_for_a_refresh_releases_its_slot(
    server: KeyServer, jwks: JWKS, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert knows(jwks, OLD)
    server.mode = "slow"
    clock.now += CACHE_TIME + 1
    monkeypatch.setattr(jwks_cache, "REFRESH_WAIT", WAIT_LIMIT)
    slot = threading.BoundedSemaphore(1)

    def request() -> bool:
        with slots.held(slot):
            return knows(jwks, OLD)

    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(request)
        until(lambda: len(server.fetches) == 2)
        assert is_free(slot)
        assert not waiter.done()
        server.over.set()
        assert waiter.result()


@pytest.mark.parametrize("cold", [True, False], ids=["without-keys", "with-keys"])
def test_at_most_a_hundred_requests_wait_for_a_fetch(
    server: KeyServer, jwks: JWKS, clock: Clock, *, cold: bool
) -> None:
    if not cold:
        assert knows(jwks, OLD)
        clock.now += MIN_REFETCH_INTERVAL
    server.mode = "slow"
    with ThreadPoolExecutor(MAX_WAITING) as pool:
        requests = [pool.submit(jwks.find, "EdDSA", f"invented-{number}") for number in range(MAX_WAITING)]
        until(lambda: waiting(jwks) == MAX_WAITING == 100)
        for _ in range(3):
            with pytest.raises(KeysUnavailable):  # without waiting: the server takes longer than this test
                jwks.find("EdDSA", "one-more")
        assert cold or knows(jwks, OLD)
        server.over.set()
        assert [waiter.result() for waiter in requests] == [()] * MAX_WAITING
    assert waiting(jwks) == 0
    assert len(server.fetches) == 2 - cold


def test_dns_that_hangs_causes_one_lookup_and_the_keys_are_fetched_when_it_responds(
    server: KeyServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks_cache, "FETCH_TIMEOUT", 0.05)
    lookups: list[str] = []
    may_respond = threading.Event()
    original = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        lookups.append(host)
        may_respond.wait()
        return original("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    jwks = JWKS(server.url.replace("127.0.0.1", "keys.example"), clock=clock)
    for _ in range(5):
        with pytest.raises(KeysUnavailable):
            jwks.find("EdDSA", OLD.kid)
        until(lambda: jwks._fetching is None, otherwise="the fetch goes on")
        clock.now += MIN_REFETCH_INTERVAL
    assert lookups == ["keys.example"]
    monkeypatch.setattr(jwks_cache, "FETCH_TIMEOUT", WAIT_LIMIT)
    may_respond.set()
    until(lambda: not resolver._running)
    assert knows(jwks, OLD)


def test_if_no_thread_can_be_started_the_next_request_tries_again(jwks: JWKS, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(threading.Thread, "start", fail)
        jwks.find("EdDSA", OLD.kid)
    assert knows(jwks, OLD)


def test_an_unknown_key_id_is_neither_stored_nor_logged(
    server: KeyServer, jwks: JWKS, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert knows(jwks, OLD)
    before = vars(jwks).copy()
    invented = "invented" * 700
    with caplog.at_level(logging.DEBUG):
        for mode in ("ok", "error"):
            server.mode = mode
            clock.now += MIN_REFETCH_INTERVAL
            assert jwks.find("EdDSA", invented) == ()
    assert len(server.fetches) == 3
    assert {name for name, value in vars(jwks).items() if value is not before[name]} == {"_tried_at", "_fetched_at"}
    assert jwks._keys is not None
    assert list(jwks._keys) == ["old"]
    assert "invented" not in caplog.text


def test_a_fetch_of_an_unchanged_key_set_keeps_the_key_objects(server: KeyServer, jwks: JWKS, clock: Clock) -> None:
    # The token cache compares keys by identity: with new objects, each fetch would cause verification of all tokens.
    (key,) = jwks.find("EdDSA", OLD.kid)
    for _ in range(3):
        clock.now += MIN_REFETCH_INTERVAL
        assert jwks.find("EdDSA", "invented") == ()
        assert jwks.find("EdDSA", OLD.kid)[0] is key
    assert len(server.fetches) == 4
    server.keys.append(NEW.jwk())
    clock.now += MIN_REFETCH_INTERVAL
    assert knows(jwks, NEW)
