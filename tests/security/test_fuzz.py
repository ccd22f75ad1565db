"""Random input for the parsers of tokens, cursors, rules and JSON: a correct result or the documented exception."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer
from marshmallow import ValidationError

from taskapi.auth.claims import InvalidToken
from taskapi.auth.jwk_parser import Key
from taskapi.auth.keys import KeySource, SharedSecrets
from taskapi.auth.logout_tokens import parse_logout_token
from taskapi.auth.tokens import User, Verifier
from taskapi.http import strict_json
from taskapi.http.errors import BadCursor
from taskapi.tasks.listing import cursors
from taskapi.tasks.listing.schemas import list_query
from taskapi.tasks.listing.selection import Selection
from taskapi.tasks.recurrence import occurrences, rrule
from taskapi.tasks.state import State
from taskapi.tasks.sync import tokens
from taskapi.tasks.sync.schemas import changes_query
from tests.auth.issuer import KEY_PAIR_ALGORITHMS, Signer, base64url, compact, hs256
from tests.conftest import SECRET

# Generating examples may be slow on a busy machine; that is not a failure.
BOUNDED = settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
NOW = 1_800_000_000
CLAIMS = {"sub": "alice", "iat": NOW, "exp": NOW + 900}
STATE = State(revision=7, epoch="a" * 32)
SELECTION = Selection(limit=1000)
SOME_TEXT = st.text(max_size=80) | st.text("ABCabc019-_.=~ \0\ud800é", max_size=80)


class Published:
    """A key source with the public keys of some signers, without a JWKS endpoint."""

    algorithms = frozenset(KEY_PAIR_ALGORITHMS)

    def __init__(self, signers: Sequence[Signer]) -> None:
        self._keys = {signer.kid: Key(signer.algorithm, signer.private.public_key()) for signer in signers}

    def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        key = self._keys.get(kid or "")
        return (key,) if key is not None and key.algorithm == algorithm else ()


@pytest.fixture(scope="module")
def signers() -> dict[str, Signer]:
    return {algorithm: Signer(algorithm) for algorithm in KEY_PAIR_ALGORITHMS}


@pytest.fixture(scope="module")
def verifier(signers: dict[str, Signer]) -> Verifier:
    sources: list[KeySource] = [SharedSecrets([SECRET]), Published(list(signers.values()))]
    return Verifier(sources, clock=lambda: NOW)


def valid_token(signers: dict[str, Signer], algorithm: str, sub: str = "alice") -> str:
    """Return a valid token."""
    claims = {**CLAIMS, "sub": sub}
    signer = signers.get(algorithm)
    return signer.token(claims) if signer else compact({"alg": "HS256"}, claims, hs256())


ALGORITHMS = st.sampled_from(["HS256", *KEY_PAIR_ALGORITHMS])
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.binary(max_size=3)), min_size=1, max_size=6
)


def apply_edits(raw: bytes, edits: Sequence[tuple[float, int, bytes]]) -> bytes:
    """Return bytes after edits: each removes some bytes at a relative position and inserts others."""
    for place, taken, put in edits:
        at = int(place * (len(raw) + 1))
        raw = raw[:at] + put + raw[at + taken :]
    return raw


@BOUNDED
@given(algorithm=ALGORITHMS, edits=EDITS)
def test_a_modified_token_is_refused(
    verifier: Verifier, signers: dict[str, Signer], algorithm: str, edits: list[tuple[float, int, bytes]]
) -> None:
    token = valid_token(signers, algorithm)
    text = apply_edits(token.encode(), edits).decode("utf-8", "surrogateescape")
    try:
        user = verifier.verify(text)
    except InvalidToken:
        return
    assert (text, user) == (token, User("alice"))


@BOUNDED
@given(algorithm=ALGORITHMS, part=st.integers(0, 2), edits=EDITS)
def test_a_token_modified_before_base64url_is_refused(
    verifier: Verifier, signers: dict[str, Signer], algorithm: str, part: int, edits: list[tuple[float, int, bytes]]
) -> None:
    token = valid_token(signers, algorithm)
    parts = [urlsafe_b64decode(text + "==") for text in token.split(".")]
    parts[part] = apply_edits(parts[part], edits)
    text = ".".join(base64url(raw) for raw in parts)
    try:
        user = verifier.verify(text)
    except InvalidToken:
        return
    assert (text, user) == (token, User("alice"))


@BOUNDED
@given(
    algorithms=st.tuples(ALGORITHMS, ALGORITHMS, ALGORITHMS),
    subs=st.tuples(*[st.sampled_from(["alice", "mallory"])] * 3),
)
def test_a_token_combined_from_others_is_refused_unless_all_parts_belong_together(
    verifier: Verifier, signers: dict[str, Signer], algorithms: tuple[str, ...], subs: tuple[str, ...]
) -> None:
    tokens = [valid_token(signers, algorithm, sub) for algorithm, sub in zip(algorithms, subs, strict=True)]
    text = ".".join(token.split(".")[part] for part, token in enumerate(tokens))
    try:
        user = verifier.verify(text)
    except InvalidToken:
        return
    # Two tokens may have the same header or claims: then the signature is valid.
    assert algorithms[0] == algorithms[2]
    assert subs[1] == subs[2]
    assert user == User(subs[1])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([10**400, "alice"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@BOUNDED
@given(
    claims=st.dictionaries(st.sampled_from(["sub", "sid", "exp", "iat", "jti", "events", "nonce", "iss"]), JSON),
    events=JSON,
)
def test_a_signed_logout_token_is_parsed_or_refused(verifier: Verifier, claims: dict[str, Any], events: Any) -> None:
    about = {
        "sub": "alice",
        "sid": "s-1",
        "iat": NOW,
        "exp": NOW + 120,
        "jti": "n-1",
        "events": {"http://schemas.openid.net/event/backchannel-logout": events},
        **claims,
    }
    try:
        logout_token = parse_logout_token(verifier, compact({"alg": "HS256", "typ": "logout+jwt"}, about, hs256()))
    except InvalidToken:
        return
    assert (logout_token.id, logout_token.user) == (about["jti"], User(about["sub"], about["sid"]))


# Values that the service signs

PLACES = st.tuples(st.text(max_size=20) | st.integers() | st.none(), st.integers())


def decode_cursor(text: str) -> Any:
    """Decode a query parameter like the view."""
    return cursors.decode_cursor(list_query.load({"cursor": text}), STATE)


def decode_sync_token(text: str) -> tokens.SyncPosition:
    """Decode a query parameter like the view."""
    return tokens.decode_token(changes_query.load({"since": text})["since"], STATE)


DOMAIN_ERRORS = (ValidationError, tokens.InvalidSyncToken, tokens.SyncTokenExpired)


@BOUNDED
@given(SOME_TEXT | st.builds("{}.{}".format, SOME_TEXT, SOME_TEXT) | st.binary(min_size=1).map(base64url))
def test_text_that_is_not_a_signed_cursor_is_refused(text: str) -> None:
    with pytest.raises((ValidationError, BadCursor)):
        decode_cursor(text)


@BOUNDED
@given(place=st.tuples(st.text("ab\u00e9 ", max_size=20), st.integers(0, 2**63)), edits=EDITS)
def test_a_modified_cursor_is_refused(place: Any, edits: list[tuple[float, int, bytes]]) -> None:
    text = apply_edits(cursors.encode_cursor(place, SELECTION, STATE).encode(), edits).decode(
        "utf-8", "surrogateescape"
    )
    try:
        opened = decode_cursor(text)
    except (ValidationError, BadCursor):
        return
    # The last base64url character has unused bits: another spelling of the same signature.
    assert opened == place


@BOUNDED
@given(
    SOME_TEXT
    | st.builds("{}.{}".format, st.just(STATE.epoch_id) | st.from_regex("[0-9a-f]{8}", fullmatch=True), SOME_TEXT)
)
def test_text_that_is_not_a_signed_sync_token_is_refused(text: str) -> None:
    try:
        place = decode_sync_token(text)
    except DOMAIN_ERRORS:
        return
    assert text.strip() == "0"  # of who has no data: it begins at the beginning
    assert place == tokens.SyncPosition(0, 2**63 - 1, initial_revision=0)


@BOUNDED
@given(revision=st.integers(0, 9), number=st.integers(0, 2**63 - 1), initial_revision=st.integers(0, 9), edits=EDITS)
def test_a_modified_sync_token_is_refused(
    revision: int, number: int, initial_revision: int, edits: list[tuple[float, int, bytes]]
) -> None:
    place = tokens.SyncPosition(revision, number, initial_revision)
    text = apply_edits(tokens.encode_token(place, STATE).encode(), edits).decode("utf-8", "surrogateescape")
    try:
        opened = decode_sync_token(text)
    except DOMAIN_ERRORS:
        return
    assert opened in (place, tokens.SyncPosition(0, 2**63 - 1, initial_revision=0))
    assert opened == place or text.strip() == "0"


@BOUNDED
@given(
    value=JSON, salt=st.sampled_from(["taskapi.feed", "itsdangerous", "", f"taskapi.cursor {SELECTION.signed_filters}"])
)
def test_a_value_signed_with_another_key_or_salt_is_refused(value: Any, salt: str) -> None:
    forged = str(URLSafeSerializer("b" * 32, salt=salt).dumps(value))
    with pytest.raises((ValidationError, BadCursor)):
        decode_cursor(forged)
    with pytest.raises((ValidationError, tokens.InvalidSyncToken)):
        decode_sync_token(f"{STATE.epoch_id}.{forged}")


# Parsers of other input

PARTS = st.sampled_from(
    ["FREQ", "INTERVAL", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "UNTIL", "COUNT", "WKST", "x"]
)
VALUES = st.text("DAILYWEKMONTHYR0123456789-,+ ", max_size=12) | st.sampled_from(
    [
        *(
            "DAILY",
            "WEEKLY",
            "MONTHLY",
            "YEARLY",
            "SECONDLY",
            "MO",
            "-1FR",
            "53SU",
            "54MO",
            "0MO",
            "MO,MO",
            "31",
            "-31",
        ),
        *("2", "12", "999", "1000", "0", "-1", "29991231", "00000000", "20260230", "20260101T000000Z", "1" * 150),
    ]
)
RULES = st.lists(st.builds("{}={}".format, PARTS, VALUES), max_size=6).map(";".join) | st.sampled_from(
    ["FREQ=DAILY", "FREQ=MONTHLY;BYDAY=5MO", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO"]
)


@BOUNDED
@given(rule=RULES, due=st.dates(date(1900, 1, 1), date(2999, 12, 31)))
def test_a_recurrence_rule_of_any_parts_is_refused_or_yields_a_later_date_within_2_seconds(
    rule: str, due: date
) -> None:
    began = time.process_time()
    try:
        kept = rrule.normalize(rule)
        occurrences.check_recurs(kept, due)
        following = occurrences.next_date(kept, due, due)
    except ValidationError:
        following = None
    assert following is None or due < following <= date(2999, 12, 31)
    assert time.process_time() - began < 2  # it takes milliseconds, and an endless search would never end


@BOUNDED
@given(value=JSON, edits=EDITS)
def test_modified_json_is_parsed_like_json_loads_or_refused(value: Any, edits: list[tuple[float, int, bytes]]) -> None:
    raw = apply_edits(json.dumps(value).encode(), edits)
    try:
        read = strict_json.loads(raw)
    except ValueError:
        return
    assert json.dumps(read, allow_nan=False) == json.dumps(json.loads(raw.decode()), allow_nan=False)


@BOUNDED
@given(
    st.lists(st.sampled_from([b"[", b"{", b'"a":', b"1", b"]", b"}", b",", b'"', b"\\", b"u00", b"e9"]), max_size=30),
    st.sampled_from([1, 100, 20_000]),
)
def test_nested_brackets_are_parsed_like_json_loads_or_refused(pieces: list[bytes], times: int) -> None:
    raw = b"".join(piece * times for piece in pieces)[:65_536]
    try:
        strict_json.loads(raw)
    except ValueError:
        return
    json.loads(raw)
