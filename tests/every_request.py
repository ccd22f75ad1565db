"""Requests to every endpoint of the API, valid and invalid: what the invariants of the whole suite are checked on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlencode

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from taskapi.tasks.listing.schemas import list_query
from taskapi.tasks.listing.selection import SORTS
from taskapi.tasks.models import Task
from taskapi.tasks.positions import MAX_POSITION
from tests.auth.issuer import logout_token
from tests.conftest import Person, build, superuser_engine, token


def api_routes() -> list[tuple[str, str]]:
    """Return every method and path template below /api, from the URL map."""
    app = build("postgresql://nobody@127.0.0.1:1/nothing")  # no connection is opened
    return sorted(
        (method, re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS"}
        if rule.rule.startswith("/api")
    )


API = api_routes()
"""Every method and path template below /api."""


def at(path: str, user: str, id: int | str = 1) -> str:
    """Return a path template with a user and a task id filled in."""
    return path.format(user_id=user, id=id)


LISTINGS: dict[str, tuple[str, ...]] = {
    "limit": ("1", "1000", "0", "x"),
    "cursor": ("nonsense", ""),
    "sort": (*SORTS, "colour"),
    "order": ("asc", "desc", "up"),
    "status": ("all", "pending", "completed", "maybe"),
    "completed": ("true", "false", "1"),
    "priority": ("high", "none,medium", "highest"),
    "tag": ("home", "ÉTÉ", "%", ""),
    "due_from": ("2030-01-01", "2030-02-30"),
    "due_to": ("2030-01-01", "tomorrow"),
    "completed_from": ("2030-01-01", "2030-01-01T00:00:00+02:00", "yesterday"),
    "completed_to": ("2030-01-01", "2030-01-01T00:00:00.5Z", "2030-01-01T25:00:00Z"),
    "no_due": ("true", "false"),
    "overdue": ("true", "false"),
    "tz": ("Europe/Berlin", "Mars/Olympus"),
    "q": ("milk", "%", "é" * 300),
    "search": ("milk", "é" * 300),
    "trash": ("true", "false"),
    "include": ("total", "nothing"),
}
"""Valid and invalid values for each query parameter of the list."""

COMBINATIONS = (
    "limit=1&limit=2",
    "status=all&completed=true",
    "colour=red",
    "tag=home&tag=garden&priority=high,low&q=a&status=pending&due_from=2020-01-01&due_to=2040-01-01",
    "overdue=true&tz=Pacific/Auckland",
    "no_due=true&overdue=true",
    "trash=true&q=a&sort=-due",
    "sort=updated&order=desc&search=a",
    "completed_from=2020-01-01&completed_to=2040-01-01&tz=Asia/Tokyo",
)
"""Query strings with combinations of parameters, allowed and not allowed."""

CONDITIONS = (None, '"999999"', 'W/"1", ""', "*", f'"{"9" * 30}"')


def olga(app: Flask) -> Person:
    """Return a user whose responses are not validated against the OpenAPI document: other tests do that."""
    return Person(FlaskClient(app), "olga")


def send_every_request(person: Person) -> Iterator[TestResponse]:
    """Request every endpoint with success and with failure; yield each response."""
    yield from create_tasks(person)
    yield from list_tasks(person)
    for task in ("1", "999", "one"):
        for condition in CONDITIONS:
            yield from address_task(person, task, {} if condition is None else {"If-Match": condition})
    yield from complete_recurring_tasks(person)
    yield from move_tasks(person)
    yield from repeat_with_keys(person)
    yield from send_batches(person)
    yield from delete_tasks(person)
    yield from read_changes(person)
    yield from export_and_import(person)
    yield person.post(of="somebody-else", json={"title": "x"})
    yield person.client.get("/api/nobody/tasks")
    # The erasure comes last, because it deletes all data; it is also sent for a user without data.
    yield person.data("DELETE", "?colour=red")
    since = person.data("GET", "/changes").get_json()["next"]
    yield person.data("DELETE")
    yield person.data("DELETE")
    yield person.data("GET", "/changes", query_string={"since": since})
    yield person.post(json={"title": "After the erasure"})


def create_tasks(person: Person) -> Iterator[TestResponse]:
    """Create tasks with valid and invalid bodies."""
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


def list_tasks(person: Person) -> Iterator[TestResponse]:
    """List with all parameters and orders, and follow all pages."""
    assert set(LISTINGS) == set(list_query.fields), "a parameter of the list is not exercised"
    for method in ("GET", "HEAD", "OPTIONS"):
        yield person.send(method)
        yield person.send(method, "/")
    for name, values in LISTINGS.items():
        for value in values:
            yield person.get(query_string={name: value})
    for query in COMBINATIONS:
        yield person.get(f"?{query}")
    for sort in SORTS:
        following = f"?limit=2&sort={sort}&q=a&include=total"
        while following:
            response = person.get(following)
            yield response
            link = response.headers.get("Link", "")
            following = "?" + link.partition("?")[2].partition(">")[0] if link else ""
    yield person.get(headers={"If-None-Match": person.get().headers["ETag"]})


def address_task(person: Person, task: str, condition: dict[str, str]) -> Iterator[TestResponse]:
    """Send every request for one task with a condition (`If-Match`)."""
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


def complete_recurring_tasks(person: Person) -> Iterator[TestResponse]:
    """Complete recurring tasks and undo it: that removes the next occurrence unless it was changed."""
    for task in [task for task in person.get().get_json() if task["title"] == "Repeat"]:
        for _ in range(2):
            yield person.patch(f"/{task['id']}/complete", json={"completed": True})
            yield person.patch(f"/{task['id']}/complete", json={"completed": False})
        done = person.patch(f"/{task['id']}/complete")
        yield done
        yield person.patch(f"/{done.get_json()['next_task_id']}", json={"title": "Changed"})
        yield person.patch(f"/{task['id']}/complete", json={"completed": False})


def move_tasks(person: Person) -> Iterator[TestResponse]:
    """Move to both ends, next to another task, and between positions without space, which renumbers all tasks."""
    for place in ({"before": 1}, {"after": 1}, {"after": 4}, {"before": None}, {"after": None}):
        yield person.post("/3/move", json=place)
    with person.client.application.app_context(), superuser_engine().begin() as connection:
        for task, position in ((1, "a2"), (4, "a2" + "0" * (MAX_POSITION - 3) + "1")):
            mine = (Task.user_id == person.id, Task.id == task)
            connection.execute(update(Task).where(*mine).values(position=position))
    yield person.post("/3/move", json={"after": 1})


def repeat_with_keys(person: Person) -> Iterator[TestResponse]:
    """Send each request that accepts an Idempotency-Key, its repetition, and another request with the same key."""
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


def send_batches(person: Person) -> Iterator[TestResponse]:
    """Send batches that succeed, fail as a whole and are malformed."""
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


def delete_tasks(person: Person) -> Iterator[TestResponse]:
    """Move tasks to the trash, restore them and delete them permanently."""
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


def read_changes(person: Person) -> Iterator[TestResponse]:
    """Read all changes, send invalid sync tokens, and read the statistics."""
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


def export_and_import(person: Person) -> Iterator[TestResponse]:
    """Export in every format, and import valid and invalid data."""
    for query in ("", "?format=json", "?format=csv", "?format=ics", "?format=xml"):
        exported = person.data("GET", f"/export{query}")
        assert exported.data  # reading ends the stream
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


def exceed_limits(person: Person) -> Iterator[TestResponse]:
    """Exceed the quota, omit a required condition, and then exceed the rate limit."""
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


def sign_out(client: FlaskClient) -> Iterator[TestResponse]:
    """Send valid and invalid logout tokens, and an access token of the ended session."""
    good, session = logout_token("olga", "of-last-year"), token("olga", sid="of-last-year")
    for fields in ({"logout_token": good}, {"logout_token": good}, {"logout_token": "x"}, {"logout_token": ""}, {}):
        yield client.post("/backchannel-logout", data=fields)
    yield client.get("/api/olga/tasks", headers={"Authorization": f"Bearer {session}"})
    yield client.post("/backchannel-logout", json={"logout_token": good})
    yield client.post("/backchannel-logout", data={"logout_token": "x" * 20_000})
    yield client.post("/backchannel-logout", data={"logout_token": "x"}, headers={"Content-Encoding": "gzip"})
