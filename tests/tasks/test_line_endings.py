"""CRLF and CR in a description become LF wherever a description is accepted (CONTRACT, Task)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from tests.conftest import Person

SENT = "one\r\n\ttwo\rthree\n\r\n\r"
STORED = "one\n\ttwo\nthree\n\n\n"


def import_(alice: Person, description: str) -> TestResponse:
    """Import a task that replaces the content of task 1: the file has its number, its owner and its creation time."""
    task = alice.get("/1").get_json()
    return alice.data("POST", "/import", json={"tasks": [{**task, "description": description}]})


def batch(alice: Person, description: str) -> TestResponse:
    operation = {"op": "update", "id": 1, "task": {"description": description}}
    return alice.post("/batch", json={"operations": [operation]})


CHANGES: dict[str, Callable[[Person, str], TestResponse]] = {
    "PUT": lambda alice, text: alice.put("/1", json={"description": text}),
    "PATCH": lambda alice, text: alice.patch("/1", json={"description": text}),
    "batch": batch,
    "import": import_,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_description_with_any_line_endings_is_stored_with_lf_and_the_same_text_has_no_effect(
    alice: Person, change: Callable[[Person, str], TestResponse]
) -> None:
    alice.add("x", description="before")
    assert change(alice, SENT).status_code == 200
    task = alice.get("/1").get_json()
    assert (task["description"], task["version"]) == (STORED, 2)
    for text in (SENT, STORED, STORED.replace("\n", "\r\n")):
        assert change(alice, text).status_code == 200
        assert alice.get("/1").get_json() == task


def test_a_new_task_has_lf_whichever_request_creates_it(alice: Person) -> None:
    operation = {"op": "create", "task": {"title": "x", "description": SENT}}
    assert alice.add("x", description=SENT)["description"] == STORED
    assert alice.post("/batch", json={"operations": [operation]}).status_code == 200
    assert alice.data("POST", "/import", json={"tasks": [{"title": "x", "description": SENT}]}).status_code == 200
    assert [task["description"] for task in alice.get().get_json()] == [STORED] * 3


def test_a_replay_of_a_request_with_crlf_has_the_stored_text(alice: Person) -> None:
    request = {"json": {"title": "x", "description": SENT}, "headers": {"Idempotency-Key": "k"}}
    first, again = (alice.post("", **request) for _ in range(2))
    assert (first.status_code, first.get_json()["description"]) == (201, STORED)
    assert (again.data, again.headers["Idempotency-Replayed"]) == (first.data, "true")


def test_the_length_of_a_description_is_counted_after_its_line_endings_are_normalized(alice: Person) -> None:
    assert alice.post(json={"title": "x", "description": "\r\n" * 10_000}).status_code == 201
    assert alice.post(json={"title": "x", "description": "\r\n" * 10_001}).status_code == 422
