"""Rate limits of users and addresses, in memory and in Redis, and while Redis is dcounter."""

from __future__ import annotations

import logging
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from werkzeug.test import TestResponse

from taskapi.concurrency import slots
from taskapi.guard import rate_limit, redis_counter, windows
from taskapi.guard.redis_counter import RedisCounter
from taskapi.guard.windows import Counter
from tests.conftest import Person, migrate, token
from tests.endless import EndlessBody
from tests.ports import reserved_port
from tests.waiting import WAIT_LIMIT, until

Make = Callable[..., Flask]


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SQLite only: rate limits do not depend on the database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/taskapi.db"
    migrate(url)
    return url


WORLD = "198.41.0.4"  # a global address (a root name server)


def left(response: TestResponse) -> int:
    """Return the remaining requests of the `RateLimit` header."""
    match = re.fullmatch(r'"default";r=(\d+);t=(\d+)', response.headers["RateLimit"])
    assert match, response.headers["RateLimit"]
    return int(match[1])


@pytest.fixture(autouse=True)
def wait_for_a_new_minute() -> None:
    """Wait if less than 6 s of the minute are left: windows begin with it, and a test across two would miscount."""
    if time.time() % 60 > 54:
        time.sleep(60 - time.time() % 60 + 0.05)


@pytest.fixture
def limited(make_app: Make) -> Flask:
    return make_app(RATE_LIMIT="5/minute")


def person(app: Flask, name: str = "alice", address: str = "127.0.0.1") -> Person:
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = address
    return Person(client, name)


def use_up(user: Person, times: int = 5) -> None:
    for _ in range(times):
        assert user.get().status_code == 200


def test_the_sixth_request_with_a_limit_of_five_a_minute_is_429_with_retry_after(limited: Flask) -> None:
    alice = person(limited)
    assert [left(alice.get()) for _ in range(5)] == [4, 3, 2, 1, 0]
    refused = alice.get()
    assert (refused.status_code, refused.get_json()["code"]) == (429, "too-many-requests")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit-Policy"] == '"default";q=5;w=60'
    assert left(refused) == 0
    assert refused.headers["Cache-Control"] == "no-store"


def test_a_request_after_retry_after_seconds_is_accepted(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = person(make_app(RATE_LIMIT="2/second"))
    clock = Clock(monkeypatch)
    for _ in range(3):
        while (refused := alice.get()).status_code == 200:
            pass
        clock.now += int(refused.headers["Retry-After"])
        assert alice.get().status_code == 200


def test_requests_with_any_status_and_on_every_path_of_the_user_are_counted(limited: Flask) -> None:
    alice = person(limited)
    alice.add()
    etag = alice.get().headers["ETag"]
    responses = [
        alice.get(headers={"If-None-Match": etag}),
        alice.get("/99"),
        alice.post(json={"title": ""}),
    ]
    assert [(response.status_code, left(response)) for response in responses] == [(304, 2), (404, 1), (422, 0)]
    assert all(response.headers["RateLimit-Policy"] == '"default";q=5;w=60' for response in responses)
    for path in ("/api/alice/changes", "/api/alice/stats", "/api/alice/tasks/1"):
        refused = alice.client.get(path, headers={"Authorization": f"Bearer {alice.token}"})
        assert refused.status_code == 429, path


def test_a_429_changes_nothing_and_health_checks_are_not_limited(limited: Flask) -> None:
    alice = person(limited)
    use_up(alice)
    assert alice.post(json={"title": "T"}).status_code == 429
    assert limited.test_client().get("/healthz").status_code == 200
    with closing(person(limited).client.get("/healthz")) as response:
        assert "RateLimit" not in response.headers


def test_users_have_separate_limits(limited: Flask) -> None:
    use_up(person(limited, "alice"))
    mallory = person(limited, "mallory")
    use_up(mallory)
    assert (mallory.get().status_code, person(limited, "alice").get().status_code) == (429, 429)


def test_a_request_to_another_users_path_is_not_counted(limited: Flask) -> None:
    mallory = person(limited, "mallory")
    for _ in range(10):
        assert mallory.get(of="alice").status_code == 403
    assert left(person(limited, "alice").get()) == 4
    assert left(mallory.get()) == 4


@pytest.mark.parametrize(
    ("status", "options"),
    [(401, {"headers": {"Authorization": "Bearer nonsense"}}), (403, {"of": "mallory"})],
    ids=["401", "403"],
)
def test_401_and_403_are_not_counted(limited: Flask, status: int, options: dict[str, Any]) -> None:
    alice = person(limited)
    assert alice.post(**options).status_code == status
    use_up(alice)
    refused = alice.post(**options)
    assert refused.status_code == status
    assert "RateLimit" not in refused.headers
    assert alice.post(json={"title": "T"}).status_code == 429


REFUSED_BODIES = {
    "413": (413, {"data": b"x" * 70_000, "content_type": "application/json"}),
    "415": (415, {"data": "title=T", "content_type": "application/x-www-form-urlencoded"}),
    "415-compressed": (415, {"json": {}, "headers": {"Content-Encoding": "gzip"}}),
}


@pytest.mark.parametrize(("status", "options"), REFUSED_BODIES.values(), ids=REFUSED_BODIES.keys())
def test_413_and_415_are_counted_and_take_precedence_over_429(
    limited: Flask, status: int, options: dict[str, Any]
) -> None:
    alice = person(limited)
    for remaining in (4, 3, 2, 1, 0, 0):
        refused = alice.post(**options)
        assert (refused.status_code, left(refused)) == (status, remaining)
    assert alice.post(json={"title": "T"}).status_code == 429


@pytest.mark.parametrize("declared", [{"CONTENT_LENGTH": "1000"}, {}], ids=["length", "chunked"])
def test_with_429_no_body_is_read(limited: Flask, declared: dict[str, str]) -> None:
    alice = person(limited)
    use_up(alice)
    body = EndlessBody()
    refused = alice.post(content_type="application/json", environ_overrides=body.environ(**declared))
    assert (refused.status_code, body.count) == (429, 0)


def test_405_takes_precedence_over_429(limited: Flask) -> None:
    alice = person(limited)
    use_up(alice)
    assert alice.put("", json={}).status_code == 405


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/99", {}),
        ("POST", "", {"json": {"title": ""}}),
        ("POST", "", {"data": b"{", "content_type": "application/json"}),
        ("GET", "?stauts=pending", {}),
        ("PUT", "/1", {"json": {"title": "T"}, "headers": {"If-Match": '"99"'}}),
        ("POST", "", {"json": {"title": "T"}, "headers": {"Idempotency-Key": "k"}}),
    ],
    ids=["404", "422", "malformed", "parameter", "412", "replay"],
)
def test_429_takes_precedence_over_errors_that_need_the_database_or_the_body(
    limited: Flask, method: str, path: str, options: dict[str, Any]
) -> None:
    alice = person(limited)
    assert alice.post(json={"title": "T"}, headers={"Idempotency-Key": "k"}).status_code == 201
    use_up(alice, 4)
    assert alice.send(method, path, **options).status_code == 429


def test_a_preflight_is_not_counted_and_never_429(make_app: Make) -> None:
    app = make_app(RATE_LIMIT="1/minute", CORS_ORIGINS="https://app.example.com")
    alice = person(app)
    assert alice.get().status_code == 200
    preflight = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "PUT"}
    for _ in range(3):
        assert app.test_client().options("/api/alice/tasks/1", headers=preflight).status_code == 200
    refused = alice.get(headers={"Origin": "https://app.example.com"})
    assert refused.status_code == 429
    exposed = refused.headers["Access-Control-Expose-Headers"]
    assert all(name in exposed for name in ("Retry-After", "RateLimit", "RateLimit-Policy"))


def test_rate_limit_off_disables_the_limits(make_app: Make) -> None:
    alice = person(make_app(RATE_LIMIT="off"), address=WORLD)
    responses = [alice.get() for _ in range(60)]
    assert {response.status_code for response in responses} == {200}
    assert "RateLimit" not in responses[0].headers
    assert "RateLimit-Policy" not in responses[0].headers


def test_the_default_limit_is_600_a_minute(make_app: Make) -> None:
    response = person(make_app()).get()
    assert (response.headers["RateLimit-Policy"], left(response)) == ('"default";q=600;w=60', 599)


# In memory


class Clock:
    """Replaces `time.time` by a clock that only the test advances; it starts at the present, so tokens are valid."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(time, "time", lambda: self.now)


@pytest.mark.parametrize("seed", range(20))
def test_the_in_memory_counter_equals_that_of_the_limits_library(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    clock, chance, limit = Clock(monkeypatch), random.Random(seed), windows.Limit(4, 10)
    counter = windows.InMemoryCounter(limit)
    reference = RedisCounter(SlidingWindowCounterRateLimiter(MemoryStorage()), limit, "user")
    hits = []
    for _ in range(400):
        clock.now += chance.choice((*[0.01] * 4, *[1.5] * 20, 4, 9, 31)) * chance.random()
        who = chance.choice(("alice", "mallory"))
        assert counter.left(who) == pytest.approx(reference.left(who), abs=1e-5)
        allowed, *left = counter.consume(who)
        hits.append(allowed)
        assert allowed == reference.hit(who)
        assert left == pytest.approx(reference.left(who), abs=1e-5)
        assert counter.left(who) == pytest.approx(reference.left(who), abs=1e-5)
    assert 0.2 < hits.count(True) / len(hits) < 0.9, "both results occurred"


def test_concurrent_requests_cannot_exceed_the_in_memory_limit() -> None:
    counter = windows.InMemoryCounter(windows.Limit(50, 60))
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: counter.hit("alice"), range(400))) == 50


def test_the_in_memory_counter_keeps_two_windows_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    counter = windows.InMemoryCounter(windows.Limit(7, 10))
    threads = threading.active_count()
    for number in range(100):
        assert counter.hit(f"user-{number}")
        clock.now += 1
        assert len(counter._previous) + len(counter._counts) <= 20
    assert threading.active_count() == threads
    clock.now += 20
    assert counter.left("user-99") == (7, 0)
    assert counter._previous == counter._counts == {}


# The cost of a request.


@pytest.fixture(params=["memory", "limits", "redis"])
def counter(request: pytest.FixtureRequest) -> Counter:
    limit = windows.Limit(10, 60)
    if request.param == "memory":
        return windows.InMemoryCounter(limit)
    if request.param == "limits":
        return RedisCounter(SlidingWindowCounterRateLimiter(MemoryStorage()), limit, "user")
    request.getfixturevalue("long_redis_timeout")
    redis: Redis = request.getfixturevalue("redis")
    return RedisCounter(redis_counter.sliding_window(redis.url), limit, "user")


def test_a_charge_is_counted_beyond_the_limit_and_the_next_request_is_refused(counter: Counter) -> None:
    assert counter.consume("alice")[:2] == (True, 9)
    assert counter.charge("alice", 4)[0] == 5
    left, seconds = counter.charge("alice", 25)
    assert left == 0
    # 30 units in this window of 60 s, whose weight in the next one is below the limit of 10 after 40 s of it.
    assert 40 <= seconds <= 100
    assert counter.consume("alice")[:2] == (False, 0)
    assert counter.left("alice")[1] == pytest.approx(seconds, abs=6), "a refused request costs nothing"
    assert counter.consume("mallory")[:2] == (True, 9)


@pytest.mark.parametrize("seed", range(10))
def test_after_retry_after_seconds_a_request_is_allowed_and_a_moment_before_it_is_not(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    clock, chance = Clock(monkeypatch), random.Random(seed)
    counter = windows.InMemoryCounter(windows.Limit(10, 60))
    for _ in range(50):
        while counter.consume("alice")[0]:
            counter.charge("alice", chance.randrange(25))
        _, seconds = counter.left("alice")
        clock.now += seconds - 0.001
        assert not counter.left("alice")[0]
        clock.now += 0.002
        assert counter.left("alice")[0]
        clock.now += chance.random() * 40


def test_the_request_that_exceeds_the_limit_is_carried_out_and_the_next_is_429(make_app: Make) -> None:
    app = make_app(RATE_LIMIT="5/minute")
    alice = person(app)
    imported = alice.data("POST", "/import", json={"tasks": [{"title": "T"}] * 2000})
    assert (imported.status_code, left(imported)) == (200, 0)
    refused = alice.get("?limit=1")
    assert refused.status_code == 429
    # 61 units: below the limit of 5 when less than 5/61 of their window counts.
    assert 60 * (1 - 5 / 61) - 1 <= int(refused.headers["Retry-After"]) <= 60 * (2 - 5 / 61) + 1


# Addresses


def test_the_limit_of_an_address_is_ten_times_that_of_a_user(make_app: Make) -> None:
    app = make_app(RATE_LIMIT="2/minute")
    responses = [person(app, f"user-{number // 2}", WORLD).get().status_code for number in range(20)]
    assert responses == [200] * 20
    refused = person(app, "one-too-many", WORLD).get()
    assert refused.status_code == 429
    assert left(refused) == 0, "the header shows what the address has left"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert person(app, "elsewhere", "198.41.0.5").get().status_code == 200


def test_the_ipv6_addresses_of_a_slash_64_share_a_limit(make_app: Make) -> None:
    app = make_app(RATE_LIMIT="2/minute")
    for number in range(20):
        person(app, f"user-{number // 2}", f"2001:500:2::{number + 1:x}").get()
    assert person(app, "one-too-many", "2001:500:2::ffff").get().status_code == 429
    assert person(app, "elsewhere", "2001:500:2:1::1").get().status_code == 200


@pytest.mark.parametrize("prefix", ["::ffff:", "64:ff9b::"], ids=["mapped", "translated"])
def test_ipv6_addresses_of_ipv4_clients_have_separate_limits(make_app: Make, prefix: str) -> None:
    app = make_app(RATE_LIMIT="2/minute")
    for number in range(20):
        person(app, f"user-{number // 2}", f"{prefix}198.41.0.4").get()
    assert person(app, "one-too-many", f"{prefix}198.41.0.4").get().status_code == 429
    assert person(app, "one-more", "198.41.0.4").get().status_code == 429
    assert person(app, "elsewhere", f"{prefix}198.41.0.5").get().status_code == 200


@pytest.mark.parametrize("address", ["::ffff:10.0.0.1", "64:ff9b::10.0.0.1"])
def test_ipv6_addresses_of_private_ipv4_clients_are_not_limited(make_app: Make, address: str) -> None:
    app = make_app(RATE_LIMIT="1/minute")
    assert {person(app, f"user-{number}", address).get().status_code for number in range(15)} == {200}


def test_a_request_rejected_for_its_address_is_not_counted_for_the_user(make_app: Make) -> None:
    app = make_app(RATE_LIMIT="2/minute")
    for number in range(20):
        person(app, f"user-{number // 2}", WORLD).get()
    for _ in range(5):
        assert person(app, "alice", WORLD).get().status_code == 429
    assert left(person(app, "alice", "198.41.0.5").get()) == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.9", "::1", "fd00::1", ""])
def test_private_addresses_are_not_limited(make_app: Make, address: str) -> None:
    app = make_app(RATE_LIMIT="1/minute")
    assert {person(app, f"user-{number}", address).get().status_code for number in range(15)} == {200}


def forwarded(app: Flask, name: str, header: str) -> int:
    return person(app, name).get(headers={"X-Forwarded-For": header}).status_code


def test_with_a_trusted_proxy_the_address_in_x_forwarded_for_is_limited(make_app: Make) -> None:
    app = make_app(RATE_LIMIT="1/minute", TRUSTED_PROXIES="1")
    for number in range(10):
        # The client writes the entries before the last, which are ignored.
        assert forwarded(app, f"user-{number}", f"203.0.113.{number}, 8.8.{number}.8, {WORLD}") == 200
    assert forwarded(app, "one-too-many", f"8.8.4.4, {WORLD}") == 429
    assert forwarded(app, "elsewhere", f"{WORLD}, 198.41.0.5") == 200


@pytest.mark.parametrize(
    ("entry", "same", "other"),
    [
        ("198.41.0.4:{}", "198.41.0.4", "198.41.0.5:{}"),
        ('"198.41.0.4:{}"', '"198.41.0.4"', '"198.41.0.5"'),
        ("[2001:500:2::1]:{}", "2001:500:2::2", "[2001:500:3::1]:{}"),
        ('"[2001:500:2::1]:{}"', "[2001:500:2::2]", '"[2001:500:3::1]"'),
        ("[::ffff:198.41.0.4]:{}", "198.41.0.4", "[::ffff:198.41.0.5]:{}"),
        ("::ffff:c629:4", "::ffff:198.41.0.4", "::ffff:c629:5"),
        ("2001:500:2::1%eth{}", "2001:500:2::1", "2001:500:3::1"),
    ],
)
def test_the_ports_brackets_and_quotes_of_an_entry_of_x_forwarded_for_do_not_count(
    make_app: Make, entry: str, same: str, other: str
) -> None:
    app = make_app(RATE_LIMIT="1/minute", TRUSTED_PROXIES="1")
    for number in range(10):
        assert forwarded(app, f"user-{number}", entry.format(10_000 + number)) == 200
    assert forwarded(app, "one-too-many", entry.format(443)) == 429
    assert forwarded(app, "without-port", same) == 429
    assert forwarded(app, "elsewhere", other.format(443)) == 200


@pytest.mark.parametrize("entry", ["unknown", "_hidden", "1.2.3:80", ":80", "[]:80", "%", '""', "]["])
def test_an_entry_of_a_trusted_proxy_that_is_no_address_is_not_limited(make_app: Make, entry: str) -> None:
    app = make_app(RATE_LIMIT="1/minute", TRUSTED_PROXIES="1")
    assert {forwarded(app, f"user-{number}", entry) for number in range(12)} == {200}


@pytest.mark.parametrize("headers", [{}, {"X-Forwarded-For": ""}], ids=["absent", "empty"])
def test_without_an_entry_of_the_trusted_proxy_the_address_of_the_peer_is_limited(
    make_app: Make, headers: dict[str, str]
) -> None:
    app = make_app(RATE_LIMIT="1/minute", TRUSTED_PROXIES="1")
    statuses = [person(app, f"user-{number}", WORLD).get(headers=headers).status_code for number in range(12)]
    assert statuses == [200] * 10 + [429] * 2


def test_without_a_trusted_proxy_x_forwarded_for_is_ignored(make_app: Make) -> None:
    app = make_app(RATE_LIMIT="1/minute")
    assert {forwarded(app, f"user-{number}", WORLD) for number in range(15)} == {200}


# Redis


@dataclass
class Redis:
    """A Redis server that can be stopped by a signal, killed and restarted."""

    port: int
    directory: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        binary = shutil.which("redis-server")
        assert binary
        command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [*command, "--dir", str(self.directory)], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        until(self._answers, otherwise="redis-server did not come up")

    def signal(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        # CI must have it; on a developer's machine the tests are skipped without it.
        assert not os.environ.get("CI"), "redis-server is missing: the limits shared by processes were not tested"
        pytest.skip("redis-server is not installed: the limits shared by processes are not tested")
    with reserved_port() as port:
        server = Redis(port, tmp_path)
        server.start()
        yield server
        server.kill()


@pytest.fixture
def long_redis_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the timeout, because a machine that stalls for a moment would reach it."""
    monkeypatch.setattr(redis_counter, "TIMEOUT", WAIT_LIMIT)


@pytest.mark.usefixtures("long_redis_timeout")
def test_with_redis_processes_share_the_counts(make_app: Make, redis: Redis) -> None:
    one, other = (make_app(RATE_LIMIT="5/minute", REDIS_URL=redis.url) for _ in range(2))
    counted = [left(person(app).get()) for app in (one, other, one, other, other)]
    assert counted == [4, 3, 2, 1, 0]
    assert (person(one).get().status_code, person(other).get().status_code) == (429, 429)
    assert person(one, "mallory").get().status_code == 200


@pytest.mark.usefixtures("long_redis_timeout")
def test_concurrent_requests_cannot_exceed_the_limit_in_redis(make_app: Make, redis: Redis) -> None:
    app = make_app(RATE_LIMIT="5/minute", REDIS_URL=redis.url)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: person(app).get().status_code, range(24)))
    assert statuses.count(200) == 5


@pytest.mark.parametrize("frozen", [False, True], ids=["dead", "frozen"])
def test_while_redis_is_down_requests_are_allowed_without_delay_and_limits_return_with_it(
    make_app: Make,
    redis: Redis,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    frozen: bool,
) -> None:
    assert (
        redis_counter.TIMEOUT == 0.1
    )  # the documented value; raised below, because a machine that stalls would reach it
    monkeypatch.setattr(redis_counter, "TIMEOUT", 1)
    monkeypatch.setattr(rate_limit, "REDIS_PAUSE", WAIT_LIMIT)
    app = make_app(RATE_LIMIT="2/minute", REDIS_URL=redis.url)
    alice = person(app)
    use_up(alice, 2)
    assert alice.get().status_code == 429
    if frozen:
        redis.signal(signal.SIGSTOP)
    else:
        redis.kill()
    with caplog.at_level(logging.WARNING, "taskapi.guard.rate_limit"):
        began = time.monotonic()
        responses = [alice.get() for _ in range(10)]
        took = time.monotonic() - began
    assert {response.status_code for response in responses} == {200}
    assert took < 5, "one wait for Redis, and none for the nine requests after it"
    assert [record.message for record in caplog.records if record.name == "taskapi.guard.rate_limit"] == [
        f"rate limits are off for {WAIT_LIMIT} s: StorageError"
    ]
    if frozen:
        redis.signal(signal.SIGCONT)
    else:
        redis.start()
    monkeypatch.setattr(rate_limit, "REDIS_PAUSE", 0)
    app.extensions[rate_limit._EXTENSION]._paused_until = 0  # as if the pause were over
    until(lambda: alice.get().status_code == 429)


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_dns_of_redis_that_hangs_holds_no_slot_and_requests_are_allowed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    lookups: list[str] = []
    may_respond = threading.Event()

    def hang(host: str, *_: Any, **__: Any) -> list[Any]:
        lookups.append(host)
        may_respond.wait()
        return []

    monkeypatch.setattr(redis_counter, "LOOKUP_TIMEOUT", 3 * WAIT_LIMIT)
    monkeypatch.setattr(rate_limit, "REDIS_PAUSE", 0)
    limiter = rate_limit.Limiter(windows.Limit(5, 60), f"{scheme}://redis.example:6379/0", 0)
    semaphore = threading.BoundedSemaphore(4)

    def request() -> bool:
        with slots.held(semaphore):
            return limiter.consume("alice", None)[0]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with ThreadPoolExecutor(4) as pool, caplog.at_level(logging.WARNING, "taskapi.guard.rate_limit"):
        requests = [pool.submit(request) for _ in range(3)]
        try:
            until(lambda: lookups and semaphore._value == 4, otherwise="the requests hold their slots")
            monkeypatch.setattr(redis_counter, "LOOKUP_TIMEOUT", 0.05)
            assert request()
        finally:
            may_respond.set()
        assert [done.result(WAIT_LIMIT) for done in requests] == [True] * 3
    assert lookups == ["redis.example"]
    assert {record.message for record in caplog.records} == {"rate limits are off for 0 s: StorageError"}


def test_the_service_starts_without_redis(make_app: Make, redis: Redis) -> None:
    redis.kill()
    alice = person(make_app(RATE_LIMIT="1/minute", REDIS_URL=redis.url))
    assert {alice.get().status_code for _ in range(5)} == {200}


def test_a_new_token_does_not_reset_the_limit(limited: Flask) -> None:
    use_up(person(limited))
    again = Person(limited.test_client(), "alice", token("alice", jti="another"))
    assert again.get().status_code == 429
