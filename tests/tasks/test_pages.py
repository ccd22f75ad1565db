"""Pages of lists, the trash, the delta feed and exports are limited by bytes and by rows, and lose no task."""

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
from taskapi.tasks.transfer import export_rows
from tests.conftest import Person, Statements, superuser_engine
from tests.slices import Slices
from tests.tasks.listing.test_list import NEXT

MILK = "\U0001f95b"
LONGEST = MILK * 10_000
ALICE = User("alice")

MAX_PAGE_BYTES = pages.MAX_BYTES + 50_000
"""Maximum size of a page in bytes: the limit and the rest of one task."""


def fill(app: Flask, descriptions: list[str | None], **columns: Any) -> None:
    """Insert a task of alice with each of the descriptions, with ids from 1 on, directly into the table."""
    written_at = now()
    row = {"user_id": "alice", "completed": False, "created_at": written_at, "updated_at": written_at, **columns}
    rows = [
        {**row, "id": n, "revision": n, "title": f"t{n:04}", "folded_title": f"t{n:04}", "description": description}
        for n, description in enumerate(descriptions, 1)
    ]
    with app.app_context(), superuser_engine().begin() as connection:
        connection.execute(insert(Counters).values(user_id="alice", revision=len(rows), last_task_id=len(rows)))
        connection.execute(insert(Task), rows)


def pages_of(person: Person, query: str) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Follow the next links and yield the size in bytes and the tasks of each page."""
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


def text_bytes(rows: Any) -> int:
    """Return the bytes of all text in the rows."""
    return sum(len(cell.encode()) for row in rows for cell in row if isinstance(cell, str))


@pytest.mark.parametrize("query", ["", "?sort=title", "?sort=-due", "?q=t&status=pending", "?limit=150"])
def test_a_list_of_the_longest_tasks_has_pages_of_4_mib_and_loses_no_task(app: Flask, alice: Person, query: str):
    fill(app, [LONGEST] * 230, folded_description="x", tags=tuple(f"{n:02}{MILK * 48}" for n in range(20)))
    sizes, seen = [], []
    for size, tasks in pages_of(alice, query):
        sizes.append(size)
        seen += tasks
    assert all(pages.MAX_BYTES - 50_000 < size <= MAX_PAGE_BYTES for size in sizes[:-1]), sizes
    assert len(sizes) == 3
    assert sorted(task["id"] for task in seen) == [*range(1, 231)]
    assert {task["description"] for task in seen} == {LONGEST}


def test_a_page_is_limited_by_its_size_in_json_with_escapes(app: Flask, alice: Person):
    fill(app, ['"' * 10_000] * 500)
    (one, first), (two, second), (_, third) = pages_of(alice, "")
    assert max(one, two) <= MAX_PAGE_BYTES
    assert [task["id"] for task in first + second + third] == [*range(500, 0, -1)]


def test_a_page_of_1000_tasks_may_have_some_long_ones(app: Flask, alice: Person, statements: Statements):
    descriptions = [LONGEST if n % 100 == 5 else "short" for n in range(1000)]
    fill(app, descriptions)
    statements.clear()
    response = alice.get("?sort=created_at")
    assert "Link" not in response.headers
    assert [task["description"] for task in response.get_json()] == descriptions
    assert len(statements) == 3, "the state, the page, and the page again with its long tasks"


@pytest.mark.parametrize(
    ("length", "limit", "count"), [(2048, 1000, 2), (2060, 1000, 3), (6000, 20, 2), (7000, 20, 3), (10_000, 1, 2)]
)
def test_a_page_is_read_again_only_if_it_has_a_long_task(
    app: Flask, alice: Person, statements: Statements, length: int, limit: int, count: int
):
    fill(app, ["x" * (length - len("t0001"))] * 2)
    statements.clear()
    assert len(alice.get(f"?limit={limit}").get_json()) == min(limit, 2)
    assert len(statements) == count


def test_pages_of_the_trash_are_limited_by_bytes(app: Flask, alice: Person):
    fill(app, [LONGEST] * 150, deleted_at=now())
    (size, first), (_, second) = pages_of(alice, "?trash=true")
    assert size <= MAX_PAGE_BYTES
    assert [task["id"] for task in first + second] == [*range(150, 0, -1)]


@pytest.mark.parametrize("limit", ["", "&limit=150"])
def test_the_delta_feed_of_the_longest_tasks_has_pages_of_4_mib_and_loses_no_task(
    app: Flask, alice: Person, limit: str
):
    fill(app, [LONGEST] * 230)
    seen, query = [], "?" + limit
    for _ in range(5):
        response = alice.data("GET", f"/changes{query}")
        assert len(response.data) <= MAX_PAGE_BYTES
        page = response.get_json()
        response.close()
        seen += [task["id"] for task in page["items"]]
        query = f"?since={page['next']}{limit}"
        if not page["has_more"]:
            break
    assert seen == [*range(1, 231)]
    assert alice.data("GET", f"/changes{query}").get_json()["items"] == []


def test_the_delta_feed_continues_within_a_revision_that_two_pages_share(app: Flask, alice: Person):
    fill(app, [LONGEST] * 230)
    with app.app_context(), superuser_engine().begin() as connection:
        connection.execute(update(Task).where(Task.user_id == "alice").values(revision=230))
    first = alice.data("GET", "/changes")
    ids = [task["id"] for task in first.get_json()["items"]]
    assert 90 < len(ids) < 110
    second = alice.data("GET", f"/changes?since={first.get_json()['next']}")
    assert second.get_json()["items"][0]["id"] == ids[-1] + 1


def test_an_export_of_the_longest_tasks_is_read_in_chunks_of_a_quarter_mib(
    app: Flask, alice: Person, statements: Statements
):
    fill(app, [LONGEST] * 40 + [None] * 110)
    statements.clear()
    exported = alice.data("GET", "/export").get_json()["tasks"]
    assert [len(task["description"] or "") for task in exported] == [10_000] * 40 + [0] * 110
    assert len(statements) == 1 + 2 * 7 + 1, (
        "the number of tasks, the long ones in 7 chunks, each read twice, and the rest"
    )


@pytest.fixture
def page_readers() -> dict[str, Callable[[], tuple[pages.Page, Callable[[pages.Page], pages.Page]]]]:
    """Functions by kind of page: each reads a page and returns it with a function that reads it again with long tasks."""

    def of_list(**filters: Any) -> Any:
        """Read a page of the list with these filters."""
        selection = Selection(1000, **filters)
        return queries.page(ALICE, selection, None), lambda page: queries.long_page(ALICE, selection, None, page)

    def of_feed() -> Any:
        """Read a page of the delta feed."""
        since = tokens.SyncPosition(0, 0, 0)
        return feed.page(ALICE, since, 1000), lambda page: feed.long_page(ALICE, since, page)

    return {"list": of_list, "filtered": lambda: of_list(completed=False), "feed": of_feed}


@pytest.mark.parametrize("kind", ["list", "filtered", "feed"])
def test_the_database_sends_no_more_text_than_a_page_may_have(app: Flask, page_readers: Any, kind: str):
    fill(app, [LONGEST] * 200)
    with app.app_context():
        page, read_again = page_readers[kind]()
        assert text_bytes(page.rows) < 20_000
        assert page.has_long
        again = read_again(page)
        assert pages.MAX_BYTES - 100_000 < text_bytes(again.rows) <= pages.MAX_BYTES
        assert text_bytes(export_rows._export_chunk(ALICE, 0, trash=True).rows) <= export_rows.EXPORT_CHUNK_BYTES


@pytest.mark.parametrize("kind", ["list", "filtered", "feed"])
def test_tasks_that_grow_between_the_two_statements_do_not_exceed_the_page_limit(
    app: Flask, page_readers: Any, kind: str
):
    fill(app, ["x" * 3000] * 200)
    with app.app_context():
        page, read_again = page_readers[kind]()
        with superuser_engine().begin() as connection:
            connection.execute(update(Task).values(description=LONGEST))
        again = read_again(page)
        assert text_bytes(again.rows) <= pages.MAX_BYTES
        assert again.following is not None


@pytest.mark.parametrize("kind", ["list", "filtered", "feed"])
def test_tasks_that_are_deleted_between_the_two_statements_do_not_end_the_list(
    app: Flask, page_readers: Any, kind: str
):
    fill(app, [LONGEST] * 200)
    with app.app_context():
        page, read_again = page_readers[kind]()
        with superuser_engine().begin() as connection:
            connection.execute(delete(Task))
        again = read_again(page)
    assert not again.rows
    assert again.last is not None
    assert again.last.id == page.rows[pages.MAX_BYTES // (len(LONGEST.encode()) + 5 + pages.ROW_BYTES) - 1].id
    assert again.following is not None, "the list continues after the deleted rows"


def test_serializing_a_page_with_long_texts_yields_to_other_requests(slices: Slices) -> None:
    def count(number: int) -> int:
        slices.counts[-1] += 1
        return number

    assert len(pages.json_fragments(map(count, range(120)))) == 120
    assert slices.counts == [pages.SERIALIZED_AT_A_TIME, pages.SERIALIZED_AT_A_TIME, 20]
