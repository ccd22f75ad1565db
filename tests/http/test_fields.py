"""Limits on the members of an object and of a query. Tests of many violations: tasks/test_bad_input.py."""

from __future__ import annotations

from taskapi.http.fields.strict import MAX_MEMBERS
from tests.conftest import Person


def test_an_object_with_too_many_members_is_rejected_as_a_whole(alice: Person):
    members = {f"x{n}": 1 for n in range(MAX_MEMBERS + 1)}
    error = {"detail": "Must have at most 100 members.", "code": "length"}
    assert alice.post(json=members).get_json()["errors"] == [{"pointer": "", **error}]
    batch = alice.post("/batch", json={"operations": [members]})
    assert batch.get_json()["errors"] == [{"pointer": "/operations/0", **error}]


def test_a_query_with_many_unknown_parameters_gets_a_short_error(alice: Person):
    refused = alice.get("?" + "&".join(f"x{n}=" for n in range(1000)))
    assert refused.status_code == 400
    assert len(refused.data) < 1000
