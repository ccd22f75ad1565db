"""A page, of any kind, is bounded by bytes as well as by rows, and nothing is lost where it ends early."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, insert, update

from taskapi.auth.tokens import User
from taskapi.database.base import now
from taskapi.tasks import pages
from taskapi.tasks.listing import queries
from taskapi.tasks.listing.selection import Selection
from taskapi.tasks.models import Task
from taskapi.tasks.models import User as Counters
from taskapi.tasks.sync import queries as feed
from taskapi.tasks.sync import tokens
from taskapi.tasks.transfer import exports
from tests.conftest import Person, Statements, beyond_walls
from tests.tasks.listing.test_list import NEXT

MILK = "\U0001f95b"
LONGEST = MILK * 10_000
ALICE = User("alice")

ABOUT_A_PAGE = pages.MAX_BYTES + 50_000
"""What a page may have: its limit and the rest of one task."""


def fill(app: Flask, descriptions: list[str | None], **columns: Any) -> None:
    """A task of alice for each description, from 1 on."""
    moment = now()
    row = {"user_id": "alice", "completed": False, "created_at": moment, "updated_at": moment, **columns}
    rows = [
        {**row, "id": n, "revision": n, "title": f"t{n:04}", "folded_title": f"t{n:04}", "description": description}
        for n, description in enumerate(descriptions, 1)
    ]
    with app.app_context(), beyond_walls().begin() as connection:
        connection.execute(insert(Counters).values(user_id="alice", revision=len(rows), last_task_id=len(rows)))
        connection.execute(insert(Task), rows)


def walk(person: Person, query: str) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The bytes and the tasks of each page."""
    while True:
        response = person.get(query)
        assert response.status_code == 200, response.text
        yield len(response.data), response.get_json()
        if "Link" not in response.headers:
            return
        link = NEXT.fullmatch(response.headers["Link"])
        assert link
        query = f"?{link[1].partition('?')[2]}"
        response.close()


def text_of(rows: Any) -> int:
    """The bytes of text that the database has sent."""
    return sum(len(cell.encode()) for row in rows for cell in row if isinstance(cell, str))


@pytest.mark.parametrize("query", ["", "?sort=title", "?sort=-due", "?q=t&status=pending", "?limit=150"])
def test_a_list_of_the_longest_tasks_comes_in_pages_of_4_mib_with_nothing_lost(app: Flask, alice: Person, query: str):
    fill(app, [LONGEST] * 230, folded_description="x", tags=tuple(f"{n:02}{MILK * 48}" for n in range(20)))
    sizes, found = [], []
    for size, tasks in walk(alice, query):
        sizes.append(size)
        found += tasks
    assert all(pages.MAX_BYTES - 50_000 < size <= ABOUT_A_PAGE for size in sizes[:-1]), sizes
    assert len(sizes) == 3
    assert sorted(task["id"] for task in found) == [*range(1, 231)]
    assert {task["description"] for task in found} == {LONGEST}


def test_text_that_is_longer_in_json_is_bounded_as_json(app: Flask, alice: Person):
    fill(app, ['"' * 10_000] * 500)
    (one, first), (two, second), (_, third) = walk(alice, "")
    assert max(one, two) <= ABOUT_A_PAGE
    assert [task["id"] for task in first + second + third] == [*range(500, 0, -1)]


def test_long_tasks_among_many_short_ones_are_all_on_one_page(app: Flask, alice: Person, statements: Statements):
    descriptions = [LONGEST if n % 100 == 5 else "short" for n in range(1000)]
    fill(app, descriptions)
    statements.clear()
    response = alice.get("?sort=created_at")
    assert "Link" not in response.headers
    assert [task["description"] for task in response.get_json()] == descriptions
    assert len(statements) == 3, "the state, the page, and the page with its long tasks"


@pytest.mark.parametrize(
    ("length", "limit", "count"), [(2048, 1000, 2), (2060, 1000, 3), (6000, 20, 2), (7000, 20, 3), (10_000, 1, 2)]
)
def test_a_page_is_read_again_only_if_a_task_is_longer_than_the_share_of_a_task(
    app: Flask, alice: Person, statements: Statements, length: int, limit: int, count: int
):
    fill(app, ["x" * (length - len("t0001"))] * 2)
    statements.clear()
    assert len(alice.get(f"?limit={limit}").get_json()) == min(limit, 2)
    assert len(statements) == count


def test_the_trash_is_bounded_too(app: Flask, alice: Person):
    fill(app, [LONGEST] * 150, deleted_at=now())
    (size, first), (_, second) = walk(alice, "?trash=true")
    assert size <= ABOUT_A_PAGE
    assert [task["id"] for task in first + second] == [*range(150, 0, -1)]


@pytest.mark.parametrize("limit", ["", "&limit=150"])
def test_the_feed_of_the_longest_tasks_comes_in_pages_of_4_mib_with_nothing_lost(app: Flask, alice: Person, limit: str):
    fill(app, [LONGEST] * 230)
    found, query = [], "?" + limit
    for _ in range(5):
        response = alice.data("GET", f"/changes{query}")
        assert len(response.data) <= ABOUT_A_PAGE
        page = response.get_json()
        response.close()
        found += [task["id"] for task in page["items"]]
        query = f"?since={page['next']}{limit}"
        if not page["has_more"]:
            break
    assert found == [*range(1, 231)]
    assert alice.data("GET", f"/changes{query}").get_json()["items"] == []


def test_the_feed_goes_on_within_a_write_that_a_page_has_cut(app: Flask, alice: Person):
    fill(app, [LONGEST] * 230)
    with app.app_context(), beyond_walls().begin() as connection:
        connection.execute(update(Task).where(Task.user_id == "alice").values(revision=230))
    first = alice.data("GET", "/changes")
    ids = [task["id"] for task in first.get_json()["items"]]
    assert 90 < len(ids) < 110
    second = alice.data("GET", f"/changes?since={first.get_json()['next']}")
    assert second.get_json()["items"][0]["id"] == ids[-1] + 1


def test_an_export_of_the_longest_tasks_is_read_in_pieces_of_a_quarter_mib(
    app: Flask, alice: Person, statements: Statements
):
    fill(app, [LONGEST] * 40 + [None] * 110)
    statements.clear()
    exported = alice.data("GET", "/export").get_json()["tasks"]
    assert [len(task["description"] or "") for task in exported] == [10_000] * 40 + [0] * 110
    assert len(statements) == 2 * 7 + 1, "the long tasks in 7 pieces, each read twice, and the rest of the others"


@pytest.fixture
def readers() -> dict[str, Callable[[], tuple[pages.Page, Callable[[pages.Page], pages.Page]]]]:
    """How each kind of page is read, and read again."""

    def of_list(**filters: Any) -> Any:
        selection = Selection(1000, **filters)
        return queries.page(ALICE, selection, None), lambda page: queries.long_page(ALICE, selection, None, page)

    def of_feed() -> Any:
        since = tokens.SyncPosition(0, 0, 0)
        return feed.page(ALICE, since, 1000), lambda page: feed.long_page(ALICE, since, page)

    return {"list": of_list, "filtered": lambda: of_list(completed=False), "feed": of_feed}


@pytest.mark.parametrize("kind", ["list", "filtered", "feed"])
def test_the_database_sends_no_more_than_a_page(app: Flask, readers: Any, kind: str):
    fill(app, [LONGEST] * 200)
    with app.app_context():
        page, read_again = readers[kind]()
        assert text_of(page.rows) < 20_000
        assert page.has_long
        again = read_again(page)
        assert pages.MAX_BYTES - 100_000 < text_of(again.rows) <= pages.MAX_BYTES
        assert text_of(exports._export_chunk(ALICE, 0, trash=True).rows) <= exports.PIECE_BYTES


@pytest.mark.parametrize("kind", ["list", "filtered", "feed"])
def test_tasks_that_grow_between_the_two_statements_do_not_make_a_page_longer(app: Flask, readers: Any, kind: str):
    fill(app, ["x" * 3000] * 200)
    with app.app_context():
        page, read_again = readers[kind]()
        with beyond_walls().begin() as connection:
            connection.execute(update(Task).values(description=LONGEST))
        again = read_again(page)
        assert text_of(again.rows) <= pages.MAX_BYTES
        assert again.following is not None


@pytest.mark.parametrize("kind", ["list", "filtered", "feed"])
def test_tasks_that_are_deleted_between_the_two_statements_end_no_walk(app: Flask, readers: Any, kind: str):
    fill(app, [LONGEST] * 200)
    with app.app_context():
        page, read_again = readers[kind]()
        with beyond_walls().begin() as connection:
            connection.execute(delete(Task))
        again = read_again(page)
    assert not again.rows
    assert again.last is not None
    assert again.last.id == page.rows[pages.MAX_BYTES // (len(LONGEST.encode()) + 5 + pages.ROW_BYTES) - 1].id
    assert again.following is not None, "the walk goes on after those"
