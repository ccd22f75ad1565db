"""Search finds exact substrings of the folded text, without LIKE, whose cost grows with the pattern."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import select

from taskapi.tasks.folding import MAX_FOLDED
from taskapi.tasks.models import Task
from tests.conftest import Person, Statements, superuser_engine


def test_search_and_tag_filters_do_not_use_like(alice: Person, statements: Statements):
    """LIKE compared 200 characters at each of 10,000 positions: up to 0.17 s for one task, on either database."""
    alice.add("Buy milk", tags=["home"])
    statements.clear()
    assert alice.titles("?q=milk&tag=home&include=total") == ["Buy milk"]
    selects = [sql for sql, _ in statements.sent if "folded_title" in sql]
    assert len(selects) == 2, "the page and its total"
    assert not any("LIKE" in sql.upper() for sql in selects)


@pytest.mark.parametrize("query", ["%", "_", "\\", "/", "100%", "a_b", "'", '"', "C++", "*", "日本", "🎉"])
def test_a_search_has_no_wildcards(alice: Person, query: str):
    alice.add(f"before {query} after", tags=[f"x{query}y"])
    alice.add("before after axb 1000", description="no such thing", tags=["x-y"])
    tasks = alice.get(query_string={"q": query}).get_json()
    assert [task["id"] for task in tasks] == [1]
    tagged_tasks = alice.get(query_string={"tag": f"x{query}y"}).get_json()
    assert [task["id"] for task in tagged_tasks] == [1]


def test_a_tag_filter_matches_whole_tags_and_a_search_works_without_descriptions(alice: Person):
    alice.add("One", tags=["home", "work"])
    alice.add("Two", tags=["homework"])
    assert alice.titles("?tag=home") == ["One"]
    assert alice.titles("?tag=work&tag=home") == ["One"]
    assert alice.titles("?q=two") == ["Two"]
    assert alice.titles("?q=three") == []


def test_a_search_for_an_accent_alone_matches_every_task(alice: Person):
    alice.add("One", description="text")
    assert alice.titles("?q=%CC%81") == ["One"], "an accent alone folds to an empty text"


def test_the_folded_text_is_truncated_at_its_limit(app: Flask, alice: Person):
    """U+FDFA is one character, and 18 when it is folded."""
    alice.add("One", description="needle " + "\ufdfa" * 9_900)
    with app.app_context(), superuser_engine().connect() as connection:
        folded = connection.execute(select(Task.folded_description)).scalar_one()
    assert len(folded) == MAX_FOLDED
    assert alice.titles("?q=needle") == ["One"]
