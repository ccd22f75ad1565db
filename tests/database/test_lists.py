"""Statement texts do not depend on the number of values that a client sends; the caches of statements are bounded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from taskapi.database import engine
from taskapi.database.base import db
from taskapi.tasks.schemas import MAX_TAGS
from tests.conftest import Person, Statements
from tests.imports import as_stored

COUNTS = (3, 7, 20)
WORDS = ("none", "low", "medium", "high")


def send_several(person: Person, count: int) -> None:
    """Send `count` values, or the maximum, in each parameter and member that takes several."""
    tags = "&".join(f"tag=tag{n}" for n in range(count))
    priorities = ",".join(itertools.islice(itertools.cycle(WORDS), count))
    for query in (f"?{tags}", f"?priority={priorities}", f"?priority={priorities}&{tags}&q=a&include=total&sort=due"):
        assert person.get(query).status_code == 200
    path = f"/{person.add(tags=[f'tag{n}' for n in range(count)], description='x')['id']}"
    for method, below, body in (
        *(("PUT", "", {"title": "x"}), ("PATCH", "", {"title": "y"}), ("PATCH", "/complete", None)),
        *(("POST", "/move", {"before": None}), ("DELETE", "", None), ("POST", "/restore", None)),
        *(("DELETE", "?permanent=true", None),),
    ):
        last = person.revision()  # the version of the task
        versions = ", ".join(f'"{version}"' for version in range(last, last - count, -1))
        response = person.send(method, path + below, json=body, headers={"If-Match": versions})
        assert response.status_code in (200, 204), response.text
    operations = [{"op": "create", "task": {"title": "x"}} for _ in range(count)]
    ids = [task["id"] for task in person.post("/batch", json={"operations": operations}).get_json()["results"]]
    series = [{"id": id, "title": "z", "series_id": id, "occurrence": 1} for id in ids]
    assert person.data("POST", "/import", json={"tasks": as_stored(person, *series)}).get_json()["updated"] == count
    assert person.data("POST", "/import", json={"tasks": [{"title": "new"}] * count}).get_json()["created"] == count
    for path in ("/changes", f"/changes?limit={count}", "/export", "/stats"):
        assert person.data("GET", path).status_code == 200
    operations = [{"op": "delete", "id": id} for id in ids]
    assert person.post("/batch", json={"operations": operations}).status_code == 200


def test_statement_texts_are_the_same_for_any_number_of_values(app: Flask, alice: Person, statements: Statements):
    for _ in range(20):
        alice.add()
    send_several(alice, 1)  # one version is compared in the UPDATE; several are reduced to one by a SELECT first
    send_several(alice, 2)
    first = {sql for sql, _ in statements.sent}
    with app.app_context():
        compiled = len(db.engine._compiled_cache or ())
    for count in COUNTS:
        send_several(alice, count)
        assert {sql for sql, _ in statements.sent} == first, count
    with app.app_context():
        assert len(db.engine._compiled_cache or ()) == compiled


def test_20_tags_filter_the_list_and_21_are_refused_naming_the_limit(alice: Person):
    tags = [f"tag{n}" for n in range(MAX_TAGS)]
    alice.add("all", tags=tags)
    alice.add("all but one", tags=tags[1:])
    query = "&".join(f"tag={tag.upper()}" for tag in tags)
    assert alice.titles(f"?{query}") == ["all"]
    assert alice.titles(f"?{query.partition('&')[2]}") == ["all but one", "all"]

    refused = alice.get(f"?{query}&tag=tag0")
    assert refused.status_code == 400
    assert refused.get_json()["detail"] == "tag: May be given at most 20 times."


def test_sqlite_uses_an_index_to_find_tasks_by_a_list_of_ids(app: Flask, alice: Person, statements: Statements):
    if not app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        pytest.skip("SQLite only")
    send_several(alice, 3)
    with_ids = [each for each in statements.sent if ".id IN (SELECT value FROM json_each" in each[0]]
    assert {sql.split()[0] for sql, _ in with_ids} == {"SELECT", "UPDATE"}
    with app.app_context(), db.engine.connect() as connection:
        for sql, values in with_ids:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", tuple(values)).all()
            assert "(user_id=? AND id=?)" in "".join(row.detail for row in plan), (sql, plan)


@pytest.mark.parametrize("tag", ["%", "_", "\\", "'", '"', "a b", "[1]", "タスク", "\U0001f95b", "x" * 50, "é"])
def test_a_tag_matches_exactly_and_completely(alice: Person, tag: str):
    alice.add("it", tags=[tag, "other"])
    alice.add("longer", tags=[f"{tag[:49]}!", "other"])
    alice.add("none")
    assert alice.titles(
        "",
    ) == ["none", "longer", "it"]
    response = alice.get(query_string=[("tag", tag), ("tag", "other")])
    assert [task["title"] for task in response.get_json()] == ["it"]


@pytest.mark.parametrize("several", [["high"], ["high", "none"], ["none", "low", "medium"], [*WORDS], [*WORDS, *WORDS]])
def test_a_list_filtered_by_several_priorities_has_tasks_of_each(alice: Person, several: list[str]):
    for word in WORDS:
        alice.add(word, priority=word)
    assert sorted(alice.titles(f"?priority={','.join(several)}")) == sorted({*several})


def filters() -> Iterator[str]:
    """Yield query strings, each of which has its own statement text."""
    choices = (
        ("", "trash=true"),
        ("", "status=pending", "status=completed"),
        ("", "priority=high"),
        ("", "tag=x"),
        ("", "due_from=2020-01-01", "due_to=2020-01-01", "no_due=true", "overdue=true"),
        ("", "q=a"),
    )
    for combination in itertools.product(*choices):
        yield "&".join(filter(None, combination))


def test_the_statement_cache_is_bounded_for_any_number_of_filter_combinations(app: Flask, alice: Person):
    most = engine.STATEMENT_CACHE * 3 // 2  # SQLAlchemy prunes its cache at 150 % of its size
    queries = [*filters()]
    assert len(queries) > most
    with app.app_context():
        kept = db.engine._compiled_cache
    assert kept is not None
    for query in queries:
        assert alice.get(f"?sort=title&{query}").status_code == 200
        assert len(kept) <= most


def test_the_statements_of_all_other_endpoints_fit_into_the_cache(app: Flask, alice: Person):
    with app.app_context():
        kept: Any = db.engine._compiled_cache
        kept.clear()
    alice.add()
    send_several(alice, 2)
    assert 10 < len(kept) < engine.STATEMENT_CACHE / 2


@pytest.fixture
def parameters_cache() -> Callable[[], int]:
    from taskapi.http import request

    request._parameters.cache_clear()
    return lambda: request._parameters.cache_info().currsize


def test_the_cache_of_query_strings_is_bounded_and_has_no_long_ones(alice: Person, parameters_cache: Callable[[], int]):
    from taskapi.http.request import QUERY_CACHE_SIZE

    for n in range(QUERY_CACHE_SIZE + 10):
        alice.get(f"?limit=1&q={n}")
    assert parameters_cache() == QUERY_CACHE_SIZE
