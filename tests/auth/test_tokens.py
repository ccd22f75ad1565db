"""Token verification: a `User`, or `InvalidToken` with a reason that contains nothing of the token."""

from __future__ import annotations

import gc
import json
import math
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import FunctionType, ModuleType
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from taskapi.auth import token_cache
from taskapi.auth.claims import MAX_NUMERIC_DATE, InvalidToken
from taskapi.auth.jwk_parser import Key
from taskapi.auth.jwks_cache import JWKS
from taskapi.auth.keys import KeySource, KeysUnavailable, SharedSecrets
from taskapi.auth.tokens import MAX_TOKEN_LENGTH, User, Verifier
from tests.auth.conftest import Clock
from tests.auth.issuer import KEY_PAIR_ALGORITHMS, Signer, base64url, compact, hs256
from tests.auth.key_server import KeyServer
from tests.conftest import SECRET

VECTORS = Path(__file__).parent / "vectors"
NOW = 1_800_000_000
SKEW = 30  # the documented number, and not the constant of the module
PREVIOUS = "the-secret-before-it-0123456789-abcdef"
HEADER = {"alg": "HS256"}
CLAIMS = {"sub": "alice", "iat": NOW, "exp": NOW + 900}
ALICE = User("alice")


@pytest.fixture(scope="module")
def published(signers: dict[str, Signer]) -> Iterator[JWKS]:
    """A JWKS source with the public keys of all five signers, from a key server."""
    server = KeyServer(*(signer.jwk() for signer in signers.values()))
    yield JWKS(server.url)
    server.stop()


@pytest.fixture(scope="module")
def verifier(published: JWKS) -> Verifier:
    """A verifier with both key sources and no optional settings."""
    return Verifier([SharedSecrets([SECRET]), published], clock=lambda: NOW)


def with_secret(**rules: Any) -> Verifier:
    """Return a verifier with the shared secret only, and the given options."""
    return Verifier([SharedSecrets([SECRET])], **{"clock": lambda: NOW, **rules})


def token(*without: str, **claims: Any) -> str:
    """Return a token signed with the shared secret, without the claims that `without` names."""
    return compact(
        HEADER, {name: value for name, value in {**CLAIMS, **claims}.items() if name not in without}, hs256()
    )


def refusal(verifier: Verifier, token: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        verifier.verify(token)
    return str(caught.value)


# Tokens recorded from Better Auth


def vectors() -> list[Any]:
    index = json.loads((VECTORS / "index.json").read_text())
    return [pytest.param(vector, id=vector["name"]) for vector in index["vectors"]]


@pytest.mark.parametrize("vector", vectors())
def test_recorded_better_auth_tokens_have_the_recorded_result(
    vector: dict[str, Any], serve_keys: Callable[..., KeyServer]
) -> None:
    sources: list[KeySource] = []
    if vector["jwks_file"]:
        sources.append(JWKS(serve_keys(*json.loads((VECTORS / vector["jwks_file"]).read_text())["keys"]).url))
    if "secret" in vector:
        sources.append(SharedSecrets([vector["secret"]]))
    verifier = Verifier(
        sources,
        issuer=vector["verify"]["iss"],
        audience=vector["verify"]["aud"],
        clock=lambda: vector["iat"] + 60,
    )
    text = (VECTORS / vector["token_file"]).read_text().strip()
    if vector["expected"] == "valid":
        session = jwt.decode(text, options={"verify_signature": False}).get("sid")
        assert verifier.verify(text) == User(vector["sub"], session)
    elif vector["expected"] == "expired":
        assert refusal(verifier, text) == "the token has expired"
    else:
        assert vector["expected"] == "reject"
        assert refusal(verifier, text) == {
            "alg none": "the token is not a signed JWT",
            "payload changed, signature kept": "the signature of the token is wrong",
            "algorithm confusion: HMAC keyed with the raw public key": "the token is signed with an algorithm that is not accepted",
            "good token, verifier configured for another audience": "the token is meant for another audience",
            "good token, verifier configured for another issuer": "the token comes from another issuer",
        }.get(vector["expected_note"], "the token has no sub")


@pytest.mark.parametrize("name", ["cookiecache_hs256", "email_verification_hs256"])
def test_other_jwts_that_better_auth_signs_are_not_access_tokens(name: str) -> None:
    text = (VECTORS / f"{name}.jwt").read_text().strip()
    secret = "test-only-secret-0123456789-abcdefghijklmnop"
    assert jwt.decode(text, secret, ["HS256"], options={"verify_exp": False, "verify_iat": False})  # well signed
    verifier = Verifier([SharedSecrets([secret])], clock=lambda: 1_795_220_300)
    assert refusal(verifier, text) == "the token has no sub"


# Algorithms and keys


def test_a_token_signed_with_the_shared_secret_is_accepted(verifier: Verifier) -> None:
    assert verifier.verify(token()) == ALICE


@pytest.mark.parametrize("algorithm", KEY_PAIR_ALGORITHMS)
def test_a_token_signed_with_a_published_key_is_accepted(
    verifier: Verifier, signers: dict[str, Signer], algorithm: str
) -> None:
    assert verifier.verify(signers[algorithm].token(CLAIMS)) == ALICE


@pytest.mark.parametrize("kid", [{}, {"kid": "whatever"}, {"kid": ""}], ids=str)
def test_the_shared_secret_needs_no_key_id(verifier: Verifier, kid: dict[str, str]) -> None:
    assert verifier.verify(compact({**HEADER, **kid}, CLAIMS, hs256())) == ALICE


NOT_ACCEPTED = "the token is signed with an algorithm that is not accepted"


@pytest.mark.parametrize("signature", ["", "AA"], ids=["unsigned", "with a signature"])
@pytest.mark.parametrize("spelling", ["none", "None", "NONE", "nOnE", "none ", "", None, False, 0, [], ["HS256"], {}])
def test_an_unsigned_token_is_refused(verifier: Verifier, spelling: Any, signature: str) -> None:
    text = f"{base64url({'alg': spelling})}.{base64url(CLAIMS)}.{signature}"
    assert refusal(verifier, text) == (NOT_ACCEPTED if signature else "the token is not a signed JWT")


def test_a_token_that_names_no_algorithm_is_refused(verifier: Verifier) -> None:
    assert refusal(verifier, compact({"typ": "JWT"}, CLAIMS, hs256())) == NOT_ACCEPTED


@pytest.mark.parametrize(
    "algorithm", ["HS384", "HS512", "hs256", "HS256 ", "HMAC", "RS384", "ES384", "ES256K", "Ed25519"]
)
def test_other_algorithms_are_refused_even_with_the_right_secret(verifier: Verifier, algorithm: str) -> None:
    digest = {"HS384": "sha384", "HS512": "sha512"}.get(algorithm, "sha256")
    assert refusal(verifier, compact({"alg": algorithm}, CLAIMS, hs256(digest=digest))) == NOT_ACCEPTED


def test_an_algorithm_that_is_not_configured_is_invalid(published: JWKS, signers: dict[str, Signer]) -> None:
    assert refusal(Verifier([published], clock=lambda: NOW), token()) == NOT_ACCEPTED
    for signer in signers.values():
        assert refusal(with_secret(), signer.token(CLAIMS)) == NOT_ACCEPTED


def public_forms(signer: Signer) -> dict[str, bytes]:
    """Return all encodings of a public key that a forger could use as an HMAC secret."""
    public, jwk = signer.private.public_key(), signer.jwk()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forms = {
        "PEM": pem,
        "PEM without its last line break": pem.rstrip(),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK": json.dumps(jwk).encode(),
        "compact JWK": json.dumps(jwk, separators=(",", ":")).encode(),
        "key set": json.dumps({"keys": [jwk]}).encode(),
        "nothing": b"",
    }
    for name in {"x", "y", "n"} & jwk.keys():
        forms[name] = jwk[name].encode()
        forms[f"{name} decoded"] = urlsafe_b64decode(jwk[name] + "==")
    if not isinstance(public, Ed25519PublicKey):
        other = PublicFormat.PKCS1 if jwk["kty"] == "RSA" else PublicFormat.UncompressedPoint
        forms["other form"] = public.public_bytes(Encoding.DER if jwk["kty"] == "RSA" else Encoding.X962, other)
    return forms


@pytest.mark.parametrize("algorithm", KEY_PAIR_ALGORITHMS)
def test_a_public_key_is_never_an_hmac_secret(
    verifier: Verifier, published: JWKS, signers: dict[str, Signer], algorithm: str
) -> None:
    signer = signers[algorithm]
    key_pairs_only = Verifier([published], clock=lambda: NOW)
    for form in public_forms(signer).values():
        forged = compact({"alg": "HS256", "kid": signer.kid}, CLAIMS, hs256(form))
        assert refusal(verifier, forged) == "the signature of the token is wrong"
        assert refusal(key_pairs_only, forged) == NOT_ACCEPTED
        mislabelled = compact({"alg": algorithm, "kid": signer.kid}, CLAIMS, hs256(form))
        assert refusal(verifier, mislabelled) == "the signature of the token is wrong"


UNKNOWN = "the token is signed with an unknown key"


@pytest.mark.parametrize(
    ("key", "claimed"),
    [(key, claimed) for key in KEY_PAIR_ALGORITHMS for claimed in KEY_PAIR_ALGORITHMS if key != claimed],
)
def test_a_key_verifies_its_own_algorithm_only(
    verifier: Verifier, signers: dict[str, Signer], key: str, claimed: str
) -> None:
    signer = signers[key]
    same_form = {key, claimed} == {"RS256", "PS256"}
    sign = (lambda message: signer.sign(message, claimed)) if same_form else signer.sign
    assert refusal(verifier, compact({"alg": claimed, "kid": signer.kid}, CLAIMS, sign)) == UNKNOWN


@pytest.mark.parametrize("algorithm", KEY_PAIR_ALGORITHMS)
def test_a_signature_of_another_key_with_the_same_kid_is_invalid(
    verifier: Verifier, signers: dict[str, Signer], algorithm: str
) -> None:
    impostor = Signer(algorithm, signers[algorithm].kid)
    assert refusal(verifier, impostor.token(CLAIMS)) == "the signature of the token is wrong"


@pytest.mark.parametrize("signature", [b"\0" * 64, b"\0", b"\xff" * 64, b"\0" * 132, b"\0" * 256, b"\0" * 5000])
@pytest.mark.parametrize("algorithm", ["HS256", *KEY_PAIR_ALGORITHMS])
def test_an_empty_or_zero_signature_is_invalid(verifier: Verifier, algorithm: str, signature: bytes) -> None:
    text = compact({"alg": algorithm, "kid": f"kid-{algorithm}"}, CLAIMS, lambda _: signature)
    assert refusal(verifier, text) == "the signature of the token is wrong"


@pytest.mark.parametrize(
    ("kid", "reason"),
    [
        *((None, UNKNOWN), ("", UNKNOWN), ("invented", UNKNOWN), ("KID-EDDSA", UNKNOWN), ("\ud800", UNKNOWN)),
        ("../../../dev/null", UNKNOWN),
        *((1, "the key id of the token is not a string"), (["kid-EdDSA"], "the key id of the token is not a string")),
        *((False, "the key id of the token is not a string"), ({}, "the key id of the token is not a string")),
    ],
)
def test_a_token_of_a_key_pair_needs_the_kid(
    verifier: Verifier, signers: dict[str, Signer], kid: Any, reason: str
) -> None:
    assert refusal(verifier, signers["EdDSA"].token(CLAIMS, kid=kid)) == reason


def test_a_key_id_that_is_null_is_refused(verifier: Verifier) -> None:
    assert refusal(verifier, compact({**HEADER, "kid": None}, CLAIMS, hs256())) == "the token cannot be read"


# The header

OFFERED = {
    "crit": ["exp"],
    "b64": True,
    "cty": "JWT",
    "zip": "DEF",
    "enc": "A256GCM",
    "jku": "https://mallory.example/jwks",
    "jwk": {"kty": "oct", "k": "AA"},
    "x5u": "https://mallory.example/certificate",
    "x5c": ["AA"],
}


@pytest.mark.parametrize("value", ["meant", None], ids=["meant", "null"])
@pytest.mark.parametrize("member", OFFERED)
def test_a_header_with_a_forbidden_member_is_invalid(
    verifier: Verifier, signers: dict[str, Signer], member: str, value: str | None
) -> None:
    header = {member: OFFERED[member] if value else None}
    expected = "the header of the token has a member that is not accepted"
    assert refusal(verifier, compact({**HEADER, **header}, CLAIMS, hs256())) == expected
    signer = signers["EdDSA"]
    assert refusal(verifier, compact({"alg": "EdDSA", "kid": signer.kid, **header}, CLAIMS, signer.sign)) == expected


def test_a_key_embedded_in_the_token_is_not_used(verifier: Verifier) -> None:
    own = Signer("EdDSA", "own")
    brought = own.token(CLAIMS, jwk=own.jwk())
    assert refusal(verifier, brought) == "the header of the token has a member that is not accepted"


@pytest.mark.parametrize("typ", [{}, {"typ": "JWT"}, {"typ": "at+jwt"}], ids=str)
def test_an_access_token_is_accepted(verifier: Verifier, typ: dict[str, str]) -> None:
    assert verifier.verify(compact({**HEADER, **typ}, CLAIMS, hs256())) == ALICE


@pytest.mark.parametrize(
    "typ", ["logout+jwt", "id+jwt", "dpop+jwt", "JOSE", "JWE", "JWT ", "", None, 1, True, ["JWT"], {"JWT": 1}]
)
def test_a_token_of_another_type_is_refused(verifier: Verifier, typ: Any) -> None:
    text = compact({**HEADER, "typ": typ}, CLAIMS, hs256())
    assert refusal(verifier, text) == "the token is of another type"


def test_unknown_header_members_are_ignored(verifier: Verifier) -> None:
    assert verifier.verify(compact({**HEADER, "x5t": "AA", "custom": {"a": [1]}}, CLAIMS, hs256())) == ALICE


# The serialization

STRICT_JSON = "the token does not hold strict JSON"
NOT_SIGNED = "the token is not a signed JWT"
JSON_HEADER = json.dumps(HEADER)
JSON_CLAIMS = json.dumps(CLAIMS)


def of_text(header: str = JSON_HEADER, claims: str = JSON_CLAIMS, encoding: str = "utf-8") -> str:
    return compact(header.encode(encoding), claims.encode(encoding), hs256())


READ: dict[str, tuple[str, str]] = {
    "duplicate alg": (of_text('{"alg":"none","alg":"HS256"}'), STRICT_JSON),
    "duplicate alg, once escaped": (of_text('{"alg":"HS256","\\u0061lg":"HS256"}'), STRICT_JSON),
    "duplicate sub": (of_text(claims=JSON_CLAIMS[:-1] + ',"sub":"mallory"}'), STRICT_JSON),
    "duplicate sub of one value": (of_text(claims=JSON_CLAIMS[:-1] + ',"sub":"alice"}'), STRICT_JSON),
    "duplicate exp": (of_text(claims=f'{{"sub":"alice","exp":1,"exp":{NOW + 900}}}'), STRICT_JSON),
    "duplicates deep inside": (of_text(claims=JSON_CLAIMS[:-1] + ',"x":[{"a":1,"a":2}]}'), STRICT_JSON),
    "UTF-16": (of_text(encoding="utf-16"), STRICT_JSON),
    "UTF-16 without a BOM": (of_text(encoding="utf-16-be"), STRICT_JSON),
    "UTF-32": (of_text(encoding="utf-32"), STRICT_JSON),
    "UTF-8 with a BOM": (of_text(encoding="utf-8-sig"), STRICT_JSON),
    "header with a BOM": (of_text(header="\ufeff" + JSON_HEADER), STRICT_JSON),
    "claims with a BOM": (of_text(claims="\ufeff" + JSON_CLAIMS), STRICT_JSON),
    "Latin-1": (of_text(claims='{"sub":"é"}', encoding="latin-1"), STRICT_JSON),
    "claims NaN": (of_text(claims="NaN"), STRICT_JSON),
    "a claim Infinity": (of_text(claims=JSON_CLAIMS[:-1] + ',"x":Infinity}'), STRICT_JSON),
    "an integer of 5,000 digits": (of_text(claims=JSON_CLAIMS[:-1] + f',"x":{"1" * 5000}}}'), STRICT_JSON),
    "header of 2,000 arrays": (of_text('{"x":' + "[" * 2000 + "]" * 2000 + "}"), STRICT_JSON),
    "claims of 2,000 arrays": (of_text(claims='{"x":' + "[" * 2000 + "]" * 2000 + "}"), STRICT_JSON),
    "header of text": (of_text("text"), STRICT_JSON),
    "header with a comma too many": (of_text('{"alg":"HS256",}'), STRICT_JSON),
    "header null": (of_text("null"), "the token does not hold a JSON object"),
    "header array": (of_text('[["alg","HS256"]]'), "the token does not hold a JSON object"),
    "claims string": (of_text(claims='"alice"'), "the token does not hold a JSON object"),
    "claims array": (of_text(claims="[]"), "the token does not hold a JSON object"),
    "nothing": ("", NOT_SIGNED),
    "one part": (base64url(HEADER), NOT_SIGNED),
    "two parts": (token().rpartition(".")[0], NOT_SIGNED),
    "an empty signature": (token().rpartition(".")[0] + ".", NOT_SIGNED),
    "an empty header": ("." + token().partition(".")[2], NOT_SIGNED),
    "detached claims": (f"{base64url(HEADER)}..{base64url(b'signature')}", NOT_SIGNED),
    "four parts": (token() + ".AA", NOT_SIGNED),
    "a fourth part that is empty": (token() + ".", NOT_SIGNED),
    "five parts, as a JWE": (f"{base64url({'alg': 'dir', 'enc': 'A256GCM'})}..AA.AA.AA", NOT_SIGNED),
    "one '='": (token() + "=", NOT_SIGNED),
    "two '='": (token() + "==", NOT_SIGNED),
    "'=' after the header": (token().replace(".", "=.", 1), NOT_SIGNED),
    "base64 instead of base64url": (token(x="~~~???").replace("_", "/").replace("-", "+") + "+/", NOT_SIGNED),
    "a space before": (" " + token(), NOT_SIGNED),
    "a space after": (token() + " ", NOT_SIGNED),
    "a line break after": (token() + "\n", NOT_SIGNED),
    "a line break inside": (token()[:50] + "\n" + token()[50:], NOT_SIGNED),
    "NUL inside": (token()[:50] + "\0" + token()[50:], NOT_SIGNED),
    "full-width dots": (token().replace(".", "\uff0e"), NOT_SIGNED),
    "full-width letters": (token()[:-1] + "\uff21", NOT_SIGNED),
    "a lone surrogate": (token() + "\ud800", NOT_SIGNED),
    "JSON serialization": (json.dumps({"payload": "AA", "signatures": []}), NOT_SIGNED),
    "a part of one character more than four": (
        f"{base64url(b'abc')}A.{base64url(CLAIMS)}.AA",
        "the token is not base64url",
    ),
    "two tokens": (f"{token()},{token()}", NOT_SIGNED),
}


@pytest.mark.parametrize(("text", "reason"), READ.values(), ids=READ.keys())
def test_another_form_than_the_compact_serialization_is_invalid(verifier: Verifier, text: str, reason: str) -> None:
    assert refusal(verifier, text) == reason


@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "claims", "signature"])
def test_unused_bits_of_base64url_must_be_zero(verifier: Verifier, part: int) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # Add spaces to the JSON until the segment ends in unused bits.
    spaces = next(
        n for n in range(3) if len(of_text(JSON_HEADER + " " * n, JSON_CLAIMS + " " * n).split(".")[part]) % 4
    )
    parts = of_text(JSON_HEADER + " " * spaces, JSON_CLAIMS + " " * spaces).split(".")
    assert verifier.verify(".".join(parts)) == ALICE
    last = parts[part][-1]
    parts[part] = parts[part][:-1] + alphabet[alphabet.index(last) + 1]
    assert refusal(verifier, ".".join(parts)) == "the token is not canonical base64url"


def test_a_token_may_have_eight_kibibytes(verifier: Verifier) -> None:
    def of_length(length: int) -> str:
        return next(t for n in range(5900, 6200) if len(t := token(x="p" * n)) >= length)

    longest = of_length(MAX_TOKEN_LENGTH)
    assert len(longest) == MAX_TOKEN_LENGTH == 8192
    assert verifier.verify(longest) == ALICE
    assert refusal(verifier, of_length(MAX_TOKEN_LENGTH + 1)) == "the token is too long"
    assert refusal(verifier, "x" * 10_000_000) == "the token is too long"


@pytest.mark.parametrize("place", ["header", "claims"])
def test_nesting_of_any_depth_is_accepted_or_refused(verifier: Verifier, place: str) -> None:
    outcomes = []
    for depth in range(1, 1200, 3):
        nested = ',"x":' + "[" * depth + "]" * depth + "}"
        deep = {place: (JSON_HEADER if place == "header" else JSON_CLAIMS)[:-1] + nested}
        try:
            outcomes.append(verifier.verify(of_text(**deep)) == ALICE)
        except InvalidToken:
            outcomes.append(False)
    # From some depth on it is invalid, and for every greater depth.
    assert outcomes == sorted(outcomes, reverse=True)
    assert outcomes[0]
    assert not outcomes[-1]


# Times


TIMES: dict[str, tuple[dict[str, Any], str]] = {
    "exp null": ({"exp": None}, "the token has no exp"),
    "exp as a string": ({"exp": str(NOW + 900)}, "exp of the token is not a number"),
    "exp as a list": ({"exp": [NOW + 900]}, "exp of the token is not a number"),
    "exp as an empty list": ({"exp": []}, "exp of the token is not a number"),
    "exp as an object": ({"exp": {}}, "exp of the token is not a number"),
    "exp true": ({"exp": True}, "exp of the token is not a number"),
    "exp false": ({"exp": False}, "exp of the token is not a number"),
    "exp 1e30": ({"exp": 1e30}, "exp of the token is not a date"),
    "exp of 31 digits": ({"exp": 10**30}, "exp of the token is not a date"),
    "exp of 401 digits": ({"exp": 10**400}, "exp of the token is not a date"),
    "exp of minus 401 digits": ({"exp": -(10**400)}, "exp of the token is not a date"),
    "exp after the year 9999": ({"exp": MAX_NUMERIC_DATE + 1}, "exp of the token is not a date"),
    "exp negative": ({"exp": -1}, "exp of the token is not a date"),
    "exp NaN": ({"exp": math.nan}, STRICT_JSON),
    "exp Infinity": ({"exp": math.inf}, STRICT_JSON),
    "exp in milliseconds": ({"exp": (NOW + 900) * 1000}, "exp of the token is not a date"),
    "exp zero": ({"exp": 0}, "the token has expired"),
    "exp now": ({"exp": NOW}, "the token has expired"),
    "exp a second ago": ({"exp": NOW - 1}, "the token has expired"),
    "exp now, iat later": ({"exp": NOW, "iat": NOW + SKEW}, "the token has expired"),
    "iat beyond the skew": ({"iat": NOW + SKEW + 1}, "the token was issued in the future"),
    "iat just beyond the skew": ({"iat": NOW + SKEW + 0.5}, "the token was issued in the future"),
    "iat null": ({"iat": None}, "iat of the token is not a number"),
    "iat as a string": ({"iat": str(NOW)}, "iat of the token is not a number"),
    "iat true": ({"iat": True}, "iat of the token is not a number"),
    "iat as a list": ({"iat": [NOW]}, "iat of the token is not a number"),
    "iat negative": ({"iat": -1}, "iat of the token is not a date"),
    "iat of 401 digits": ({"iat": 10**400}, "iat of the token is not a date"),
    "nbf beyond the skew": ({"nbf": NOW + SKEW + 1}, "the token is not valid yet"),
    "nbf just beyond the skew": ({"nbf": NOW + SKEW + 0.5}, "the token is not valid yet"),
    "nbf null": ({"nbf": None}, "nbf of the token is not a number"),
    "nbf as a string": ({"nbf": str(NOW)}, "nbf of the token is not a number"),
    "nbf as an object": ({"nbf": {}}, "nbf of the token is not a number"),
    "nbf false": ({"nbf": False}, "nbf of the token is not a number"),
    "nbf 1e30": ({"nbf": 1e30}, "nbf of the token is not a date"),
}


@pytest.mark.parametrize(("claims", "reason"), TIMES.values(), ids=TIMES.keys())
def test_a_token_with_invalid_times_is_invalid(verifier: Verifier, claims: dict[str, Any], reason: str) -> None:
    assert refusal(verifier, token(**claims)) == reason


def test_a_token_without_exp_is_invalid(verifier: Verifier) -> None:
    assert refusal(verifier, token("exp")) == "the token has no exp"
    assert refusal(verifier, token("exp", "iat")) == "the token has no exp"


GOOD_TIMES: dict[str, dict[str, Any]] = {
    "exp in a second": {"exp": NOW + 1},
    "exp in a moment": {"exp": NOW + 0.001},
    "exp as a float": {"exp": NOW + 900.5},
    "exp in the year 9999": {"exp": MAX_NUMERIC_DATE},
    "iat at the edge of the skew": {"iat": NOW + SKEW},
    "iat long ago": {"iat": 0},
    "iat after exp": {"iat": NOW + 20, "exp": NOW + 10},
    "nbf at the edge of the skew": {"nbf": NOW + SKEW},
    "nbf long ago": {"nbf": 0.5},
}


@pytest.mark.parametrize("claims", GOOD_TIMES.values(), ids=GOOD_TIMES.keys())
def test_a_token_with_valid_times_is_accepted(verifier: Verifier, claims: dict[str, Any]) -> None:
    assert verifier.verify(token(**claims)) == ALICE


def test_iat_and_nbf_may_be_absent(verifier: Verifier) -> None:
    assert verifier.verify(token("iat", "nbf")) == ALICE


def test_a_token_expires_exactly_at_exp() -> None:
    now = NOW + 0.0
    verifier = with_secret(clock=lambda: now)
    text = token(exp=NOW + 900)
    now = NOW + 899.999
    assert verifier.verify(text) == ALICE
    now = NOW + 900.0
    assert refusal(verifier, text) == "the token has expired"


@pytest.mark.parametrize(
    ("claims", "accepted"),
    [
        ({"iat": NOW, "exp": NOW + 900}, True),
        ({"iat": NOW, "exp": NOW + 901}, False),
        ({"iat": NOW - 300, "exp": NOW + 600}, True),
        ({"iat": NOW - 300, "exp": NOW + 601}, False),
        ({"iat": 0, "exp": NOW + 1}, False),
        ({"exp": NOW + 900}, True),
        ({"exp": NOW + 901}, False),
    ],
    ids=str,
)
def test_a_lifetime_above_the_configured_maximum_is_invalid(claims: dict[str, int], *, accepted: bool) -> None:
    text = compact(HEADER, {"sub": "alice", **claims}, hs256())
    if accepted:
        assert with_secret(max_lifetime=900).verify(text) == ALICE
    else:
        assert refusal(with_secret(max_lifetime=900), text) == "the token lives longer than is accepted here"
    assert with_secret().verify(text) == ALICE


# The subject

NO_USER = "sub of the token is not an id"
NO_SEGMENT = "sub of the token cannot be part of a URL: it contains a slash, or is one or two dots"
SUBJECTS: dict[str, tuple[Any, str]] = {
    "null": (None, "the token has no sub"),
    "empty": ("", NO_USER),
    "a number": (5, NO_USER),
    "zero": (0, NO_USER),
    "true": (True, NO_USER),
    "a list": (["alice"], NO_USER),
    "an object": ({"id": "alice"}, NO_USER),
    "256 characters": ("x" * 256, NO_USER),
    "NUL": ("\0", NO_USER),
    "NUL after a name": ("alice\0", NO_USER),
    "a line break": ("alice\nbob", NO_USER),
    "a C1 control": ("alice\x85", NO_USER),
    "DEL": ("alice\x7f", NO_USER),
    "a lone surrogate": ("alice\ud800", NO_USER),
    "a surrogate the wrong way round": ("\udc00\ud800", NO_USER),
    "a slash": ("a/b", NO_SEGMENT),
    "a dot": (".", NO_SEGMENT),
    "two dots": ("..", NO_SEGMENT),
}


@pytest.mark.parametrize(("sub", "reason"), SUBJECTS.values(), ids=SUBJECTS.keys())
def test_a_token_without_a_valid_sub_is_invalid(verifier: Verifier, sub: Any, reason: str) -> None:
    assert refusal(verifier, token(sub=sub)) == reason


@pytest.mark.parametrize(
    "sub",
    [
        *("R5Qq5bzPFQFEQiIdTLYRPUulxUnXc1KH", "1", "x" * 255, "\U0001f600" * 255, "用户", "a b", "e\u0301", "me@x.org"),
        *("...", ".a", "a.", "%2F", "%2e", "DOMAIN\\user", "a?b#c"),
    ],
)
def test_the_sub_is_not_normalized(verifier: Verifier, sub: str) -> None:
    assert verifier.verify(token(sub=sub)) == User(sub)


def test_no_other_claim_replaces_sub(verifier: Verifier) -> None:
    other = {"email": "alice@example.com", "id": "alice", "user_id": "alice", "uid": "alice", "user": {"id": "alice"}}
    assert refusal(verifier, token("sub", **other)) == "the token has no sub"
    assert refusal(verifier, token(**{**other, "sub": ""})) == NO_USER


@pytest.mark.parametrize("claims", [{"jti": 5}, {"jti": None}, {"scope": 1}, {"email": None}], ids=str)
def test_unknown_claims_are_ignored(verifier: Verifier, claims: dict[str, Any]) -> None:
    assert verifier.verify(token(**claims)) == ALICE


# The session


@pytest.mark.parametrize("session", ["s", "x" * 255, "用户", "a b"])
def test_a_token_may_have_a_sid(verifier: Verifier, session: str) -> None:
    assert verifier.verify(token(sid=session)) == User("alice", session)


@pytest.mark.parametrize("session", [None, "", "x" * 256, "a\nb", "a\0", "\ud800", 5, True, [], {}, ["s"]], ids=repr)
def test_a_sid_that_is_not_an_id_is_invalid(verifier: Verifier, session: Any) -> None:
    assert refusal(verifier, token(sid=session)) == "sid of the token is not an id"


@pytest.mark.parametrize(
    ("claims", "accepted"),
    [({"iat": NOW - 60}, True), ({"iat": NOW}, True), ({"iat": NOW - 61}, False), ({}, False)],
    ids=["then", "later", "before", "unknown"],
)
def test_a_token_from_before_the_configured_time_is_invalid(claims: dict[str, int], *, accepted: bool) -> None:
    text = compact(HEADER, {"sub": "alice", "exp": NOW + 900, **claims}, hs256())
    verifier = with_secret(not_before=NOW - 60.0)
    if accepted:
        assert verifier.verify(text) == ALICE
    else:
        reason = "the token was issued before the time from which tokens are accepted here"
        assert refusal(verifier, text) == reason
    assert with_secret().verify(text) == ALICE


BAD_LIFETIME = "the token names a session and has no iat, or lives longer than is accepted here"
TEN_YEARS = 10 * 366 * 86_400


@pytest.mark.parametrize("max_lifetime", [None, TEN_YEARS + 1, 999_999_999 * 86_400], ids=["unset", "longer", "ages"])
def test_a_token_with_a_sid_lives_at_most_ten_years_because_its_logout_is_stored_that_long(
    max_lifetime: int | None,
) -> None:
    verifier = with_secret(max_lifetime=max_lifetime)
    assert verifier.verify(token(sid="s", exp=NOW + TEN_YEARS)) == User("alice", "s")
    assert refusal(verifier, token(sid="s", exp=NOW + TEN_YEARS + 1)) == BAD_LIFETIME
    assert refusal(verifier, token(sid="s", iat=NOW - 60, exp=NOW + TEN_YEARS - 59)) == BAD_LIFETIME
    assert verifier.verify(token(exp=NOW + TEN_YEARS + 1)) == ALICE  # without a sid there is no logout to store


def test_a_token_with_a_sid_lives_at_most_the_configured_maximum() -> None:
    verifier = with_secret(max_lifetime=900)
    assert verifier.verify(token(sid="s", iat=NOW - 60, exp=NOW + 840)) == User("alice", "s")
    assert refusal(verifier, token(sid="s", exp=NOW + 901)) == "the token lives longer than is accepted here"


@pytest.mark.parametrize("max_lifetime", [None, 900])
def test_a_token_with_a_sid_needs_iat(max_lifetime: int | None) -> None:
    """Without `iat` its lifetime, and so the time to store its logout, has no bound."""
    verifier = with_secret(max_lifetime=max_lifetime)
    assert refusal(verifier, token("iat", sid="s", exp=NOW + 60)) == BAD_LIFETIME
    assert verifier.verify(token("iat", exp=NOW + 60)) == ALICE


# Issuer and audience

ISSUER = "https://app.example.com"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({}, "the token has no iss"),
        *(({"iss": None}, "the token has no iss"), ({"iss": ""}, "the token comes from another issuer")),
        *(
            ({"iss": iss}, "the token comes from another issuer")
            for iss in ("https://mallory.example", ISSUER + "/", ISSUER.upper(), ISSUER[:-1], [ISSUER], {ISSUER: 1}, 5)
        ),
    ],
    ids=str,
)
def test_a_token_of_another_issuer_is_refused(claims: dict[str, Any], reason: str) -> None:
    assert refusal(with_secret(issuer=ISSUER), token(**claims)) == reason


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        *(({}, "the token has no aud"), ({"aud": None}, "the token has no aud")),
        *(({"aud": ""}, "the token has no aud"), ({"aud": []}, "the token has no aud")),
        *(
            ({"aud": aud}, "the token is meant for another audience")
            for aud in (
                "tasks",
                "tasks-api ",
                "TASKS-API",
                ["x"],
                [["tasks-api"]],
                ["tasks-api", 5],
                {"tasks-api": 1},
                5,
            )
        ),
    ],
    ids=str,
)
def test_a_token_for_another_audience_is_refused(claims: dict[str, Any], reason: str) -> None:
    assert refusal(with_secret(audience="tasks-api"), token(**claims)) == reason


@pytest.mark.parametrize("aud", ["tasks-api", ["tasks-api"], ["https://other.example", "tasks-api"]], ids=str)
def test_a_token_of_the_issuer_for_the_audience_is_accepted(aud: Any) -> None:
    verifier = with_secret(issuer=ISSUER, audience="tasks-api")
    assert verifier.verify(token(iss=ISSUER, aud=aud)) == ALICE
    assert refusal(verifier, token(iss=ISSUER, aud="x")) == "the token is meant for another audience"
    assert refusal(verifier, token(iss="x", aud=aud)) == "the token comes from another issuer"


@pytest.mark.parametrize(
    "claims", [{"aud": "any"}, {"aud": ["a", "b"]}, {"aud": 5}, {"iss": "any"}, {"iss": []}], ids=str
)
def test_issuer_and_audience_are_ignored_when_they_are_not_configured(claims: dict[str, Any]) -> None:
    assert with_secret().verify(token(**claims)) == ALICE


# Rotation of the secret


def test_the_previous_secret_is_accepted_only_while_it_is_configured() -> None:
    old, new = compact(HEADER, CLAIMS, hs256(PREVIOUS)), token()
    during = Verifier([SharedSecrets([SECRET, PREVIOUS])], clock=lambda: NOW)
    assert during.verify(old) == during.verify(new) == ALICE
    assert refusal(during, compact(HEADER, CLAIMS, hs256("x" * 40))) == "the signature of the token is wrong"
    assert with_secret().verify(new) == ALICE
    assert refusal(with_secret(), old) == "the signature of the token is wrong"


def test_tokens_of_the_previous_secret_are_checked_by_the_same_rules() -> None:
    during = Verifier([SharedSecrets([SECRET, PREVIOUS])], issuer=ISSUER, clock=lambda: NOW)
    old = hs256(PREVIOUS)
    assert refusal(during, compact(HEADER, {**CLAIMS, "iss": "x"}, old)) == "the token comes from another issuer"
    assert refusal(during, compact(HEADER, {**CLAIMS, "iss": ISSUER, "exp": NOW}, old)) == "the token has expired"


# Properties


def test_the_error_message_contains_nothing_of_the_token(verifier: Verifier) -> None:
    mark = "hunter2"
    texts = [
        mark,
        token(sub=f"{mark}\0"),
        token(exp=mark),
        token(iat=[mark]),
        compact({"alg": mark}, {mark: mark}, lambda _: b"x"),
        compact({"alg": "EdDSA", "kid": mark}, CLAIMS, lambda _: b"x"),
        compact({**HEADER, "kid": [mark]}, CLAIMS, hs256()),
        compact({**HEADER, "typ": mark}, CLAIMS, hs256()),
        compact({**HEADER, "crit": [mark]}, CLAIMS, hs256()),
        compact(mark.encode(), mark.encode(), hs256()),
        f"{base64url(HEADER)}.{base64url({mark: mark})}.{base64url(mark)}",
    ]
    strict = with_secret(issuer=ISSUER, audience="tasks-api")
    refusals = [refusal(verifier, text) for text in texts]
    refusals += [refusal(strict, token(iss=mark)), refusal(strict, token(iss=ISSUER, aud=mark))]
    assert not [said for said in refusals if mark in said]
    # Each message is valid in a quoted string of a header (RFC 6750, section 3).
    assert all(said.isascii() and said.isprintable() and not set('"\\') & set(said) for said in refusals)


def is_refused(verifier: Verifier, text: str) -> bool:
    try:
        verifier.verify(text)
    except (InvalidToken, KeysUnavailable):
        return True
    return False


@settings(max_examples=300)
@given(
    st.text()
    | st.text("ABCabc019-_.=", max_size=60)
    | st.builds("{}.{}.{}".format, *[st.binary(min_size=1).map(base64url)] * 3)
    | st.builds(
        lambda *parts: compact(*parts, lambda _: b"signature"),
        st.fixed_dictionaries({"alg": st.sampled_from(["HS256", "EdDSA", "none"])}, optional={"kid": st.text()}),
        st.dictionaries(st.sampled_from(["sub", "exp", "iat"]), st.text() | st.integers()),
    )
)
def test_no_unsigned_text_is_accepted(verifier: Verifier, text: str) -> None:
    assert is_refused(verifier, text)


CHARACTERS = st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \0é")


@settings(max_examples=600)
@given(
    algorithm=st.sampled_from(["HS256", *KEY_PAIR_ALGORITHMS]),
    place=st.floats(0, 1, exclude_max=True),
    character=CHARACTERS,
    how=st.sampled_from(["replace", "insert", "remove"]),
)
def test_a_token_with_a_changed_character_is_invalid(
    verifier: Verifier, signers: dict[str, Signer], algorithm: str, place: float, character: str, how: str
) -> None:
    good = token() if algorithm == "HS256" else signers[algorithm].token(CLAIMS)
    at = int(place * len(good))
    changed = good[:at] + ("" if how == "remove" else character) + good[at + (how != "insert") :]
    # A swap of equal characters, or a replacement by the same one, does not change the token.
    assert changed == good or is_refused(verifier, changed)


@pytest.mark.parametrize("algorithm", ["HS256", *KEY_PAIR_ALGORITHMS])
def test_a_token_with_one_flipped_bit_is_invalid(
    verifier: Verifier, signers: dict[str, Signer], algorithm: str
) -> None:
    good = token() if algorithm == "HS256" else signers[algorithm].token(CLAIMS)
    parts = [bytearray(urlsafe_b64decode(part + "==")) for part in good.split(".")]
    assert not is_refused(verifier, good)
    for part in parts:
        for at in range(len(part)):
            part[at] ^= 1 << at % 8
            assert is_refused(verifier, ".".join(base64url(bytes(part)) for part in parts))
            part[at] ^= 1 << at % 8


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(
    header=st.dictionaries(st.sampled_from(["kid", "typ", "crit", "x"]), JSON, max_size=2),
    claims=st.dictionaries(
        st.sampled_from(["sub", "exp", "iat", "nbf", "iss", "aud", "jti", "email"]),
        JSON | st.integers(NOW - 100, NOW + 100) | st.sampled_from([10**400, 1e300]),
    ),
)
def test_any_signed_claims_give_the_user_they_name_or_an_invalid_token(
    header: dict[str, Any], claims: dict[str, Any]
) -> None:
    said = {**CLAIMS, **claims}
    for verifier in (with_secret(), with_secret(issuer=ISSUER, audience="tasks-api", max_lifetime=60)):
        try:
            user = verifier.verify(compact({**HEADER, **header}, said, hs256()))
        except InvalidToken:
            continue
        assert user == User(said["sub"])
        assert NOW < said["exp"] <= MAX_NUMERIC_DATE


# The cache


class Keys:
    """A key source whose keys a test can change; None raises `KeysUnavailable`. Records the lookups."""

    algorithms = frozenset({"HS256", *KEY_PAIR_ALGORITHMS})

    def __init__(self, *keys: Key) -> None:
        self.keys: tuple[Key, ...] | None = keys
        self.lookups: list[tuple[str, str | None]] = []
        self.wait: Callable[[], None] = lambda: None

    def find(self, algorithm: str, kid: str | None) -> tuple[Key, ...]:
        self.lookups.append((algorithm, kid))
        self.wait()
        if self.keys is None:
            raise KeysUnavailable
        return self.keys


def secret(text: str = SECRET) -> Key:
    return Key("HS256", text.encode())


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens that PyJWT has decoded."""
    tokens: list[str] = []
    decode = jwt.decode

    def counting(token: str, *args: Any, **options: Any) -> Any:
        tokens.append(token)
        return decode(token, *args, **options)

    monkeypatch.setattr(jwt, "decode", counting)
    return tokens


@pytest.mark.parametrize("algorithm", ["HS256", *KEY_PAIR_ALGORITHMS])
def test_a_valid_token_is_decoded_once(
    published: JWKS, signers: dict[str, Signer], decoded: list[str], algorithm: str
) -> None:
    claims = {**CLAIMS, "sid": "s-1"}
    text = token(sid="s-1") if algorithm == "HS256" else signers[algorithm].token(claims)
    verifier = Verifier([SharedSecrets([SECRET]), published], clock=lambda: NOW)
    assert [verifier.verify(text) for _ in range(3)] == [User("alice", "s-1")] * 3
    assert decoded == [text]


def test_keys_are_looked_up_at_each_verification_by_alg_and_kid() -> None:
    keys = Keys(secret())
    verifier = Verifier([keys], clock=lambda: NOW)
    text = compact({**HEADER, "kid": "k-1"}, CLAIMS, hs256())
    for _ in range(3):
        assert verifier.verify(text) == ALICE
    assert keys.lookups == [("HS256", "k-1")] * 3


def test_cached_tokens_of_several_users_and_sessions_are_not_mixed_up(decoded: list[str]) -> None:
    verifier = with_secret()
    users = [User(f"user-{number}", f"s-{number % 3}") for number in range(20)]
    tokens = [token(sub=user.id, sid=user.session) for user in users]
    for _ in range(2):
        assert [verifier.verify(text) for text in tokens] == users
    assert decoded == tokens


def test_a_cached_token_expires_exactly_at_exp(decoded: list[str]) -> None:
    clock = Clock(NOW)
    verifier = with_secret(clock=clock)
    text = token(exp=NOW + 900)
    for clock_time in (NOW, NOW + 899, NOW + 899.999):
        clock.now = clock_time
        assert verifier.verify(text) == ALICE
    assert decoded == [text]
    for clock_time in (NOW + 900.0, NOW + 900.001, NOW + 10**6):
        clock.now = clock_time
        assert refusal(verifier, text) == "the token has expired"


def test_a_token_that_expires_while_its_key_is_fetched_is_invalid() -> None:
    now = NOW + 899.0
    keys = Keys(secret())

    def pass_time() -> None:
        nonlocal now
        now += 0.5

    verifier = Verifier([keys], clock=lambda: now)
    text = token(exp=NOW + 900)
    assert verifier.verify(text) == ALICE
    keys.wait = pass_time
    assert verifier.verify(text) == ALICE
    assert refusal(verifier, text) == "the token has expired"


@pytest.mark.parametrize(
    ("without", "claims", "reason"),
    [
        ((), {"iat": NOW + SKEW}, "the token was issued in the future"),
        ((), {"nbf": NOW + SKEW}, "the token is not valid yet"),
        (("iat",), {"exp": NOW + 900}, "the token lives longer than is accepted here"),
    ],
    ids=["iat", "nbf", "max_lifetime"],
)
def test_a_cached_token_is_verified_again_if_the_clock_goes_back(
    without: tuple[str, ...], claims: dict[str, int], reason: str
) -> None:
    now = NOW
    verifier = with_secret(max_lifetime=900, clock=lambda: now)
    text = token(*without, **claims)
    assert verifier.verify(text) == ALICE
    now = NOW - 1
    assert refusal(verifier, text) == reason
    now = NOW
    assert verifier.verify(text) == ALICE


@settings(max_examples=300)
@given(
    times=st.dictionaries(st.sampled_from(["exp", "iat", "nbf"]), st.integers(NOW - 50, NOW + 50)),
    session=st.sampled_from([{}, {"sid": "s-1"}]),
    max_lifetime=st.none() | st.integers(1, 60),
    clock_times=st.lists(st.integers(NOW - 60, NOW + 60), min_size=1, max_size=8),
)
def test_a_cached_verification_always_equals_one_without_a_cache(
    times: dict[str, int], session: dict[str, str], max_lifetime: int | None, clock_times: list[int]
) -> None:
    clock = Clock(NOW)
    rules: dict[str, Any] = {"max_lifetime": max_lifetime, "clock": clock}
    remembering = with_secret(**rules)
    claims = {"sub": "alice", "exp": NOW + 50, **times, **session}
    text = compact(HEADER, claims, hs256())

    def answer(verifier: Verifier) -> User | str:
        try:
            return verifier.verify(text)
        except InvalidToken as refused:
            return str(refused)

    for clock_time in clock_times:
        clock.now = clock_time
        assert answer(remembering) == answer(with_secret(**rules))


def test_a_cached_token_is_invalid_once_its_secret_is_removed() -> None:
    current, previous = secret(), secret(PREVIOUS)
    keys = Keys(current, previous)
    verifier = Verifier([keys], clock=lambda: NOW)
    old, new = compact(HEADER, CLAIMS, hs256(PREVIOUS)), token()
    for _ in range(2):
        assert verifier.verify(old) == verifier.verify(new) == ALICE
    keys.keys = (current,)
    assert refusal(verifier, old) == "the signature of the token is wrong"
    assert verifier.verify(new) == ALICE
    keys.keys = ()
    assert refusal(verifier, new) == UNKNOWN


def test_a_cached_token_raises_keys_unavailable_without_keys(decoded: list[str]) -> None:
    key = secret()
    keys = Keys(key)
    verifier = Verifier([keys], clock=lambda: NOW)
    text = token()
    assert verifier.verify(text) == ALICE
    keys.keys = None
    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            verifier.verify(text)
    keys.keys = (key,)
    assert verifier.verify(text) == ALICE
    assert decoded == [text]


def fetch_anew(published: JWKS) -> None:
    _, fetch = published._start_fetch()
    assert fetch
    assert fetch.wait(60)


@pytest.mark.parametrize("algorithm", KEY_PAIR_ALGORITHMS)
@pytest.mark.parametrize(
    ("then", "reason"), [("withdrawn", UNKNOWN), ("replaced", "the signature of the token is wrong")]
)
def test_a_cached_token_is_invalid_once_its_key_is_withdrawn_or_replaced(
    serve_keys: Callable[..., KeyServer],
    signers: dict[str, Signer],
    clock: Clock,
    algorithm: str,
    then: str,
    reason: str,
) -> None:
    signer, other = signers[algorithm], Signer("EdDSA", "other")
    server = serve_keys(signer.jwk(), other.jwk())
    published = JWKS(server.url, clock=clock)
    verifier = Verifier([published], clock=lambda: NOW)
    text = signer.token(CLAIMS)
    for _ in range(2):
        assert verifier.verify(text) == ALICE
    server.keys = [Signer(algorithm, signer.kid).jwk(), other.jwk()] if then == "replaced" else [other.jwk()]
    clock.now += 301
    fetch_anew(published)
    assert refusal(verifier, text) == reason


def test_a_cached_token_is_verified_again_only_after_the_key_set_changed(
    serve_keys: Callable[..., KeyServer], signers: dict[str, Signer], clock: Clock, decoded: list[str]
) -> None:
    signer = signers["EdDSA"]
    server = serve_keys(signer.jwk())
    published = JWKS(server.url, clock=clock)
    verifier = Verifier([published], clock=lambda: NOW)
    text = signer.token(CLAIMS)
    assert verifier.verify(text) == ALICE
    for _ in range(3):  # a client with unknown `kid`s can cause a fetch every second
        clock.now += 10
        fetch_anew(published)
        assert verifier.verify(text) == ALICE
    assert decoded == [text]
    server.keys.append(signers["ES256"].jwk())
    clock.now += 10
    fetch_anew(published)
    assert [verifier.verify(text) for _ in range(3)] == [ALICE] * 3
    assert decoded == [text, text]


def test_a_token_that_differs_in_one_character_from_a_cached_one_is_invalid() -> None:
    verifier = with_secret()
    good = token()
    assert verifier.verify(good) == ALICE
    for at, character in enumerate(good):
        assert is_refused(verifier, good[:at] + ("A" if character != "A" else "B") + good[at + 1 :])
        assert is_refused(verifier, good[:at] + good[at + 1 :])
    for changed in (good + "=", good + "A", " " + good, good + "\ud800", good + good):
        assert is_refused(verifier, changed)
    assert verifier.verify(good) == ALICE


def test_an_invalid_token_is_not_cached() -> None:
    now = NOW
    keys = Keys()
    verifier = Verifier([keys], clock=lambda: now)
    text = token(nbf=NOW + SKEW + 60)
    assert refusal(verifier, text) == UNKNOWN
    keys.keys = (secret(),)
    assert refusal(verifier, text) == "the token is not valid yet"
    assert not verifier._cache._values
    now = NOW + 60
    assert verifier.verify(text) == ALICE


def test_a_verified_logout_token_is_not_an_access_token_and_the_reverse() -> None:
    verifier = with_secret()
    logout = compact({**HEADER, "typ": "logout+jwt"}, CLAIMS, hs256())
    assert verifier.verify_claims(logout, {"logout+jwt"}) == CLAIMS
    assert refusal(verifier, logout) == "the token is of another type"
    assert not verifier._cache._values
    assert verifier.verify(token()) == ALICE
    with pytest.raises(InvalidToken, match="another type"):
        verifier.verify_claims(token(), {"logout+jwt"})


def test_an_evicted_token_is_verified_again(decoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "MAX_ENTRIES", 2)
    verifier = with_secret()
    one, two, three = (token(sub=name) for name in ("one", "two", "three"))
    for text in (one, two, three, three, two, one):
        verifier.verify(text)
    assert decoded == [one, two, three, one]
    assert len(verifier._cache._values) == 2


def test_an_expired_token_is_removed_from_the_cache_when_it_is_used() -> None:
    now = NOW
    verifier = with_secret(clock=lambda: now)
    text = token()
    assert verifier.verify(text) == ALICE
    assert len(verifier._cache._values) == 1
    now = NOW + 900
    assert is_refused(verifier, text)
    assert not verifier._cache._values


def reachable(thing: object) -> Iterator[object]:
    """Yield all objects that an object references, at any depth, except code."""
    waiting, seen = [thing], set()
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, type | ModuleType | FunctionType):
            continue
        seen.add(id(found))
        yield found
        waiting.extend(gc.get_referents(found))


def test_the_cache_holds_no_usable_part_of_a_token() -> None:
    verifier = with_secret()
    text = token(sid="s-1")
    assert verifier.verify(text) == verifier.verify(text) == User("alice", "s-1")
    message, _, signature = text.rpartition(".")
    held = [
        thing.encode() if isinstance(thing, str) else thing
        for thing in reachable(verifier)
        if isinstance(thing, str | bytes)
    ]
    assert b"s-1" in held  # so the search includes the cache
    for part in (message, message.partition(".")[2], signature):
        assert not [
            thing
            for thing in held
            if part.encode() in thing or urlsafe_b64decode(part.partition(".")[0] + "==") in thing
        ]


def test_a_token_that_is_too_long_is_invalid_before_the_cache_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "_digest", None)
    assert refusal(with_secret(), "x" * (MAX_TOKEN_LENGTH + 1)) == "the token is too long"


def test_concurrent_verifications_return_the_user_of_each_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """More tokens than the cache holds are verified while the keys change."""
    monkeypatch.setattr(token_cache, "MAX_ENTRIES", 3)
    key = secret()
    keys = Keys(key)
    verifier = Verifier([keys], clock=lambda: NOW)
    tokens = {f"user-{number}": token(sub=f"user-{number}") for number in range(6)}
    start = Barrier(8)

    def work(thread: int) -> None:
        start.wait(60)
        for turn in range(100):
            name = f"user-{(turn + thread) % 6}"
            assert verifier.verify(tokens[name]) == User(name)
            assert is_refused(verifier, tokens[name][:-2] + "AA")
            if thread == 0:
                keys.keys = (secret(),) if turn % 2 else (key,)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, thread) for thread in range(8)]:
            done.result(60)
    assert len(verifier._cache._values) <= 3
