"""Whoever follows the delta feed ends with exactly the table, whenever the reader reads and whatever others write."""

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
from taskapi.tasks.models import Task, User
from tests.conftest import Person, Statements, beyond_walls, token
from tests.gunicorn_server import Request, Server, serve
from tests.waiting import until


def feed(person: Person, since: str | None = None, limit: int | None = None, **options: Any) -> TestResponse:
    query = {name: value for name, value in (("since", since), ("limit", limit)) if value is not None}
    headers = {"Authorization": f"Bearer {person.token}", **options.pop("headers", {})}
    return person.client.get(f"/api/{person.id}/changes", query_string=query, headers=headers, **options)


def page(person: Person, since: str | None = None, limit: int | None = None) -> Any:
    response = feed(person, since, limit)
    assert response.status_code == 200, response.text
    return response.get_json()


@dataclass
class Reader:
    """A client that keeps a copy of the tasks, by the feed alone."""

    ask: Callable[[str | None, int], tuple[int, Any]]
    since: str | None = None
    copy: dict[int, Any] = field(default_factory=dict)
    told_gone: set[int] = field(default_factory=set)
    restarts: int = 0

    def read(self, limit: int = 1000) -> bool:
        """One page; whether there are more."""
        status, answer = self.ask(self.since, limit)
        if status == 410:
            self.since, self.copy, self.told_gone = None, {}, set()
            self.restarts += 1
            return True
        assert status == 200, answer
        for item in answer["items"]:
            if item.get("deleted"):
                assert item.keys() == {"id", "deleted", "deleted_at"}
                self.copy.pop(item["id"], None)
                self.told_gone.add(item["id"])
            else:
                self.copy[item["id"]] = item
                self.told_gone.discard(item["id"])
        self.since = answer["next"]
        return bool(answer["has_more"])

    def catch_up(self, limit: int = 1000) -> None:
        while self.read(limit):
            pass


def reader(person: Person) -> Reader:
    def ask(since: str | None, limit: int) -> tuple[int, Any]:
        response = feed(person, since, limit)
        return response.status_code, response.get_json()

    return Reader(ask)


def table(person: Person) -> dict[int, Any]:
    return {task["id"]: task for task in person.get().get_json()}


def age(app: Flask, days: float, *ids: int, user: str = "alice") -> None:
    """Let tasks in the trash have been deleted so many days ago."""
    with app.app_context(), beyond_walls().begin() as connection:
        aged = update(Task.__table__).where(Task.user_id == user, Task.id.in_(ids))
        connection.execute(aged.values(deleted_at=now() - timedelta(days=days)))


def purge(app: Flask) -> str:
    result = app.test_cli_runner().invoke(args=["purge"])
    assert result.exit_code == 0, result.output
    return result.output.strip()


# What it says


def test_without_a_token_it_is_everything_live(alice: Person) -> None:
    for title in ("One", "Two", "Three"):
        alice.add(title)
    alice.delete("/2")
    answer = page(alice)
    assert answer["items"] == [alice.get("/1").get_json(), alice.get("/3").get_json()]
    assert answer["has_more"] is False
    assert answer.keys() == {"items", "next", "has_more"}


def test_changes_come_in_the_order_of_their_revisions(alice: Person) -> None:
    for title in ("One", "Two", "Three"):
        alice.add(title)
    alice.put("/1", json={"title": "One, later"})
    assert [item["id"] for item in page(alice)["items"]] == [2, 3, 1]


def test_a_page_says_whether_others_follow(alice: Person) -> None:
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


def test_a_token_brings_what_changed_after_it_and_nothing_else(alice: Person) -> None:
    alice.add("One")
    alice.add("Two")
    since = page(alice)["next"]
    alice.put("/1", json={"title": "Changed"})
    alice.add("Three")
    assert [item["title"] for item in page(alice, since)["items"]] == ["Changed", "Three"]
    assert page(alice, since) == page(alice, since), "a token can be used again"


def test_what_is_deleted_shows_as_a_tombstone(alice: Person) -> None:
    alice.add()
    since = page(alice)["next"]
    alice.delete("/1")
    (trashed,) = alice.get("?trash=true").get_json()
    assert page(alice, since)["items"] == [{"id": 1, "deleted": True, "deleted_at": trashed["deleted_at"]}]


def test_what_is_restored_shows_again(alice: Person) -> None:
    alice.add()
    alice.delete("/1")
    since = page(alice)["next"]
    restored = alice.post("/1/restore").get_json()
    assert page(alice, since)["items"] == [restored]


@pytest.mark.parametrize("trashed", [False, True], ids=["live", "in-the-trash"])
def test_what_is_deleted_for_good_shows_as_a_tombstone_without_content(alice: Person, *, trashed: bool) -> None:
    alice.add("A secret")
    since = page(alice)["next"]
    if trashed:
        alice.delete("/1")
    assert alice.delete("/1?permanent=true").status_code == 204
    response = feed(alice, since)
    (tombstone,) = response.get_json()["items"]
    assert (tombstone["id"], tombstone["deleted"], tombstone.keys()) == (1, True, {"id", "deleted", "deleted_at"})
    assert "secret" not in response.text


def test_nothing_of_anothers_is_in_it(alice: Person, mallory: Person) -> None:
    alice.add("Alice's")
    since = page(mallory)["next"]
    alice.add("Alice's")
    assert page(mallory)["items"] == []
    assert page(mallory, since)["items"] == []


# Polling


def test_polling_with_an_etag_costs_one_statement(alice: Person, statements: Statements) -> None:
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
def test_in_the_middle_of_a_walk_nobody_is_told_that_nothing_is_new(alice: Person, *, imported: bool) -> None:
    """The ETag of a page was that of all the data, so `If-None-Match` hid the pages after it."""
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


def test_who_has_nothing_yet_can_poll_until_there_is_something(alice: Person) -> None:
    """Each poll was a 410: who never wrote has no epoch, and was given a token of one made up."""
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


def damaged(good: str) -> dict[str, str]:
    life, _, sealed = good.partition(".")
    return {
        "empty": "",
        "garbage": "garbage",
        "digits": "17",
        "dots": "...",
        "truncated": good[:-1],
        "half": good[: len(good) // 2],
        "life-alone": life,
        "life-and-dot": f"{life}.",
        "short-life": good[3:],
        "one-more": good + "A",
        "flipped": f"{life}.{'A' if sealed[0] != 'A' else 'B'}{sealed[1:]}",
        "unsigned": f"{life}.{sealed.rpartition('.')[0]}",
        "foreign-letters": f"{life}.タスク",
        "null": f"{life}.\x00",
    }


@pytest.mark.parametrize("fault", damaged("a.b"))
def test_what_is_no_token_is_400(alice: Person, fault: str) -> None:
    alice.add()
    response = feed(alice, damaged(page(alice)["next"])[fault])
    assert response.status_code == 400
    assert response.get_json()["code"] in ("bad-cursor", "bad-parameter")


def test_a_cursor_of_the_list_is_no_token_of_the_feed(alice: Person) -> None:
    alice.add()
    alice.add()
    cursor = alice.get("?limit=1").headers["Link"].partition("cursor=")[2].partition(">")[0]
    life = page(alice)["next"].partition(".")[0]
    assert feed(alice, cursor).status_code == 400
    assert feed(alice, f"{life}.{cursor}").status_code == 400


def test_anothers_token_opens_nothing_and_leaves_no_gap(alice: Person, mallory: Person) -> None:
    alice.add()
    mallory.add()
    hers = page(alice)["next"]
    assert feed(mallory, hers).status_code == 410  # as one of an earlier life of mallory's own data
    life = page(mallory)["next"].partition(".")[0]
    assert feed(mallory, f"{life}.{hers.partition('.')[2]}").status_code == 400


def assert_gone(response: TestResponse) -> None:
    assert (response.status_code, response.get_json()["code"]) == (410, "gone")
    assert response.headers["Link"] == '</api/alice/changes>; rel="start"'


def test_a_token_from_before_everything_was_erased_is_410(alice: Person) -> None:
    alice.add("Old")
    since = page(alice)["next"]
    alice.client.delete("/api/alice", headers={"Authorization": f"Bearer {alice.token}"})
    assert_gone(feed(alice, since))
    alice.add("New")
    assert_gone(feed(alice, since))
    assert_gone(feed(alice, since, headers={"If-None-Match": feed(alice).headers["ETag"]}))
    assert [item["title"] for item in page(alice)["items"]] == ["New"]


def test_a_token_of_data_that_was_set_back_to_a_backup_is_410(app: Flask, alice: Person) -> None:
    alice.add()
    alice.add()
    since = page(alice)["next"]
    with app.app_context(), beyond_walls().begin() as connection:
        connection.execute(Task.__table__.delete().where(Task.id == 2))
        connection.execute(update(User.__table__).values(revision=1, last_task_id=1))
    assert_gone(feed(alice, since))


# What is forgotten


def test_the_purge_empties_the_trash_after_30_days_and_forgets_after_90(app: Flask, alice: Person) -> None:
    for number in range(1, 5):
        alice.add(f"Secret {number}")
    start = page(alice)["next"]
    for number in range(1, 4):
        alice.delete(f"/{number}")
    age(app, 29.9, 1)
    age(app, 30.1, 2)
    age(app, 90.1, 3)
    assert (
        purge(app) == "2 tasks emptied; 1 tombstones, 0 idempotency keys, 0 ended sessions and 0 erased users removed"
    )
    assert [task["id"] for task in alice.get("?trash=true").get_json()] == [1]
    assert alice.post("/2/restore").status_code == 404
    with app.app_context(), beyond_walls().connect() as connection:
        rows = connection.execute(Task.__table__.select().order_by(Task.id)).all()
    assert [(row.id, row.title) for row in rows] == [(1, "Secret 1"), (2, ""), (4, "Secret 4")]
    assert rows[1].folded_title == ""
    assert_gone(feed(alice, start))
    assert (
        purge(app) == "0 tasks emptied; 0 tombstones, 0 idempotency keys, 0 ended sessions and 0 erased users removed"
    )
    assert alice.add()["id"] == 5, "ids are never given again"


def test_the_purge_is_no_news_in_the_feed_before_tombstones_go(app: Flask, alice: Person) -> None:
    alice.add()
    alice.add()
    since = page(alice)["next"]
    alice.delete("/1")
    later = page(alice, since)["next"]
    age(app, 31, 1)
    purge(app)
    assert [item["id"] for item in page(alice, since)["items"]] == [1], "the tombstone is still told"
    assert page(alice, later)["items"] == []


def test_the_list_of_the_trash_is_news_when_the_purge_has_emptied_it(app: Flask, alice: Person) -> None:
    """Its ETag stayed, so a client went on showing what could no longer be restored."""
    alice.add()
    alice.delete("/1")
    before = alice.get("?trash=true")
    age(app, 31, 1)
    purge(app)
    after = alice.get("?trash=true", headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, after.get_json()) == (200, [])


def test_a_purge_with_nothing_to_do_is_no_news(app: Flask, alice: Person) -> None:
    alice.add()
    alice.delete("/1")
    before = alice.get().headers["ETag"]
    purge(app)
    assert alice.get().headers["ETag"] == before


def test_a_token_from_after_the_forgotten_tombstones_goes_on(app: Flask, alice: Person, mallory: Person) -> None:
    alice.add()
    alice.add()
    mallory.add()
    before = page(alice)["next"]
    hers = page(mallory)["next"]
    alice.delete("/1")
    told = page(alice, before)["next"]
    age(app, 91, 1)
    purge(app)
    assert_gone(feed(alice, before))
    assert page(alice, told)["items"] == []
    assert page(mallory, hers)["items"] == []
    made = alice.add()
    assert page(alice, told)["items"] == [made]


def test_a_full_read_that_is_under_way_is_not_broken_by_an_old_floor(app: Flask, alice: Person) -> None:
    for number in range(6):
        alice.add(str(number))
    alice.delete("/6")
    walking = reader(alice)
    assert walking.read(limit=2)
    age(app, 91, 6)
    purge(app)  # the floor is beyond the place, but the reader never saw the task that is forgotten
    walking.catch_up(limit=2)
    assert walking.copy == table(alice)
    assert walking.restarts == 0


def test_a_full_read_is_broken_by_a_floor_that_hides_something_from_it(app: Flask, alice: Person) -> None:
    for number in range(6):
        alice.add(str(number))
    walking = reader(alice)
    assert walking.read(limit=2)
    alice.delete("/1")
    age(app, 91, 1)
    purge(app)
    walking.catch_up(limit=2)
    assert walking.copy == table(alice)
    assert walking.restarts == 1


def test_a_tombstone_forgotten_in_the_middle_of_its_revision_is_410(app: Flask, alice: Person) -> None:
    """An import can bring tasks that were deleted long ago; the purge took them from a reader between two pages."""
    for title in ("One", "Two"):
        alice.add(title)
    walking = reader(alice)
    walking.catch_up()
    long_ago = "2001-01-01T00:00:00Z"
    load(alice, [{"id": 1, "title": "Changed"}, {"id": 2, "title": "Two", "deleted_at": long_ago}])
    assert walking.read(limit=1)
    purge(app)
    walking.catch_up(limit=1)
    assert walking.copy == table(alice)
    assert walking.restarts == 1


# Rows that share a revision


def load(person: Person, tasks: list[dict[str, Any]]) -> None:
    headers = {"Authorization": f"Bearer {person.token}"}
    response = person.client.post(f"/api/{person.id}/import", json={"tasks": tasks}, headers=headers)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_an_import_is_not_torn_at_the_end_of_a_page(alice: Person, limit: int) -> None:
    alice.add("There already")
    walking = reader(alice)
    walking.catch_up()
    load(alice, [{"title": str(number)} for number in range(7)])
    assert len({task["version"] for task in table(alice).values()}) == 2
    walking.catch_up(limit)
    assert walking.copy == table(alice)


@pytest.mark.parametrize("limit", [1, 2])
def test_a_completion_that_makes_the_next_task_and_takes_it_back_is_not_torn(alice: Person, limit: int) -> None:
    alice.add(due_date="2030-01-01", recurrence="FREQ=DAILY")
    walking = reader(alice)
    walking.catch_up()
    alice.patch("/1/complete", json={"completed": True})
    walking.catch_up(limit)
    assert walking.copy == table(alice)
    assert len(walking.copy) == 2
    alice.patch("/1/complete", json={"completed": False})
    walking.catch_up(limit)
    assert walking.copy == table(alice)
    assert walking.told_gone == {2}


@pytest.mark.parametrize("limit", [1, 2])
def test_a_move_that_numbers_all_anew_is_not_torn(app: Flask, alice: Person, limit: int) -> None:
    for number in range(5):
        alice.add(str(number))
    with app.app_context(), beyond_walls().begin() as connection:
        # Two neighbours with no room between them.
        for id, position in ((1, "a1"), (2, "a1")):
            connection.execute(update(Task.__table__).where(Task.id == id).values(position=position))
    walking = reader(alice)
    walking.catch_up()
    assert alice.post("/5/move", json={"before": 2}).status_code == 200
    assert len({task["version"] for task in table(alice).values()}) == 1, "all were written"
    walking.catch_up(limit)
    assert walking.copy == table(alice)


# At random


def random_change(dice: random.Random, send: Callable[..., Any], ids: int = 12) -> None:
    """Something that a client may ask for; refusals are part of life."""
    id = dice.randint(1, ids)
    choice = dice.randrange(9)
    if choice <= 1:
        repeats = {"due_date": "2030-01-31", "recurrence": "FREQ=DAILY"} if dice.random() < 0.3 else {}
        send("POST", "", {"title": f"Task {dice.random()}", **repeats})
    elif choice == 2:
        send("PUT", f"/{id}", {"title": f"Changed {dice.random()}"})
    elif choice == 3:
        send("PATCH", f"/{id}/complete", None)
    elif choice == 4:
        send("DELETE", f"/{id}", None)
    elif choice == 5:
        send("POST", f"/{id}/restore", None)
    elif choice == 6:
        send("POST", f"/{id}/move", {dice.choice(["before", "after"]): dice.choice([None, dice.randint(1, ids)])})
    elif choice == 7:
        operations = [{"op": "create", "task": {"title": "T"}}, {"op": "complete", "id": id, "completed": True}]
        send("POST", "/batch", {"operations": operations})
    elif dice.random() < 0.4:
        send("DELETE", f"/{id}?permanent=true", None)


@pytest.mark.parametrize("seed", range(3))
def test_a_reader_at_random_moments_ends_with_exactly_the_table(make_app: Callable[..., Flask], seed: int) -> None:
    app = make_app(RATE_LIMIT="off")
    alice, dice = Person(app.test_client(), "alice"), random.Random(seed)
    readers = [reader(alice) for _ in range(3)]

    def send(method: str, path: str, body: Any) -> None:
        assert alice.send(method, path, **({} if body is None else {"json": body})).status_code < 500

    for turn in range(60):
        random_change(dice, send)
        if turn % 20 == 19:
            load(alice, [{"id": dice.randint(1, 6), "title": str(turn)}, {"title": "Imported"}])
        if turn % 15 == 14:
            trashed = [task["id"] for task in alice.get("?trash=true").get_json()]
            age(app, dice.choice([31, 91]), *dice.sample(trashed, len(trashed) // 2))
            purge(app)
        for each in readers:
            if dice.random() < 0.4:
                each.read(dice.choice([1, 2, 5, 1000]))
    for each in readers:
        each.catch_up(dice.choice([1, 3]))
        assert each.copy == table(alice)


@pytest.fixture(scope="module")
def server(database_url: str) -> Iterator[Server]:
    with serve(database_url, RATE_LIMIT="off") as running:
        yield running


WRITERS = 8
CHANGES = 25


def test_under_eight_writers_a_reader_misses_nothing(server: Server, app: Flask) -> None:
    def ask(since: str | None, limit: int) -> tuple[int, Any]:
        query = urlencode({"limit": limit, **({"since": since} if since else {})})
        # Beside /tasks, below which the requests of `Server.send` are.
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
            headers = {"Authorization": f"Bearer {token('eight')}"}
            connection.request("GET", f"/api/eight/changes?{query}", headers=headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def write(seed: int) -> None:
        dice = random.Random(seed)

        def send(method: str, path: str, body: Any) -> None:
            def done() -> bool:
                answer = server.send("eight", Request(method, path, body))
                assert answer.status == 503 or answer.status < 500, answer.body
                return answer.status != 503

            until(done)  # on SQLite one of eight may wait for its turn for too long, and is told to come back

        for _ in range(CHANGES):
            random_change(dice, send, ids=30)

    for number in range(10):
        assert server.send("eight", Request("POST", "", {"title": str(number)})).status == 201
    live, late, done = Reader(ask), Reader(ask), Event()
    live.catch_up()

    def follow() -> None:
        late.read(limit=3)
        while not done.is_set():
            live.read(limit=7)
            late.read(limit=3)
        live.catch_up(limit=7)
        late.catch_up(limit=3)

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        following = pool.submit(follow)
        try:
            for writing in [pool.submit(write, seed) for seed in range(WRITERS)]:
                writing.result()
        finally:
            done.set()
        following.result()
    tasks = {task["id"]: task for task in server.send("eight", Request("GET")).json}
    with app.app_context(), beyond_walls().connect() as connection:
        rows = connection.execute(Task.__table__.select().where(Task.user_id == "eight")).all()
    gone = {row.id for row in rows if row.deleted_at is not None}
    assert live.copy == tasks
    assert late.copy == tasks
    assert tasks.keys() | gone == {row.id for row in rows}
    # A task made and deleted between two pages is told as gone as well: whoever reads from then on misses no id.
    assert live.told_gone == gone
