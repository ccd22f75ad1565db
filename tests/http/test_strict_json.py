"""The strict JSON parser: unambiguous values, or ValueError."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskapi.http import strict_json
from taskapi.http.strict_json import ValueTooLong, loads, read_object

VALUES: dict[str, tuple[bytes, Any]] = {
    "object": (b'{"a": 1}', {"a": 1}),
    "empty object": (b"{}", {}),
    "array": (b"[1, 2]", [1, 2]),
    "string": (b'"x"', "x"),
    "text beyond ASCII": ('"ä \U0001f600 タ"'.encode(), "ä \U0001f600 タ"),
    "escaped pair": (b'"\\ud83d\\ude00"', "\U0001f600"),
    "null": (b"null", None),
    "booleans": (b"[true, false]", [True, False]),
    "whitespace around": (b" \t\r\n1 ", 1),
    "float": (b"-1.5e3", -1500.0),
    "tiny float": (b"1e-400", 0.0),
    "integer beyond 64 bits": (b"123456789012345678901234567890", 123456789012345678901234567890),
    "same member in two objects": (b'[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
    "same member at two depths": (b'{"a": {"a": 1}}', {"a": {"a": 1}}),
    "members that differ in case": (b'{"a": 1, "A": 2}', {"a": 1, "A": 2}),
    "a BOM inside of a string": (b'"\xef\xbb\xbf"', "\ufeff"),
}


@pytest.mark.parametrize(("raw", "value"), VALUES.values(), ids=VALUES.keys())
def test_valid_json_is_parsed(raw: bytes, value: Any) -> None:
    assert loads(raw) == value


INVALID: dict[str, bytes] = {
    "nothing": b"",
    "whitespace only": b"  ",
    "cut short": b'{"a": 1',
    "two values": b"{} {}",
    "trailing comma": b"[1,]",
    "single quotes": b"{'a': 1}",
    "comment": b"[1] // one",
    "leading zero": b"01",
    "plus sign": b"+1",
    "hexadecimal": b"0x1",
    "Arabic digits": "\u0661".encode(),
    "no digit after the point": b"1.",
    "raw control character": b'"a\nb"',
    "raw NUL": b'"a\x00b"',
    "unknown escape": b'"\\x41"',
    "no-break space around": b"\xc2\xa01",
    "BOM": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without a BOM": '{"a": 1}'.encode("utf-16-le"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "Latin-1": b'"\xe9"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "member twice": b'{"a": 1, "a": 2}',
    "member twice with one value": b'{"a": 1, "a": 1}',
    "member twice, once escaped": b'{"a": 1, "\\u0061": 2}',
    "member twice, deep": b'[{"x": [{"a": 1, "b": 2, "a": 3}]}]',
    "NaN": b"[NaN]",
    "Infinity": b"Infinity",
    "-Infinity": b'{"a": -Infinity}',
    "a number that becomes infinite": b"[1e400]",
    "a number that becomes minus infinite": b"-1e400",
    "integer of 5,000 digits": b"1" * 5000,
    "5,000 arrays": b"[" * 5000 + b"]" * 5000,
    "100,000 open arrays": b"[" * 100_000,
    "5,000 objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
}


@pytest.mark.parametrize("raw", INVALID.values(), ids=INVALID.keys())
def test_json_that_parsers_interpret_differently_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        loads(raw)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


@given(value=JSON, ascii_only=st.booleans())
def test_any_json_value_round_trips(value: Any, *, ascii_only: bool) -> None:
    assert loads(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary() | st.text(alphabet='{}[]":,0123456789.eE+-truefalsn\\u \ufeff').map(str.encode))
def test_arbitrary_bytes_raise_only_value_error(raw: bytes) -> None:
    try:
        value = loads(raw)
    except ValueError:
        return
    assert value == json.loads(raw.decode())


# Long documents


def read(raw: bytes) -> Any:
    """Parse a document whose array `items` is read item by item."""
    return read_object(raw, {"items": list})


@pytest.fixture
def pieces_of_3_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode documents in pieces of 3 bytes: they end within characters, escapes and numbers."""
    monkeypatch.setattr(strict_json, "PIECE_BYTES", 3)


@pytest.mark.usefixtures("pieces_of_3_bytes")
@pytest.mark.parametrize(
    "around", [b"%s", b'{"items": %s}', b'{"items":[%s]}', b' { "items" : [ 1 , %s ] , "b" : 2 } ']
)
@pytest.mark.parametrize("raw", VALUES.values(), ids=VALUES.keys())
def test_a_document_read_by_items_has_the_value_that_loads_returns(raw: tuple[bytes, Any], around: bytes) -> None:
    document = around.replace(b"%s", raw[0])
    assert read(document) == loads(document)


@pytest.mark.usefixtures("pieces_of_3_bytes")
@pytest.mark.parametrize(
    "around", [b"%s", b'{"items": %s}', b'{"items":[%s]}', b'{"items":[1,%s,2]}', b'{"items":[], "b":%s}']
)
@pytest.mark.parametrize("raw", [raw for name, raw in INVALID.items() if "," not in name], ids=str)
def test_a_document_that_loads_rejects_is_rejected_by_items(raw: bytes, around: bytes) -> None:
    document = around.replace(b"%s", raw)
    try:
        loads(document)
    except ValueError:
        with pytest.raises(ValueError):
            read(document)
    else:
        assert read(document) == loads(document)


MALFORMED = (
    *(b'{"items":[1 2]}', b'{"items":[,1]}', b'{"items":[1,]}', b'{"items":[1}', b'{"items":[1]', b'{"items" [1]}'),
    *(
        b'{"items":[1],}',
        b'{,"items":[1]}',
        b'{"items":[1]}}',
        b'{"items":[1] "b":2}',
        b"{items:[1]}",
        b'{"items":[1]}x',
    ),
    *(b'{"items":[1],"items":[1]}', b'{"items":[1],"items":2}', b"{1:2}", b'{"items":}'),
)


@pytest.mark.parametrize("raw", MALFORMED, ids=str)
def test_a_malformed_long_document_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        loads(raw)
    with pytest.raises(ValueError):
        read(raw)


def test_a_value_over_the_limit_and_too_many_members_are_value_errors() -> None:
    fits = b'{"items":["%s"]}' % (b"x" * (strict_json.MAX_VALUE_CHARACTERS - 2))
    assert read(fits) == loads(fits)
    for raw in (b'{"items":["%s"]}', b'{"b":"%s"}', b'"%s"', b'{"items":[1,%s'):
        with pytest.raises(ValueTooLong):
            read(
                raw.replace(b"%s", b"x" * 2 * strict_json.MAX_VALUE_CHARACTERS)
                if b'"%s' in raw
                else raw.replace(b"%s", b"[" + b"1," * strict_json.MAX_VALUE_CHARACTERS)
            )
    members = b",".join(b'"%d":1' % number for number in range(strict_json.MAX_MEMBERS + 1))
    with pytest.raises(ValueError, match="too many"):
        read(b"{%s}" % members)


@pytest.mark.parametrize("invalid", [b"tru", b'"\n"', b"[1 2]", b'{"a":1,"a":1}', b"NaN", b"1e999"], ids=str)
def test_a_malformed_value_is_not_called_too_long_whatever_follows(invalid: bytes) -> None:
    raw = b'{"items":[{"title":%s}%s]}' % (invalid, b',{"title":"x"}' * (strict_json.MAX_VALUE_CHARACTERS // 10))
    with pytest.raises(ValueError) as raised:
        read(raw)
    assert not isinstance(raised.value, ValueTooLong)


def test_a_value_that_is_cut_at_any_character_is_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = rb' [ {"a" : "x\ud83d\ude00\n\u00e4" , "b" : [ -1.5e+10 , true , false, null , [ ] ] } , -12, "%s" ]' % (
        b"x" * 40
    )
    monkeypatch.setattr(strict_json, "MAX_VALUE_CHARACTERS", 0)
    for characters in range(2, len(raw)):
        monkeypatch.setattr(strict_json, "PIECE_BYTES", characters)
        with pytest.raises(ValueTooLong):
            read(raw)


def test_a_long_document_yields_after_each_piece_and_is_not_in_memory_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    yields: list[float] = []
    monkeypatch.setattr("taskapi.concurrency.cooperative.time.sleep", yields.append)
    at_yields = []
    raw = b'{"items":[%s]}' % b",".join([b'{"title":"%s"}' % (b"x" * 500)] * 2000)

    def count(items: Any) -> int:
        at_yields.extend(len(yields) for _ in items)
        return len(at_yields)

    assert read_object(raw, {"items": count}) == {"items": 2000}
    assert len(yields) >= len(raw) // strict_json.PIECE_BYTES
    assert at_yields[0] <= 1, "the first item is read before the second piece is decoded"
