"""Strict schemas load what marshmallow loads; limits on members. Tests of violations: tasks/test_bad_input.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError, post_load

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


def test_a_query_with_many_unknown_parameters_gets_a_short_error(alice: Person):
    refused = alice.get("?" + "&".join(f"x{n}=" for n in range(1000)))
    assert refused.status_code == 400
    assert len(refused.data) < 1000
