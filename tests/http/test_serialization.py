"""Compiled schemas dump what marshmallow dumps, and refuse unknown fields when they are constructed."""

from __future__ import annotations

from collections import namedtuple
from datetime import UTC, date, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, fields

from taskapi.http.fields.scalars import OneOf, PositiveInteger
from taskapi.http.fields.strict import StrictField
from taskapi.http.fields.time import Timestamp, rfc3339
from taskapi.http.serialization import SLICE_ROWS, CompiledSchema
from taskapi.tasks.members import PRIORITIES, REPEAT_FROM
from taskapi.tasks.schemas import TaskOut, task_out, tasks_out

OFFSETS = (UTC, ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu"), timezone(timedelta(hours=-9, minutes=-30)))


class Numbered(NamedTuple):
    """A row with an id only."""

    id: int


texts = st.text(max_size=5)
numbers = st.integers(1, 10**18 - 1)
times = st.builds(
    datetime.replace,
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.sampled_from(OFFSETS)),  # noqa: DTZ001
    microsecond=st.sampled_from((0, 1, 999, 1000, 440_000, 999_999)) | st.integers(0, 999_999),
)
rows = st.builds(
    SimpleNamespace,
    id=numbers,
    user_id=texts,
    title=texts,
    description=st.none() | texts,
    completed=st.booleans(),
    completed_at=st.none() | times,
    priority=st.sampled_from([*PRIORITIES.values()]),
    tags=st.lists(texts, max_size=3).map(tuple),
    due_date=st.none() | st.dates(),
    due_time=st.none() | st.just("09:30"),
    time_zone=st.none() | st.just("Europe/Berlin"),
    due_at=st.none() | times,
    recurrence=st.none() | st.just("FREQ=DAILY"),
    repeat_from=st.sampled_from([*REPEAT_FROM.values()]),
    series_id=st.none() | numbers,
    occurrence=st.none() | numbers,
    next_task_id=st.none() | numbers,
    position=texts,
    revision=numbers,
    created_at=times,
    updated_at=times,
    deleted_at=st.none() | times,
)


def in_milliseconds(time: datetime | None) -> str | None:
    return time and time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@given(rows)
def test_the_compiled_dump_equals_marshmallow_s(row: SimpleNamespace) -> None:
    made = task_out.dump(row)
    assert list(made.items()) == list(Schema.dump(task_out, row).items())


@given(st.lists(rows, max_size=3), st.lists(rows, max_size=3))
def test_rows_are_serialized_by_the_names_of_their_columns(first: list[SimpleNamespace], others: list[SimpleNamespace]):
    columns = [*TaskOut().fields, "occurrence", "revision"]
    columns.remove("version")
    forward, backward = namedtuple("Forward", columns), namedtuple("Backward", [*reversed(columns), "last"])  # noqa: PYI024
    tuples: list[Any] = [forward(**vars(row)) for row in first] + [backward(**vars(row), last=1) for row in others]
    assert tasks_out.dump(tuples) == [task_out.dump(row) for row in first + others]


@given(rows)
def test_a_task_is_serialized_as_documented(row: SimpleNamespace) -> None:
    written = orjson.loads(orjson.dumps(task_out.dump(row)))
    expected = vars(row).copy()
    expected["version"] = expected.pop("revision")
    del expected["occurrence"]
    for name in ("completed_at", "due_at", "created_at", "updated_at", "deleted_at"):
        expected[name] = in_milliseconds(expected[name])
    expected["priority"] = {0: "none", 1: "low", 2: "medium", 3: "high"}[row.priority]
    expected["due_date"] = row.due_date and row.due_date.isoformat()
    expected["tags"] = list(row.tags)
    assert written == expected


@given(st.lists(rows, max_size=3))
def test_dump_many_is_a_list_of_single_dumps(several: list[SimpleNamespace]) -> None:
    one_by_one = [task_out.dump(row) for row in several]
    assert tasks_out.dump(several) == task_out.dump(several, many=True) == one_by_one
    assert tasks_out.dump(iter(several)) == one_by_one


def test_serializing_a_large_page_yields_to_other_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    yields: list[float] = []
    schema, row = TaskOut(only=("id",)), SimpleNamespace(id=1)
    monkeypatch.setattr("taskapi.concurrency.cooperative.time.sleep", yields.append)
    assert len(schema.dump([row] * 1000, many=True)) == 1000
    assert len(yields) == 1000 / SLICE_ROWS
    assert len(schema.dump([row] * 100, many=True)) == 100
    assert len(yields) == 1000 / SLICE_ROWS, "a small page does not"


def test_a_schema_with_only_dumps_those_members() -> None:
    row = SimpleNamespace(id=1, revision=7)
    assert TaskOut(only=("id", "version")).dump(row) == {"id": 1, "version": 7}


def test_a_row_without_a_member_is_an_error() -> None:
    with pytest.raises(AttributeError):
        TaskOut(only=("id", "version")).dump(SimpleNamespace(id=1))
    with pytest.raises(AttributeError, match="revision"):
        TaskOut(only=("id", "version"), many=True).dump([Numbered(1)])


def test_null_is_never_converted() -> None:
    class Nulls(CompiledSchema):
        when = Timestamp()
        word = OneOf({"yes": True})

    assert Nulls().dump(SimpleNamespace(when=None, word=None)) == {"when": None, "word": None}


def test_a_data_key_can_contain_any_character() -> None:
    class Named(CompiledSchema):
        number = PositiveInteger(data_key="it's")

    assert Named().dump(SimpleNamespace(number=1)) == {"it's": 1}


def test_choice_serializes_the_first_of_several_words_for_a_value() -> None:
    class Words(CompiledSchema):
        word = OneOf({"first": 1, "second": 1, "other": 2})

    assert [Words().dump(SimpleNamespace(word=meaning)) for meaning in (1, 2)] == [{"word": "first"}, {"word": "other"}]


def test_choice_raises_for_a_value_without_a_word() -> None:
    with pytest.raises(KeyError):
        TaskOut(only=("priority",)).dump(SimpleNamespace(priority=9))


class Odd(StrictField):
    """A field that overrides marshmallow's `_serialize`, which a compiled schema does not call."""

    def _serialize(self, value: Any, *_: Any, **__: Any) -> str:
        return f"<{value}>"


@pytest.mark.parametrize("field", [fields.DateTime(), fields.Decimal(), fields.Raw(), fields.Email(), Odd({})])
def test_a_field_without_a_known_conversion_is_refused_at_construction(field: fields.Field[Any]) -> None:
    schema = CompiledSchema.from_dict({"strange": field})
    with pytest.raises(TypeError, match=r"of 'strange' has no conversion that can be compiled"):
        schema()


@pytest.mark.parametrize(
    ("time", "written"),
    [
        (datetime(2026, 11, 21, 9, 30, tzinfo=UTC), "2026-11-21T09:30:00.000Z"),
        (datetime(2026, 11, 21, 9, 30, 1, 999, tzinfo=UTC), "2026-11-21T09:30:01.000Z"),
        (datetime(2026, 11, 21, 9, 30, 1, 999_999, tzinfo=UTC), "2026-11-21T09:30:01.999Z"),
        (datetime(2026, 11, 21, 0, 0, 0, 5000, tzinfo=ZoneInfo("Asia/Kathmandu")), "2026-11-20T18:15:00.005Z"),
        (datetime(33, 2, 1, tzinfo=UTC), "0033-02-01T00:00:00.000Z"),
    ],
)
def test_times_are_truncated_to_milliseconds(time: datetime, written: str) -> None:
    assert rfc3339(time) == written


def test_dates_are_serialized_by_orjson() -> None:
    class Days(CompiledSchema):
        day = TaskOut._declared_fields["due_date"]

    assert orjson.dumps(Days().dump(SimpleNamespace(day=date(2026, 2, 3)))) == b'{"day":"2026-02-03"}'
