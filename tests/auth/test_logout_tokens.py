"""Parsing of logout tokens: a `LogoutToken`, or `InvalidToken` with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from taskapi.auth.claims import InvalidToken
from taskapi.auth.jwks_cache import JWKS
from taskapi.auth.keys import SharedSecrets
from taskapi.auth.logout_tokens import LogoutToken, parse_logout_token
from taskapi.auth.tokens import User, Verifier
from tests.auth.issuer import EVENT, KEY_PAIR_ALGORITHMS, Signer, base64url, compact, hs256
from tests.auth.key_server import KeyServer
from tests.conftest import SECRET

NOW = 1_800_000_000
PREVIOUS = "the-secret-before-it-0123456789-abcdef"
HEADER = {"alg": "HS256", "typ": "logout+jwt"}
CLAIMS = {"sub": "alice", "sid": "s-1", "iat": NOW, "exp": NOW + 120, "jti": "n-1", "events": {EVENT: {}}}
GOOD = LogoutToken("n-1", User("alice", "s-1"), datetime.fromtimestamp(NOW + 120, UTC))


@pytest.fixture(scope="module")
def verifier(signers: dict[str, Signer]) -> Iterator[Verifier]:
    """Both key sources, both secrets, no optional settings."""
    server = KeyServer(*(signer.jwk() for signer in signers.values()))
    yield Verifier([SharedSecrets([SECRET, PREVIOUS]), JWKS(server.url)], clock=lambda: NOW)
    server.stop()


def with_secret(**rules: Any) -> Verifier:
    return Verifier([SharedSecrets([SECRET])], **{"clock": lambda: NOW, **rules})


def logout_token(*without: str, header: Any = None, **claims: Any) -> str:
    """Return a token signed with the shared secret, without the claims that `without` names."""
    chosen = {name: value for name, value in {**CLAIMS, **claims}.items() if name not in without}
    return compact(HEADER if header is None else header, chosen, hs256())


def refusal(text: str, verifier: Verifier | None = None) -> str:
    with pytest.raises(InvalidToken) as caught:
        parse_logout_token(verifier or with_secret(), text)
    return str(caught.value)


# Signatures, issuer and audience


@pytest.mark.parametrize("secret", [SECRET, PREVIOUS], ids=["current", "previous"])
def test_a_logout_token_signed_with_a_shared_secret_is_accepted(verifier: Verifier, secret: str) -> None:
    assert parse_logout_token(verifier, compact(HEADER, CLAIMS, hs256(secret))) == GOOD


@pytest.mark.parametrize("algorithm", KEY_PAIR_ALGORITHMS)
def test_a_logout_token_signed_with_a_published_key_is_accepted(
    verifier: Verifier, signers: dict[str, Signer], algorithm: str
) -> None:
    assert parse_logout_token(verifier, signers[algorithm].token(CLAIMS, typ="logout+jwt")) == GOOD


@pytest.mark.parametrize("algorithm", KEY_PAIR_ALGORITHMS)
def test_a_logout_token_signed_with_another_key_of_the_same_kid_is_invalid(verifier: Verifier, algorithm: str) -> None:
    forged = Signer(algorithm).token(CLAIMS, typ="logout+jwt")
    assert refusal(forged, verifier) == "the signature of the token is wrong"


def test_a_logout_token_with_a_public_key_as_hmac_secret_is_invalid(
    verifier: Verifier, signers: dict[str, Signer]
) -> None:
    public = signers["RS256"].private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forged = compact({**HEADER, "kid": signers["RS256"].kid}, CLAIMS, hs256(public))
    assert refusal(forged, verifier) == "the signature of the token is wrong"


@pytest.mark.parametrize("algorithm", ["none", "None", "", "HS384", "HS512", None])
def test_a_logout_token_with_another_algorithm_is_invalid(verifier: Verifier, algorithm: Any) -> None:
    forged = f"{base64url({**HEADER, 'alg': algorithm})}.{base64url(CLAIMS)}.AA"
    assert refusal(forged, verifier) == "the token is signed with an algorithm that is not accepted"


def test_issuer_and_audience_of_a_logout_token_are_checked_if_configured() -> None:
    strict = with_secret(issuer="https://app.example.com", audience="taskapi")
    good = {"iss": "https://app.example.com", "aud": "taskapi"}
    assert parse_logout_token(strict, logout_token(**good)) == GOOD
    assert (
        refusal(logout_token(**{**good, "iss": "https://mallory.example"}), strict)
        == "the token comes from another issuer"
    )
    assert refusal(logout_token(**{**good, "aud": "other"}), strict) == "the token is meant for another audience"
    assert refusal(logout_token(aud="taskapi"), strict) == "the token has no iss"
    assert refusal(logout_token(iss="https://app.example.com"), strict) == "the token has no aud"


# Type and claims


OTHER_TYPE = "the token is of another type"


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "", "logout", "LOGOUT+JWT", "application/logout+jwt", None, 5, []])
def test_another_typ_is_not_a_logout_token(typ: Any) -> None:
    assert refusal(logout_token(header={"alg": "HS256", "typ": typ})) == OTHER_TYPE


def test_a_token_without_typ_is_not_a_logout_token() -> None:
    assert refusal(logout_token(header={"alg": "HS256"})) == OTHER_TYPE


def test_a_logout_token_is_not_an_access_token() -> None:
    with pytest.raises(InvalidToken, match=OTHER_TYPE):
        with_secret().verify(logout_token())


NOT_ABOUT = "the token does not say that it is about a sign-out"
EVENTS: dict[str, Any] = {
    "null": None,
    "a string": EVENT,
    "a list": [EVENT],
    "nothing": {},
    "another event": {"http://schemas.openid.net/event/risc/account-disabled": {}},
    "almost": {EVENT.upper(): {}},
    "null inside": {EVENT: None},
    "a list inside": {EVENT: []},
    "true inside": {EVENT: True},
}


@pytest.mark.parametrize("events", EVENTS.values(), ids=EVENTS.keys())
def test_a_logout_token_needs_the_logout_event(events: Any) -> None:
    assert refusal(logout_token(events=events)) == NOT_ABOUT
    assert refusal(logout_token("events")) == NOT_ABOUT


def test_other_claims_and_events_of_a_logout_token_are_ignored() -> None:
    events = {EVENT: {"reason": "signed out"}, "https://example.com/other": 5}
    assert parse_logout_token(with_secret(), logout_token(events=events, scope="x", email=None)) == GOOD


@pytest.mark.parametrize("nonce", ["n", "", None, 5])
def test_a_logout_token_with_a_nonce_is_invalid(nonce: Any) -> None:
    """Otherwise an ID token would be accepted as a logout token (section 2.4)."""
    assert refusal(logout_token(nonce=nonce)) == "the token has a nonce, which a logout token must not have"


@pytest.mark.parametrize("name", ["sub", "sid", "jti"])
def test_a_logout_token_needs_sub_sid_and_jti(name: str) -> None:
    reason = f"{name} of the token is not an id"
    for value in ("", "x" * 256, "a\nb", "a\x00", "a\x7f", "a\x85", "\ud800", 5, True, [], ["s"], {}):
        assert refusal(logout_token(**{name: value})) == reason, value
    assert refusal(logout_token(name)) in (reason, "the token has no sub")
    assert refusal(logout_token(**{name: None})) in (reason, "the token has no sub")


@pytest.mark.parametrize(
    "value", ["x" * 255, "\U0001f600" * 150, "a b", "e\u0301"], ids=["longest", "emoji", "space", "accent"]
)
def test_ids_are_not_normalized(value: str) -> None:
    found = parse_logout_token(with_secret(), logout_token(sub=value, sid=value, jti=value))
    assert (found.id, found.user) == (value, User(value, value))


# Times


TOO_LONG = "the token has no iat, or lives longer than 600 seconds"


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        pytest.param({"iat": NOW - 130, "exp": NOW - 10}, "the token has expired", id="expired"),
        pytest.param({"iat": NOW - 120, "exp": NOW}, "the token has expired", id="expired just now"),
        pytest.param({"iat": NOW + 31}, "the token was issued in the future", id="from the future"),
        pytest.param({"nbf": NOW + 31}, "the token is not valid yet", id="not valid yet"),
        pytest.param({"exp": NOW + 601}, TOO_LONG, id="too long-lived"),
        pytest.param({"iat": NOW - 600, "exp": NOW + 1}, TOO_LONG, id="too long-lived, and old"),
        pytest.param({"exp": "soon"}, "exp of the token is not a number", id="exp is no number"),
        pytest.param({"iat": 10**400}, "iat of the token is not a date", id="iat is no date"),
    ],
)
def test_an_expired_future_or_long_lived_logout_token_is_invalid(times: dict[str, Any], reason: str) -> None:
    assert refusal(logout_token(**times)) == reason


def test_a_logout_token_needs_iat_and_exp() -> None:
    assert refusal(logout_token("iat")) == TOO_LONG
    assert refusal(logout_token("exp")) == "the token has no exp"
    assert (
        parse_logout_token(with_secret(), logout_token(iat=NOW + 30, exp=NOW + 630)).expires_at.timestamp() == NOW + 630
    )
    assert parse_logout_token(with_secret(), logout_token(exp=NOW + 0.5)).expires_at.timestamp() == NOW + 0.5


def test_a_logout_token_may_live_longer_than_access_tokens_may() -> None:
    assert (
        parse_logout_token(with_secret(max_lifetime=60), logout_token()).user
        == parse_logout_token(with_secret(), logout_token()).user
    )


@settings(max_examples=300)
@given(
    header=st.dictionaries(st.sampled_from(["typ", "kid", "crit"]), st.text() | st.none() | st.just("logout+jwt")),
    claims=st.dictionaries(
        st.sampled_from([*CLAIMS, "nbf", "nonce", "aud"]),
        st.none()
        | st.text()
        | st.integers(NOW - 700, NOW + 700)
        | st.sampled_from([{EVENT: {}}, {}, 10**400, 1e300, [], True]),
    ),
)
def test_any_signed_claims_give_the_logout_token_they_state_or_an_invalid_token(
    header: dict[str, Any], claims: dict[str, Any]
) -> None:
    said = {**CLAIMS, **claims}
    try:
        found = parse_logout_token(with_secret(), compact({**HEADER, **header}, said, hs256()))
    except InvalidToken:
        return
    assert {**HEADER, **header}["typ"] == "logout+jwt"
    assert (found.id, found.user) == (said["jti"], User(said["sub"], said["sid"]))
    assert NOW < found.expires_at.timestamp() <= said["iat"] + 600
    assert said["iat"] <= NOW + 30
    assert said["events"] == {EVENT: {}}
    assert "nonce" not in said
