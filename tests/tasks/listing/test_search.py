"""A search finds exact substrings of the folded text, and never with LIKE, whose cost grows with the pattern."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import select

from taskapi.tasks.folding import MAX_FOLDED
from taskapi.tasks.models import Task
from tests.conftest import Person, Statements, beyond_walls


def test_search_and_tags_send_no_like(alice: Person, statements: Statements):
    """LIKE compared 200 characters at each of 10,000 positions: up to 0.17 s for one task, on either database."""
    alice.add("Buy milk", tags=["home"])
    statements.clear()
    assert alice.titles("?q=milk&tag=home&include=total") == ["Buy milk"]
    selects = [sql for sql, _ in statements.sent if "folded_title" in sql]
    assert len(selects) == 2, "the page and its total"
    assert not any("LIKE" in sql.upper() for sql in selects)


@pytest.mark.parametrize("query", ["%", "_", "\\", "/", "100%", "a_b", "'", '"', "C++", "*", "日本", "🎉"])
def test_every_character_of_a_search_stands_for_itself(alice: Person, query: str):
    alice.add(f"before {query} after", tags=[f"x{query}y"])
    alice.add("before after axb 1000", description="no such thing", tags=["x-y"])
    found = alice.get(query_string={"q": query}).get_json()
    assert [task["id"] for task in found] == [1]
    tagged = alice.get(query_string={"tag": f"x{query}y"}).get_json()
    assert [task["id"] for task in tagged] == [1]


def test_a_tag_is_found_whole_and_a_task_without_description_is_searched(alice: Person):
    alice.add("One", tags=["home", "work"])
    alice.add("Two", tags=["homework"])
    assert alice.titles("?tag=home") == ["One"]
    assert alice.titles("?tag=work&tag=home") == ["One"]
    assert alice.titles("?q=two") == ["Two"]
    assert alice.titles("?q=three") == []


def test_a_search_for_nothing_but_an_accent_finds_everything(alice: Person):
    alice.add("One", description="text")
    assert alice.titles("?q=%CC%81") == ["One"], "folded, it is empty"


def test_text_that_folding_multiplies_is_stored_up_to_a_limit(app: Flask, alice: Person):
    """U+FDFA is one character, and 18 when it is folded."""
    alice.add("One", description="needle " + "\ufdfa" * 9_900)
    with app.app_context(), beyond_walls().connect() as connection:
        folded = connection.execute(select(Task.folded_description)).scalar_one()
    assert len(folded) == MAX_FOLDED
    assert alice.titles("?q=needle") == ["One"]
