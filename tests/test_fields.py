"""However many rules a body or a query breaks, few violations are listed, and little is looked at."""

from __future__ import annotations

from typing import Any

import pytest

from taskapi.fields import MAX_MEMBERS, MAX_VIOLATIONS
from tests.conftest import Person

MORE = {"pointer": "", "detail": "Only the first 100 errors are listed.", "code": "more"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tasks/batch", {"operations": [{f"x{n}": 1 for n in range(50)} for _ in range(100)]}),
        ("/import", {"tasks": [{}] * 10_000}),
        ("/import", {"tasks": [1] * 10_000}),
        ("/import", {"tasks": [{"title": 1, "tags": 1, "id": 0}] * 1000}),
        ("/tasks", {"title": "x", "tags": [1] * 20, **{f"x{n}": 1 for n in range(90)}}),
    ],
    ids=["unknown members", "empty tasks", "no objects", "wrong members", "tags and members"],
)
def test_no_more_than_100_errors_are_listed(alice: Person, path: str, body: Any):
    refused = alice.data("POST", path, json=body)
    assert refused.status_code == 422
    errors = refused.get_json()["errors"]
    assert len(errors) == MAX_VIOLATIONS + 1
    assert errors[-1] == MORE
    assert len(refused.data) < 20_000


def test_100_errors_are_all_listed(alice: Person):
    errors = alice.data("POST", "/import", json={"tasks": [{}] * 100}).get_json()["errors"]
    assert [error["pointer"] for error in errors] == [f"/tasks/{n}/title" for n in range(100)]


def test_an_object_of_many_members_is_refused_without_a_look_at_each(alice: Person):
    members = {f"x{n}": 1 for n in range(MAX_MEMBERS + 1)}
    error = {"detail": "Must have at most 100 members.", "code": "length"}
    assert alice.post(json=members).get_json()["errors"] == [{"pointer": "", **error}]
    batch = alice.post("/batch", json={"operations": [members]})
    assert batch.get_json()["errors"] == [{"pointer": "/operations/0", **error}]


def test_a_query_of_many_unknown_parameters_is_refused_in_a_few_words(alice: Person):
    refused = alice.get("?" + "&".join(f"x{n}=" for n in range(1000)))
    assert refused.status_code == 400
    assert len(refused.data) < 1000
