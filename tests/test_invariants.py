"""What holds for every route, statement, table and module there is, and for those not written yet."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask, has_app_context, request_started
from flask.testing import FlaskClient
from sqlalchemy import inspect, update
from werkzeug.test import TestResponse

from taskapi.database.base import db
from taskapi.http.errors import CATALOGUE
from taskapi.tasks.listing.schemas import list_query
from taskapi.tasks.listing.selection import SORTS
from taskapi.tasks.models import Task
from taskapi.tasks.positions import MAX_POSITION
from tests.auth.issuer import logout_token
from tests.conftest import Person, Statements, build, superuser_engine, token

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "taskapi"
MODULES = sorted(PACKAGE.rglob("*.py"))

CHALLENGE = 'Bearer realm="taskapi"'
ABSENT_IDS = ("0", "-1", "01", "1.0", "one", "%00", "9" * 19, "9" * 5000)


def api() -> list[tuple[str, str]]:
    """Every method and path template below /api, out of the routing table itself."""
    app = build("postgresql://nobody@127.0.0.1:1/nothing")  # it is never connected to
    return sorted(
        (method, re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS"}
        if rule.rule.startswith("/api")
    )


API = api()
every_route = pytest.mark.parametrize(("method", "path"), API, ids=str)
every_route_to_a_task = pytest.mark.parametrize(
    ("method", "path"), [(method, path) for method, path in API if "{id}" in path], ids=str
)


def at(path: str, user: str, id: int | str = 1) -> str:
    return path.format(user_id=user, id=id)


def written(response: TestResponse) -> tuple[int, list[tuple[str, str]], bytes]:
    """An answer, to the byte."""
    return response.status_code, sorted(response.headers.items()), response.data


class Untouched(io.RawIOBase):
    """A body that notices when it is read."""

    was_read = False

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: Any) -> int:
        self.was_read = True
        return 0


def send_untouched(client: FlaskClient, method: str, path: str, **headers: str) -> tuple[TestResponse, Untouched]:
    body = Untouched()
    response = client.open(
        path,
        method=method,
        headers=headers,
        content_type="application/json",
        environ_overrides={"wsgi.input": body, "CONTENT_LENGTH": "1000"},
    )
    return response, body


def test_the_routing_table_is_read_at_all():
    assert {("GET", "/api/{user_id}/tasks"), ("PATCH", "/api/{user_id}/tasks/{id}/complete")} <= set(API)
    assert len(API) >= 8


@every_route
def test_without_a_token_every_route_is_401_and_reads_nothing(
    client: FlaskClient, statements: Statements, method: str, path: str
):
    response, body = send_untouched(client, method, at(path, "alice"))

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == CHALLENGE
    assert not body.was_read
    assert not statements.sent


@every_route
def test_with_a_broken_token_every_route_is_401_and_reads_nothing(
    client: FlaskClient, statements: Statements, method: str, path: str
):
    response, body = send_untouched(
        client, method, at(path, "alice"), Authorization=f"Bearer {token('alice', secret='another' * 8)}"
    )

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith(f'{CHALLENGE}, error="invalid_token", error_description="')
    assert not body.was_read
    assert not statements.sent


@every_route
def test_anothers_path_is_403_and_tells_nothing(
    client: FlaskClient, alice: Person, statements: Statements, method: str, path: str
):
    alice.add()
    statements.clear()
    headers = {"Authorization": f"Bearer {token('mallory')}", "X-Request-Id": "the-same"}

    answers, bodies = zip(
        *(send_untouched(client, method, at(path, user, task), **headers) for user, task in [
            ("alice", 1), ("alice", 999), ("alice", "one"), ("nobody", 1), ("Mallory", 1), ("mallory%20", 1),
        ]),
        strict=True,
    )  # fmt: skip

    assert {answer.status_code for answer in answers} == {403}
    assert len({repr(written(answer)) for answer in answers}) == 1
    assert not any(body.was_read for body in bodies)
    assert not statements.sent


@every_route_to_a_task
def test_an_absent_task_is_404_whatever_the_reason(alice: Person, mallory: Person, method: str, path: str):
    for _ in range(3):
        mallory.add()
    alice.add()
    deleted, destroyed = alice.add()["id"], alice.add()["id"]
    assert alice.delete(f"/{deleted}").status_code == 204
    assert alice.delete(f"/{destroyed}?permanent=true").status_code == 204
    mallory.add()
    below = path.removeprefix("/api/{user_id}/tasks")
    # Never given, deleted for good, mallory's, and what is no id; what is in the trash can be restored and no more.
    absent = [999, destroyed, 4, *ABSENT_IDS]
    if below != "/{id}/restore":
        absent.append(deleted)

    answers = [alice.send(method, below.format(id=task), headers={"X-Request-Id": "the-same"}) for task in absent]

    assert {answer.status_code for answer in answers} == {404}
    assert len({repr(written(answer)) for answer in answers}) == 1


@pytest.mark.parametrize("path", sorted({path for _, path in API}))
def test_a_method_that_a_path_does_not_know_is_405_before_anything_else(
    client: FlaskClient, statements: Statements, path: str
):
    known = {method for method, other in API if other == path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "TRACE"} - known:
        response, body = send_untouched(client, method, at(path, "alice"))
        assert response.status_code == 405
        assert set(response.headers["Allow"].split(", ")) == known | {"OPTIONS"}
        assert not body.was_read
    assert not statements.sent


# The whole API, exercised once for each of the invariants below.

LISTINGS: dict[str, tuple[str, ...]] = {
    "limit": ("1", "1000", "0", "x"),
    "cursor": ("nonsense", ""),
    "sort": (*SORTS, "colour"),
    "status": ("all", "pending", "completed", "maybe"),
    "completed": ("true", "false", "1"),
    "priority": ("high", "none,medium", "highest"),
    "tag": ("home", "ÉTÉ", "%", ""),
    "due_from": ("2030-01-01", "2030-02-30"),
    "due_to": ("2030-01-01", "tomorrow"),
    "no_due": ("true", "false"),
    "overdue": ("true", "false"),
    "tz": ("Europe/Berlin", "Mars/Olympus"),
    "q": ("milk", "%", "é" * 300),
    "trash": ("true", "false"),
    "include": ("total", "nothing"),
}
"""Values for every parameter of the list, good and bad."""

TOGETHER = (
    "limit=1&limit=2",
    "status=all&completed=true",
    "colour=red",
    "tag=home&tag=garden&priority=high,low&q=a&status=pending&due_from=2020-01-01&due_to=2040-01-01",
    "overdue=true&tz=Pacific/Auckland",
    "no_due=true&overdue=true",
    "trash=true&q=a&sort=-due",
)
"""Parameters that go with one another, and such that do not."""

CONDITIONS = (None, '"999999"', 'W/"1", ""', "*", f'"{"9" * 30}"')


def olga(app: Flask) -> Person:
    """Somebody whose answers are not held against the OpenAPI description: the suite does that, and it takes time."""
    return Person(FlaskClient(app), "olga")


def exercise(person: Person) -> Iterator[TestResponse]:
    """Every endpoint, in success and in failure. What it yields are the answers as they come."""
    yield from creating(person)
    yield from listing(person)
    for task in ("1", "999", "one"):
        for condition in CONDITIONS:
            yield from aiming(person, task, {} if condition is None else {"If-Match": condition})
    yield from repeating(person)
    yield from moving(person)
    yield from retrying(person)
    yield from batching(person)
    yield from deleting(person)
    yield from following(person)
    yield from carrying(person)
    yield person.post(of="somebody-else", json={"title": "x"})
    yield person.client.get("/api/nobody/tasks")
    # The last, for nothing is there afterwards; and to what was never there it can be done as well.
    yield person.data("DELETE", "?colour=red")
    since = person.data("GET", "/changes").get_json()["next"]
    yield person.data("DELETE")
    yield person.data("DELETE")
    yield person.data("GET", "/changes", query_string={"since": since})
    yield person.post(json={"title": "Anew"})


def creating(person: Person) -> Iterator[TestResponse]:
    for body in (
        {"title": "Buy milk"},
        {"title": "Café", "description": "two\nlines", "completed": True},
        *({}, {"title": None}, {"title": "x" * 201}, {"title": "x", "colour": "red"}, []),
    ):
        yield person.post(json=body)
    yield person.post(data=b"{", content_type="application/json")
    yield person.post(data=b"title=x", content_type="application/x-www-form-urlencoded")
    yield person.post(data=b"x" * 70_000, content_type="application/json")
    for n in range(4):
        yield person.post(json={"title": f"Task {n}", "tags": ["home", f"Garden {n}"], "due_date": f"203{n}-01-31"})
    rich = {"title": "Repeat", "priority": "high", "due_date": "2020-01-31", "recurrence": "FREQ=MONTHLY"}
    yield person.post(json={**rich, "due_time": "09:30", "time_zone": "Europe/Berlin"})
    yield person.post(json={**rich, "repeat_from": "completion"})
    for members in ({"priority": 1}, {"tags": "home"}, {"due_time": "09:30"}, {"recurrence": "FREQ=SECONDLY"}):
        yield person.post(json={"title": "x", **members})


def listing(person: Person) -> Iterator[TestResponse]:
    assert set(LISTINGS) == set(list_query.fields), "a parameter of the list is not exercised"
    for method in ("GET", "HEAD", "OPTIONS"):
        yield person.send(method)
        yield person.send(method, "/")
    for name, values in LISTINGS.items():
        for value in values:
            yield person.get(query_string={name: value})
    for query in TOGETHER:
        yield person.get(f"?{query}")
    for sort in SORTS:
        following = f"?limit=2&sort={sort}&q=a&include=total"
        while following:
            response = person.get(following)
            yield response
            link = response.headers.get("Link", "")
            following = "?" + link.partition("?")[2].partition(">")[0] if link else ""
    yield person.get(headers={"If-None-Match": person.get().headers["ETag"]})


def aiming(person: Person, task: str, condition: dict[str, str]) -> Iterator[TestResponse]:
    """Everything that can be asked of one task, under a condition."""
    title = {"title": f"New under {condition}"}
    yield person.get(f"/{task}")
    yield person.get(f"/{task}", headers={"If-None-Match": "*"})
    yield person.send("HEAD", f"/{task}")
    for members in (title, title, {"title": ""}, {"description": None, "completed": False}):
        yield person.put(f"/{task}", json=members, headers=condition)
    yield person.patch(f"/{task}/complete", headers=condition)
    for members in ({"completed": True}, {"completed": "yes"}):
        yield person.patch(f"/{task}/complete", json=members, headers=condition)
    for members in ({"tags": ["a", "b"], "priority": "low"}, {"due_date": "2030-01-31"}, {"tags": [1]}):
        yield person.patch(f"/{task}", json=members, headers=condition)
    yield person.patch(f"/{task}", data=b'{"title": "x"}', content_type="application/merge-patch+json")
    yield person.patch(f"/{task}", data=b"title=x", content_type="text/plain")
    for place in ({"before": None}, {"after": 3}, {"before": 999}, {"before": 1, "after": 1}, {}):
        yield person.post(f"/{task}/move", json=place, headers=condition)
    yield person.post(f"/{task}/restore", headers=condition)


def repeating(person: Person) -> Iterator[TestResponse]:
    """Completing what repeats makes the next one; taking it back removes that, unless it was touched."""
    for task in [task for task in person.get().get_json() if task["title"] == "Repeat"]:
        for _ in range(2):
            yield person.patch(f"/{task['id']}/complete", json={"completed": True})
            yield person.patch(f"/{task['id']}/complete", json={"completed": False})
        done = person.patch(f"/{task['id']}/complete")
        yield done
        yield person.patch(f"/{done.get_json()['next_task_id']}", json={"title": "Touched"})
        yield person.patch(f"/{task['id']}/complete", json={"completed": False})


def moving(person: Person) -> Iterator[TestResponse]:
    """To either end, beside another, and to where there is no room: then all are numbered anew."""
    for place in ({"before": 1}, {"after": 1}, {"after": 4}, {"before": None}, {"after": None}):
        yield person.post("/3/move", json=place)
    with person.client.application.app_context(), superuser_engine().begin() as connection:
        for task, position in ((1, "a2"), (4, "a2" + "0" * (MAX_POSITION - 3) + "1")):
            mine = (Task.user_id == person.id, Task.id == task)
            connection.execute(update(Task).where(*mine).values(position=position))
    yield person.post("/3/move", json={"after": 1})


def retrying(person: Person) -> Iterator[TestResponse]:
    """Whatever takes a key: first, again, and with the same key for something else."""
    for number, (method, path, members) in enumerate([
        ("POST", "", {"title": "Once"}),
        ("PUT", "/1", {"title": "Once"}),
        ("PATCH", "/1", {"priority": "high"}),
        ("PATCH", "/1/complete", {}),
        ("POST", "/1/move", {"before": None}),
        ("POST", "/batch", {"operations": [{"op": "create", "task": {"title": "Once"}}]}),
        ("POST", "/../import", {"tasks": []}),
        ("DELETE", "/5", {}),
        ("POST", "/5/restore", {}),
        ("POST", "", {"title": ""}),
        ("PUT", "/999", {}),
    ]):  # fmt: skip
        for json in (members, members, {**members, "colour": "red"}):
            address = f"/tasks{path}" if not path.startswith("/..") else path.removeprefix("/..")
            yield person.data(method, address, json=json, headers={"Idempotency-Key": f"{number}"})
    yield person.delete("/5?permanent=true")
    yield person.data("POST", "/tasks/5/restore", json={}, headers={"Idempotency-Key": "8"})
    for key in ("", "x" * 256, "a b", "é"):
        yield person.post(json={"title": "x"}, headers={"Idempotency-Key": key})


def batching(person: Person) -> Iterator[TestResponse]:
    made = {"op": "create", "task": {"title": "Together", "tags": ["home"]}}
    each = [
        made,
        {"op": "update", "id": 4, "task": {"description": "x"}},
        {"op": "complete", "id": 4, "completed": True},
        {"op": "move", "id": 4, "after": None},
        {"op": "delete", "id": 4},
        {"op": "restore", "id": 4},
    ]
    yield person.post("/batch", json={"operations": each})
    for wrong in (
        *({"op": "delete", "id": 999}, {"op": "update", "id": 1, "version": 1, "task": {"title": "x"}}),
        *({"op": "complete", "id": 1}, {"op": "create", "task": {}}, {"op": "explode"}),
    ):
        yield person.post("/batch", json={"operations": [made, wrong]})
    for body in ({}, {"operations": []}, {"operations": [made] * 101}, []):
        yield person.post("/batch", json=body)
    yield person.post("/batch", data=b"x" * 1_100_000, content_type="application/json")
    yield person.get("/batch")


def deleting(person: Person) -> Iterator[TestResponse]:
    yield person.delete("/2", headers={"If-Match": '"999999"'})
    yield person.delete("/2")
    yield person.delete("/2")
    yield person.post("/2/restore", headers={"If-Match": '"999999"'})
    yield person.post("/2/restore")
    for task in ("2", "3", "3", "one"):
        yield person.delete(f"/{task}", query_string={"permanent": "true"}, headers={"If-Match": "*"})
    yield person.delete("/4?permanent=maybe")
    yield person.delete("/4")
    yield person.get("?trash=true")


def following(person: Person) -> Iterator[TestResponse]:
    """The feed from its start to its end, and what is no place in it; then the numbers."""
    since: dict[str, str] = {}
    more = True
    while more:
        page = person.data("GET", "/changes", query_string={"limit": 3, **since})
        yield page
        since, more = {"since": page.get_json()["next"]}, page.get_json()["has_more"]
    yield person.delete("/6")
    yield person.data("GET", "/changes", query_string=since)
    yield person.data("GET", "/changes", headers={"If-None-Match": page.headers["ETag"]})
    yield person.data("HEAD", "/changes", headers={"If-None-Match": "*"})
    for query in ("since=x", "since=", "since=00000000.x", f"{urlencode(since)}x", "limit=0", "colour=red"):
        yield person.data("GET", f"/changes?{query}")
    for query in ("", "?tz=Asia/Tokyo", "?tz=Mars/Olympus"):
        yield person.data("GET", f"/stats{query}")


def carrying(person: Person) -> Iterator[TestResponse]:
    """Everything out, and in again."""
    for query in ("", "?format=json", "?format=csv", "?format=ics", "?format=xml"):
        exported = person.data("GET", f"/export{query}")
        assert exported.data  # it is a stream, and not over before it is read
        yield exported
    yield person.data("HEAD", "/export")
    whole = person.data("GET", "/export").get_json()
    yield person.data("POST", "/import", json=whole)
    for task in whole["tasks"]:
        task["title"] += " again"
    strange = {"title": "Brought along", "id": 5000, "deleted_at": "2024-01-31T00:00:00Z", "tags": ["x"]}
    yield person.data("POST", "/import", json={**whole, "tasks": [*whole["tasks"], strange, {"title": "Without id"}]})
    for body in ({}, {"tasks": [{}]}, {"tasks": [strange, strange]}, {"format": "other", "tasks": []}, []):
        yield person.data("POST", "/import", json=body)
    yield person.data("POST", "/import?colour=red", json={"tasks": []})
    yield person.data("POST", "/import", data=b"{", content_type="application/json")
    yield person.data("POST", "/import", data=b"id,title", content_type="text/csv")


def test_every_endpoint_is_exercised(app: Flask):
    called: set[str | None] = set()

    def note(_sender: Any, **_: Any) -> None:
        from flask import request

        called.add(request.endpoint)

    with request_started.connected_to(note, app):
        statuses = {response.status_code for response in exercise(Person(app.test_client(), "olga"))}

    below_api = {rule.endpoint for rule in app.url_map.iter_rules() if rule.rule.startswith("/api")}
    assert below_api <= called
    assert {200, 201, 204, 304, 400, 401, 403, 404, 410, 412, 413, 415, 422} <= statuses
    assert not {status for status in statuses if status >= 500}


OWNED = "|".join(sorted(db.metadata.tables))
TABLES = re.compile(rf"\b({OWNED})\b(?!\.)")
CTE = r"\s*(?:WITH counters AS\s*\(\s*\))?\s*"
"""What may precede an INSERT: nothing, or a statement that `parts` has blanked out."""
PLACEHOLDER = r"(\?|%\((\w+)\)s(?:::\w+)?)"


SIGN_OUT = {"ended_sessions", "seen_notices"}
"""Written by the issuer's notices and no endpoint of the API; tests/auth/test_queries.py has their statements."""


def owners(sql: str, parameters: Any) -> dict[str, list[Any]]:
    """For each table a statement names, the users that it is bound to; a table without its owner has none."""
    found: dict[str, list[Any]] = {}
    for part in parts(sql):
        for table, users in owners_of_part(part, parameters, sql).items():
            assert users or part == sql, f"a part of the statement leaves the owner of {table} out: {sql}"
            found.setdefault(table, []).extend(users)
    return found


def parts(sql: str) -> Iterator[str]:
    """A statement without the statements in it, and each of those; blanked out, so every character keeps its place."""
    while inner := list(re.finditer(r"\(\s*(?:SELECT|INSERT|UPDATE)\b", sql)):
        start = inner[-1].start()  # the last to begin holds none
        depth, end = 0, start
        for end in range(start, len(sql)):
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            if depth == 0:
                break
        yield " " * (start + 1) + sql[start + 1 : end] + " " * (len(sql) - end)
        sql = sql[: start + 1] + " " * (end - start - 1) + sql[end:]
    yield sql


def owners_of_part(sql: str, parameters: Any, whole: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {
        table: [] for table in TABLES.findall(re.sub(r"\bRETURNING\b.*", "", sql, flags=re.DOTALL))
    }
    insert = re.match(rf"{CTE}INSERT INTO (\w+) \(([^)]*)\) VALUES (.*?)(?: ON CONFLICT| RETURNING|$)", sql, re.DOTALL)
    if insert:
        table, columns, rows = insert.groups()
        place = [column.strip() for column in columns.split(",")].index("user_id")
        per_row = len(columns.split(","))
        positions = list(re.finditer(PLACEHOLDER, rows))
        assert len(positions) % per_row == 0, f"a value is no parameter: {sql}"
        for first in range(0, len(positions), per_row):
            found[table].append(bound(whole, parameters, insert.start(3) + positions[first + place].start()))
        return found
    if not found:
        return found  # `IN` of nothing is a part about no table
    copied = re.match(rf"{CTE}INSERT INTO (\w+) \(([^)]*)\) SELECT (.*)", sql, re.DOTALL)
    where = re.search(r"\bWHERE\b(.*?)(?:\bORDER BY\b|\bLIMIT\b|\bRETURNING\b|$)", sql, re.DOTALL)
    if where is None:
        return found
    for match in re.finditer(rf"\b(\w+)\.user_id = {PLACEHOLDER}", where[1]):
        found.setdefault(match[1], []).append(bound(whole, parameters, where.start(1) + match.start(2)))
    assert re.match(rf"\s*\(?({OWNED}|counters)\.user_id\b", where[1]), (
        f"the WHERE does not start with the owner: {sql}"
    )
    top_level = where[1]
    while (flatter := re.sub(r"\([^()]*\)", "", top_level)) != top_level:
        top_level = flatter
    assert not re.search(r"\bOR\b", top_level), f"an OR beside the owner opens everybody's rows: {sql}"
    if copied:
        table, columns, selected = copied.groups()
        place = [column.strip() for column in columns.split(",")].index("user_id")
        while (flatter := re.sub(r"\([^()]*\)", "", selected)) != selected:
            selected = flatter
        source = re.fullmatch(r"(\w+)\.user_id", selected.split(" FROM ")[0].split(", ")[place].strip())
        assert source, f"the owner of what is copied is not its source's: {sql}"
        found[table] = found[source[1]]
    return found


def bound(sql: str, parameters: Any, position: int) -> Any:
    """The value of the placeholder that stands there."""
    named = re.compile(PLACEHOLDER).match(sql, position)
    assert named
    return parameters[named[2]] if named[2] else parameters[sql[:position].count("?")]


def test_every_statement_names_the_owner(app: Flask, mallory: Person, statements: Statements):
    for _ in range(3):
        mallory.add()
    statements.clear()

    for _response in exercise(olga(app)):
        pass

    seen: set[tuple[str, str]] = set()
    for sql, parameters in statements.sent:
        for each in parameters if isinstance(parameters, list) else [parameters]:
            found = owners(sql, each)
            assert found or sql == "BEGIN IMMEDIATE" or locks(sql, each), f"about no table of ours: {sql}"
            for table, users in found.items():
                seen.add((sql.split()[0], table))
                assert users, f"{table} without its owner: {sql}"
                assert set(users) == {"olga"}, f"{table} of {users}: {sql}"
    assert any("row_number" in sql for sql, _ in statements.sent), "nothing was numbered anew"
    tables = set(db.metadata.tables) - SIGN_OUT
    everything = {(verb, table) for verb in ("SELECT", "INSERT", "UPDATE", "DELETE") for table in tables}
    # Keys are counted by an upsert, and anew by the purge only; which removes erased users as well.
    for_the_purge = {("SELECT", "idempotency_usage"), ("UPDATE", "idempotency_usage"), ("DELETE", "users")}
    assert everything - seen == for_the_purge


def locks(sql: str, parameters: Any) -> bool:
    """Whether it holds a key of olga's: the lock's name begins with the owner, whose id has no line break."""
    name = re.fullmatch(r"SELECT pg_try_advisory_xact_lock\(hashtextextended\(%\((\w+)\)s::VARCHAR, .*", sql)
    return name is not None and parameters[name[1]].startswith("olga\n")


def test_a_request_leaves_nothing_behind(app: Flask):
    with app.app_context():
        pool: Any = db.engine.pool
    person = olga(app)

    for response in exercise(person):
        _ = response.data  # a stream is over when it was read
        assert pool.checkedout() == 0, f"{response.request.method} {response.request.path} kept a connection"
        assert not has_app_context(), f"{response.request.method} {response.request.path} left a context"

    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for _response in creating(person):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


PAGES = (
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/docs",
    "/problems/not-found",
    "/problems/nonsense",
    "/backchannel-logout",
    "/",
    "/api",
    "//",
)


SIGNING_OUT = ("POST", "/backchannel-logout")
"""Its success is kept by nobody either (OpenID Connect Back-Channel Logout 1.0, section 2.8)."""


def answers(app: Flask, limited: Flask) -> Iterator[TestResponse]:
    person = olga(app)
    yield from exercise(person)
    yield from exceeding(olga(limited))
    yield from signing_out(person.client)
    for path in PAGES:
        for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE", "PROPFIND"):
            yield person.client.open(path, method=method)


@pytest.fixture
def limited(make_app: Callable[..., Flask]) -> Flask:
    """Where little is allowed, and nothing without a condition."""
    return make_app(RATE_LIMIT="20/hour", MAX_TASKS_PER_USER="1", REQUIRE_IF_MATCH="true")


def exceeding(person: Person) -> Iterator[TestResponse]:
    """What there is no end to, or no condition for; until no more is allowed."""
    yield person.post(json={"title": "x"})
    yield person.post(json={"title": "x"})
    yield person.post("/batch", json={"operations": [{"op": "create", "task": {"title": "x"}}]})
    yield person.data("POST", "/import", json={"tasks": [{"title": "x"}]})
    path = f"/{person.get().get_json()[0]['id']}"
    yield person.put(path, json={})
    yield person.post(f"{path}/move", json={})
    # A server that does not decode chunked bodies: the test client's environ says that it does.
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": False}
    yield person.client.post("/backchannel-logout", environ_overrides=chunked)
    for _ in range(20):
        yield person.get()


def signing_out(client: FlaskClient) -> Iterator[TestResponse]:
    """The issuer's notices, good and bad, and what a token of the session is told."""
    good, session = logout_token("olga", "of-last-year"), token("olga", sid="of-last-year")
    for fields in ({"logout_token": good}, {"logout_token": good}, {"logout_token": "x"}, {"logout_token": ""}, {}):
        yield client.post("/backchannel-logout", data=fields)
    yield client.get("/api/olga/tasks", headers={"Authorization": f"Bearer {session}"})
    yield client.post("/backchannel-logout", json={"logout_token": good})
    yield client.post("/backchannel-logout", data={"logout_token": "x" * 20_000})
    yield client.post("/backchannel-logout", data={"logout_token": "x"}, headers={"Content-Encoding": "gzip"})


def test_every_failure_is_a_problem_document(app: Flask, limited: Flask):
    codes = set()
    for response in answers(app, limited):
        if response.status_code < 400:
            assert response.content_type != "application/problem+json"
            continue
        assert response.content_type == "application/problem+json", response.request.path
        if response.request.method == "HEAD":
            continue
        body = response.get_json()
        kind = CATALOGUE[body["code"]]
        codes.add(body["code"])
        more = {"errors"} if body["code"] in ("bad-parameter", "invalid") else set()
        more |= {"current"} if body["code"] == "precondition-failed" else set()
        more |= {"errors"} if response.request.path.endswith("/batch") and "errors" in body else set()
        assert set(body) == {"type", "title", "status", "detail", "code", "request_id"} | more
        assert isinstance(body["detail"], str)
        assert body["detail"]
        assert (body["type"], body["title"]) == (f"/problems/{kind.code}", kind.title)
        assert body["status"] == response.status_code == kind.status
        assert body["request_id"] == response.headers["X-Request-Id"]
        for violation in body.get("errors", []):
            assert set(violation) == {"pointer", "detail", "code"}
            assert all(isinstance(value, str) for value in violation.values())
    # 500 and 503 need a broken database, a key in flight two requests, and one key too many 50,000 before it: they
    # have tests of their own.
    assert codes == set(CATALOGUE) - {"in-flight", "internal", "unavailable", "too-many-keys"}


def test_every_answer_carries_the_headers(app: Flask, limited: Flask):
    for response in answers(app, limited):
        where = f"{response.request.method} {response.request.path} {response.status_code}"
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-Id"]), where
        assert response.headers["X-Content-Type-Options"] == "nosniff", where
        assert {"authorization", "origin"} <= {name.lower() for name in response.vary}, where
        kept = response.status_code < 400 and (response.request.method, response.request.path) != SIGNING_OUT
        expected = "private, no-cache" if kept else "no-store"
        assert response.headers.getlist("Cache-Control") == [expected], where
        assert "Set-Cookie" not in response.headers, where
        assert "Server" not in response.headers, where


# The tables.

ABOUT_NO_USER = {"ix_ended_sessions_number"}
"""Every worker reads the sign-outs of all users, in the order in which they happened."""


@pytest.mark.parametrize("table", db.metadata.sorted_tables, ids=lambda table: table.name)
def test_every_key_in_the_models_starts_with_the_owner(table: Any):
    keys = [table.primary_key, *(index for index in table.indexes if index.name not in ABOUT_NO_USER)]
    keys += [constraint for constraint in table.constraints if type(constraint).__name__ == "UniqueConstraint"]
    for key in keys:
        assert list(key.columns)[0].name == "user_id", f"{key} of {table}"  # noqa: RUF015  columns are no iterator


def test_every_key_in_the_database_starts_with_the_owner(app: Flask):
    with app.app_context():
        inspector = inspect(db.engine)
        tables = set(inspector.get_table_names()) - {"alembic_version"}
        assert tables == {table.name for table in db.metadata.sorted_tables}
        for table in tables:
            keys = [inspector.get_pk_constraint(table)["constrained_columns"]]
            indexes = (index for index in inspector.get_indexes(table) if index["name"] not in ABOUT_NO_USER)
            keys += [index["column_names"] for index in indexes]
            keys += [unique["column_names"] for unique in inspector.get_unique_constraints(table)]
            assert keys
            assert all(key[0] == "user_id" for key in keys), f"{table}: {keys}"


# The modules.


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def trees(paths: list[Path]) -> Iterator[tuple[str, ast.AST]]:
    for path in paths:
        for node in ast.walk(ast.parse(path.read_bytes())):
            yield name(path), node


def test_imports_keep_to_the_rules_of_the_house():
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout


def test_every_module_of_every_package_stands_in_an_exhaustive_layers_contract():
    """lint-imports reports a module that is missing in an exhaustive contract; this finds a package without one."""
    rules = ConfigParser()
    rules.read(ROOT / "setup.cfg")
    exhaustive = [rules[section] for section in rules if rules[section].get("exhaustive") == "True"]
    containers = {container for rule in exhaustive for container in rule["containers"].split()}
    packages = {path.parent for path in MODULES if path.name != "__init__.py"} | {PACKAGE}
    assert containers == {str(path.relative_to(ROOT)).replace("/", ".") for path in packages}


def test_only_the_statement_modules_name_the_tables():
    importers = {
        module
        for module, node in trees(MODULES)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").rpartition(".")[2] == "models")
        or (
            isinstance(node, ast.ImportFrom | ast.Import)
            and any(a.name.rpartition(".")[2] == "models" for a in node.names)
        )
    }
    views = {
        module
        for module, node in trees(MODULES)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("Blueprint", "guarded_blueprint")
    }
    assert importers == allowed_to_name_tables()
    assert "tasks/blueprints.py" in views
    assert not importers & views


def allowed_to_name_tables() -> set[str]:
    """The modules that the import rules let at the models."""
    rules = ConfigParser()
    rules.read(ROOT / "setup.cfg")
    protecting = [rules[section] for section in rules if rules[section].get("type") == "protected"]
    guarded = {module for rule in protecting for module in rule["protected_modules"].split()}
    assert guarded == {f"taskapi.{name(path)[:-3].replace('/', '.')}" for path in PACKAGE.rglob("models.py")}
    modules = {module for rule in protecting for module in rule["allowed_importers"].split()}
    return {module.removeprefix("taskapi.").replace(".", "/") + ".py" for module in modules}


def test_only_the_hook_says_who_the_user_is():
    writers = {
        module
        for module, node in trees(MODULES)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store | ast.Del)
        and isinstance(node.value, ast.Name)
        and node.value.id == "g"
    }
    dynamic = {
        module
        for module, node in trees(MODULES)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("setattr", "delattr", "vars")
        and any(isinstance(argument, ast.Name) and argument.id == "g" for argument in node.args)
    }
    assert writers == {"auth/hook.py"}
    assert not dynamic


def test_no_view_asks_the_path_for_its_user():
    """`g.user` is the only user there is; a view with a `user_id` of its own could use another."""
    for module, node in trees(sorted((PACKAGE / "tasks").rglob("*.py"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
            assert "user_id" not in arguments, f"{module}: {node.name}"


def test_no_statement_on_tasks_is_written_as_text():
    raw = {"text", "literal_column", "exec_driver_sql", "executescript", "TextClause"}
    for module, node in trees(sorted((PACKAGE / "tasks").rglob("*.py"))):
        words = {node.id} if isinstance(node, ast.Name) else {node.attr} if isinstance(node, ast.Attribute) else set()
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy"):
            words = {alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            continue
        if isinstance(node, ast.Name) and node.id == "text":
            continue  # a variable's name; without the import above it cannot be SQLAlchemy's
        assert not words & raw, f"{module} writes SQL as text"


@pytest.mark.parametrize(
    "path", [*MODULES, ROOT / "wsgi.py", ROOT / "gunicorn.conf.py", *sorted((ROOT / "migrations").rglob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)  # fmt: skip
def test_no_module_silences_the_type_checker(path: Path):
    with path.open("rb") as source:
        comments = [part.string for part in tokenize.tokenize(source.readline) if part.type == tokenize.COMMENT]
    assert not [comment for comment in comments if re.search(r"type:\s*ignore|mypy:", comment)]


def test_the_invariants_would_notice():
    """The reader of SQL itself: what it must not let pass."""
    assert owners("SELECT tasks.id FROM tasks", ()) == {"tasks": []}
    with pytest.raises(AssertionError, match="does not start"):
        owners("SELECT tasks.id FROM tasks WHERE tasks.id = ?", (1,))
    assert owners("SELECT 1 FROM tasks WHERE tasks.user_id = ? AND id = ?", ("a", 1)) == {"tasks": ["a"]}
    assert owners("UPDATE tasks SET title=? WHERE tasks.user_id = ?", ("t", "a")) == {"tasks": ["a"]}
    assert owners("UPDATE tasks SET title=%(t)s WHERE tasks.user_id = %(u)s::VARCHAR", {"t": "", "u": "a"}) == {
        "tasks": ["a"]
    }
    copy = "INSERT INTO tasks (id, user_id) SELECT coalesce(users.id, ?), {} FROM users WHERE users.user_id = ?"
    assert owners(copy.format("users.user_id"), (1, "a")) == {"tasks": ["a"], "users": ["a"]}
    with pytest.raises(AssertionError, match="not its source's"):
        owners(copy.format("users.epoch"), (1, "a"))
    assert owners("INSERT INTO tasks (id, user_id) VALUES (?, ?), (?, ?)", (1, "a", 2, "b")) == {"tasks": ["a", "b"]}
    assert owners(
        "SELECT 1 FROM tasks JOIN users ON users.user_id = tasks.user_id WHERE users.user_id = ?", ("a",)
    ) == {"tasks": [], "users": ["a"]}
    assert owners(
        "UPDATE tasks SET title=? FROM (SELECT tasks.id FROM tasks WHERE tasks.user_id = ?) AS n "
        "WHERE tasks.user_id = ? AND tasks.id = n.id",
        ("t", "a", "b"),
    ) == {"tasks": ["a", "b"]}
    with pytest.raises(AssertionError, match="leaves the owner of tasks out"):
        owners("UPDATE users SET x = (SELECT max(tasks.id) FROM tasks) WHERE users.user_id = ?", ("a",))
    with pytest.raises(AssertionError, match="opens everybody"):
        owners("SELECT 1 FROM tasks WHERE tasks.user_id = ? OR tasks.id = ?", ("a", 1))
