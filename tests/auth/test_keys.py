"""Keys are there when they are known, whatever the key server does, and it is asked as seldom as can be."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from taskapi.auth.keys import (
    CACHE_TIME,
    COOL_DOWN,
    FETCH_TIMEOUT,
    JWKS,
    MAX_JWKS_BYTES,
    MAX_KEYS,
    REFRESH_AFTER,
    KeysUnavailable,
    SharedSecrets,
    parse_jwks,
)
from tests.auth.issuer import KEY_PAIR_ALGORITHMS, Signer
from tests.auth.key_server import FAILING, LINGERING, KeyServer
from tests.conftest import SECRET
from tests.waiting import PATIENCE, until

OLD = Signer("EdDSA", "old")
NEW = Signer("EdDSA", "new")

Serve = Callable[..., KeyServer]


class Clock:
    """Time that passes when it is told to."""

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
    """Publishes the old key."""
    return serve_keys(OLD.jwk())


@pytest.fixture
def jwks(server: KeyServer, clock: Clock) -> JWKS:
    return JWKS(server.url, clock=clock)


def knows(jwks: JWKS, signer: Signer) -> bool:
    return len(jwks.find(signer.algorithm, signer.kid)) == 1


def let_down(server: KeyServer, mode: str) -> None:
    if mode == "down":
        server.stop()
    else:
        server.mode = mode


# A known key


def test_nothing_is_fetched_before_a_token_asks(server: KeyServer, jwks: JWKS) -> None:
    assert jwks.find("EdDSA", None) == ()
    assert server.fetches == []


@pytest.mark.parametrize("algorithm", KEY_PAIR_ALGORITHMS)
def test_a_key_is_found_by_its_id_for_its_algorithm_only(
    signers: dict[str, Signer], serve_keys: Serve, algorithm: str
) -> None:
    jwks = JWKS(serve_keys(*(signer.jwk() for signer in signers.values())).url)
    found = jwks.find(algorithm, f"kid-{algorithm}")
    assert [key.algorithm for key in found] == [algorithm]
    assert found[0].material == signers[algorithm].private.public_key()
    others = set(KEY_PAIR_ALGORITHMS) | {"HS256", "none"}
    assert all(jwks.find(other, f"kid-{algorithm}") == () for other in others - {algorithm})


@pytest.mark.parametrize("mode", ["ok", "down", *FAILING, *LINGERING])
@pytest.mark.parametrize("age", [1, REFRESH_AFTER + 1, CACHE_TIME + 1, 100 * CACHE_TIME])
def test_a_known_key_is_answered_at_once_whatever_the_server_does(
    server: KeyServer, jwks: JWKS, clock: Clock, mode: str, age: float, request: pytest.FixtureRequest
) -> None:
    assert knows(jwks, OLD)
    let_down(server, mode)
    if mode == "down":
        request.addfinalizer(server.start)  # before the fixture stops it
    clock.forward(age)
    for _ in range(5):
        started = time.monotonic()
        assert knows(jwks, OLD)
        assert time.monotonic() - started < PATIENCE / 2  # the server takes longer


def test_a_known_key_is_answered_at_once_while_unknown_ones_wait_for_a_slow_server(
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
            assert time.monotonic() - started < PATIENCE / 2  # the server takes longer
        server.over.set()
        assert [future.result() for future in waiting] == [()] * 8
    assert len(server.fetches) == 2


def test_keys_are_refreshed_in_the_background_before_the_cache_time_is_over(
    server: KeyServer, jwks: JWKS, clock: Clock
) -> None:
    assert knows(jwks, OLD)
    clock.forward(REFRESH_AFTER)
    assert knows(jwks, OLD)
    assert len(server.fetches) == 1
    clock.forward(1)
    assert knows(jwks, OLD)
    until(lambda: len(server.fetches) == 2)


def test_a_withdrawn_key_is_refused_after_the_cache_time(server: KeyServer, jwks: JWKS, clock: Clock) -> None:
    assert knows(jwks, OLD)
    server.keys = [NEW.jwk()]
    clock.forward(REFRESH_AFTER - 1)
    assert knows(jwks, OLD)
    clock.forward(CACHE_TIME - REFRESH_AFTER + 2)
    until(lambda: not knows(jwks, OLD))
    assert knows(jwks, NEW)
    assert len(server.fetches) == 2


@pytest.mark.parametrize("mode", ["down", *FAILING])
def test_stale_keys_serve_through_an_outage_and_are_renewed_after_it(
    server: KeyServer, jwks: JWKS, clock: Clock, mode: str
) -> None:
    assert knows(jwks, OLD)
    let_down(server, mode)
    for _ in range(3):
        clock.forward(10 * CACHE_TIME)
        assert knows(jwks, OLD)
        assert jwks.find("EdDSA", "invented") == ()  # refused, not unknown: there are keys to judge by
    if mode == "down":
        server.start()
    server.mode, server.keys = "ok", [NEW.jwk()]
    clock.forward(COOL_DOWN)
    until(lambda: knows(jwks, NEW) and not knows(jwks, OLD))


# An unknown key


def test_a_hundred_unknown_keys_cost_one_fetch_in_a_cool_down(server: KeyServer, jwks: JWKS, clock: Clock) -> None:
    assert knows(jwks, OLD)
    for fetches in (1, 2, 3):
        assert all(jwks.find("EdDSA", f"invented-{n}") == () for n in range(100))
        assert len(server.fetches) == fetches
        clock.forward(COOL_DOWN)


@pytest.mark.parametrize("mode", FAILING)
def test_a_hundred_unknown_keys_cost_a_failing_server_one_fetch_in_a_cool_down(
    server: KeyServer, jwks: JWKS, clock: Clock, mode: str
) -> None:
    assert knows(jwks, OLD)
    server.mode = mode
    clock.forward(COOL_DOWN)
    assert all(jwks.find("EdDSA", f"invented-{n}") == () for n in range(100))
    assert server.fetches == ["/api/auth/jwks"] * 2


def test_a_flood_of_unknown_keys_from_many_threads_costs_one_fetch_in_a_cool_down(
    server: KeyServer, jwks: JWKS
) -> None:
    def flood(thread: int) -> bool:
        return all(jwks.find("EdDSA", f"invented-{thread}-{number}") == () for number in range(100))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(flood, range(8)))
    assert len(server.fetches) == 1


def test_a_cold_flood_costs_a_failing_server_one_fetch_in_a_cool_down(server: KeyServer, jwks: JWKS) -> None:
    server.mode = "error"
    for n in range(100):
        with pytest.raises(KeysUnavailable):
            jwks.find("EdDSA", f"invented-{n}")
    assert len(server.fetches) == 1


def test_all_who_wait_for_the_same_fetch_get_the_new_key(server: KeyServer, jwks: JWKS, clock: Clock) -> None:
    assert knows(jwks, OLD)
    server.keys, server.delay = [OLD.jwk(), NEW.jwk()], 0.2
    clock.forward(COOL_DOWN)
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
    assert not knows(jwks, NEW)  # the cool-down: nobody knows of it yet
    clock.forward(2)
    assert knows(jwks, NEW)
    assert knows(jwks, OLD)


# No key at all


@pytest.mark.parametrize("mode", ["down", *FAILING])
def test_without_any_key_nothing_is_known_of_a_token_and_it_heals_by_itself(
    server: KeyServer, jwks: JWKS, clock: Clock, mode: str
) -> None:
    let_down(server, mode)
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            jwks.find("EdDSA", OLD.kid)
    if mode == "down":
        server.start()
    server.mode = "ok"
    clock.forward(COOL_DOWN)
    assert knows(jwks, OLD)


@pytest.mark.usefixtures("promised")
def test_a_server_that_lingers_is_given_up_and_it_heals_by_itself(serve_keys: Serve) -> None:
    def go_through(mode: str) -> float:
        server, clock = serve_keys(OLD.jwk()), Clock()
        jwks = JWKS(server.url, clock=clock)
        server.mode = mode
        started = time.monotonic()
        with pytest.raises(KeysUnavailable):
            jwks.find("EdDSA", OLD.kid)
        waited = time.monotonic() - started
        server.mode = "ok"
        until(lambda: is_known_after_the_cool_down(jwks, clock))
        return waited

    with ThreadPoolExecutor(len(LINGERING)) as pool:
        assert all(waited < FETCH_TIMEOUT + PATIENCE / 2 for waited in pool.map(go_through, LINGERING))


def is_known_after_the_cool_down(jwks: JWKS, clock: Clock) -> bool:
    clock.forward(COOL_DOWN)
    try:
        return knows(jwks, OLD)
    except KeysUnavailable:
        return False


# What is fetched


def test_a_certificate_that_nobody_vouches_for_is_not_believed(
    serve_keys: Serve, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path / "certificate.pem")
    server = serve_keys(OLD.jwk(), certificate=certificate)
    jwks = JWKS(server.url, clock=clock)
    with pytest.raises(KeysUnavailable):
        jwks.find("EdDSA", OLD.kid)
    assert server.fetches == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # now somebody does
    clock.forward(COOL_DOWN)
    assert knows(jwks, OLD)


def make_certificate(path: Path) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
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


def test_a_huge_answer_is_not_read_to_its_end(server: KeyServer, jwks: JWKS) -> None:
    server.mode = "huge"
    with pytest.raises(KeysUnavailable):
        jwks.find("EdDSA", OLD.kid)
    # What stands in the buffers of two sockets comes on top.
    assert server.sent < MAX_JWKS_BYTES + 8 * 1024 * 1024


@pytest.mark.parametrize(("size", "accepted"), [(MAX_JWKS_BYTES, True), (MAX_JWKS_BYTES + 1, False)])
def test_the_answer_may_have_a_quarter_of_a_mebibyte(
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


def test_what_failed_is_logged_without_what_was_answered(
    server: KeyServer, jwks: JWKS, caplog: pytest.LogCaptureFixture
) -> None:
    server.mode = "html"
    with caplog.at_level(logging.WARNING), pytest.raises(KeysUnavailable):
        jwks.find("EdDSA", OLD.kid)
    assert caplog.messages == [f"the key set at {server.url} cannot be fetched: JSONDecodeError"]


@pytest.mark.parametrize("mode", ["html", "empty", "garbage", "truncated"])
def test_an_answer_without_a_usable_key_keeps_the_old_keys(
    server: KeyServer, jwks: JWKS, clock: Clock, mode: str
) -> None:
    assert knows(jwks, OLD)
    server.mode = mode
    clock.forward(COOL_DOWN)
    assert jwks.find("EdDSA", "invented") == ()
    assert len(server.fetches) == 2
    assert knows(jwks, OLD)


# What a key set may hold


def key_set(*entries: Any) -> bytes:
    return json.dumps({"keys": entries}).encode()


EDDSA, ES256 = Signer("EdDSA", "bad"), Signer("ES256", "bad")
WEAK = rsa.generate_private_key(65537, 1024)
RS256 = Signer("RS256", "bad")


def private_jwk(signer: Signer) -> dict[str, Any]:
    """A whole key pair, as only its owner should have it."""
    pair = jwt.get_algorithm_by_name(signer.algorithm).to_jwk(signer.private, as_dict=True)
    return signer.jwk(**{**pair, "key_ops": None})


UNUSABLE: dict[str, Any] = {
    "not an object": "key",
    "null": None,
    "empty": {},
    "without a kid": EDDSA.jwk(kid=None),
    "with a number for a kid": EDDSA.jwk(kid=1),
    "without a kty": EDDSA.jwk(kty=None),
    "of an unknown kty": EDDSA.jwk(kty="quantum"),
    "of an unknown curve": EDDSA.jwk(crv="Ed448"),
    "of curve P-384": {**Signer("ES256", "bad", ec.generate_private_key(ec.SECP384R1())).jwk(), "alg": "ES384"},
    "of curve secp256k1": ES256.jwk(crv="secp256k1", alg="ES256K"),
    "symmetric": {"kty": "oct", "kid": "bad", "alg": "HS256", "k": "c2VjcmV0" * 8},
    "symmetric, as if for EdDSA": {"kty": "oct", "kid": "bad", "alg": "EdDSA", "k": "c2VjcmV0" * 8},
    "for alg none": EDDSA.jwk(alg="none"),
    "for HS256": EDDSA.jwk(alg="HS256"),
    "for an algorithm of another form": EDDSA.jwk(alg="ES256"),
    "for an algorithm of another curve": ES256.jwk(alg="ES512"),
    "with a list for an algorithm": EDDSA.jwk(alg=["EdDSA"]),
    "with a number for an algorithm": EDDSA.jwk(alg=8),
    "an RSA key with a curve": RS256.jwk(crv="P-256"),
    "for encryption": EDDSA.jwk(use="enc"),
    "for signing only": EDDSA.jwk(key_ops=["sign"]),
    "with a number for key_ops": EDDSA.jwk(key_ops=1),
    "with an object for key_ops": EDDSA.jwk(key_ops={"verify": True}),
    "with a string for key_ops": EDDSA.jwk(key_ops="verify"),
    "private": private_jwk(EDDSA),
    "private of a curve": private_jwk(ES256),
    "private RSA": private_jwk(RS256),
    "private of another public key": EDDSA.jwk(d="c2VjcmV0"),
    "RSA of 1024 bits": Signer("RS256", "bad", WEAK).jwk(),
    "RSA of 1024 bits for PS256": Signer("PS256", "bad", WEAK).jwk(),
    "RSA without a modulus": RS256.jwk(n=None),
    "RSA with a number for a modulus": RS256.jwk(n=5),
    "RSA with an even exponent": RS256.jwk(e="AAAA"),
    "with a list for x": EDDSA.jwk(x=[]),
    "with too short an x": EDDSA.jwk(x="AAAA"),
    "with an x that is no base64url": EDDSA.jwk(x="é"),
    "not on its curve": ES256.jwk(y=ES256.jwk()["x"]),
    "without y": ES256.jwk(y=None),
}


@pytest.mark.parametrize("entry", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_key_that_cannot_be_used_is_passed_over(entry: Any) -> None:
    keys = parse_jwks(key_set(entry, OLD.jwk(), entry))
    assert {kid: key.algorithm for kid, key in keys.items()} == {"old": "EdDSA"}
    with pytest.raises(ValueError, match=r"^no usable key$"):
        parse_jwks(key_set(entry))


FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "Ed25519": (EDDSA.jwk(alg=None), "EdDSA"),
    "P-256": (ES256.jwk(alg=None), "ES256"),
    "P-521": (Signer("ES512", "bad").jwk(alg=None), "ES512"),
    "RSA": (RS256.jwk(alg=None), "RS256"),
}


@pytest.mark.parametrize(("entry", "algorithm"), FORMS.values(), ids=FORMS.keys())
def test_a_key_that_names_no_algorithm_is_for_one_only(entry: dict[str, Any], algorithm: str) -> None:
    assert parse_jwks(key_set(entry))["bad"].algorithm == algorithm


@pytest.mark.parametrize("members", [{"use": "sig"}, {"key_ops": ["verify"]}, {"x5t": "?", "nbf": 0}], ids=str)
def test_a_key_may_say_that_it_is_for_signatures_and_more(members: dict[str, Any]) -> None:
    assert list(parse_jwks(key_set(OLD.jwk(**members)))) == ["old"]


def test_the_first_of_two_keys_of_one_id_counts() -> None:
    first, second = Signer("EdDSA", "same"), Signer("EdDSA", "same")
    assert parse_jwks(key_set(first.jwk(), second.jwk()))["same"].material == first.private.public_key()


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b'"keys"', b"{}", b'{"keys": {}}', b'{"keys": null}', b"{", b"\xff", b"[" * 100_000),
        key_set(),
        json.dumps([OLD.jwk()]).encode(),
        json.dumps({"keys": OLD.jwk()}).encode(),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_key_set_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_jwks(body)


def test_a_key_set_of_more_than_a_hundred_keys_is_refused() -> None:
    public = ed25519.Ed25519PrivateKey.generate()
    entries = [Signer("EdDSA", f"kid-{n}", public).jwk() for n in range(MAX_KEYS + 1)]
    assert len(parse_jwks(key_set(*entries[:MAX_KEYS]))) == MAX_KEYS == 100
    with pytest.raises(ValueError, match=r"^not a JWK Set$"):
        parse_jwks(key_set(*entries))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
MEMBERS = ("kty", "crv", "alg", "kid", "use", "key_ops", "x", "y", "n", "e", "d", "k")


@settings(max_examples=100, deadline=None)
@given(
    base=st.sampled_from([EDDSA, ES256, RS256]),
    changes=st.dictionaries(
        st.sampled_from(MEMBERS), JSON | st.sampled_from(["RSA", "EC", "OKP", "P-256", "ES256", "PS256", "AQAB"])
    ),
)
def test_no_key_however_strange_spoils_the_others(base: Signer, changes: dict[str, Any]) -> None:
    assert "good" in parse_jwks(key_set({**base.jwk(), **changes}, OLD.jwk(kid="good")))


# The shared secret


def test_secrets_are_for_hs256_only_and_never_shown() -> None:
    source = SharedSecrets([SECRET, "the-one-before-it-0123456789-abcdef"])
    assert source.algorithms == {"HS256"}
    assert [(key.algorithm, key.material) for key in source.find("HS256", None)] == [
        ("HS256", SECRET.encode()),
        ("HS256", b"the-one-before-it-0123456789-abcdef"),
    ]
    assert SECRET not in repr(source.find("HS256", None))


def test_the_families_of_algorithms_have_nothing_in_common() -> None:
    assert SharedSecrets.algorithms == {"HS256"}
    assert JWKS.algorithms == {"EdDSA", "ES256", "ES512", "RS256", "PS256"}
