"""Tests of `tests.statement_owners`, on which the rule for all statements depends."""

from __future__ import annotations

import pytest

from tests.statement_owners import find_owners


def test_find_owners_accepts_only_statements_that_are_restricted_to_owners():
    assert find_owners("SELECT tasks.id FROM tasks", ()) == {"tasks": []}
    with pytest.raises(AssertionError, match="does not start"):
        find_owners("SELECT tasks.id FROM tasks WHERE tasks.id = ?", (1,))
    assert find_owners("SELECT 1 FROM tasks WHERE tasks.user_id = ? AND id = ?", ("a", 1)) == {"tasks": ["a"]}
    assert find_owners("UPDATE tasks SET title=? WHERE tasks.user_id = ?", ("t", "a")) == {"tasks": ["a"]}
    assert find_owners("UPDATE tasks SET title=%(t)s WHERE tasks.user_id = %(u)s::VARCHAR", {"t": "", "u": "a"}) == {
        "tasks": ["a"]
    }
    copy = "INSERT INTO tasks (id, user_id) SELECT coalesce(users.id, ?), {} FROM users WHERE users.user_id = ?"
    assert find_owners(copy.format("users.user_id"), (1, "a")) == {"tasks": ["a"], "users": ["a"]}
    with pytest.raises(AssertionError, match="not the owner of their source"):
        find_owners(copy.format("users.epoch"), (1, "a"))
    assert find_owners("INSERT INTO tasks (id, user_id) VALUES (?, ?), (?, ?)", (1, "a", 2, "b")) == {
        "tasks": ["a", "b"]
    }
    assert find_owners(
        "SELECT 1 FROM tasks JOIN users ON users.user_id = tasks.user_id WHERE users.user_id = ?", ("a",)
    ) == {"tasks": [], "users": ["a"]}
    assert find_owners(
        "UPDATE tasks SET title=? FROM (SELECT tasks.id FROM tasks WHERE tasks.user_id = ?) AS n "
        "WHERE tasks.user_id = ? AND tasks.id = n.id",
        ("t", "a", "b"),
    ) == {"tasks": ["a", "b"]}
    with pytest.raises(AssertionError, match="leaves the owner of tasks out"):
        find_owners("UPDATE users SET x = (SELECT max(tasks.id) FROM tasks) WHERE users.user_id = ?", ("a",))
    with pytest.raises(AssertionError, match="reaches rows of other users"):
        find_owners("SELECT 1 FROM tasks WHERE tasks.user_id = ? OR tasks.id = ?", ("a", 1))
