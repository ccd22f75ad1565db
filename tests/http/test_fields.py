"""Strict schemas load what marshmallow loads; limits on members and queries; text without a visible character.

Tests of many violations: tasks/test_bad_input.py.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError, post_load

from taskapi.http.fields.invisible import DEFAULT_IGNORABLE, is_blank
from taskapi.http.fields.scalars import Flag, Text
from taskapi.http.fields.strict import MAX_MEMBERS, StrictSchema
from taskapi.tasks.schemas import completion_in, task_in
from tests.conftest import Person

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "title": st.sampled_from(["x", " x ", "", "x\n", 1]),
    "description": st.sampled_from(["", "a\nb", "\0"]),
    "completed": st.booleans() | st.just("yes"),
    "priority": st.sampled_from(["none", "high", "HIGH"]),
    "tags": st.sampled_from([[], ["a"], ["a", "A"], ["a", 1], "a"]),
    "due_date": st.sampled_from(["2026-11-30", "2026-11-31"]),
    "due_time": st.sampled_from(["09:30", "9:30"]),
    "time_zone": st.sampled_from(["Europe/Berlin", "Mars/Base"]),
    "recurrence": st.sampled_from(["FREQ=DAILY", "FREQ=HOURLY"]),
    "repeat_from": st.sampled_from(["due", "now"]),
    "id": st.integers(),
    "version": st.text(),
    "colour": st.text(),
}


def result(load: Any) -> Any:
    """Return what a load returns, or the messages of its error."""
    try:
        return load()
    except ValidationError as error:
        return error.messages


@given(
    members=st.fixed_dictionaries({}, optional={name: st.none() | values for name, values in VALUES.items()}),
    partial=st.sampled_from([None, False, True, ("title",)]),
)
@example(members={"title": "x", "priority": None, "tags": None, "description": None}, partial=None)
@example(members={}, partial=None)
def test_a_schema_loads_and_rejects_what_marshmallow_does(members: dict[str, Any], partial: Any):
    for schema in (task_in, completion_in):
        expected = result(lambda: Schema.load(schema, members, partial=partial))  # noqa: B023
        assert result(lambda: schema.load(members, partial=partial)) == expected  # noqa: B023


def test_the_hooks_and_defaults_of_a_schema_are_applied():
    class WithHook(StrictSchema):
        done = Flag()

        @post_load
        def _add(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
            return {**data, "hook": True}

    class WithDefault(StrictSchema):
        done = Flag(load_default=True)

    class WithAttribute(StrictSchema):
        done = Flag(data_key="isDone", attribute="completed")

    assert WithHook().load({"done": True}) == {"done": True, "hook": True}
    assert WithDefault().load({}) == {"done": True}
    assert WithAttribute().load({"isDone": False}) == {"completed": False}
    assert WithAttribute(many=True).load([{"isDone": False}]) == [{"completed": False}]


def test_the_functions_of_a_field_are_applied():
    def reject(_value: str) -> None:
        raise ValidationError("never")

    class Validated(StrictSchema):
        title = Text(most=5, validate=reject)

    class Converted(StrictSchema):
        title = Text(most=5, post_load=[str.upper])

    with pytest.raises(ValidationError):
        Validated().load({"title": "x"})
    assert Converted().load({"title": "x"}) == {"title": "X"}


def test_an_object_with_too_many_members_is_rejected_as_a_whole(alice: Person):
    members = {f"x{n}": 1 for n in range(MAX_MEMBERS + 1)}
    error = {"detail": "Must have at most 100 members.", "code": "length"}
    assert alice.post(json=members).get_json()["errors"] == [{"pointer": "", **error}]
    batch = alice.post("/batch", json={"operations": [members]})
    assert batch.get_json()["errors"] == [{"pointer": "/operations/0", **error}]


def test_unknown_members_are_named_after_the_others_in_the_order_of_the_object(alice: Person):
    members = {f"x{n}": 1 for n in range(9, 0, -1)}
    body = json.dumps({**members, "priority": 1})  # the client's `json` would sort the members
    refused = alice.post(data=body, content_type="application/json").get_json()
    assert [error["pointer"] for error in refused["errors"]] == [f"/{name}" for name in ("title", "priority", *members)]
    assert refused["detail"].startswith("title: Is required. priority: Must be one of none, low, medium, high. x9: Is")
    body = json.dumps({"operations": [{"op": "create", "task": {"title": "A", **members}}]})
    nested = alice.post("/batch", data=body, content_type="application/json").get_json()
    assert [error["pointer"] for error in nested["errors"]] == [f"/operations/0/task/{name}" for name in members]


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
    "blanks of Egyptian hieroglyphs": "\U00013441\U00013442",
    "null notehead": "\U0001d159",
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
