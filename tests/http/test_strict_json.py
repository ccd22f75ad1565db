"""The strict JSON parser: unambiguous values, or ValueError."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskapi.http.strict_json import loads

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
