"""DNS lookups time out for their callers; one that hangs occupies one thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from taskapi.concurrency import resolver
from taskapi.concurrency.resolver import resolve
from tests.waiting import WAIT_LIMIT, until


class HangingDNS:
    """Replacement of getaddrinfo that blocks until `answer()` is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._answers = threading.Event()
        self._getaddrinfo: Callable[..., Any] = socket.getaddrinfo

    def __call__(self, host: str, *arguments: Any, **options: Any) -> Any:
        self.calls.append(host)
        self._answers.wait()
        return self._getaddrinfo("127.0.0.1", *arguments, **options)

    def answer(self) -> None:
        self._answers.set()


@pytest.fixture
def hanging_dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[HangingDNS]:
    dns = HangingDNS()
    monkeypatch.setattr(socket, "getaddrinfo", dns)
    yield dns
    dns.answer()
    until(lambda: not resolver._running)


def test_a_host_has_its_addresses() -> None:
    assert ("127.0.0.1", 80) in [address for *_, address in resolve("127.0.0.1", 80, WAIT_LIMIT)]
    assert {kind for _, kind, *_ in resolve("localhost", 80, WAIT_LIMIT)} == {socket.SOCK_STREAM}


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "\udcff"])
def test_a_name_that_is_no_host_name_is_an_os_error(host: str) -> None:
    with pytest.raises(OSError, match="the DNS lookup failed"):
        resolve(host, 80, WAIT_LIMIT)
    assert not resolver._running


def test_a_lookup_that_hangs_times_out_and_its_result_serves_the_next_caller(hanging_dns: HangingDNS) -> None:
    with pytest.raises(TimeoutError):
        resolve("keys.example", 80, 0.01)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(resolve, "keys.example", 80, WAIT_LIMIT)
        hanging_dns.answer()
        assert [address for *_, address in waiting.result()] == [("127.0.0.1", 80)]


def test_a_lookup_that_hangs_occupies_one_thread_whatever_the_number_of_callers(hanging_dns: HangingDNS) -> None:
    with ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(resolve, "keys.example", 80, 0.01) for _ in range(100)]
        assert all(isinstance(caller.exception(), TimeoutError) for caller in callers)
    assert hanging_dns.calls == ["keys.example"]
    assert sum(thread.name == "resolver" for thread in threading.enumerate()) == 1


def test_a_lookup_that_hangs_does_not_delay_another_host(hanging_dns: HangingDNS) -> None:
    for host in ("keys.example", "redis.example"):
        with pytest.raises(TimeoutError):
            resolve(host, 80, 0.01)
    assert hanging_dns.calls == ["keys.example", "redis.example"]


def test_after_a_lookup_the_next_caller_starts_another(hanging_dns: HangingDNS) -> None:
    hanging_dns.answer()
    resolve("keys.example", 80, WAIT_LIMIT)
    until(lambda: not resolver._running)
    resolve("keys.example", 80, WAIT_LIMIT)
    assert hanging_dns.calls == ["keys.example"] * 2


def test_if_no_thread_can_be_started_the_next_caller_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(threading.Thread, "start", fail)
        resolve("localhost", 80, WAIT_LIMIT)
    assert resolve("localhost", 80, WAIT_LIMIT)
