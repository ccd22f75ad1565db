"""An import changes only tasks that are the same by owner, number and creation time; others get a number that is free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from taskapi.tasks.transfer.import_statements import MAX_IMPORTED_ID
from tests.conftest import Person, superuser_engine
from tests.imports import CREATED

Task = dict[str, Any]

FILES = [("csv", "text/csv"), ("ics", "text/calendar")]


def exported(person: Person) -> list[Task]:
    """Return the tasks of the JSON export."""
    tasks: list[Task] = person.data("GET", "/export").get_json(force=True)["tasks"]
    return tasks


def imported(person: Person, *tasks: Task) -> dict[str, Any]:
    """Import tasks and return the result; the request must succeed."""
    response = person.data("POST", "/import", json={"tasks": tasks})
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.get_json()
    assert result["created"] + result["updated"] + result["unchanged"] == len(tasks)
    return result


def titles(person: Person) -> dict[int, str]:
    """Return the titles of all tasks by id, with those in the trash."""
    return {task["id"]: task["title"] for task in exported(person)}


def identity(task: Mapping[str, Any]) -> tuple[Any, ...]:
    return task["user_id"], task["id"], task["created_at"]


def test_the_export_of_another_user_is_added_beside_the_own_tasks(alice: Person, bob: Person) -> None:
    for title in ("a1", "a2", "a3"):
        alice.add(title)
    for title in ("b1", "b2", "b3"):
        bob.add(title)
    before = exported(bob)
    result = imported(bob, *exported(alice))
    assert result == {
        "created": 3,
        "updated": 0,
        "unchanged": 0,
        "renumbered": [{"from": 1, "to": 4}, {"from": 2, "to": 5}, {"from": 3, "to": 6}],
        "dropped": [],
    }
    assert exported(bob)[:3] == before
    assert [(task["title"], task["user_id"]) for task in exported(bob)[3:]] == [(f"a{n}", "bob") for n in (1, 2, 3)]
    assert [task["created_at"] for task in exported(bob)[3:]] == [task["created_at"] for task in exported(alice)]
    assert bob.add("next")["id"] == 7


def test_the_own_tasks_of_an_export_with_tasks_of_another_number_generation_are_kept(alice: Person) -> None:
    """After an erasure and 90 days the numbers begin at 1 again."""
    older = {"user_id": "alice", "id": 1, "created_at": CREATED, "title": "of an earlier account"}
    alice.add("of today")
    before = exported(alice)
    assert imported(alice, older)["renumbered"] == [{"from": 1, "to": 2}]
    assert exported(alice)[:1] == before
    assert titles(alice) == {1: "of today", 2: "of an earlier account"}


@pytest.mark.parametrize("state", ["live", "trash", "tombstone", "erased"])
def test_a_number_that_ever_belonged_to_a_task_is_given_to_no_task_of_another_user(alice: Person, state: str) -> None:
    alice.add("mine")
    if state in ("trash", "tombstone"):
        alice.delete("/1" + ("?permanent=true" if state == "tombstone" else ""))
    if state == "erased":
        alice.data("DELETE")
    before = titles(alice)
    assert imported(alice, {"user_id": "zoe", "id": 1, "title": "hers"})["renumbered"] == [{"from": 1, "to": 2}]
    assert titles(alice) == {**before, 2: "hers"}


@pytest.mark.parametrize("state", ["tombstone", "erased"])
def test_a_task_that_was_deleted_permanently_is_restored_under_its_number(alice: Person, state: str) -> None:
    alice.add("mine")
    alice.add("other")
    document = exported(alice)
    if state == "tombstone":
        alice.delete("/1?permanent=true")
    else:
        alice.data("DELETE")
    result = imported(alice, *document)
    assert (result["created"], result["renumbered"]) == (1 if state == "tombstone" else 2, [])
    assert titles(alice) == {1: "mine", 2: "other"}
    assert alice.add("next")["id"] == 3


@pytest.mark.parametrize("missing", ["user_id", "created_at"])
def test_a_task_of_the_file_without_owner_or_creation_time_changes_none(alice: Person, missing: str) -> None:
    alice.add("mine")
    before = exported(alice)
    task = {name: value for name, value in before[0].items() if name != missing}
    assert imported(alice, {**task, "title": "changed"})["renumbered"] == [{"from": 1, "to": 2}]
    assert exported(alice)[0] == before[0]
    assert titles(alice) == {1: "mine", 2: "changed"}


def test_a_number_above_the_counter_is_kept_and_raises_the_counter(alice: Person) -> None:
    alice.add("mine")
    assert imported(alice, {"user_id": "zoe", "id": 7, "title": "hers"}, {"title": "no number"})["renumbered"] == []
    assert titles(alice) == {1: "mine", 7: "hers", 8: "no number"}
    assert alice.add("next")["id"] == 9


@pytest.mark.parametrize(("format", "media_type"), [("json", "application/json"), *FILES])
def test_an_export_with_numbers_over_the_limit_is_taken_back_by_any_account(
    alice: Person, bob: Person, format: str, media_type: str
) -> None:
    """A new task gets such a number after an import of the highest one that is kept."""
    imported(alice, {"title": "highest", "id": MAX_IMPORTED_ID})
    assert alice.add("over")["id"] == MAX_IMPORTED_ID + 1
    file = alice.data("GET", f"/export?format={format}").data
    before = titles(alice)

    def load(person: Person) -> dict[str, int]:
        response = person.data("POST", "/import", data=file, content_type=media_type)
        return {name: response.get_json()[name] for name in ("created", "updated", "unchanged")}

    assert load(alice) == {"created": 0, "updated": 0, "unchanged": 2}
    alice.data("DELETE", "")
    assert load(alice) == {"created": 2, "updated": 0, "unchanged": 0}
    assert titles(alice) == before
    assert load(bob) == {"created": 2, "updated": 0, "unchanged": 0}


def test_a_file_never_raises_the_counter_over_the_limit(alice: Person) -> None:
    task = {"user_id": alice.id, "created_at": CREATED, "title": "x"}
    over = 10**18 - 1
    result = imported(alice, {**task, "id": over, "next_task_id": over - 1, "series_id": over - 2})
    assert result["renumbered"][0]["to"] <= 2
    assert alice.add()["id"] == 3


def test_two_tasks_of_the_file_with_one_number_are_both_created(alice: Person) -> None:
    both = [{"user_id": name, "id": 5, "title": name} for name in ("zoe", "yan")]
    assert imported(alice, *both)["renumbered"] == [{"from": 5, "to": 6}]
    assert titles(alice) == {5: "zoe", 6: "yan"}
    refused = alice.data("POST", "/import", json={"tasks": [both[0], both[0]]})
    assert [(each["pointer"], each["code"]) for each in refused.get_json()["errors"]] == [("/tasks/1/id", "unique")]


def test_an_own_task_keeps_its_number_if_a_task_of_another_owner_comes_before_it_in_the_file(alice: Person) -> None:
    alice.add("mine")
    (mine,) = exported(alice)
    result = imported(alice, {"user_id": "zoe", "id": 1, "title": "hers"}, {**mine, "title": "mine again"})
    assert result["renumbered"] == [{"from": 1, "to": 2}]
    assert titles(alice) == {1: "mine again", 2: "hers"}


def test_the_references_of_a_series_follow_its_numbers(alice: Person, bob: Person) -> None:
    for person in (alice, bob):
        person.add(f"daily of {person.id}", due_date="2900-01-01", recurrence="FREQ=DAILY;COUNT=3")
        person.patch("/1/complete")
    before = exported(bob)
    assert [(each["from"], each["to"]) for each in imported(bob, *exported(alice))["renumbered"]] == [(1, 3), (2, 4)]
    assert exported(bob)[:2] == before
    third, fourth = exported(bob)[2:]
    assert (third["series_id"], third["occurrence"], third["next_task_id"]) == (3, 1, 4)
    assert (fourth["series_id"], fourth["occurrence"], fourth["next_task_id"]) == (3, 2, None)
    last = bob.patch("/4/complete").get_json()["next_task_id"]
    assert bob.get(f"/{last}").get_json()["series_id"] == 3
    assert bob.patch(f"/{last}/complete").get_json()["next_task_id"] is None, "the series of three has ended"
    assert bob.patch("/2/complete").get_json()["next_task_id"] == last + 1, "the other series has not"


def test_a_series_whose_first_task_is_not_in_the_file_joins_no_other_series(alice: Person) -> None:
    alice.add("mine", due_date="2900-01-01", recurrence="FREQ=DAILY")
    alice.patch("/1/complete")
    hers = {"user_id": "zoe", "title": "hers", "due_date": "2900-01-01", "recurrence": "FREQ=DAILY", "series_id": 1}
    result = imported(alice, {**hers, "id": 2, "occurrence": 2}, {**hers, "id": 3, "occurrence": 3, "next_task_id": 2})
    assert result["renumbered"] == [{"from": 2, "to": 4}]
    series = {task["id"]: task["series_id"] for task in exported(alice)}
    assert series[1] == series[2] == 1
    assert series[4] == series[3] not in (None, *range(1, 5))
    assert alice.get("/3").get_json()["next_task_id"] == 4
    assert alice.add("next")["id"] > series[3]


def test_series_of_different_owners_with_one_number_stay_apart(alice: Person) -> None:
    daily = {"due_date": "2900-01-01", "recurrence": "FREQ=DAILY", "series_id": 5, "occurrence": 2}
    tasks = [{**daily, "user_id": name, "id": id, "title": name} for id, name in ((6, "zoe"), (7, "yan"), (5, "xia"))]
    imported(alice, *tasks)
    series = {task["title"]: task["series_id"] for task in exported(alice)}
    assert series["xia"] == 5, "it is the first task of its series"
    assert len({*series.values()}) == 3
    assert not {series["zoe"], series["yan"]} & {5, 6, 7, None}


def test_the_own_copy_of_another_users_task_is_another_task(alice: Person, bob: Person) -> None:
    alice.add("hers")
    imported(bob, *exported(alice))
    assert [identity(task)[1:] for task in exported(bob)] == [identity(task)[1:] for task in exported(alice)]
    bob.put("/1", json={"description": "notes of bob"})
    before = exported(bob)
    assert imported(bob, *exported(alice))["renumbered"] == [{"from": 1, "to": 2}]
    assert exported(bob)[:1] == before


def test_parts_of_an_export_keep_their_series_in_any_order(alice: Person) -> None:
    alice.add("daily", due_date="2900-01-01", recurrence="FREQ=DAILY")
    alice.patch("/1/complete")
    alice.patch("/2/complete")
    document = [{**task, "version": 0} for task in exported(alice)]
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        alice.data("DELETE")
        for index in order:
            assert imported(alice, document[index])["renumbered"] == []
        assert [{**task, "version": 0} for task in exported(alice)] == document


# Random edits, exports and imports of two users

USERS = ("alice", "bob")
EDITS = ("add", "add daily", "complete", "reopen", "edit", "delete", "destroy", "move", "erase")
steps = st.one_of(
    st.tuples(st.sampled_from(USERS), st.sampled_from(EDITS), st.integers(1, 6)),
    st.tuples(st.sampled_from(USERS), st.just("export"), st.just(0)),
    st.tuples(st.sampled_from(USERS), st.just("import"), st.integers(0, 5)),
    st.tuples(st.sampled_from(USERS), st.just("import all"), st.just(0)),
)


def edit(person: Person, action: str, id: int) -> None:
    """Make one of the `EDITS`; a task that does not exist is not edited."""
    if action == "add":
        person.add(f"of {person.id}", description="x", tags=["t"])
    elif action == "add daily":
        person.add(f"daily of {person.id}", due_date="2900-01-01", recurrence="FREQ=DAILY")
    elif action == "complete":
        person.patch(f"/{id}/complete", json={"completed": True})
    elif action == "reopen":
        person.patch(f"/{id}/complete", json={"completed": False})
    elif action == "edit":
        person.put(f"/{id}", json={"title": f"edited {person.revision()}"})
    elif action == "delete":
        person.delete(f"/{id}")
    elif action == "destroy":
        person.delete(f"/{id}?permanent=true")
    elif action == "move":
        person.post(f"/{id}/move", json={"after": None})
    else:
        person.data("DELETE")


def purge_counters(person: Person) -> None:
    """Delete the user's rows, as 90 days after an erasure: the numbers begin at 1 again."""
    assert person.data("DELETE").status_code == 204
    with person.client.application.app_context(), superuser_engine().begin() as connection:
        connection.execute(text("DELETE FROM users WHERE user_id = :user"), {"user": person.id})


def content(task: Task) -> Task:
    """Return the members of a task that do not depend on the account."""
    ignored = {"id", "user_id", "version", "series_id", "next_task_id", "occurrence"}
    return {name: value for name, value in task.items() if name not in ignored}


def check_import(person: Person, file: list[Task]) -> None:
    """Import a file, and check what must be true for each task of the user and of the file."""
    before = {task["id"]: task for task in exported(person)}
    renumbered = imported(person, *file)["renumbered"]
    after = {task["id"]: task for task in exported(person)}
    identities = {identity(task) for task in file}
    for id, task in before.items():
        if identity(task) not in identities:
            assert after[id] == task, "a task that is not in the file has changed"
    assert len({each["to"] for each in renumbered} | after.keys()) == len(after)
    assert not {each["to"] for each in renumbered} & before.keys()
    for task in file:
        assert content(task) in [content(each) for each in after.values()], "a task of the file is missing"
    if len({task["id"] for task in file}) == len(file):
        numbers = {task["id"]: task["id"] for task in file} | {each["from"]: each["to"] for each in renumbered}
        for task in file:
            check_references(person, task, after, numbers)


def check_references(person: Person, task: Task, after: Mapping[int, Task], numbers: Mapping[int, int]) -> None:
    """Check that a task of a file of one user is stored, and that its references mean the same tasks as in the file.

    `numbers` maps the numbers of the file to those after the import.
    """
    found = after[numbers[task["id"]]]
    assert content(found) == content(task)
    assert found["occurrence"] == task["occurrence"]
    if task["next_task_id"] in numbers:
        assert found["next_task_id"] == numbers[task["next_task_id"]]
    if task["user_id"] == person.id:
        return  # a task of an own older file may get a series of its own, if another one has its position meanwhile
    if task["next_task_id"] not in numbers:
        assert found["next_task_id"] is None
    if task["series_id"] is None:
        assert found["series_id"] is None
    else:
        assert found["series_id"] == numbers.get(task["series_id"], found["series_id"])
        members = {id for id, each in after.items() if each["series_id"] == found["series_id"]}
        assert members <= {*numbers.values()}, "the series has a task that is not in the file"


@given(st.sets(st.sampled_from(USERS)), st.lists(steps, min_size=4, max_size=16))
@example({*USERS}, [("alice", "export", 0), ("bob", "import", 0), ("bob", "export", 0), ("alice", "import", 1)])
@example({"alice"}, [("alice", "export", 0), ("bob", "import", 0), ("bob", "edit", 1), ("bob", "import", 0)])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_random_imports_change_no_other_task_and_keep_all_tasks_of_the_file(
    app: Flask, with_series: set[str], steps: list[Any]
) -> None:
    people = {name: Person(app.test_client(), name) for name in USERS}
    for person in people.values():
        purge_counters(person)
    for name in with_series:
        edit(people[name], "add daily", 0)
        edit(people[name], "complete", 1)
        edit(people[name], "add", 0)
    files: list[list[Task]] = []
    for name, action, number in steps:
        if action == "export":
            files.append(exported(people[name]))
        elif action == "import" and files:
            check_import(people[name], files[number % len(files)])
        elif action == "import all":
            check_import(people[name], [*{identity(task): task for file in files for task in file}.values()])
        elif action in EDITS:
            edit(people[name], action, number)
