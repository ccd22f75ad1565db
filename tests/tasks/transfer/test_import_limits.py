"""Limit of the text of existing tasks that an import makes the service read."""

from __future__ import annotations

import pytest

from taskapi.tasks.transfer import import_plan
from tests.conftest import Person, Statements
from tests.imports import as_stored


def test_an_import_that_names_tasks_with_too_much_text_is_422_and_does_not_read_the_text(
    alice: Person, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [alice.add("x", description="\u30bf" * 1000)["id"] for _ in range(3)]
    monkeypatch.setattr(import_plan, "MAX_EXISTING_BYTES", 7000)
    tasks = as_stored(alice, *({"id": id, "title": "y"} for id in ids))
    statements.clear()
    refused = alice.data("POST", "/import", json={"tasks": tasks})
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.get_json()["errors"]] == ["/tasks"]
    assert not any("tasks.description," in sql for sql, _ in statements.sent)
    assert alice.titles() == ["x"] * 3
    assert alice.data("POST", "/import", json={"tasks": tasks[:1]}).status_code == 200
