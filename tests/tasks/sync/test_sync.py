"""A client that follows the delta feed has the same tasks as the list, for any times of reading and any writes."""

from __future__ import annotations

import http.client
import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import update
from werkzeug.test import TestResponse

from taskapi.database.base import now
from taskapi.http import serialization
from taskapi.tasks.models import Task, User
from taskapi.tasks.schemas import task_out
from taskapi.tasks.sync import queries, routes
from tests.conftest import Person, Statements, superuser_engine, token
from tests.gunicorn_server import Request, Server, serve
from tests.imports import as_stored
from tests.slices import Slices
from tests.waiting import until


def feed(person: Person, since: str | None = None, limit: int | None = None, **options: Any) -> TestResponse:
    """Request a page of the delta feed."""
    query = {name: value for name, value in (("since", since), ("limit", limit)) if value is not None}
    headers = {"Authorization": f"Bearer {person.token}", **options.pop("headers", {})}
    return person.client.get(f"/api/{person.id}/changes", query_string=query, headers=headers, **options)


def page(person: Person, since: str | None = None, limit: int | None = None) -> Any:
    """Return the body of a page of the delta feed; the request must succeed."""
    response = feed(person, since, limit)
    assert response.status_code == 200, response.text
    return response.get_json()


@dataclass
class Reader:
    """A client that keeps a copy of the tasks by reading only the delta feed."""

    fetch_page: Callable[[str | None, int], tuple[int, Any]]
    since: str | None = None
    copy: dict[int, Any] = field(default_factory=dict)
    deleted_ids: set[int] = field(default_factory=set)
    restarts: int = 0

    def read(self, limit: int = 1000) -> bool:
        """Read one page and apply it to the copy; returns whether more pages follow. Restarts after a 410."""
        status, answer = self.fetch_page(self.since, limit)
        if status == 410:
            self.since, self.copy, self.deleted_ids = None, {}, set()
            self.restarts += 1
            return True
        assert status == 200, answer
        for item in answer["items"]:
            if item.get("deleted"):
                assert item.keys() == {"id", "deleted", "deleted_at"}
                self.copy.pop(item["id"], None)
                self.deleted_ids.add(item["id"])
            else:
                self.copy[item["id"]] = item
                self.deleted_ids.discard(item["id"])
        self.since = answer["next"]
        return bool(answer["has_more"])

    def catch_up(self, limit: int = 1000) -> None:
        """Read pages until there are no more."""
        while self.read(limit):
            pass


def reader(person: Person) -> Reader:
    """Return a `Reader` of a person's delta feed."""

    def fetch_page(since: str | None, limit: int) -> tuple[int, Any]:
        response = feed(person, since, limit)
        return response.status_code, response.get_json()

    return Reader(fetch_page)


def table(person: Person) -> dict[int, Any]:
    """Return the person's live tasks by id, from the list."""
    return {task["id"]: task for task in person.get().get_json()}


def set_deleted_days_ago(app: Flask, days: float, *ids: int, user: str = "alice") -> None:
    """Set `deleted_at` of tasks to this many days ago."""
    with app.app_context(), superuser_engine().begin() as connection:
        aged = update(Task.__table__).where(Task.user_id == user, Task.id.in_(ids))
        connection.execute(aged.values(deleted_at=now() - timedelta(days=days)))


def purge(app: Flask) -> str:
    """Run `flask purge` and return its output."""
    result = app.test_cli_runner().invoke(args=["purge"])
    assert result.exit_code == 0, result.output
    return result.output.strip()


# Content


def test_the_feed_without_a_token_has_all_live_tasks(alice: Person) -> None:
    for title in ("One", "Two", "Three"):
        alice.add(title)
    alice.delete("/2")
    answer = page(alice)
    assert answer["items"] == [alice.get("/1").get_json(), alice.get("/3").get_json()]
    assert answer["has_more"] is False
    assert answer.keys() == {"items", "next", "has_more"}


def test_the_feed_is_in_the_order_of_revisions(alice: Person) -> None:
    for title in ("One", "Two", "Three"):
        alice.add(title)
    alice.put("/1", json={"title": "One, later"})
    assert [item["id"] for item in page(alice)["items"]] == [2, 3, 1]


def test_has_more_is_true_until_the_last_page(alice: Person) -> None:
    for number in range(5):
        alice.add(str(number))
    since, seen = None, []
    for more in (True, True, False):
        answer = page(alice, since, limit=2)
        assert answer["has_more"] is more
        seen += [item["title"] for item in answer["items"]]
        since = answer["next"]
    assert seen == ["0", "1", "2", "3", "4"]
    assert page(alice, since) == {"items": [], "next": since, "has_more": False}
    assert page(alice, limit=5)["has_more"] is False


def test_the_feed_with_a_token_has_only_later_changes(alice: Person) -> None:
    alice.add("One")
    alice.add("Two")
    since = page(alice)["next"]
    alice.put("/1", json={"title": "Changed"})
    alice.add("Three")
    assert [item["title"] for item in page(alice, since)["items"]] == ["Changed", "Three"]
    assert page(alice, since) == page(alice, since), "a token can be used again"


def test_a_write_of_many_tasks_between_the_two_reads_of_a_page_with_long_texts_loses_no_change(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "é" * 9000
    ids = [alice.add(f"Before {number}", description=long)["id"] for number in range(25)]
    read_long, written = queries.long_page, []

    def write_first(*arguments: Any) -> Any:
        if not written:
            tasks = [{"id": id, "title": f"After {id}", "description": long} for id in ids]
            document = {"tasks": as_stored(alice, *tasks)}
            written.append(alice.data("POST", "/import", json=document).status_code)
        return read_long(*arguments)

    monkeypatch.setattr(queries, "long_page", write_first)
    titles, since, has_more = {}, None, True
    while has_more:
        received = page(alice, since, 10)
        titles |= {item["id"]: item["title"] for item in received["items"]}
        since, has_more = received["next"], received["has_more"]
    assert written == [200]
    assert titles == {id: f"After {id}" for id in ids}


def test_a_long_page_of_the_feed_yields_to_other_requests(
    alice: Person, slices: Slices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serialization, "SLICE_ROWS", 4)
    alice.data("POST", "/import", json={"tasks": [{"title": "x"}] * 30})
    since = feed(alice).get_json()["next"]
    operations = [{"op": "delete", "id": id} for id in range(1, 11)]
    alice.post("/batch", json={"operations": operations})
    alice.data("POST", "/import", json={"tasks": as_stored(alice, *({"id": id, "title": "y"} for id in range(11, 31)))})
    slices.clear()
    slices.count(task_out, "_dump_one")
    slices.count(routes, "_tombstone")
    assert len(feed(alice, since).get_json()["items"]) == 30
    assert (slices.total, slices.longest) == (30, 4)


def test_a_deleted_task_is_a_tombstone_in_the_feed(alice: Person) -> None:
    alice.add()
    since = page(alice)["next"]
    alice.delete("/1")
    (trashed,) = alice.get("?trash=true").get_json()
    assert page(alice, since)["items"] == [{"id": 1, "deleted": True, "deleted_at": trashed["deleted_at"]}]


def test_a_restored_task_is_in_the_feed_again(alice: Person) -> None:
    alice.add()
    alice.delete("/1")
    since = page(alice)["next"]
    restored = alice.post("/1/restore").get_json()
    assert page(alice, since)["items"] == [restored]


@pytest.mark.parametrize("trashed", [False, True], ids=["live", "in-the-trash"])
def test_a_permanently_deleted_task_is_a_tombstone_without_content(alice: Person, *, trashed: bool) -> None:
    alice.add("A secret")
    since = page(alice)["next"]
    if trashed:
        alice.delete("/1")
    assert alice.delete("/1?permanent=true").status_code == 204
    response = feed(alice, since)
    (tombstone,) = response.get_json()["items"]
    assert (tombstone["id"], tombstone["deleted"], tombstone.keys()) == (1, True, {"id", "deleted", "deleted_at"})
    assert "secret" not in response.text


def test_the_feed_has_no_task_of_another_user(alice: Person, mallory: Person) -> None:
    alice.add("Alice's")
    since = page(mallory)["next"]
    alice.add("Alice's")
    assert page(mallory)["items"] == []
    assert page(mallory, since)["items"] == []


# Polling


def test_polling_the_feed_with_an_etag_takes_one_statement(alice: Person, statements: Statements) -> None:
    alice.add()
    answer = feed(alice)
    since, etag = answer.get_json()["next"], answer.headers["ETag"]
    statements.clear()
    unchanged = feed(alice, since, headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.data, unchanged.headers["ETag"]) == (304, b"", etag)
    assert len(statements) == 1
    alice.add()
    assert feed(alice, since, headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize("imported", [False, True], ids=["own-revisions", "one-revision"])
def test_a_page_of_the_feed_that_is_not_the_last_is_never_304(alice: Person, *, imported: bool) -> None:
    """Regression: each page had the ETag of all data, so `If-None-Match` gave 304 for the next page."""
    if imported:
        load(alice, [{"title": str(number)} for number in range(3)])
    else:
        for number in range(3):
            alice.add(str(number))
    first = feed(alice, limit=1)
    second = feed(alice, first.get_json()["next"], 1, headers={"If-None-Match": first.headers["ETag"]})
    assert (second.status_code, len(second.get_json()["items"])) == (200, 1)
    third = feed(alice, second.get_json()["next"], 1, headers={"If-None-Match": second.headers["ETag"]})
    assert (third.status_code, third.get_json()["has_more"]) == (200, False)
    etag = {"If-None-Match": third.headers["ETag"]}
    assert feed(alice, third.get_json()["next"], 1, headers=etag).status_code == 304


def test_a_user_without_data_can_poll_the_feed(alice: Person) -> None:
    """Regression: each poll was a 410, because a user without a stored epoch got a token of a random one."""
    answer = feed(alice)
    assert answer.get_json()["items"] == []
    since, etag = answer.get_json()["next"], answer.headers["ETag"]
    assert feed(alice, since).get_json() == {"items": [], "next": since, "has_more": False}
    assert feed(alice, since, headers={"If-None-Match": etag}).status_code == 304
    made = alice.add()
    assert page(alice, since)["items"] == [made]
    alice.delete("/1")
    assert [item["deleted"] for item in page(alice, since)["items"]] == [True]


# Tokens


def invalid_tokens(token: str) -> dict[str, str]:
    """Return modifications of a sync token that make it invalid, by name."""
    epoch_id, _, signed = token.partition(".")
    return {
        "empty": "",
        "garbage": "garbage",
        "digits": "17",
        "dots": "...",
        "truncated": token[:-1],
        "half": token[: len(token) // 2],
        "epoch-alone": epoch_id,
        "epoch-and-dot": f"{epoch_id}.",
        "short-epoch": token[3:],
        "one-more": token + "A",
        "flipped": f"{epoch_id}.{'A' if signed[0] != 'A' else 'B'}{signed[1:]}",
        "unsigned": f"{epoch_id}.{signed.rpartition('.')[0]}",
        "foreign-letters": f"{epoch_id}.タスク",
        "null": f"{epoch_id}.\x00",
    }


@pytest.mark.parametrize("fault", invalid_tokens("a.b"))
def test_an_invalid_sync_token_is_400(alice: Person, fault: str) -> None:
    alice.add()
    response = feed(alice, invalid_tokens(page(alice)["next"])[fault])
    assert response.status_code == 400
    assert response.get_json()["code"] in ("bad-cursor", "bad-parameter")


def test_a_list_cursor_as_a_sync_token_is_400(alice: Person) -> None:
    alice.add()
    alice.add()
    cursor = alice.get("?limit=1").headers["Link"].partition("cursor=")[2].partition(">")[0]
    epoch_id = page(alice)["next"].partition(".")[0]
    assert feed(alice, cursor).status_code == 400
    assert feed(alice, f"{epoch_id}.{cursor}").status_code == 400


def test_a_sync_token_of_another_user_is_410_and_with_ones_own_epoch_400(alice: Person, mallory: Person) -> None:
    alice.add()
    mallory.add()
    hers = page(alice)["next"]
    assert feed(mallory, hers).status_code == 410  # like a token from before an erasure of mallory's own data
    epoch_id = page(mallory)["next"].partition(".")[0]
    assert feed(mallory, f"{epoch_id}.{hers.partition('.')[2]}").status_code == 400


def assert_gone(response: TestResponse) -> None:
    """Check that a response is a 410 with a link to the start of the feed."""
    assert (response.status_code, response.get_json()["code"]) == (410, "gone")
    assert response.headers["Link"] == '</api/alice/changes>; rel="start"'


def test_a_sync_token_from_before_an_erasure_is_410(alice: Person) -> None:
    alice.add("Old")
    since = page(alice)["next"]
    alice.client.delete("/api/alice", headers={"Authorization": f"Bearer {alice.token}"})
    assert_gone(feed(alice, since))
    alice.add("New")
    assert_gone(feed(alice, since))
    assert_gone(feed(alice, since, headers={"If-None-Match": feed(alice).headers["ETag"]}))
    assert [item["title"] for item in page(alice)["items"]] == ["New"]


def test_a_sync_token_from_after_a_restored_backup_is_410(app: Flask, alice: Person) -> None:
    alice.add()
    alice.add()
    since = page(alice)["next"]
    with app.app_context(), superuser_engine().begin() as connection:
        connection.execute(Task.__table__.delete().where(Task.id == 2))
        connection.execute(update(User.__table__).values(revision=1, last_task_id=1))
    assert_gone(feed(alice, since))


# Purged tombstones


def test_the_purge_empties_trashed_tasks_after_30_days_and_removes_tombstones_after_90(
    app: Flask, alice: Person
) -> None:
    for number in range(1, 5):
        alice.add(f"Secret {number}")
    start = page(alice)["next"]
    for number in range(1, 4):
        alice.delete(f"/{number}")
    set_deleted_days_ago(app, 29.9, 1)
    set_deleted_days_ago(app, 30.1, 2)
    set_deleted_days_ago(app, 90.1, 3)
    assert (
        purge(app) == "2 tasks emptied; 1 tombstones, 0 idempotency keys, 0 ended sessions and 0 erased users removed"
    )
    assert [task["id"] for task in alice.get("?trash=true").get_json()] == [1]
    assert alice.post("/2/restore").status_code == 404
    with app.app_context(), superuser_engine().connect() as connection:
        rows = connection.execute(Task.__table__.select().order_by(Task.id)).all()
    assert [(row.id, row.title) for row in rows] == [(1, "Secret 1"), (2, ""), (4, "Secret 4")]
    assert rows[1].folded_title == ""
    assert_gone(feed(alice, start))
    assert (
        purge(app) == "0 tasks emptied; 0 tombstones, 0 idempotency keys, 0 ended sessions and 0 erased users removed"
    )
    assert alice.add()["id"] == 5, "ids are not reused"


def test_a_purge_that_empties_tasks_adds_nothing_to_the_feed(app: Flask, alice: Person) -> None:
    alice.add()
    alice.add()
    since = page(alice)["next"]
    alice.delete("/1")
    later = page(alice, since)["next"]
    set_deleted_days_ago(app, 31, 1)
    purge(app)
    assert [item["id"] for item in page(alice, since)["items"]] == [1], "the tombstone is still in the feed"
    assert page(alice, later)["items"] == []


def test_the_etag_of_the_trash_changes_when_the_purge_empties_it(app: Flask, alice: Person) -> None:
    """Regression: the ETag stayed the same, so clients showed tasks that could no longer be restored."""
    alice.add()
    alice.delete("/1")
    before = alice.get("?trash=true")
    set_deleted_days_ago(app, 31, 1)
    purge(app)
    after = alice.get("?trash=true", headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, after.get_json()) == (200, [])


def test_a_purge_without_effect_keeps_the_list_etag(app: Flask, alice: Person) -> None:
    alice.add()
    alice.delete("/1")
    before = alice.get().headers["ETag"]
    purge(app)
    assert alice.get().headers["ETag"] == before


def test_a_sync_token_newer_than_the_removed_tombstones_stays_valid(app: Flask, alice: Person, mallory: Person) -> None:
    alice.add()
    alice.add()
    mallory.add()
    before = page(alice)["next"]
    hers = page(mallory)["next"]
    alice.delete("/1")
    later_token = page(alice, before)["next"]
    set_deleted_days_ago(app, 91, 1)
    purge(app)
    assert_gone(feed(alice, before))
    assert page(alice, later_token)["items"] == []
    assert page(mallory, hers)["items"] == []
    made = alice.add()
    assert page(alice, later_token)["items"] == [made]


def test_a_first_sync_continues_after_a_purge_of_older_tombstones(app: Flask, alice: Person) -> None:
    for number in range(6):
        alice.add(str(number))
    alice.delete("/6")
    client = reader(alice)
    assert client.read(limit=2)
    set_deleted_days_ago(app, 91, 6)
    purge(app)  # sync_floor is above the token's revision, but this client has never received the removed task
    client.catch_up(limit=2)
    assert client.copy == table(alice)
    assert client.restarts == 0


def test_a_first_sync_restarts_after_a_purge_of_tombstones_that_it_needs(app: Flask, alice: Person) -> None:
    for number in range(6):
        alice.add(str(number))
    client = reader(alice)
    assert client.read(limit=2)
    alice.delete("/1")
    set_deleted_days_ago(app, 91, 1)
    purge(app)
    client.catch_up(limit=2)
    assert client.copy == table(alice)
    assert client.restarts == 1


def test_a_purge_within_a_revision_that_two_pages_share_is_410(app: Flask, alice: Person) -> None:
    """Regression: an import added tasks deleted long ago, and the purge removed them between two pages of a client."""
    for title in ("One", "Two"):
        alice.add(title)
    client = reader(alice)
    client.catch_up()
    long_ago = "2001-01-01T00:00:00Z"
    load(alice, [{"id": 1, "title": "Changed"}, {"id": 2, "title": "Two", "deleted_at": long_ago}])
    assert client.read(limit=1)
    purge(app)
    client.catch_up(limit=1)
    assert client.copy == table(alice)
    assert client.restarts == 1


# Rows that share a revision


def load(person: Person, tasks: list[dict[str, Any]]) -> None:
    """Import tasks; the request must succeed."""
    headers = {"Authorization": f"Bearer {person.token}"}
    response = person.client.post(f"/api/{person.id}/import", json={"tasks": tasks}, headers=headers)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_an_import_spanning_pages_of_the_feed_loses_no_task(alice: Person, limit: int) -> None:
    alice.add("There already")
    client = reader(alice)
    client.catch_up()
    load(alice, [{"title": str(number)} for number in range(7)])
    assert len({task["version"] for task in table(alice).values()}) == 2
    client.catch_up(limit)
    assert client.copy == table(alice)


@pytest.mark.parametrize("limit", [1, 2])
def test_a_completed_and_reopened_recurring_task_spanning_pages_is_complete(alice: Person, limit: int) -> None:
    alice.add(due_date="2030-01-01", recurrence="FREQ=DAILY")
    client = reader(alice)
    client.catch_up()
    alice.patch("/1/complete", json={"completed": True})
    client.catch_up(limit)
    assert client.copy == table(alice)
    assert len(client.copy) == 2
    alice.patch("/1/complete", json={"completed": False})
    client.catch_up(limit)
    assert client.copy == table(alice)
    assert client.deleted_ids == {2}


@pytest.mark.parametrize("limit", [1, 2])
def test_a_move_that_renumbers_all_tasks_spanning_pages_is_complete(app: Flask, alice: Person, limit: int) -> None:
    for number in range(5):
        alice.add(str(number))
    with app.app_context(), superuser_engine().begin() as connection:
        # Two adjacent tasks with equal positions, so that there is no position between them.
        for id, position in ((1, "a1"), (2, "a1")):
            connection.execute(update(Task.__table__).where(Task.id == id).values(position=position))
    client = reader(alice)
    client.catch_up()
    assert alice.post("/5/move", json={"before": 2}).status_code == 200
    assert len({task["version"] for task in table(alice).values()}) == 1, "all tasks were written"
    client.catch_up(limit)
    assert client.copy == table(alice)


# Random changes


def random_change(rng: random.Random, send: Callable[..., Any], ids: int = 12) -> None:
    """Send a random request that changes tasks; it may be refused."""
    id = rng.randint(1, ids)
    choice = rng.randrange(9)
    if choice <= 1:
        repeats = {"due_date": "2030-01-31", "recurrence": "FREQ=DAILY"} if rng.random() < 0.3 else {}
        send("POST", "", {"title": f"Task {rng.random()}", **repeats})
    elif choice == 2:
        send("PUT", f"/{id}", {"title": f"Changed {rng.random()}"})
    elif choice == 3:
        send("PATCH", f"/{id}/complete", None)
    elif choice == 4:
        send("DELETE", f"/{id}", None)
    elif choice == 5:
        send("POST", f"/{id}/restore", None)
    elif choice == 6:
        send("POST", f"/{id}/move", {rng.choice(["before", "after"]): rng.choice([None, rng.randint(1, ids)])})
    elif choice == 7:
        operations = [{"op": "create", "task": {"title": "T"}}, {"op": "complete", "id": id, "completed": True}]
        send("POST", "/batch", {"operations": operations})
    elif rng.random() < 0.4:
        send("DELETE", f"/{id}?permanent=true", None)


@pytest.mark.parametrize("seed", range(3))
def test_readers_at_random_times_end_with_the_same_tasks_as_the_list(make_app: Callable[..., Flask], seed: int) -> None:
    app = make_app(RATE_LIMIT="off")
    alice, rng = Person(app.test_client(), "alice"), random.Random(seed)
    readers = [reader(alice) for _ in range(3)]

    def send(method: str, path: str, body: Any) -> None:
        assert alice.send(method, path, **({} if body is None else {"json": body})).status_code < 500

    for step in range(60):
        random_change(rng, send)
        if step % 20 == 19:
            load(alice, [{"id": rng.randint(1, 6), "title": str(step)}, {"title": "Imported"}])
        if step % 15 == 14:
            trashed = [task["id"] for task in alice.get("?trash=true").get_json()]
            set_deleted_days_ago(app, rng.choice([31, 91]), *rng.sample(trashed, len(trashed) // 2))
            purge(app)
        for each in readers:
            if rng.random() < 0.4:
                each.read(rng.choice([1, 2, 5, 1000]))
    for each in readers:
        each.catch_up(rng.choice([1, 3]))
        assert each.copy == table(alice)


@pytest.fixture(scope="module")
def server(database_url: str) -> Iterator[Server]:
    """A gunicorn server without a rate limit."""
    with serve(database_url, RATE_LIMIT="off") as running:
        yield running


WRITERS = 8
CHANGES = 25


def test_a_reader_during_eight_concurrent_writers_misses_no_change(server: Server, app: Flask) -> None:
    def fetch_page(since: str | None, limit: int) -> tuple[int, Any]:
        query = urlencode({"limit": limit, **({"since": since} if since else {})})
        # `Server.send` sends requests to paths below /tasks only.
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
            headers = {"Authorization": f"Bearer {token('eight')}"}
            connection.request("GET", f"/api/eight/changes?{query}", headers=headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def write(seed: int) -> None:
        rng = random.Random(seed)

        def send(method: str, path: str, body: Any) -> None:
            def done() -> bool:
                answer = server.send("eight", Request(method, path, body))
                assert answer.status == 503 or answer.status < 500, answer.body
                return answer.status != 503

            until(done)  # on SQLite one of eight writers may exceed the lock timeout and get a 503

        for _ in range(CHANGES):
            random_change(rng, send, ids=30)

    for number in range(10):
        assert server.send("eight", Request("POST", "", {"title": str(number)})).status == 201
    steady_reader, slow_reader, done = Reader(fetch_page), Reader(fetch_page), Event()
    steady_reader.catch_up()

    def read_until_done() -> None:
        slow_reader.read(limit=3)
        while not done.is_set():
            steady_reader.read(limit=7)
            slow_reader.read(limit=3)
        steady_reader.catch_up(limit=7)
        slow_reader.catch_up(limit=3)

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        reading = pool.submit(read_until_done)
        try:
            for writing in [pool.submit(write, seed) for seed in range(WRITERS)]:
                writing.result()
        finally:
            done.set()
        reading.result()
    tasks = {task["id"]: task for task in server.send("eight", Request("GET")).json}
    with app.app_context(), superuser_engine().connect() as connection:
        rows = connection.execute(Task.__table__.select().where(Task.user_id == "eight")).all()
    deleted = {row.id for row in rows if row.deleted_at is not None}
    assert steady_reader.copy == tasks
    assert slow_reader.copy == tasks
    assert tasks.keys() | deleted == {row.id for row in rows}
    # A task created and deleted between two pages is a tombstone in the feed too, so no id is missing.
    assert steady_reader.deleted_ids == deleted
