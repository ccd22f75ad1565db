"""The JWKS cache: cached keys stay usable whatever the key server does, and fetches are rare."""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from taskapi.auth import jwks_cache
from taskapi.auth.fetch import MAX_JWKS_BYTES
from taskapi.auth.jwks_cache import CACHE_TIME, JWKS, MIN_REFETCH_INTERVAL, REFRESH_AFTER
from taskapi.auth.keys import KeysUnavailable, SharedSecrets
from taskapi.config.proxies import Proxy
from tests.auth.issuer import KEY_PAIR_ALGORITHMS, Signer
from tests.auth.key_server import FAILING, SLOW_MODES, KeyServer
from tests.conftest import SECRET
from tests.ports import reserved_port
from tests.waiting import WAIT_LIMIT, until

OLD = Signer("EdDSA", "old")
NEW = Signer("EdDSA", "new")

Serve = Callable[..., KeyServer]


class Clock:
    """A clock that the test advances, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(serve_keys: Serve) -> KeyServer:
    """A key server that publishes the old key."""
    return serve_keys(OLD.jwk())


@pytest.fixture
def jwks(server: KeyServer, clock: Clock) -> JWKS:
    return JWKS(server.url, clock=clock)


def knows(jwks: JWKS, signer: Signer) -> bool:
    return len(jwks.find(signer.algorithm, signer.kid)) == 1


def set_failure(server: KeyServer, mode: str) -> None:
    if mode == "down":
        server.stop()
    else:
        server.mode = mode


# Cached keys


def test_the_key_set_is_not_fetched_before_the_first_token(server: KeyServer, jwks: JWKS) -> None:
    assert jwks.find("EdDSA", None) == ()
    assert server.fetches == []


@pytest.mark.parametrize("algorithm", KEY_PAIR_ALGORITHMS)
def test_a_key_is_found_by_kid_and_for_its_algorithm_only(
    signers: dict[str, Signer], serve_keys: Serve, algorithm: str
) -> None:
    jwks = JWKS(serve_keys(*(signer.jwk() for signer in signers.values())).url)
    found = jwks.find(algorithm, f"kid-{algorithm}")
    assert [key.algorithm for key in found] == [algorithm]
    assert found[0].material == signers[algorithm].private.public_key()
    others = set(KEY_PAIR_ALGORITHMS) | {"HS256", "none"}
    assert all(jwks.find(other, f"kid-{algorithm}") == () for other in others - {algorithm})


@pytest.mark.parametrize("mode", ["ok", "down", *FAILING, *SLOW_MODES])
@pytest.mark.parametrize("age", [1, REFRESH_AFTER + 1, CACHE_TIME + 1, 100 * CACHE_TIME])
def test_a_cached_key_is_returned_without_waiting_for_a_failing_key_server(
    server: KeyServer, jwks: JWKS, clock: Clock, mode: str, age: float, request: pytest.FixtureRequest
) -> None:
    assert knows(jwks, OLD)
    set_failure(server, mode)
    if mode == "down":
        request.addfinalizer(server.start)  # runs before the fixture stops the server
    clock.forward(age)
    for _ in range(5):
        started = time.monotonic()
        assert knows(jwks, OLD)
        assert time.monotonic() - started < WAIT_LIMIT / 2  # the server takes longer


def test_a_cached_key_is_returned_at_once_while_requests_for_unknown_keys_wait(
    server: KeyServer, jwks: JWKS, clock: Clock
) -> None:
    assert knows(jwks, OLD)
    server.mode = "slow"
    clock.forward(CACHE_TIME + 1)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(jwks.find, "EdDSA", f"unknown-{n}") for n in range(8)]
        until(lambda: len(server.fetches) == 2)
        for _ in range(20):
            started = time.monotonic()
            assert knows(jwks, OLD)
            assert time.monotonic() - started < WAIT_LIMIT / 2  # the server takes longer
        server.over.set()
        assert [future.result() for future in waiting] == [()] * 8
    assert len(server.fetches) == 2


def test_keys_are_refreshed_in_the_background_before_the_cache_time_ends(
    server: KeyServer, jwks: JWKS, clock: Clock
) -> None:
    assert knows(jwks, OLD)
    clock.forward(REFRESH_AFTER)
    assert knows(jwks, OLD)
    assert len(server.fetches) == 1
    clock.forward(1)
    assert knows(jwks, OLD)
    until(lambda: len(server.fetches) == 2)


def test_a_withdrawn_key_is_rejected_after_the_cache_time(server: KeyServer, jwks: JWKS, clock: Clock) -> None:
    assert knows(jwks, OLD)
    server.keys = [NEW.jwk()]
    clock.forward(REFRESH_AFTER - 1)
    assert knows(jwks, OLD)
    clock.forward(CACHE_TIME - REFRESH_AFTER + 2)
    until(lambda: not knows(jwks, OLD))
    assert knows(jwks, NEW)
    assert len(server.fetches) == 2


@pytest.mark.parametrize("mode", ["down", *FAILING])
def test_stale_keys_stay_in_use_during_an_outage_and_are_refreshed_after_it(
    server: KeyServer, jwks: JWKS, clock: Clock, mode: str
) -> None:
    assert knows(jwks, OLD)
    set_failure(server, mode)
    for _ in range(3):
        clock.forward(10 * CACHE_TIME)
        assert knows(jwks, OLD)
        assert jwks.find("EdDSA", "invented") == ()  # not KeysUnavailable: there is a key set
    if mode == "down":
        server.start()
    server.mode, server.keys = "ok", [NEW.jwk()]
    clock.forward(MIN_REFETCH_INTERVAL)
    until(lambda: knows(jwks, NEW) and not knows(jwks, OLD))


# Unknown keys


def test_a_hundred_unknown_key_ids_cause_one_fetch_per_interval(server: KeyServer, jwks: JWKS, clock: Clock) -> None:
    assert knows(jwks, OLD)
    for fetches in (1, 2, 3):
        assert all(jwks.find("EdDSA", f"invented-{n}") == () for n in range(100))
        assert len(server.fetches) == fetches
        clock.forward(MIN_REFETCH_INTERVAL)


@pytest.mark.parametrize("mode", FAILING)
def test_a_hundred_unknown_key_ids_cause_one_fetch_per_interval_from_a_failing_server(
    server: KeyServer, jwks: JWKS, clock: Clock, mode: str
) -> None:
    assert knows(jwks, OLD)
    server.mode = mode
    clock.forward(MIN_REFETCH_INTERVAL)
    assert all(jwks.find("EdDSA", f"invented-{n}") == () for n in range(100))
    assert server.fetches == ["/api/auth/jwks"] * 2


def test_unknown_key_ids_from_many_threads_cause_one_fetch_per_interval(server: KeyServer, jwks: JWKS) -> None:
    def flood(thread: int) -> bool:
        return all(jwks.find("EdDSA", f"invented-{thread}-{number}") == () for number in range(100))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(flood, range(8)))
    assert len(server.fetches) == 1


def test_without_keys_a_hundred_requests_cause_one_fetch_per_interval(server: KeyServer, jwks: JWKS) -> None:
    server.mode = "error"
    for n in range(100):
        with pytest.raises(KeysUnavailable):
            jwks.find("EdDSA", f"invented-{n}")
    assert len(server.fetches) == 1


def test_all_requests_that_wait_for_a_fetch_get_the_new_key(server: KeyServer, jwks: JWKS, clock: Clock) -> None:
    assert knows(jwks, OLD)
    server.keys, server.delay = [OLD.jwk(), NEW.jwk()], 0.2
    clock.forward(MIN_REFETCH_INTERVAL)
    together = threading.Barrier(16)

    def ask(_: int) -> bool:
        together.wait()
        return knows(jwks, NEW)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(16)))
    assert len(server.fetches) == 2


def test_a_rotated_key_is_accepted_within_two_seconds(server: KeyServer, jwks: JWKS, clock: Clock) -> None:
    assert knows(jwks, OLD)
    server.keys.append(NEW.jwk())
    assert not knows(jwks, NEW)  # within MIN_REFETCH_INTERVAL, so not fetched yet
    clock.forward(2)
    assert knows(jwks, NEW)
    assert knows(jwks, OLD)


# No keys


@pytest.mark.parametrize("mode", ["down", *FAILING])
def test_without_keys_find_raises_keys_unavailable_until_a_fetch_succeeds(
    server: KeyServer, jwks: JWKS, clock: Clock, mode: str
) -> None:
    set_failure(server, mode)
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            jwks.find("EdDSA", OLD.kid)
    if mode == "down":
        server.start()
    server.mode = "ok"
    clock.forward(MIN_REFETCH_INTERVAL)
    assert knows(jwks, OLD)


def test_a_slow_key_server_is_given_up_after_the_timeout_and_tried_again(
    serve_keys: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks_cache, "FETCH_TIMEOUT", 0.2)

    def go_through(mode: str) -> float:
        server, clock = serve_keys(OLD.jwk()), Clock()
        jwks = JWKS(server.url, clock=clock)
        server.mode = mode
        started = time.monotonic()
        with pytest.raises(KeysUnavailable):
            jwks.find("EdDSA", OLD.kid)
        waited = time.monotonic() - started
        server.mode = "ok"
        monkeypatch.setattr(jwks_cache, "FETCH_TIMEOUT", WAIT_LIMIT)
        until(lambda: is_known_after_the_interval(jwks, clock))
        return waited

    with ThreadPoolExecutor(len(SLOW_MODES)) as pool:
        assert all(waited < WAIT_LIMIT / 2 for waited in pool.map(go_through, SLOW_MODES))


def is_known_after_the_interval(jwks: JWKS, clock: Clock) -> bool:
    clock.forward(MIN_REFETCH_INTERVAL)
    try:
        return knows(jwks, OLD)
    except KeysUnavailable:
        return False


# Fetches


def test_an_untrusted_certificate_of_the_key_server_is_rejected(
    serve_keys: Serve, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path / "certificate.pem")
    server = serve_keys(OLD.jwk(), certificate=certificate)
    with pytest.raises(KeysUnavailable):
        JWKS(server.url, clock=clock).find("EdDSA", OLD.kid)
    assert server.fetches == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # trusted now; the variable is read when JWKS is created
    assert knows(JWKS(server.url, clock=clock), OLD)


def test_certificate_authorities_are_loaded_once_and_not_per_fetch(
    serve_keys: Serve, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path / "certificate.pem")
    server = serve_keys(OLD.jwk(), certificate=certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    made: list[object] = []
    original = ssl.SSLContext.set_default_verify_paths
    monkeypatch.setattr(ssl.SSLContext, "set_default_verify_paths", lambda self: made.append(self) or original(self))
    jwks = JWKS(server.url, clock=clock)
    for _ in range(3):
        clock.forward(MIN_REFETCH_INTERVAL)
        assert jwks.find("EdDSA", "invented") == ()
    assert (len(server.fetches), len(made)) == (3, 1)


def make_certificate(path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one file."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(private, hashes.SHA256())
    )
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return path


def test_a_redirect_is_not_followed(server: KeyServer, jwks: JWKS) -> None:
    server.mode = "redirect"
    with pytest.raises(KeysUnavailable):
        jwks.find("EdDSA", OLD.kid)
    assert server.fetches == ["/api/auth/jwks"]


def test_a_huge_key_set_is_not_read_to_its_end(server: KeyServer, jwks: JWKS) -> None:
    server.mode = "huge"
    with pytest.raises(KeysUnavailable):
        jwks.find("EdDSA", OLD.kid)
    # In addition, the buffers of two sockets hold data.
    assert server.sent < MAX_JWKS_BYTES + 8 * 1024 * 1024


@pytest.mark.parametrize(("size", "accepted"), [(MAX_JWKS_BYTES, True), (MAX_JWKS_BYTES + 1, False)])
def test_a_key_set_may_have_a_quarter_of_a_mebibyte(
    server: KeyServer, jwks: JWKS, size: int, *, accepted: bool
) -> None:
    server.keys = [OLD.jwk(x_padding="")]
    empty = len(json.dumps({"keys": server.keys}))
    server.keys = [OLD.jwk(x_padding="p" * (size - empty))]
    if accepted:
        assert knows(jwks, OLD)
    else:
        with pytest.raises(KeysUnavailable):
            jwks.find("EdDSA", OLD.kid)


def test_a_failed_fetch_is_logged_without_the_response(
    server: KeyServer, jwks: JWKS, caplog: pytest.LogCaptureFixture
) -> None:
    server.mode = "html"
    with caplog.at_level(logging.WARNING), pytest.raises(KeysUnavailable):
        jwks.find("EdDSA", OLD.kid)
    assert caplog.messages == [
        f"the key set at {server.url} cannot be fetched: the body is not a JSON key set with a usable key"
    ]


REASONS = {
    "forbidden": "status 403",
    "error": "status 500",
    "redirect": "status 302, and redirects are not followed",
    "huge": "the body has more than 262144 bytes",
    "reset": "RemoteDisconnected: Remote end closed connection without response",
    "truncated": "the body is not a JSON key set with a usable key",
}


@pytest.mark.parametrize("mode", REASONS)
def test_each_reason_of_a_failing_fetch_is_logged_once_a_minute_with_the_url_without_its_query(
    server: KeyServer, clock: Clock, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    jwks = JWKS(f"{server.url}?key=hunter2", clock=clock)
    server.mode = mode
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            with pytest.raises(KeysUnavailable):
                jwks.find("EdDSA", OLD.kid)
            clock.forward(20)
    message = f"the key set at {server.url}?… cannot be fetched: {REASONS[mode]}"
    assert caplog.messages == [message, f"{message} (2 more of this kind since the last line)"]
    assert server.fetches == ["/api/auth/jwks?key=hunter2"] * 5


def test_the_proxy_of_a_failing_fetch_is_logged_without_its_credentials(
    server: KeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    with reserved_port() as port, pytest.raises(KeysUnavailable):
        JWKS(server.url, proxy=Proxy("127.0.0.1", port, "Basic aHVudGVyMg==")).find("EdDSA", OLD.kid)
    (message,) = caplog.messages
    assert message.startswith(f"the key set at {server.url} cannot be fetched through the proxy 127.0.0.1:{port}: ")
    assert "aHVudGVyMg" not in message


@pytest.mark.parametrize("mode", ["html", "empty", "garbage", "truncated"])
def test_a_key_set_without_a_usable_key_does_not_replace_the_cached_keys(
    server: KeyServer, jwks: JWKS, clock: Clock, mode: str
) -> None:
    assert knows(jwks, OLD)
    server.mode = mode
    clock.forward(MIN_REFETCH_INTERVAL)
    assert jwks.find("EdDSA", "invented") == ()
    assert len(server.fetches) == 2
    assert knows(jwks, OLD)


# The shared secret


def test_secrets_are_for_hs256_only_and_not_in_a_repr() -> None:
    source = SharedSecrets([SECRET, "the-one-before-it-0123456789-abcdef"])
    assert source.algorithms == {"HS256"}
    assert [(key.algorithm, key.material) for key in source.find("HS256", None)] == [
        ("HS256", SECRET.encode()),
        ("HS256", b"the-one-before-it-0123456789-abcdef"),
    ]
    assert SECRET not in repr(source.find("HS256", None))


def test_hmac_and_key_pair_algorithms_are_disjoint() -> None:
    assert SharedSecrets.algorithms == {"HS256"}
    assert JWKS.algorithms == {"EdDSA", "ES256", "ES512", "RS256", "PS256"}
