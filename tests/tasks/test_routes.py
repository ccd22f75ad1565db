"""The six task endpoints, checked against the documented contract."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import Person, token

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MEMBERS = [
    *("id", "user_id", "title", "description", "completed", "completed_at", "priority", "tags"),
    *("due_date", "due_time", "time_zone", "due_at", "recurrence", "repeat_from", "series_id", "next_task_id"),
    *("position", "version", "created_at", "updated_at", "deleted_at"),
]
READ_ONLY = (
    *("id", "user_id", "completed_at", "due_at", "series_id", "next_task_id", "position", "version"),
    *("created_at", "updated_at", "deleted_at"),
)
SMILE = "\N{GRINNING FACE}"
KEY = {"Idempotency-Key": "k"}


def problem(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    """Check that a response is a consistent problem document with this status and code, and return it."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = response.get_json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"/problems/{code}")
    assert body["request_id"] == response.headers["X-Request-Id"]
    assert isinstance(body["detail"], str)
    assert body["detail"]
    return body


def pointers(response: TestResponse) -> list[tuple[str, str]]:
    """Return the (JSON pointer, code) pairs of the errors of a 422."""
    return [(error["pointer"], error["code"]) for error in problem(response, 422, "invalid")["errors"]]


def as_utf8(value: Any) -> dict[str, Any]:
    """Return request options with `value` as JSON in UTF-8, not escaped to ASCII."""
    return {"data": json.dumps(value, ensure_ascii=False).encode(), "content_type": "application/json"}


@pytest.fixture
def strict_alice(make_app: Callable[..., Flask]) -> Person:
    """Alice on an application with REQUIRE_IF_MATCH."""
    return Person(make_app(REQUIRE_IF_MATCH="true").test_client(), "alice")


class TestCreate:
    def test_a_task_created_with_a_title_only_has_the_documented_defaults(self, alice: Person) -> None:
        before = datetime.now(UTC)
        response = alice.post(json={"title": "Buy milk"})
        made = response.get_json()
        assert response.status_code == 201
        assert list(made) == MEMBERS
        assert made == {
            "id": 1,
            "user_id": "alice",
            "title": "Buy milk",
            "description": None,
            "completed": False,
            "completed_at": None,
            "priority": "none",
            "tags": [],
            "due_date": None,
            "due_time": None,
            "time_zone": None,
            "due_at": None,
            "recurrence": None,
            "repeat_from": "due",
            "series_id": None,
            "next_task_id": None,
            "position": "a1",
            "version": 1,
            "created_at": made["created_at"],
            "updated_at": made["created_at"],
            "deleted_at": None,
        }
        assert TIME.fullmatch(made["created_at"])
        created_at = datetime.fromisoformat(made["created_at"])
        assert before - timedelta(milliseconds=1) <= created_at <= datetime.now(UTC)

    def test_title_description_and_completed_are_stored(self, alice: Person) -> None:
        made = alice.add("Buy milk", description="Two liters", completed=True)
        assert (made["title"], made["description"], made["completed"]) == ("Buy milk", "Two liters", True)
        assert made["completed_at"] == made["created_at"]

    def test_a_201_has_location_and_etag(self, alice: Person) -> None:
        alice.add("first")
        response = alice.post(json={"title": "second"})
        assert response.headers["Location"] == "/api/alice/tasks/2"
        assert response.headers["ETag"] == '"2"'
        there = alice.client.get(response.headers["Location"], headers={"Authorization": f"Bearer {alice.token}"})
        assert there.get_json() == response.get_json()
        assert there.headers["ETag"] == response.headers["ETag"]

    def test_ids_count_from_1_for_each_user(self, alice: Person, mallory: Person) -> None:
        assert [alice.add()["id"], mallory.add()["id"], alice.add()["id"], mallory.add()["id"]] == [1, 1, 2, 2]

    def test_the_id_of_a_deleted_task_is_not_reused(self, alice: Person) -> None:
        assert [alice.add()["id"] for _ in range(3)] == [1, 2, 3]
        assert alice.delete("/3").status_code == 204
        assert alice.delete("/1").status_code == 204
        assert alice.add()["id"] == 4

    def test_a_refused_task_takes_no_id(self, alice: Person) -> None:
        alice.post(json={"title": ""})
        assert alice.add()["id"] == 1

    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            pytest.param("  Buy milk ", "Buy milk", id="spaces"),
            pytest.param("\u3000Buy\u00a0milk\u2003", "Buy\u00a0milk", id="spaces of other scripts"),
            pytest.param("x", "x", id="one character"),
            pytest.param("x" * 200, "x" * 200, id="two hundred"),
            pytest.param(SMILE * 200, SMILE * 200, id="two hundred beyond the first plane"),
            pytest.param(" " * 300 + "x" * 200 + " " * 300, "x" * 200, id="two hundred and spaces"),
            pytest.param("<b>Robert'); DROP TABLE tasks;--</b>", "<b>Robert'); DROP TABLE tasks;--</b>", id="code"),
            pytest.param("e\u0301", "e\u0301", id="not normalized"),
            pytest.param("شراء الحليب \u200f", "شراء الحليب \u200f", id="right to left"),
        ],
    )
    def test_a_title_is_trimmed_and_otherwise_unchanged(self, alice: Person, sent: str, kept: str) -> None:
        made = alice.post(**as_utf8({"title": sent})).get_json()
        assert made["title"] == kept
        assert alice.get("/1").get_json()["title"] == kept

    @pytest.mark.parametrize(
        ("title", "code"),
        [
            pytest.param("", "length", id="empty"),
            pytest.param(" \u3000 ", "length", id="only spaces"),
            pytest.param("x" * 201, "length", id="201"),
            pytest.param(SMILE * 201, "length", id="201 beyond the first plane"),
            pytest.param("a\nb", "characters", id="line break"),
            pytest.param("a\tb", "characters", id="tab"),
            pytest.param("a\x00b", "characters", id="NUL"),
            pytest.param("a\x7fb", "characters", id="DEL"),
            pytest.param("a\x9bb", "characters", id="C1 control"),
            pytest.param("a\ud800b", "characters", id="high surrogate alone"),
            pytest.param("a\udc00b", "characters", id="low surrogate alone"),
            pytest.param(None, "null", id="null"),
            pytest.param(5, "type", id="number"),
            pytest.param(True, "type", id="boolean"),
            pytest.param(["Buy milk"], "type", id="array"),
            pytest.param({"title": "x"}, "type", id="object"),
        ],
    )
    def test_an_invalid_title_is_422_with_a_pointer(self, alice: Person, title: Any, code: str) -> None:
        assert pointers(alice.post(json={"title": title})) == [("/title", code)]
        alice.add()
        assert pointers(alice.put("/1", json={"title": title})) == [("/title", code)]
        assert alice.titles() == ["Buy milk"]

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"description": "x"}'], ids=["no body", "empty", "no title"])
    def test_a_title_is_required(self, alice: Person, body: bytes) -> None:
        refused = alice.post(data=body, content_type="application/json")
        assert pointers(refused) == [("/title", "required")]

    @pytest.mark.parametrize(
        "description",
        [
            pytest.param("", id="empty"),
            pytest.param("  \n\tTwo liters\n\n  ", id="breaks, tabs and spaces around"),
            pytest.param("x" * 10_000, id="ten thousand"),
            pytest.param(SMILE * 10_000, id="ten thousand beyond the first plane"),
            pytest.param(None, id="null"),
        ],
    )
    def test_a_description_is_stored_unchanged(self, alice: Person, description: str | None) -> None:
        assert alice.post(**as_utf8({"title": "x", "description": description})).status_code == 201
        assert alice.get("/1").get_json()["description"] == description

    @pytest.mark.parametrize(
        ("description", "code"),
        [
            pytest.param("x" * 10_001, "length", id="10001"),
            pytest.param(SMILE * 10_001, "length", id="10001 beyond the first plane"),
            pytest.param("a\x00", "characters", id="NUL"),
            pytest.param("a\rb", "characters", id="carriage return"),
            pytest.param("a\x1b[31m", "characters", id="escape"),
            pytest.param(5, "type", id="number"),
            pytest.param([], "type", id="array"),
        ],
    )
    def test_an_invalid_description_is_422_with_a_pointer(self, alice: Person, description: Any, code: str) -> None:
        assert pointers(alice.post(**as_utf8({"title": "x", "description": description}))) == [("/description", code)]

    def test_an_unpaired_surrogate_is_422(self, alice: Person) -> None:
        for half in ("\ud83d", "\ude00", "\ude00\ud83d"):
            sent = {"title": "x", "description": half}
            assert pointers(alice.post(json=sent)) == [("/description", "characters")]

    @pytest.mark.parametrize("value", ["yes", "true", "", 1, 0, 1.0, [], {}], ids=repr)
    def test_completed_must_be_a_boolean(self, alice: Person, value: Any) -> None:
        alice.add()
        sent = {"title": "x", "completed": value}
        assert pointers(alice.post(json=sent)) == [("/completed", "type")]
        assert pointers(alice.put("/1", json=sent)) == [("/completed", "type")]
        assert pointers(alice.patch("/1/complete", json={"completed": value})) == [("/completed", "type")]

    def test_completed_must_not_be_null(self, alice: Person) -> None:
        alice.add()
        sent = {"title": "x", "completed": None}
        assert pointers(alice.post(json=sent)) == [("/completed", "null")]
        assert pointers(alice.put("/1", json=sent)) == [("/completed", "null")]
        assert pointers(alice.patch("/1/complete", json={"completed": None})) == [("/completed", "null")]

    @pytest.mark.parametrize("junk", [None, -1, "x", [1], {"a": {"b": []}}, "2020-01-01T00:00:00Z"], ids=repr)
    def test_read_only_members_with_any_value_are_ignored(self, alice: Person, junk: Any) -> None:
        made = alice.add("x", **dict.fromkeys(READ_ONLY, junk))
        assert (made["id"], made["user_id"], made["version"], made["completed_at"]) == (1, "alice", 1, None)
        assert TIME.fullmatch(made["created_at"])
        changed = alice.put("/1", json=dict.fromkeys(READ_ONLY, junk))
        assert changed.get_json() == made

    def test_unknown_members_are_422_with_a_pointer_each(self, alice: Person) -> None:
        alice.add()
        sent = {"title": "x", "titel": "x", "done": True}
        for refused in (alice.post(json=sent), alice.put("/1", json=sent)):
            assert sorted(pointers(refused)) == [("/done", "unknown"), ("/titel", "unknown")]
        assert pointers(alice.patch("/1/complete", json={"done": True})) == [("/done", "unknown")]

    def test_a_422_names_all_invalid_members(self, alice: Person) -> None:
        refused = alice.post(json={"title": "", "description": 1, "completed": "yes", "x": 1})
        assert sorted(pointers(refused)) == [
            ("/completed", "type"),
            ("/description", "type"),
            ("/title", "length"),
            ("/x", "unknown"),
        ]


class TestShow:
    def test_get_returns_the_complete_task_with_its_etag(self, alice: Person) -> None:
        made = alice.add("Buy milk", description="Two liters")
        response = alice.get("/1")
        assert (response.status_code, response.get_json()) == (200, made)
        assert response.headers["ETag"] == f'"{made["version"]}"'

    def test_if_none_match_with_the_current_etag_is_304(self, alice: Person) -> None:
        alice.add()
        response = alice.get("/1", headers={"If-None-Match": '"1"'})
        assert (response.status_code, response.data) == (304, b"")
        assert response.headers["ETag"] == '"1"'
        assert "Content-Type" not in response.headers
        alice.patch("/1/complete")
        assert alice.get("/1", headers={"If-None-Match": '"1"'}).status_code == 200

    @pytest.mark.parametrize(
        ("condition", "status"),
        [
            ('"{}"', 304),
            ('W/"{}"', 304),
            ('"7", "{}"', 304),
            ('"7",W/"{}" , "9"', 304),
            ("*", 304),
            ('"{}-gzip"', 304),
            ('W/"{}-gzip"', 304),
            ('"7-gzip", "{}-br", "9"', 304),
            ('"{}--gzip"', 304),
            ('"{}-zstd"', 304),
            ('"7-gzip"', 200),
            ('"{}-gzipped"', 200),
            ('"{}-other"', 200),
            ('"7"', 200),
            ('W/"7"', 200),
            ('"{}2"', 200),
            ('"2{}"', 200),
            ("", 200),
            (",,,", 200),
            ('"', 200),
            ("\x80", 200),
        ],
    )
    def test_if_none_match_compares_weakly(self, alice: Person, condition: str, status: int) -> None:
        alice.add()
        alice.add()
        for path in ("/tasks/2", "/tasks", "/changes"):
            tag = alice.data("GET", path).headers["ETag"].strip('"')
            for method in ("GET", "HEAD"):
                response = alice.data(method, path, headers={"If-None-Match": condition.format(tag)})
                assert response.status_code == status


class TestUpdate:
    def test_put_of_a_task_as_it_was_read_changes_nothing(self, alice: Person) -> None:
        alice.add("Buy milk", description="Two liters", completed=True)
        task, tag = alice.get("/1"), alice.get().headers["ETag"]
        same = alice.put("/1", json=task.get_json())
        assert (same.status_code, same.data, same.headers["ETag"]) == (200, task.data, task.headers["ETag"])
        assert alice.get("/1").data == task.data
        assert alice.get().headers["ETag"] == tag

    @pytest.mark.parametrize(
        "members",
        [{}, {"title": " Buy milk "}, {"completed": False}, {"description": "Two liters"}, {"version": 9}],
        ids=repr,
    )
    def test_put_of_current_values_keeps_the_version(self, alice: Person, members: dict[str, Any]) -> None:
        made = alice.add("Buy milk", description="Two liters")
        assert alice.put("/1", json=members).get_json() == made
        assert alice.revision() == 1

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_a_change_without_a_body_is_400_and_changes_nothing(self, alice: Person, method: str) -> None:
        made = alice.add()
        empty: tuple[dict[str, Any], ...] = ({}, {"data": b"", "content_type": "application/json"}, {"headers": KEY})
        for options in empty:
            refused = problem(alice.send(method, "/1", **options), 400, "bad-request")
            assert refused["detail"] == "The request has no body: send a JSON object with the members to change."
        assert alice.get("/1").get_json() == made
        assert problem(alice.send(method, "/2"), 404, "not-found")
        assert alice.send(method, "/1", json={}, headers=KEY).get_json() == made

    def test_only_completing_and_restoring_may_omit_the_body(self, alice: Person) -> None:
        """A create, a move, a batch and an import without a body say which member is missing."""
        alice.add()
        assert alice.patch("/1/complete").status_code == alice.post("/1/restore").status_code == 200
        missing = {"": "title", "/1/move": "before", "/batch": "operations"}
        for path, member in missing.items():
            refused = problem(alice.post(path), 422, "invalid")
            assert member in str(refused["errors"]), path
        assert "tasks" in str(problem(alice.data("POST", "/import"), 422, "invalid")["errors"])

    def test_members_that_are_not_sent_keep_their_value(self, alice: Person) -> None:
        made = alice.add("Buy milk", description="Two liters", completed=True)
        changed = alice.put("/1", json={"title": "Buy oat milk"})
        task = changed.get_json()
        assert task == {**made, "title": "Buy oat milk", "version": 2, "updated_at": task["updated_at"]}
        assert changed.headers["ETag"] == '"2"'
        assert alice.get("/1").get_json() == task

    def test_null_clears_a_description(self, alice: Person) -> None:
        alice.add(description="Two liters")
        assert alice.put("/1", json={"description": None}).get_json()["description"] is None
        assert alice.titles("?q=liters") == []

    def test_an_empty_description_differs_from_null(self, alice: Person) -> None:
        alice.add()
        assert alice.put("/1", json={"description": ""}).get_json()["version"] == 2
        assert alice.get("/1").get_json()["description"] == ""

    def test_a_null_title_is_422(self, alice: Person) -> None:
        alice.add()
        assert pointers(alice.put("/1", json={"title": None})) == [("/title", "null")]

    def test_completed_at_is_set_kept_and_cleared_with_completed(self, alice: Person) -> None:
        alice.add()
        done = alice.put("/1", json={"completed": True}).get_json()
        assert TIME.fullmatch(done["completed_at"])
        assert done["completed_at"] == done["updated_at"]
        renamed = alice.put("/1", json={"completed": True, "title": "Buy oat milk"}).get_json()
        assert (renamed["version"], renamed["completed_at"]) == (3, done["completed_at"])
        assert alice.put("/1", json={"completed": True}).get_json() == renamed
        assert alice.patch("/1/complete", json={"completed": True}).get_json() == renamed
        assert alice.put("/1", json={"completed": False}).get_json()["completed_at"] is None

    def test_an_update_keeps_created_at_and_updated_at_is_not_before_it(self, alice: Person) -> None:
        made = alice.add()
        changed = alice.put("/1", json={"title": "x"}).get_json()
        assert changed["created_at"] == made["created_at"] <= changed["updated_at"]

    def test_put_of_an_absent_task_is_404_and_creates_nothing(self, alice: Person) -> None:
        alice.add()
        problem(alice.put("/2", json={"title": "x"}), 404, "not-found")
        assert alice.titles() == ["Buy milk"]
        assert alice.add()["id"] == 2

    def test_every_task_of_a_user_without_data_is_404(self, alice: Person, mallory: Person) -> None:
        mallory.add()
        for response in (
            alice.get("/1"),
            alice.put("/1", json={"title": "x"}),
            alice.delete("/1"),
            alice.patch("/1/complete"),
        ):
            problem(response, 404, "not-found")
        assert alice.revision() == 0


class TestComplete:
    @pytest.mark.parametrize(
        "options",
        [
            pytest.param({}, id="no body"),
            pytest.param({"json": {}}, id="empty object"),
            pytest.param({"content_type": "application/json"}, id="no body but its type"),
            pytest.param({"data": b"", "content_type": "text/plain"}, id="no body and another type"),
        ],
    )
    def test_complete_without_a_body_toggles(self, alice: Person, options: dict[str, Any]) -> None:
        made = alice.add()
        done = alice.patch("/1/complete", **options)
        task = done.get_json()
        assert (done.status_code, done.headers["ETag"]) == (200, '"2"')
        assert task == {
            **made,
            "completed": True,
            "completed_at": task["updated_at"],
            "version": 2,
            "updated_at": task["updated_at"],
        }
        assert TIME.fullmatch(task["updated_at"])
        undone = alice.patch("/1/complete", **options).get_json()
        assert undone == {**made, "version": 3, "updated_at": undone["updated_at"]}

    @pytest.mark.parametrize("completed", [True, False])
    def test_complete_with_a_value_sets_it_and_is_idempotent(self, alice: Person, completed: bool) -> None:  # noqa: FBT001
        alice.add(completed=not completed)
        first, again = (alice.patch("/1/complete", json={"completed": completed}) for _ in range(2))
        assert first.get_json()["completed"] is completed
        assert (first.get_json()["completed_at"] is not None) is completed
        assert (again.data, again.headers["ETag"]) == (first.data, '"2"')
        assert alice.revision() == 2


class TestDelete:
    def test_a_deleted_task_is_404_and_in_no_list(self, alice: Person) -> None:
        alice.add("stays")
        alice.add("goes")
        response = alice.delete("/2")
        assert (response.status_code, response.data) == (204, b"")
        assert "Content-Type" not in response.headers
        assert alice.titles() == ["stays"]
        assert alice.titles("?q=goes") == []
        assert alice.get("?include=total").headers["X-Total-Count"] == "1"
        for again in (
            alice.get("/2"),
            alice.put("/2", json={"title": "x"}),
            alice.put("/2", json={}),
            alice.patch("/2/complete"),
            alice.patch("/2/complete", json={"completed": False}),
            alice.delete("/2"),
        ):
            problem(again, 404, "not-found")
        assert alice.revision() == 3

    def test_writes_change_only_the_named_task_of_the_same_user(self, alice: Person, mallory: Person) -> None:
        for person in (alice, mallory):
            person.add("first")
            person.add("second")
        assert mallory.delete("/1").status_code == 204
        assert mallory.put("/2", json={"title": "mine"}).status_code == 200
        assert mallory.patch("/2/complete").status_code == 200
        assert mallory.titles() == ["mine"]
        assert [(t["title"], t["completed"], t["version"]) for t in alice.get().get_json()] == [
            ("second", False, 2),
            ("first", False, 1),
        ]


WRITES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "PUT": ("PUT", "/1", {"json": {"title": "changed"}}),
    "PUT of the same": ("PUT", "/1", {"json": {"title": "Buy milk"}}),
    "PUT of nothing": ("PUT", "/1", {"json": {}}),
    "DELETE": ("DELETE", "/1", {}),
    "toggle": ("PATCH", "/1/complete", {}),
    "set": ("PATCH", "/1/complete", {"json": {"completed": True}}),
    "set the same": ("PATCH", "/1/complete", {"json": {"completed": False}}),
}


STALE = (
    *('"1"', '"3"', '"22"', '"02"', '"2.0"', '"\N{ARABIC-INDIC DIGIT TWO}"', '"' + "9" * 5000 + '"'),  # another version
    *('W/"1"', 'W/"3", "1"', '"1-gzip"', 'W/"3-gzip"'),  # another version, changed by a proxy
    *('"2-gzipped"', '"2-x"', '"-gzip"', '"2"-gzip', '"gzip"'),  # no suffix of a proxy
    *("", ",", '""', "garbage", '"2', "'2'", '"2" 2', "**"),  # no tag at all
)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
class TestIfMatch:
    def test_a_write_with_the_current_etag_in_if_match_succeeds(
        self, alice: Person, write: tuple[str, str, dict[str, Any]]
    ) -> None:
        method, path, options = write
        for number, condition in enumerate(
            (
                *('"{}"', "*", '"9999", "{}"', '"{}","9999"', '"1", "{}"', 'W/"9999", "{}"'),
                *('W/"{}"', '"9999", W/"{}"', '"{}-gzip"', 'W/"{}-gzip"', '"9999-gzip", "{}-br"', '"{}--gzip"'),
            ),
            1,
        ):
            alice.add()
            version = alice.put(f"/{number}", json={"description": "x"}).get_json()["version"]
            headers = {"If-Match": condition.format(version)}
            response = alice.send(method, path.replace("1", str(number)), headers=headers, **options)
            assert response.status_code in (200, 204), condition
            unchanged = options.get("json") in ({"title": "Buy milk"}, {}, {"completed": False})
            assert alice.revision() == version + (not unchanged)

    def test_a_write_with_a_stale_or_invalid_if_match_is_412_with_the_current_task(
        self, alice: Person, write: tuple[str, str, dict[str, Any]]
    ) -> None:
        alice.add()
        alice.put("/1", json={"description": "x"})
        task = alice.get("/1").get_json()
        method, path, options = write
        for condition in STALE:
            headers = {"If-Match": condition.encode().decode("latin-1")}
            response = alice.send(method, path, headers=headers, **options)
            assert problem(response, 412, "precondition-failed")["current"] == task, condition
        assert alice.get("/1").get_json() == task
        assert alice.revision() == 2

    def test_if_match_on_a_deleted_task_is_404(self, alice: Person, write: tuple[str, str, dict[str, Any]]) -> None:
        method, path, options = write
        alice.add()
        alice.delete("/1")
        for condition in ("*", '"1"'):
            response = alice.send(method, path, headers={"If-Match": condition}, **options)
            problem(response, 404, "not-found")

    def test_a_write_without_if_match_is_428_in_strict_mode(
        self, strict_alice: Person, write: tuple[str, str, dict[str, Any]]
    ) -> None:
        method, path, options = write
        problem(strict_alice.send(method, path, **options), 404, "not-found")
        strict_alice.add()
        problem(strict_alice.send(method, path, **options), 428, "precondition-required")
        problem(strict_alice.send(method, path, headers={"If-Match": '"9"'}, **options), 412, "precondition-failed")
        assert strict_alice.send(method, path, headers={"If-Match": '"1"'}, **options).status_code in (200, 204)


def test_create_and_get_need_no_if_match_in_strict_mode(strict_alice: Person) -> None:
    assert strict_alice.post(json={"title": "x"}).status_code == 201
    assert strict_alice.get().status_code == strict_alice.get("/1").status_code == 200


HUGE = b"x" * 70_000
JUNK = {"data": b"{", "content_type": "application/json"}
WRONG = {"json": {"completed": "yes"}}
TEXT = {"data": b"{}", "content_type": "text/plain"}
BIG = {"data": HUGE, "content_type": "text/plain"}
OLD = {"If-Match": '"9"'}


@pytest.mark.parametrize(("method", "path"), [("PUT", ""), ("PATCH", "/complete")], ids=["PUT", "complete"])
class TestOrderOfChecks:
    @pytest.mark.parametrize(
        ("id", "of", "options", "status"),
        [
            pytest.param(2, "mallory", BIG, 403, id="403 before 413"),
            pytest.param(2, "mallory", TEXT, 403, id="403 before 415"),
            pytest.param(2, "mallory", JUNK, 403, id="403 before 400"),
            pytest.param(2, "alice", BIG, 413, id="413 before 404"),
            pytest.param(2, "alice", TEXT, 415, id="415 before 404"),
            pytest.param(1, "alice", {**TEXT, "headers": OLD}, 415, id="415 before 412"),
            pytest.param(2, "alice", {**JUNK, "headers": OLD}, 404, id="404 before 412 and 400"),
            pytest.param(2, "alice", JUNK, 404, id="404 before 400"),
            pytest.param(2, "alice", WRONG, 404, id="404 before 422"),
            pytest.param(2, "alice", {"query_string": "x=1"}, 404, id="404 before a wrong parameter"),
            pytest.param("x", "alice", WRONG, 404, id="404 for no id at all before 422"),
            pytest.param(1, "alice", {**JUNK, "headers": OLD}, 412, id="412 before 400"),
            pytest.param(1, "alice", {**WRONG, "headers": OLD}, 412, id="412 before 422"),
            pytest.param(1, "alice", {"query_string": "x=1", "headers": OLD}, 412, id="412 before a wrong parameter"),
            pytest.param(1, "alice", JUNK, 400, id="400"),
            pytest.param(1, "alice", WRONG, 422, id="422"),
        ],
    )
    def test_of_several_errors_the_first_in_the_documented_order_is_reported(
        self, alice: Person, mallory: Person, method: str, path: str, id: Any, of: str, options: Any, status: int
    ) -> None:
        alice.add()
        mallory.add()
        assert alice.send(method, f"/{id}{path}", of=of, **options).status_code == status

    @pytest.mark.parametrize("options", [JUNK, WRONG, {"query_string": "x=1"}], ids=["400", "422", "parameter"])
    def test_428_comes_after_404_and_before_errors_in_the_body(
        self, strict_alice: Person, method: str, path: str, options: Any
    ) -> None:
        strict_alice.add()
        assert strict_alice.send(method, f"/2{path}", **options).status_code == 404
        assert strict_alice.send(method, f"/1{path}", **options).status_code == 428

    @pytest.mark.parametrize("options", [BIG, TEXT, JUNK, WRONG, {"query_string": "x=1"}], ids=lambda o: str(o)[:20])
    def test_without_a_valid_token_every_error_is_401(
        self, client: FlaskClient, method: str, path: str, options: Any
    ) -> None:
        forged = {"Authorization": f"Bearer {token('alice', secret='x' * 32)}"}
        for headers in ({}, {"Authorization": "Bearer x"}, forged):
            for user in ("alice", "nobody"):
                response = client.open(f"/api/{user}/tasks/1{path}", method=method, headers=headers, **options)
                problem(response, 401, "unauthorized")


ENDPOINTS = {
    "index": ("GET", "", 200, {}),
    "create": ("POST", "", 201, {"json": {"title": "x"}}),
    "show": ("GET", "/1", 200, {}),
    "update": ("PUT", "/1", 200, {"json": {"title": "x"}}),
    "delete": ("DELETE", "/1", 204, {}),
    "complete": ("PATCH", "/1/complete", 200, {}),
}


@pytest.mark.parametrize(("method", "path", "status", "options"), ENDPOINTS.values(), ids=ENDPOINTS)
class TestAllEndpoints:
    def test_a_trailing_slash_is_accepted_without_a_redirect(
        self, alice: Person, method: str, path: str, status: int, options: Any
    ) -> None:
        alice.add()
        response = alice.send(method, f"{path}/", **options)
        assert response.status_code == status
        assert response.history == ()

    def test_a_response_has_a_request_id_and_is_private_in_caches(
        self, alice: Person, method: str, path: str, status: int, options: Any
    ) -> None:
        alice.add()
        headers = alice.send(method, path, headers={"X-Request-Id": "mine-1"}, **options).headers
        assert headers["X-Request-Id"] == "mine-1"
        assert headers["Cache-Control"] == "private, no-cache"
        assert {"Authorization", "Origin"} <= {name.strip() for name in headers["Vary"].split(",")}
        assert headers["X-Content-Type-Options"] == "nosniff"

    def test_an_unknown_query_parameter_is_400_on_every_endpoint(
        self, alice: Person, method: str, path: str, status: int, options: Any
    ) -> None:
        made = alice.add()
        refused = alice.send(method, f"{path}?canary=1", **options)
        faults = problem(refused, 400, "bad-parameter")["errors"]
        assert [(fault["pointer"], fault["code"]) for fault in faults] == [("/canary", "unknown")]
        assert alice.get().get_json() == [made]

    def test_a_double_slash_is_404_or_405_and_no_redirect(
        self, alice: Person, method: str, path: str, status: int, options: Any
    ) -> None:
        made = alice.add()
        for address in (f"//api/alice/tasks{path}", f"/api//alice/tasks{path}", f"/api/alice//tasks{path}"):
            headers = {"Authorization": f"Bearer {alice.token}"}
            # With `base_url`, because the client would read `//api` alone as a host name.
            response = alice.client.open(
                address, base_url="http://localhost", method=method, headers=headers, **options
            )
            assert response.status_code in (404, 405), address
        assert alice.get().get_json() == [made]


def test_head_has_the_status_and_headers_of_get_without_the_body(alice: Person) -> None:
    alice.add()
    for path in ("", "/1"):
        got, head = alice.get(path), alice.send("HEAD", path)
        assert (head.status_code, head.data) == (200, b"")
        for name in ("ETag", "Content-Type", "Content-Length", "Cache-Control", "Vary"):
            assert head.headers[name] == got.headers[name]
    assert alice.send("HEAD", "/2").status_code == 404


METHODS = {
    "": "GET, HEAD, OPTIONS, POST",
    "/1": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
    "/1/complete": "OPTIONS, PATCH",
}


@pytest.mark.parametrize(("path", "allowed"), METHODS.items())
def test_options_lists_the_methods_without_a_token(client: FlaskClient, path: str, allowed: str) -> None:
    for slash in ("", "/"):
        response = client.options(f"/api/alice/tasks{path}{slash}")
        assert (response.status_code, response.data) == (200, b"")
        assert sorted(response.headers["Allow"].split(", ")) == allowed.split(", ")


@pytest.mark.parametrize(("path", "allowed"), METHODS.items())
def test_an_unsupported_method_is_405_with_allow_even_without_a_token(
    alice: Person, client: FlaskClient, path: str, allowed: str
) -> None:
    alice.add()
    others = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"} - set(allowed.split(", "))
    for method in sorted(others):
        for response in (alice.send(method, path), client.open(f"/api/alice/tasks{path}", method=method)):
            assert response.status_code == 405
            assert response.headers["Allow"] == allowed
            if method != "HEAD":
                problem(response, 405, "method-not-allowed")


def test_an_absent_and_a_deleted_task_get_the_same_404(alice: Person) -> None:
    alice.add()
    alice.delete("/1")
    for path in ("/1", "/2"):
        response = alice.get(path, headers={"X-Request-Id": "r"})
        assert response.get_json() == {
            "type": "/problems/not-found",
            "title": "Not found",
            "status": 404,
            "detail": "You have no task of this id.",
            "code": "not-found",
            "request_id": "r",
        }
        assert response.headers["Cache-Control"] == "no-store"
