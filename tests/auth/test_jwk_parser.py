"""Parsing of a JWK Set: ambiguous, weak, private and encryption keys are not used."""

from __future__ import annotations

import json
import logging
import math
import random
from typing import Any

import jwt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.utils import to_base64url_uint

from taskapi.auth.jwk_parser import _ROCA_RESIDUES, MAX_KEYS, has_roca_fingerprint, parse_jwks
from tests.auth.issuer import Signer, base64url

OLD = Signer("EdDSA", "old")


def key_set(*entries: Any) -> bytes:
    return json.dumps({"keys": entries}).encode()


EDDSA, ES256 = Signer("EdDSA", "bad"), Signer("ES256", "bad")
WEAK = rsa.generate_private_key(65537, 1024)
RS256, ES512 = Signer("RS256", "bad"), Signer("ES512", "bad")


def private_jwk(signer: Signer) -> dict[str, Any]:
    """Return a JWK that contains the private key."""
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
    "at infinity": ES256.jwk(x="A" * 43, y="A" * 43),
    "with x beyond the field": ES256.jwk(x="_" * 43),
    "of ES512, not on its curve": ES512.jwk(y=ES512.jwk()["x"]),
}


@pytest.mark.parametrize("entry", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_unusable_key_is_skipped(entry: Any) -> None:
    keys = parse_jwks(key_set(entry, OLD.jwk(), entry))
    assert {kid: key.algorithm for kid, key in keys.items()} == {"old": "EdDSA"}
    with pytest.raises(ValueError, match=r"^no usable key$"):
        parse_jwks(key_set(entry))


FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "Ed25519": (EDDSA.jwk(alg=None), "EdDSA"),
    "P-256": (ES256.jwk(alg=None), "ES256"),
    "P-521": (ES512.jwk(alg=None), "ES512"),
    "RSA": (RS256.jwk(alg=None), "RS256"),
}


@pytest.mark.parametrize(("entry", "algorithm"), FORMS.values(), ids=FORMS.keys())
def test_a_key_without_alg_is_for_one_algorithm_only(entry: dict[str, Any], algorithm: str) -> None:
    assert parse_jwks(key_set(entry))["bad"].algorithm == algorithm


@pytest.mark.parametrize("members", [{"use": "sig"}, {"key_ops": ["verify"]}, {"x5t": "?", "nbf": 0}], ids=str)
def test_a_key_may_have_use_and_key_ops_for_signatures(members: dict[str, Any]) -> None:
    assert list(parse_jwks(key_set(OLD.jwk(**members)))) == ["old"]


def test_different_keys_with_the_same_kid_are_ambiguous_and_none_is_used(caplog: pytest.LogCaptureFixture) -> None:
    first, second = Signer("EdDSA", "same"), Signer("EdDSA", "same")
    with caplog.at_level(logging.WARNING):
        # The first key occurs again after the ambiguous pair: it must stay removed.
        assert list(parse_jwks(key_set(first.jwk(), second.jwk(), OLD.jwk(), first.jwk()))) == ["old"]
    assert caplog.messages == ["the key set has different keys with the kid 'same': none of them is used"]
    with pytest.raises(ValueError, match=r"^no usable key$"):
        parse_jwks(key_set(first.jwk(), second.jwk()))


def test_keys_of_different_algorithms_with_the_same_kid_are_ambiguous() -> None:
    entries = [Signer(algorithm, "same").jwk() for algorithm in ("EdDSA", "ES256")]
    assert list(parse_jwks(key_set(*entries, OLD.jwk()))) == ["old"]
    assert list(parse_jwks(key_set(RS256.jwk(), RS256.jwk(alg="PS256"), OLD.jwk()))) == ["old"]


def test_the_same_key_twice_is_one_key(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        keys = parse_jwks(key_set(OLD.jwk(), OLD.jwk(alg=None, use="sig", x5t="other members")))
    assert keys["old"].material == OLD.private.public_key()
    assert caplog.messages == []


@pytest.mark.parametrize("other", [EDDSA.jwk(use="enc"), {"kty": "quantum", "kid": "bad"}], ids=["use", "kty"])
def test_a_key_that_is_not_for_signatures_makes_none_with_its_kid_ambiguous(other: dict[str, Any]) -> None:
    assert list(parse_jwks(key_set(other, ES256.jwk(), other))) == ["bad"]


def test_a_long_kid_is_cut_off_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    entries = [Signer("EdDSA", "k" * 100_000).jwk() for _ in range(2)]
    with caplog.at_level(logging.WARNING):
        parse_jwks(key_set(*entries, OLD.jwk()))
    assert len(caplog.messages[0]) < 200


# Ed25519

FIELD = 2**255 - 19
Y8 = 2707385501144840649318225287225658788936804267575313519463743609750303402022
SMALL_ORDER = {"neutral": 1, "order 2": FIELD - 1, "order 4": 0, "order 8": Y8, "also order 8": FIELD - Y8}
NOT_CANONICAL = {"order 4 again": FIELD, "neutral again": FIELD + 1}


@pytest.mark.parametrize("y", [*SMALL_ORDER.values(), *NOT_CANONICAL.values()], ids=[*SMALL_ORDER, *NOT_CANONICAL])
@pytest.mark.parametrize("sign", [0, 1])
def test_an_ed25519_key_of_small_order_is_not_used_because_its_signatures_can_be_forged(y: int, sign: int) -> None:
    raw = (y | sign << 255).to_bytes(32, "little")
    public = ed25519.Ed25519PublicKey.from_public_bytes(raw)
    without_a_private_key = (1).to_bytes(32, "little") + bytes(32)  # R is the neutral element, s is 0
    forged = sum(verifies(public, without_a_private_key, b"message %d" % number) for number in range(200))
    assert forged > 0, "one message in eight or more can be signed"
    assert list(parse_jwks(key_set(EDDSA.jwk(x=base64url(raw)), OLD.jwk()))) == ["old"]


def verifies(public: ed25519.Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


# RSA


def roca_prime(bits: int, randomness: random.Random) -> int:
    """Return a prime as Infineon's RSALib makes it: k * M + (65537^a mod M), where M is the product of the first primes."""
    first_primes = [n for n in range(2, 702) if all(n % divisor for divisor in range(2, math.isqrt(n) + 1))]
    assert len(first_primes) == 126  # what the library used for keys of 1984 to 3968 bits
    product = math.prod(first_primes)
    while True:
        factor = randomness.randrange((3 << bits - 2) // product, (1 << bits) // product)
        candidate = factor * product + pow(65537, randomness.randrange(product), product)
        if is_prime(candidate):
            return candidate


def is_prime(number: int) -> bool:
    """Return True if a number passes Fermat's primality test; random composites of this size do not."""
    return all(pow(base, number - 1, number) == 1 for base in (2, 3, 5))


def rsa_jwk(n: int, e: int = 65537, **members: Any) -> dict[str, Any]:
    encoded = {name: to_base64url_uint(value).decode() for name, value in {"n": n, "e": e}.items()}
    return {"kty": "RSA", "kid": "bad", "alg": "RS256", **encoded, **members}


@pytest.fixture(scope="module")
def roca_modulus() -> int:
    randomness = random.Random(20171015)
    return roca_prime(1024, randomness) * roca_prime(1024, randomness)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_a_key_with_the_roca_weakness_is_not_used(
    roca_modulus: int, algorithm: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert roca_modulus.bit_length() == 2048
    entry = rsa_jwk(roca_modulus, alg=algorithm)
    assert jwt.PyJWK(entry).key.key_size == 2048, "PyJWT accepts it"
    with caplog.at_level(logging.WARNING):
        assert list(parse_jwks(key_set(entry, OLD.jwk()))) == ["old"]
    (message,) = caplog.messages
    assert "'bad'" in message
    assert "CVE-2017-15361" in message


def test_the_roca_fingerprint_is_that_of_the_published_test() -> None:
    # The first markers of github.com/crocs-muni/roca: bit r of a marker is set if r is a power of 65537.
    published = [6, 30, 126, 1026, 5658, 107286, 199410, 8388606, 536870910, 2147483646, 67109890, 2199023255550]
    markers = [sum(1 << residue for residue in residues) for residues in _ROCA_RESIDUES.values()]
    assert markers[: len(published)] == published
    assert (len(_ROCA_RESIDUES), max(_ROCA_RESIDUES)) == (38, 167)


def test_no_ordinary_rsa_key_has_the_roca_fingerprint() -> None:
    chance = math.prod(len(residues) / (prime - 1) for prime, residues in _ROCA_RESIDUES.items())
    assert chance < 1 / 200_000_000
    randomness = random.Random(1)
    assert not any(has_roca_fingerprint(randomness.getrandbits(2048) | 1) for _ in range(20_000))
    generated = [rsa.generate_private_key(65537, 2048).public_key().public_numbers().n for _ in range(3)]
    assert not any(has_roca_fingerprint(modulus) for modulus in generated)


MODULUS = RS256.private.public_key().public_numbers().n


# xdist needs the same test ids in each worker, and the modulus is random.
@pytest.mark.parametrize(
    "exponent",
    [0, 1, 2, 3, 17, 65536, 65538, pytest.param(2**256 + 1, id="huge"), pytest.param(MODULUS - 2, id="modulus - 2")],
)
def test_a_small_even_or_huge_rsa_exponent_is_not_used(exponent: int) -> None:
    assert list(parse_jwks(key_set(rsa_jwk(MODULUS, exponent), OLD.jwk()))) == ["old"]


@pytest.mark.parametrize("exponent", [65537, 65539, 2**255 + 1])
def test_an_odd_rsa_exponent_of_17_to_256_bits_is_used(exponent: int) -> None:
    assert "bad" in parse_jwks(key_set(rsa_jwk(MODULUS, exponent)))


@pytest.mark.parametrize(("bits", "used"), [(2047, False), (2048, True), (8192, True), (8193, False), (200_000, False)])
def test_an_rsa_key_has_2048_to_8192_bits(bits: int, *, used: bool) -> None:
    modulus = (1 << bits - 1) + random.Random(2).getrandbits(bits - 2) | 1
    assert ("bad" in parse_jwks(key_set(rsa_jwk(modulus), OLD.jwk()))) is used


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b'"keys"', b"{}", b'{"keys": {}}', b'{"keys": null}', b"{", b"\xff", b"[" * 100_000),
        pytest.param(key_set(), id="no key"),
        pytest.param(json.dumps([OLD.jwk()]).encode(), id="an array of keys"),
        pytest.param(json.dumps({"keys": OLD.jwk()}).encode(), id="a key instead of an array"),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_not_a_key_set_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_jwks(body)


def test_a_key_set_of_more_than_a_hundred_keys_is_a_value_error() -> None:
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


@settings(max_examples=100)
@given(
    base=st.sampled_from([EDDSA, ES256, RS256]),
    changes=st.dictionaries(
        st.sampled_from(MEMBERS), JSON | st.sampled_from(["RSA", "EC", "OKP", "P-256", "ES256", "PS256", "AQAB"])
    ),
)
def test_a_malformed_key_does_not_affect_the_others(base: Signer, changes: dict[str, Any]) -> None:
    assert "good" in parse_jwks(key_set({**base.jwk(), **changes}, OLD.jwk(kid="good")))
