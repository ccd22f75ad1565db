"""Limits on the members of an object and of a query, and text without a visible character.

Tests of many violations: tasks/test_bad_input.py.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from taskapi.http.fields.invisible import DEFAULT_IGNORABLE, is_blank
from taskapi.http.fields.strict import MAX_MEMBERS
from tests.conftest import Person


def test_an_object_with_too_many_members_is_rejected_as_a_whole(alice: Person):
    members = {f"x{n}": 1 for n in range(MAX_MEMBERS + 1)}
    error = {"detail": "Must have at most 100 members.", "code": "length"}
    assert alice.post(json=members).get_json()["errors"] == [{"pointer": "", **error}]
    batch = alice.post("/batch", json={"operations": [members]})
    assert batch.get_json()["errors"] == [{"pointer": "/operations/0", **error}]


def test_a_query_with_many_unknown_parameters_gets_a_short_error(alice: Person):
    refused = alice.get("?" + "&".join(f"x{n}=" for n in range(1000)))
    assert refused.status_code == 400
    assert len(refused.data) < 1000


INVISIBLE = {
    "zero width space": "\u200b",
    "zero width joiners": "\u200c\u200d\u2060",
    "byte order mark": "\ufeff",
    "bidirectional marks": "\u200e\u200f\u061c",
    "right-to-left override": "\u202e\u202c",
    "isolates": "\u2066\u2069",
    "soft hyphen": "\u00ad",
    "combining grapheme joiner": "\u034f",
    "variation selector": "\ufe0f",
    "supplementary variation selector": "\U000e0100",
    "tags": "\U000e0041\U000e007f",
    "Hangul fillers": "\u115f\u1160\u3164\uffa0",
    "braille blank": "\u2800",
    "Mongolian vowel separator": "\u180e",
    "annotation": "\ufff9\ufffb",
    "musical format character": "\U0001d173",
    "spaces between": "\u3164 \u00a0\u3000\u200b\u2800",
}
"""Texts that show nothing."""

VISIBLE = (
    ".",
    "\u200bx",
    "❤\ufe0f",
    "👨\u200d👩\u200d👧",
    "می\u200cخواهم",
    "1\ufe0f\u20e3",
    "\u2801",
    "\u0e31",
    "\U0001f3f4\U000e0067",
)
"""Texts with invisible characters, and at least one that is visible."""


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
def test_a_title_or_tag_of_invisible_characters_only_is_422_everywhere(alice: Person, text: str):
    alice.add()
    wrong: list[tuple[str, str, Any, str]] = [
        ("POST", "/tasks", {"title": text}, "/title"),
        ("POST", "/tasks", {"title": f" {text} "}, "/title"),
        ("PUT", "/tasks/1", {"title": text}, "/title"),
        ("PATCH", "/tasks/1", {"tags": ["home", text]}, "/tags/1"),
        (
            "POST",
            "/tasks/batch",
            {"operations": [{"op": "create", "task": {"title": text}}]},
            "/operations/0/task/title",
        ),
        ("POST", "/import", {"tasks": [{"title": "x", "tags": [text]}]}, "/tasks/0/tags/0"),
    ]
    for method, path, body, pointer in wrong:
        response = alice.data(method, path, json=body)
        assert response.status_code == 422, path
        assert [(error["pointer"], error["code"]) for error in response.get_json()["errors"]] == [(pointer, "length")]
    assert alice.get(query_string={"tag": text}).status_code == 400
    assert alice.titles() == ["Buy milk"]


def test_a_title_or_tag_with_a_visible_character_keeps_its_invisible_ones(alice: Person):
    for text in VISIBLE:
        task = alice.add(text, tags=[text])
        assert (task["title"], task["tags"]) == (text, [text])


def test_the_table_of_invisible_characters_has_every_character_of_unicodedata_that_formats_text():
    """Except those that have a glyph: number signs and similar marks that enclose or precede digits."""
    formats = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"]
    visible = {unicodedata.name(each) for each in formats if not is_blank(each)}
    marks = ("SIGN", "MARK", "AYAH", "HIEROGLYPH", "ABOVE")  # Egyptian format controls arrange signs, which are there
    assert [name for name in visible if not any(word in name for word in marks)] == []
    assert all(is_blank(chr(code)) for first, last in DEFAULT_IGNORABLE for code in (first, last))
