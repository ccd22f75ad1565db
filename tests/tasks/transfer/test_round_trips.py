"""Random tasks: an export in each format is taken back without a change, and restores the tasks after an erasure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.conftest import Person

MEDIA_TYPES = {"json": "application/json", "csv": "text/csv", "ics": "text/calendar"}

CHARACTERS = st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("'\"=+-@,;:\\n")
TITLES = st.text(CHARACTERS, min_size=1, max_size=20)
TIMES = st.sampled_from(["1999-12-31T23:59:59.999Z", "2026-11-20T09:30:00.007Z", "2026-11-20T09:30:00Z"])
RULES = st.sampled_from(
    [
        *("FREQ=DAILY", "FREQ=DAILY;INTERVAL=2;COUNT=9", "FREQ=WEEKLY;BYDAY=MO,FR;WKST=SU;UNTIL=20991231"),
        *("FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1", "FREQ=YEARLY;UNTIL=20310101T120000Z", None),
    ]
)
DATED = st.fixed_dictionaries(
    {"due_date": st.sampled_from(["1900-01-01", "2026-03-29", "2040-10-28", "2999-12-31"]), "recurrence": RULES},
    optional={
        "due_time": st.sampled_from(["00:00", "02:30", "23:59"]),
        "time_zone": st.sampled_from(["UTC", "Europe/Berlin", "America/Nuuk", "Pacific/Kiritimati", "Etc/GMT+12"]),
        "repeat_from": st.sampled_from(["due", "completion"]),
        "occurrence": st.sampled_from([1, 3, 20]),
    },
)
PLAIN = st.fixed_dictionaries(
    {"title": TITLES},
    optional={
        "description": st.none() | st.text(CHARACTERS | st.sampled_from("\n\t"), max_size=60),
        "tags": st.lists(st.text(CHARACTERS, min_size=1, max_size=10), max_size=4),
        "priority": st.sampled_from(["none", "low", "medium", "high"]),
        "completed": st.booleans(),
        "created_at": TIMES,
        "updated_at": TIMES,
    },
)
TASKS = st.lists(
    st.tuples(PLAIN, DATED | st.just({})).map(lambda parts: {**parts[0], **parts[1]}), min_size=1, max_size=4
)

CARRIED = {
    "json": {"position", "recurrence", "occurrence", "deleted_at"},
    "csv": {"recurrence"},
    "ics": set(),
}
"""By format: the members that a restored task has beside those of every format."""

EVERYWHERE = (
    *("id", "user_id", "title", "description", "completed", "completed_at", "priority", "tags", "due_date"),
    *("due_time", "time_zone", "due_at", "repeat_from", "created_at", "updated_at"),
)


def exported(person: Person) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = person.data("GET", "/export").get_json(force=True)["tasks"]
    return tasks


@pytest.mark.parametrize("format", MEDIA_TYPES)
@given(tasks=TASKS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_an_export_is_taken_back_without_a_change_and_restores_the_tasks(
    alice: Person, format: str, tasks: list[dict[str, Any]]
) -> None:
    assert alice.data("DELETE").status_code == 204
    assume(alice.data("POST", "/import", json={"tasks": tasks}).status_code == 200)
    before, tag = exported(alice), alice.get().headers["ETag"]
    file = alice.data("GET", f"/export?format={format}").data
    result = alice.data("POST", "/import", data=file, content_type=MEDIA_TYPES[format])
    assert result.get_json() == {
        "created": 0,
        "updated": 0,
        "unchanged": len(tasks),
        "renumbered": [],
        "dropped": [],
    }, result.text
    assert (exported(alice), alice.get().headers["ETag"]) == (before, tag)
    assert alice.data("DELETE").status_code == 204
    assert alice.data("POST", "/import", data=file, content_type=MEDIA_TYPES[format]).get_json()["created"] == len(
        tasks
    )
    for restored, old in zip(exported(alice), before, strict=True):
        for name in (*EVERYWHERE, *sorted(CARRIED[format])):
            if name != "repeat_from" or format != "ics" or old["recurrence"]:
                assert restored[name] == old[name], name
