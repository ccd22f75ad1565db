"""Whatever is thrown at a reader of sealed or signed text, it answers with what was sealed, or refuses in its own words."""

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

from taskapi.auth.jwk_parser import Key
from taskapi.auth.keys import KeySource, SharedSecrets
from taskapi.auth.logout_tokens import parse_logout_token
from taskapi.auth.tokens import InvalidToken, User, Verifier
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

# On a busy machine it may take long to make examples, which is no fault of theirs.
BOUNDED = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NOW = 1_800_000_000
CLAIMS = {"sub": "alice", "iat": NOW, "exp": NOW + 900}
STATE = State(revision=7, epoch="a" * 32)
SELECTION = Selection(limit=1000)
SOME_TEXT = st.text(max_size=80) | st.text("ABCabc019-_.=~ \0\ud800é", max_size=80)


class Published:
    """The public keys of some signers, without a key server: what is read here is the token."""

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


def good(signers: dict[str, Signer], algorithm: str, sub: str = "alice") -> str:
    claims = {**CLAIMS, "sub": sub}
    signer = signers.get(algorithm)
    return signer.token(claims) if signer else compact({"alg": "HS256"}, claims, hs256())


ALGORITHMS = st.sampled_from(["HS256", *KEY_PAIR_ALGORITHMS])
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.binary(max_size=3)), min_size=1, max_size=6
)


def edited(raw: bytes, edits: Sequence[tuple[float, int, bytes]]) -> bytes:
    """Bytes with some of them taken out and others put in, at several places."""
    for place, taken, put in edits:
        at = int(place * (len(raw) + 1))
        raw = raw[:at] + put + raw[at + taken :]
    return raw


@BOUNDED
@given(algorithm=ALGORITHMS, edits=EDITS)
def test_a_token_that_is_edited_anywhere_names_nobody(
    verifier: Verifier, signers: dict[str, Signer], algorithm: str, edits: list[tuple[float, int, bytes]]
) -> None:
    token = good(signers, algorithm)
    text = edited(token.encode(), edits).decode("utf-8", "surrogateescape")
    try:
        user = verifier.verify(text)
    except InvalidToken:
        return
    assert (text, user) == (token, User("alice"))


@BOUNDED
@given(algorithm=ALGORITHMS, part=st.integers(0, 2), edits=EDITS)
def test_a_token_that_is_edited_below_its_encoding_names_nobody(
    verifier: Verifier, signers: dict[str, Signer], algorithm: str, part: int, edits: list[tuple[float, int, bytes]]
) -> None:
    token = good(signers, algorithm)
    parts = [urlsafe_b64decode(text + "==") for text in token.split(".")]
    parts[part] = edited(parts[part], edits)
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
def test_a_token_put_together_from_others_names_nobody_but_who_signed_all_of_it(
    verifier: Verifier, signers: dict[str, Signer], algorithms: tuple[str, ...], subs: tuple[str, ...]
) -> None:
    tokens = [good(signers, algorithm, sub) for algorithm, sub in zip(algorithms, subs, strict=True)]
    text = ".".join(token.split(".")[part] for part, token in enumerate(tokens))
    try:
        user = verifier.verify(text)
    except InvalidToken:
        return
    # The signature is of just this header and these claims, whichever of the tokens they came with.
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
def test_a_notice_that_is_well_signed_says_who_and_which_or_is_refused(
    verifier: Verifier, claims: dict[str, Any], events: Any
) -> None:
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
        notice = parse_logout_token(verifier, compact({"alg": "HS256", "typ": "logout+jwt"}, about, hs256()))
    except InvalidToken:
        return
    assert (notice.id, notice.user) == (about["jti"], User(about["sub"], about["sid"]))


# What the service sealed itself

PLACES = st.tuples(st.text(max_size=20) | st.integers() | st.none(), st.integers())


def of_cursor(text: str) -> Any:
    """As a view reads it."""
    return cursors.decode_cursor(list_query.load({"cursor": text}), STATE)


def of_since(text: str) -> tokens.SyncPosition:
    """As a view reads it."""
    return tokens.decode_token(changes_query.load({"since": text})["since"], STATE)


REFUSED_PLACE = (ValidationError, tokens.InvalidSyncToken, tokens.SyncTokenExpired)


@BOUNDED
@given(SOME_TEXT | st.builds("{}.{}".format, SOME_TEXT, SOME_TEXT) | st.binary(min_size=1).map(base64url))
def test_no_text_is_a_cursor_that_was_not_sealed(text: str) -> None:
    with pytest.raises((ValidationError, BadCursor)):
        of_cursor(text)


@BOUNDED
@given(place=st.tuples(st.text("ab\u00e9 ", max_size=20), st.integers(0, 2**63)), edits=EDITS)
def test_a_cursor_that_is_edited_opens_no_other_place(place: Any, edits: list[tuple[float, int, bytes]]) -> None:
    text = edited(cursors.encode_cursor(place, SELECTION, STATE).encode(), edits).decode("utf-8", "surrogateescape")
    try:
        opened = of_cursor(text)
    except (ValidationError, BadCursor):
        return
    # The last character has bits that stand for nothing: another spelling of the same seal.
    assert opened == place


@BOUNDED
@given(
    SOME_TEXT
    | st.builds("{}.{}".format, st.just(STATE.epoch_id) | st.from_regex("[0-9a-f]{8}", fullmatch=True), SOME_TEXT)
)
def test_no_text_is_a_place_in_the_feed_that_was_not_sealed(text: str) -> None:
    try:
        place = of_since(text)
    except REFUSED_PLACE:
        return
    assert text.strip() == "0"  # of who has no data: it begins at the beginning
    assert place == tokens.SyncPosition(0, 2**63 - 1, initial_revision=0)


@BOUNDED
@given(revision=st.integers(0, 9), number=st.integers(0, 2**63 - 1), initial_revision=st.integers(0, 9), edits=EDITS)
def test_a_place_in_the_feed_that_is_edited_opens_no_other(
    revision: int, number: int, initial_revision: int, edits: list[tuple[float, int, bytes]]
) -> None:
    place = tokens.SyncPosition(revision, number, initial_revision)
    text = edited(tokens.encode_token(place, STATE).encode(), edits).decode("utf-8", "surrogateescape")
    try:
        opened = of_since(text)
    except REFUSED_PLACE:
        return
    assert opened in (place, tokens.SyncPosition(0, 2**63 - 1, initial_revision=0))
    assert opened == place or text.strip() == "0"


@BOUNDED
@given(
    value=JSON, salt=st.sampled_from(["taskapi.feed", "itsdangerous", "", f"taskapi.cursor {SELECTION.signed_filters}"])
)
def test_a_seal_of_another_key_or_for_another_use_opens_nothing(value: Any, salt: str) -> None:
    forged = str(URLSafeSerializer("b" * 32, salt=salt).dumps(value))
    with pytest.raises((ValidationError, BadCursor)):
        of_cursor(forged)
    with pytest.raises((ValidationError, tokens.InvalidSyncToken)):
        of_since(f"{STATE.epoch_id}.{forged}")


# What is only read

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
def test_a_rule_of_any_parts_is_refused_or_has_a_next_day_soon(rule: str, due: date) -> None:
    began = time.process_time()
    try:
        kept = rrule.normalize(rule)
        occurrences.check_recurs(kept, due)
        following = occurrences.next_date(kept, due, due)
    except ValidationError:
        following = None
    assert following is None or due < following <= date(2999, 12, 31)
    assert time.process_time() - began < 2  # milliseconds; of a rule that is walked for ever, never


@BOUNDED
@given(value=JSON, edits=EDITS)
def test_json_that_is_edited_is_json_still_or_refused(value: Any, edits: list[tuple[float, int, bytes]]) -> None:
    raw = edited(json.dumps(value).encode(), edits)
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
def test_brackets_in_any_number_and_order_are_json_or_refused(pieces: list[bytes], times: int) -> None:
    raw = b"".join(piece * times for piece in pieces)[:65_536]
    try:
        strict_json.loads(raw)
    except ValueError:
        return
    json.loads(raw)
