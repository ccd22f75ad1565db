"""Forged, foreign, malformed and expired tokens are refused, over a socket."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.auth.issuer import KEY_PAIR_ALGORITHMS, Signer, base64url, compact, hs256, logout_token
from tests.auth.test_tokens import NOT_ACCEPTED, NOT_SIGNED, OFFERED, READ, STRICT_JSON, SUBJECTS, UNKNOWN, public_forms
from tests.security.attacker import AUDIENCE, ISSUER, Attack, System, assert_fails, raw_bytes, request

pytestmark = pytest.mark.usefixtures("data_unchanged")

ALICES = "/api/alice/tasks"
WRONG = "the signature of the token is wrong"
FOREIGN_MEMBER = "the header of the token has a member that is not accepted"
OTHER_TYPE = "the token is of another type"
NO_KEY_ID = "the key id of the token is not a string"
YEARS = 86_400 * 3650

Make = Callable[[System], str]


def bearer(make: Make, reason: str) -> Attack:
    """Return an attack with a bearer token; `reason` is the expected `error_description`."""
    return Attack(lambda s: request(ALICES, bearer=make(s)), 401, "unauthorized", reason)


def later(seconds: float) -> float:
    """Return a NumericDate relative to now."""
    return int(time.time()) + seconds


# Tokens without a valid signature

SPELLINGS: dict[str, Any] = {
    **{f'"{spelling}"': spelling for spelling in ("none", "None", "NONE", "nOnE", "none ", " none", "none\0", "")},
    "null": None,
    "false": False,
    "zero": 0,
    "a list": ["none"],
    "a list of the right one": ["HS256"],
    "an object": {"alg": "none"},
    "fullwidth": "\uff4eone",
}


def unsigned(header: dict[str, Any], signature: str) -> Make:
    """Return a function that makes a token with this header and signature part."""
    return lambda s: f"{base64url(header)}.{base64url(s.claims())}.{signature}"


UNSIGNED = {
    **{f"alg {name}": bearer(unsigned({"alg": alg}, "AA"), NOT_ACCEPTED) for name, alg in SPELLINGS.items()},
    **{
        f"alg {name}, nothing after the last dot": bearer(unsigned({"alg": alg}, ""), NOT_SIGNED)
        for name, alg in list(SPELLINGS.items())[:4]
    },
    "no alg": bearer(unsigned({"typ": "JWT"}, "AA"), NOT_ACCEPTED),
    "ALG instead of alg": bearer(unsigned({"ALG": "HS256"}, "AA"), NOT_ACCEPTED),
    "alg none beside a good signature": bearer(lambda s: compact({"alg": "none"}, s.claims(), hs256()), NOT_ACCEPTED),
    "HS256 without a signature": bearer(lambda s: s.token("alice").rpartition(".")[0] + ".", NOT_SIGNED),
    "HS256 with the signature of another token": bearer(
        lambda s: f"{s.token('alice').rpartition('.')[0]}.{s.token('mallory').rpartition('.')[2]}", WRONG
    ),
    "mallory's token with alice's claims": bearer(
        lambda s: ".".join(
            (*s.token("mallory").split(".")[:1], base64url(s.claims()), s.token("mallory").rpartition(".")[2])
        ),
        WRONG,
    ),
    "the first half of the signature": bearer(lambda s: s.token("alice")[:-23], WRONG),
    "the signature twice": bearer(
        lambda s: compact({"alg": "HS256"}, s.claims(), lambda message: hs256()(message) * 2), WRONG
    ),
}


# Algorithm confusion: a public key as HMAC secret

FORMS = ("PEM", "PEM without its last line break", "DER", "JWK", "compact JWK", "key set", "nothing")
POINTS = {
    "EdDSA": ("x", "x decoded"),
    "ES256": ("x", "x decoded", "y", "y decoded", "x and y", "other form"),
    "ES512": ("x", "x decoded", "y", "y decoded", "x and y", "other form"),
    "RS256": ("n", "n decoded", "other form", "PKCS#1 PEM"),
    "PS256": ("n", "n decoded", "other form", "PKCS#1 PEM"),
}


def public_form(signer: Signer, form: str) -> bytes:
    """Return the public key of a signer in a serialization that an attacker could use as HMAC secret."""
    jwk = signer.jwk()
    if form == "x and y":
        return raw_bytes(jwk["x"]) + raw_bytes(jwk["y"])
    if form == "PKCS#1 PEM":
        return bytes(signer.private.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1))
    return public_forms(signer)[form]


def confused(algorithm: str, form: str, alg: str) -> Make:
    """Return a function that makes a token signed by HMAC with a public key, with `alg` in its header."""

    def make(s: System) -> str:
        signer = s.signers[algorithm]
        return compact({"alg": alg, "kid": signer.kid}, s.claims(), hs256(public_form(signer, form)))

    return make


CONFUSED = {
    **{
        f"{algorithm} key as a secret: {form}": bearer(confused(algorithm, form, "HS256"), WRONG)
        for algorithm in KEY_PAIR_ALGORITHMS
        for form in (*FORMS, *POINTS[algorithm])
    },
    **{
        f"an HMAC that says it is {algorithm}": bearer(confused(algorithm, "PEM", algorithm), WRONG)
        for algorithm in KEY_PAIR_ALGORITHMS
    },
    **{
        f"{digest} with the right secret": bearer(
            lambda s, digest=digest: compact({"alg": digest}, s.claims(), hs256(digest=f"sha{digest[2:]}")),
            NOT_ACCEPTED,
        )
        for digest in ("HS384", "HS512")
    },
    **{
        f'the right secret under alg "{alg}"': bearer(
            lambda s, alg=alg: compact({"alg": alg}, s.claims(), hs256()), NOT_ACCEPTED
        )
        for alg in ("hs256", "HS256 ", "HMAC", "SHA256", "A256KW", "dir", "Ed25519", "ES256K", "RS384")
    },
    **{
        f"a guessed secret: {name}": bearer(
            lambda s, guess=guess: compact({"alg": "HS256"}, s.claims(), hs256(guess)), WRONG
        )
        for name, guess in {
            "the development one": "taskapi-development-secret-never-use-in-production",
            "Better Auth's own": "better-auth-secret-123456789",
            "a word": "secret",
            "NUL": "\0" * 32,
            "null": "null",
        }.items()
    },
}


# Other keys

NO_SIGNATURES = {"zeros": b"\0" * 64, "one zero": b"\0", "all ones": b"\xff" * 64, "132 zeros": b"\0" * 132}


def swapped(key: str, claimed: str) -> Make:
    """Return a function that signs with one key of the issuer under the algorithm of another."""

    def make(s: System) -> str:
        signer = s.signers[key]
        same = {key, claimed} == {"RS256", "PS256"}
        sign = (lambda message: signer.sign(message, claimed)) if same else signer.sign
        return compact({"alg": claimed, "kid": signer.kid}, s.claims(), sign)

    return make


def by_own_key(algorithm: str, **header: Any) -> Make:
    """Return a function that signs with a key of the attacker; the kid is the issuer's unless `header` has another."""
    return lambda s: Signer(algorithm, s.signers[algorithm].kid).token(s.claims(), **header)


KEYS = {
    **{
        f"{key} key as {claimed}": bearer(swapped(key, claimed), UNKNOWN)
        for key in KEY_PAIR_ALGORITHMS
        for claimed in KEY_PAIR_ALGORITHMS
        if key != claimed
    },
    **{
        f"a key of one's own for {algorithm}": bearer(by_own_key(algorithm), WRONG) for algorithm in KEY_PAIR_ALGORITHMS
    },
    **{
        f"{algorithm} signed with {name}": bearer(
            lambda s, algorithm=algorithm, nothing=nothing: compact(
                {"alg": algorithm, "kid": f"kid-{algorithm}"}, s.claims(), lambda _: nothing
            ),
            WRONG,
        )
        for algorithm in ("HS256", *KEY_PAIR_ALGORITHMS)
        for name, nothing in NO_SIGNATURES.items()
    },
}


# Key ids

KIDS: dict[str, tuple[Any, str]] = {
    "absent": (None, UNKNOWN),
    "empty": ("", UNKNOWN),
    "a path": ("../../../../../../dev/null", UNKNOWN),
    "an absolute path": ("/proc/self/environ", UNKNOWN),
    "a path with NUL": ("kid-EdDSA\0.pem", UNKNOWN),
    "SQL": ("x' UNION SELECT 'secret' -- ", UNKNOWN),
    "SQL that is always true": ("' OR '1'='1", UNKNOWN),
    "a command": ("| whoami", UNKNOWN),
    "a template": ("{{config}}", UNKNOWN),
    "an address": ("https://mallory.example/jwks", UNKNOWN),
    "an address of this host": ("http://169.254.169.254/latest", UNKNOWN),
    "4,000 characters": ("k" * 4000, UNKNOWN),
    "other case": ("KID-EDDSA", UNKNOWN),
    "a space after": ("kid-EdDSA ", UNKNOWN),
    "Cyrillic": ("k\u0456d-EdDSA", UNKNOWN),
    "half a pair": ("\ud800", UNKNOWN),
    "a name of Python's": ("__class__", UNKNOWN),
    "of another key": ("kid-ES256", UNKNOWN),
    "a list": (["kid-EdDSA"], NO_KEY_ID),
    "a number": (0, NO_KEY_ID),
    "true": (True, NO_KEY_ID),
    "an object": ({"$ne": None}, NO_KEY_ID),
}

KEY_IDS = {
    **{f"kid {name}": bearer(by_own_key("EdDSA", kid=kid), reason) for name, (kid, reason) in KIDS.items()},
    "kid null": bearer(lambda s: compact({"alg": "EdDSA", "kid": None}, s.claims(), Signer("EdDSA").sign), UNKNOWN),
    "kid of an empty file, signed with nothing": bearer(
        lambda s: compact({"alg": "HS256", "kid": "/dev/null"}, s.claims(), hs256(b"")), WRONG
    ),
    "kid of a known file, signed with its content": bearer(
        lambda s: compact({"alg": "HS256", "kid": "/proc/sys/kernel/randomize_va_space"}, s.claims(), hs256(b"2\n")),
        WRONG,
    ),
    "kid of SQL, signed with what it selects": bearer(
        lambda s: compact({"alg": "HS256", "kid": "x' UNION SELECT 'a"}, s.claims(), hs256(b"a")), WRONG
    ),
    "kid twice": bearer(
        lambda s: compact(b'{"alg":"EdDSA","kid":"kid-EdDSA","kid":"own"}', s.claims(), Signer("EdDSA").sign),
        STRICT_JSON,
    ),
}


# Keys in the header


def offering(member: str) -> Make:
    """Return a function that signs with a key of the attacker, which the header member offers."""

    def make(s: System) -> str:
        own = Signer("EdDSA", "own")
        canary = s.key_server.url.replace("/api/auth/jwks", "/elsewhere")
        offered = {"jwk": own.jwk(), "jku": canary, "x5u": canary, "x5c": ["AA"]}[member]
        return own.token(s.claims(), **{member: offered})

    return make


OFFERS = {
    **{
        f"{member}, well signed": bearer(lambda s, m=member: s.signed({m: OFFERED[m]}), FOREIGN_MEMBER)
        for member in OFFERED
    },
    **{
        f"{member} null, well signed": bearer(lambda s, m=member: s.signed({m: None}), FOREIGN_MEMBER)
        for member in ("crit", "b64", "jwk")
    },
    **{
        f"{member} with a key of one's own": bearer(offering(member), FOREIGN_MEMBER)
        for member in ("jwk", "jku", "x5u", "x5c")
    },
    "b64 false with crit": bearer(lambda s: s.signed({"b64": False, "crit": ["b64"]}), FOREIGN_MEMBER),
    "deflated claims": bearer(lambda s: s.signed({"zip": "DEF"}), FOREIGN_MEMBER),
    "typ of a sign-out": bearer(lambda s: s.signed({"typ": "logout+jwt"}), OTHER_TYPE),
    "typ of an identity": bearer(lambda s: s.signed({"typ": "id+jwt"}), OTHER_TYPE),
    "typ of a proof": bearer(lambda s: s.signed({"typ": "dpop+jwt"}), OTHER_TYPE),
    "typ JWE": bearer(lambda s: s.signed({"typ": "JWE"}), OTHER_TYPE),
    "typ empty": bearer(lambda s: s.signed({"typ": ""}), OTHER_TYPE),
    "typ null": bearer(lambda s: s.signed({"typ": None}), OTHER_TYPE),
    "typ a list": bearer(lambda s: s.signed({"typ": ["JWT"]}), OTHER_TYPE),
    "typ a number": bearer(lambda s: s.signed({"typ": 0}), OTHER_TYPE),
}


# Malformed tokens

# These cannot be sent in a header, or are valid there (test_framing.py and test_headers.py have them).
NOT_ON_A_SOCKET = {
    "nothing",
    "a line break after",
    "a line break inside",
    "NUL inside",
    "a space before",
    "a space after",
}


def noncanonical(part: int) -> Make:
    """Return a function that sets the unused bits of the last base64url character of a part."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    def make(s: System) -> str:
        for spaces in range(3):
            texts = (json.dumps(made) + " " * spaces for made in ({"alg": "HS256"}, s.claims()))
            parts = compact(*(text.encode() for text in texts), hs256()).split(".")
            if len(parts[part]) % 4:
                last = alphabet.index(parts[part][-1])
                parts[part] = parts[part][:-1] + alphabet[last + 1]
                return ".".join(parts)
        raise AssertionError("one of three lengths has unused bits")

    return make


def standard_alphabet(s: System) -> str:
    """Return a token that is valid except that it is base64 instead of base64url."""
    for n in range(1000):
        good = s.signed({}, note="~" * n + "?" * (n % 7) + "\u00ff")
        if {"-", "_"} & set(good):
            return good.replace("-", "+").replace("_", "/")
    raise AssertionError("one of a thousand signatures has such a character")


FORM = {
    **{
        name: bearer(lambda s, text=text: text, reason)
        for name, (text, reason) in READ.items()
        if name not in NOT_ON_A_SOCKET
    },
    **{
        f"idle bits of the {name}": bearer(noncanonical(part), "the token is not canonical base64url")
        for part, name in enumerate(("header", "claims", "signature"))
    },
    "a good token in base64": bearer(standard_alphabet, NOT_SIGNED),
    "a good token, padded": bearer(lambda s: s.token("alice") + "=", NOT_SIGNED),
    "a good token, each part padded": bearer(lambda s: s.token("alice").replace(".", "==.") + "==", NOT_SIGNED),
    "a good token in per cent": bearer(lambda s: s.token("alice").replace(".", "%2E"), NOT_SIGNED),
    "a good token in quotes": bearer(lambda s: f'"{s.token("alice")}"', NOT_SIGNED),
    "a good token, and a dot": bearer(lambda s: s.token("alice") + ".", NOT_SIGNED),
    "a good token in parts of five": bearer(lambda s: s.token("alice") + ".AA.AA", NOT_SIGNED),
    "a JWE that holds a good token": bearer(
        lambda s: ".".join(
            (base64url({"alg": "dir", "enc": "A256GCM", "cty": "JWT"}), "", base64url(b"n" * 12), s.token("alice").replace(".", "_"), "AA")
        ),
        NOT_SIGNED,
    ),
    "a token within a token": bearer(
        lambda s: compact({"alg": "HS256"}, s.token("alice").encode(), hs256()), STRICT_JSON
    ),
    "a token within a token, as a string": bearer(
        lambda s: compact({"alg": "HS256"}, s.token("alice"), hs256()), "the token does not hold a JSON object"
    ),
    "9 KB": bearer(lambda s: s.signed({}, note="x" * 7000), "the token is too long"),
    "two subjects, well signed": bearer(
        lambda s: compact({"alg": "HS256"}, json.dumps(s.claims()).encode()[:-1] + b',"sub":"mallory"}', hs256()), STRICT_JSON
    ),
    "two expiries, well signed": bearer(
        lambda s: compact({"alg": "HS256"}, json.dumps(s.claims(exp=1)).encode()[:-1] + b',"exp":4e9}', hs256()), STRICT_JSON
    ),
    "two algorithms, well signed": bearer(
        lambda s: compact(b'{"alg":"none","alg":"HS256"}', s.claims(), hs256()), STRICT_JSON
    ),
    "subject once more in escapes": bearer(
        lambda s: compact({"alg": "HS256"}, json.dumps(s.claims()).encode()[:-1] + rb',"s\u0075b":"alice"}', hs256()), STRICT_JSON
    ),
}  # fmt: skip


# Claims

NOT_A_NUMBER = "{} of the token is not a number"
NOT_A_DATE = "{} of the token is not a date"
NO_SEGMENT = "sub of the token cannot be part of a URL: it contains a slash, or is one or two dots"
CLAIM_VALUES: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "exp a second ago": (lambda: {"exp": later(-1)}, "the token has expired"),
    "exp now": (lambda: {"exp": later(0)}, "the token has expired"),
    "exp zero": (lambda: {"exp": 0}, "the token has expired"),
    "exp null": (lambda: {"exp": None}, "the token has no exp"),
    "exp in a string": (lambda: {"exp": str(later(600))}, NOT_A_NUMBER.format("exp")),
    "exp in a list": (lambda: {"exp": [later(600)]}, NOT_A_NUMBER.format("exp")),
    "exp true": (lambda: {"exp": True}, NOT_A_NUMBER.format("exp")),
    "exp 10^30": (lambda: {"exp": 10**30}, NOT_A_DATE.format("exp")),
    "exp 1e300": (lambda: {"exp": 1e300}, NOT_A_DATE.format("exp")),
    "exp of 400 digits": (lambda: {"exp": 10**400}, NOT_A_DATE.format("exp")),
    "exp negative": (lambda: {"exp": -1}, NOT_A_DATE.format("exp")),
    "exp in milliseconds": (lambda: {"exp": later(600) * 1000}, NOT_A_DATE.format("exp")),
    "exp NaN": (lambda: {"exp": float("nan")}, STRICT_JSON),
    "exp Infinity": (lambda: {"exp": float("inf")}, STRICT_JSON),
    "exp in ten years": (lambda: {"exp": later(YEARS)}, "the token lives longer than is accepted here"),
    "exp a minute beyond the longest life": (lambda: {"exp": later(961)}, "the token lives longer than is accepted here"),
    "iat long ago, for a longer life": (lambda: {"iat": 0}, "the token lives longer than is accepted here"),
    "iat tomorrow": (lambda: {"iat": later(86_400), "exp": later(86_500)}, "the token was issued in the future"),
    "iat in a string": (lambda: {"iat": str(later(0))}, NOT_A_NUMBER.format("iat")),
    "iat null": (lambda: {"iat": None}, NOT_A_NUMBER.format("iat")),
    "iat negative": (lambda: {"iat": -1}, NOT_A_DATE.format("iat")),
    "nbf tomorrow": (lambda: {"nbf": later(86_400)}, "the token is not valid yet"),
    "nbf in a string": (lambda: {"nbf": "0"}, NOT_A_NUMBER.format("nbf")),
    "nbf an object": (lambda: {"nbf": {}}, NOT_A_NUMBER.format("nbf")),
    "nbf 1e300": (lambda: {"nbf": 1e300}, NOT_A_DATE.format("nbf")),
    "iss of mallory": (lambda: {"iss": "https://mallory.example"}, "the token comes from another issuer"),
    "iss with a slash more": (lambda: {"iss": ISSUER + "/"}, "the token comes from another issuer"),
    "iss that goes on": (lambda: {"iss": ISSUER + ".mallory.example"}, "the token comes from another issuer"),
    "iss in capitals": (lambda: {"iss": ISSUER.upper()}, "the token comes from another issuer"),
    "iss empty": (lambda: {"iss": ""}, "the token comes from another issuer"),
    "iss in a list": (lambda: {"iss": [ISSUER]}, "the token comes from another issuer"),
    "iss an object": (lambda: {"iss": {ISSUER: 1}}, "the token comes from another issuer"),
    "iss null": (lambda: {"iss": None}, "the token has no iss"),
    "aud of another": (lambda: {"aud": "other-api"}, "the token is meant for another audience"),
    "aud that goes on": (lambda: {"aud": AUDIENCE + "-2"}, "the token is meant for another audience"),
    "aud a part of ours": (lambda: {"aud": AUDIENCE[:5]}, "the token is meant for another audience"),
    "aud an object": (lambda: {"aud": {AUDIENCE: 1}}, "the token is meant for another audience"),
    "aud a list in a list": (lambda: {"aud": [[AUDIENCE]]}, "the token is meant for another audience"),
    "aud ours and a number": (lambda: {"aud": [AUDIENCE, 5]}, "the token is meant for another audience"),
    "aud of none": (lambda: {"aud": []}, "the token has no aud"),
    "aud null": (lambda: {"aud": None}, "the token has no aud"),
    "sub with a slash": (lambda: {"sub": "alice/"}, NO_SEGMENT),
    "sub that leads to alice": (lambda: {"sub": "mallory/../alice"}, NO_SEGMENT),
    "sub of two dots": (lambda: {"sub": ".."}, NO_SEGMENT),
    "sid a list": (lambda: {"sid": ["s-1"]}, "sid of the token is not an id"),
    "sid empty": (lambda: {"sid": ""}, "sid of the token is not an id"),
    "sid null": (lambda: {"sid": None}, "sid of the token is not an id"),
    "sid with a line break": (lambda: {"sid": "s\n1"}, "sid of the token is not an id"),
}  # fmt: skip


def without(name: str) -> Make:
    """Return a function that makes a token without a claim."""
    return lambda s: s.signed({}, name)


CLAIMS = {
    **{
        f"{name}, well signed": bearer(lambda s, made=made: s.signed({}, **made()), reason)
        for name, (made, reason) in CLAIM_VALUES.items()
    },
    **{
        f"sub {name}": bearer(lambda s, sub=sub: s.signed({}, sub=sub), reason)
        for name, (sub, reason) in SUBJECTS.items()
    },
    **{f"no {name}": bearer(without(name), f"the token has no {name}") for name in ("exp", "sub", "iss", "aud")},
    "a session without iat": bearer(
        lambda s: s.signed({}, "iat", sid="s-1"),
        "the token names a session and has no iat, or lives longer than is accepted here",
    ),
    "an e-mail for a subject": bearer(
        lambda s: s.signed({}, "sub", email="alice@example.com", id="alice", user_id="alice"), "the token has no sub"
    ),
    "a session cache for a login": bearer(
        lambda s: s.signed({}, "sub", session={"userId": "alice"}, user={"id": "alice"}), "the token has no sub"
    ),
    "a logout token for a login": bearer(lambda s: logout_token("alice", "s-1", iss=ISSUER, aud=AUDIENCE), OTHER_TYPE),
}


# Logout tokens


def sent_logout_token(make: Make) -> Attack:
    """Return an attack that sends a logout token."""
    return Attack(
        lambda s: request(
            "/backchannel-logout",
            method="POST",
            body=urlencode({"logout_token": make(s)}).encode(),
            content_type="application/x-www-form-urlencoded",
        ),
        400,
        "bad-notice",
    )


def logout_token_with(**options: Any) -> Make:
    """Return a function that makes a logout token of a session of alice; callable options are called then."""

    def make(_: System) -> str:
        made = {name: option() if callable(option) else option for name, option in options.items()}
        return logout_token("alice", "s-1", **{"iss": ISSUER, "aud": AUDIENCE, **made})

    return make


LOGOUT_TOKENS = {
    "a logout token that is an access token": sent_logout_token(lambda s: s.token("alice", sid="s-1")),
    "a logout token without a signature": sent_logout_token(
        lambda s: f"{base64url({'alg': 'none', 'typ': 'logout+jwt'})}.{base64url(s.claims(sid='s-1'))}.AA"
    ),
    "a logout token of another secret": sent_logout_token(logout_token_with(secret="x" * 40)),
    "a logout token of another type": sent_logout_token(logout_token_with(header={"typ": "JWT"})),
    "a logout token about nothing": sent_logout_token(logout_token_with(events=None)),
    "a logout token about something else": sent_logout_token(logout_token_with(events={"https://mallory.example": {}})),
    "a logout token with a nonce": sent_logout_token(logout_token_with(nonce="n")),
    "a logout token without an id": sent_logout_token(logout_token_with(jti=None)),
    "a logout token of all sessions": sent_logout_token(
        lambda s: logout_token("alice", None, iss=ISSUER, aud=AUDIENCE)
    ),
    "a logout token of all users": sent_logout_token(lambda s: logout_token(None, "s-1", iss=ISSUER, aud=AUDIENCE)),
    "a logout token of another issuer": sent_logout_token(logout_token_with(iss="https://mallory.example")),
    "a logout token for another audience": sent_logout_token(logout_token_with(aud="other-api")),
    "a logout token that has expired": sent_logout_token(logout_token_with(iat=lambda: later(-120), exp=lambda: later(-1))),
    "a logout token that lives for a day": sent_logout_token(logout_token_with(exp=lambda: later(86_400))),
    "a logout token signed with a public key": sent_logout_token(
        lambda s: compact({"alg": "HS256", "typ": "logout+jwt"}, s.claims(sid="s-1"), hs256(public_form(s.signers["RS256"], "PEM")))
    ),
}  # fmt: skip


ATTACKS: dict[str, Attack] = {
    **UNSIGNED,
    **CONFUSED,
    **KEYS,
    **KEY_IDS,
    **OFFERS,
    **FORM,
    **CLAIMS,
    **LOGOUT_TOKENS,
}


@pytest.fixture(scope="module", autouse=True)
def only_the_jwks_url_is_fetched(system: System) -> Iterator[None]:
    """Assert that no token header made the service fetch another URL than the JWKS URL of its issuer."""
    yield
    assert set(system.key_server.fetches) <= {"/api/auth/jwks"}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_forged_token_is_refused_and_changes_no_data(system: System, attack: Attack) -> None:
    assert_fails(system, attack)


@pytest.mark.parametrize("algorithm", ["HS256", *KEY_PAIR_ALGORITHMS])
def test_the_unmodified_token_of_the_attacks_is_accepted(system: System, algorithm: str) -> None:
    """Without this, each attack could fail for another reason than the one it tests."""
    signer = system.signers.get(algorithm)
    good = signer.token(system.claims()) if signer else system.token("alice")
    assert system.ask(request(ALICES, bearer=good)).status == 200
    assert system.ask(request("/api/mallory/tasks", bearer=good)).status == 403
