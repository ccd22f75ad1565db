"""Priority, tags and the rest of what a client may say of a task: written, cleared, filtered, sorted, searched."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.conftest import Person

EVERYTHING = {
    "title": "Everything",
    "description": "Two\nlines",
    "completed": True,
    "priority": "high",
    "tags": ["Home", "work, later"],
    "due_date": "2026-11-21",
    "due_time": "09:30",
    "time_zone": "Europe/Berlin",
    "recurrence": "FREQ=WEEKLY;BYDAY=MO,TH",
    "repeat_from": "completion",
}


def faults(response: TestResponse) -> dict[str, str]:
    assert response.status_code == 422, response.text
    return {fault["pointer"]: fault["code"] for fault in response.get_json()["errors"]}


class TestPriority:
    @pytest.mark.parametrize("word", ["none", "low", "medium", "high"])
    def test_is_a_word(self, alice: Person, word: str) -> None:
        assert alice.add(priority=word)["priority"] == word
        assert alice.get("/1").get_json()["priority"] == word

    def test_is_none_unless_sent_and_null_clears(self, alice: Person) -> None:
        assert alice.add()["priority"] == "none"
        assert alice.add(priority=None)["priority"] == "none"
        assert alice.add(priority="high")["priority"] == "high"
        assert alice.put("/3", json={"priority": None}).get_json()["priority"] == "none"

    def test_is_nothing_else(self, alice: Person) -> None:
        for value in ("High", "urgent", "", "high ", 3, 0, True, ["high"], {"high": 1}):
            assert faults(alice.post(json={"title": "x", "priority": value})) == {"/priority": "choice"}, value


class TestTags:
    def test_are_trimmed_and_keep_their_order_and_case(self, alice: Person) -> None:
        task = alice.add(tags=["  zebra ", "Apple", "\u3000ß\u00a0", "%", "_", "\\", "a, b", "タスク", "🏠"])
        assert task["tags"] == ["zebra", "Apple", "ß", "%", "_", "\\", "a, b", "タスク", "🏠"]
        assert alice.get("/1").get_json() == task

    def test_are_an_empty_list_unless_sent_and_null_clears(self, alice: Person) -> None:
        assert alice.add()["tags"] == []
        assert alice.add(tags=None)["tags"] == []
        alice.add(tags=["a"])
        assert alice.put("/3", json={"tags": None}).get_json()["tags"] == []
        assert alice.put("/3", json={"tags": ["b"]}).get_json()["tags"] == ["b"]
        assert alice.put("/3", json={"tags": []}).get_json()["tags"] == []

    def test_may_be_twenty_of_fifty_code_points(self, alice: Person) -> None:
        tags = [f"{number:02}" + "🏠" * 48 for number in range(20)]
        assert alice.add(tags=tags)["tags"] == tags
        assert alice.titles("?tag=" + tags[19].upper()) == ["Buy milk"]

    NO_TAGS: tuple[tuple[Any, dict[str, str]], ...] = (
        ([str(number) for number in range(21)], {"/tags": "length"}),
        (["x" * 51], {"/tags/0": "length"}),
        (["ok", ""], {"/tags/1": "length"}),
        (["ok", "   "], {"/tags/1": "length"}),
        (["Home", "hOME"], {"/tags/1": "unique"}),
        (["straße", "x", "STRASSE"], {"/tags/2": "unique"}),
        (["a", "a ", "A"], {"/tags/1": "unique", "/tags/2": "unique"}),
        (["a\nb"], {"/tags/0": "characters"}),
        (["a\x00"], {"/tags/0": "characters"}),
        (["a\tb", 5], {"/tags/0": "characters", "/tags/1": "type"}),
        (["ok", None], {"/tags/1": "null"}),
        (["ok", ["nested"]], {"/tags/1": "type"}),
        (["ok", True], {"/tags/1": "type"}),
        ("home", {"/tags": "type"}),
        ({"0": "home"}, {"/tags": "type"}),
        (5, {"/tags": "type"}),
    )

    def test_are_nothing_else(self, alice: Person) -> None:
        for tags, expected in self.NO_TAGS:
            assert faults(alice.post(json={"title": "x", "tags": tags})) == expected, tags
        assert alice.get().get_json() == []

    def test_half_a_surrogate_pair_is_none(self, alice: Person) -> None:
        response = alice.post(data=b'{"title": "x", "tags": ["\\ud800"]}', content_type="application/json")
        assert faults(response) == {"/tags/0": "characters"}

    def test_in_another_order_are_a_change_and_in_the_same_none(self, alice: Person) -> None:
        task = alice.add(tags=["a", "b"])
        assert alice.put("/1", json={"tags": [" a", "b"]}).get_json() == task
        changed = alice.put("/1", json={"tags": ["b", "a"]}).get_json()
        assert (changed["tags"], changed["version"]) == (["b", "a"], task["version"] + 1)
        assert alice.put("/1", json={"tags": ["B", "a"]}).get_json()["tags"] == ["B", "a"]


class TestFilters:
    def test_priority_is_any_of_some(self, alice: Person) -> None:
        for word in ("none", "low", "medium", "high"):
            alice.add(word, priority=word)
        for query, titles in {
            "priority=high": ["high"],
            "priority=high,medium": ["high", "medium"],
            "priority=medium,high": ["high", "medium"],
            "priority=none": ["none"],
            "priority=none,low,medium,high": ["high", "medium", "low", "none"],
            "priority=low,low": ["low"],
            "priority=low%2Chigh": ["high", "low"],
            "priority=high&status=completed": [],
        }.items():
            assert alice.titles(f"?{query}") == titles, query

    NO_FILTERS = (
        *("priority=", "priority=high,", "priority=High", "priority=3", "priority=high;low", "priority=high, low"),
        *("priority=high&priority=low", "tag=", "tag=%20", "tag=a%0Ab", "tags=a", f"tag={'x' * 51}", "tag=a%00"),
    )

    def test_that_are_none_are_400(self, alice: Person) -> None:
        for query in self.NO_FILTERS:
            assert alice.get(f"?{query}").status_code == 400, query

    TAGS = {
        "plain": ["home"],
        "longer": ["homework"],
        "both": ["Home", "Work"],
        "signs": ["100%", "a_b", "C:\\new", "a/b"],
        "alike": ["100x", "axb", "C:new"],
        "comma": ["red,green"],
        "words": ["red", "green"],
        "folds": ["STRASSE", "ΣΊΣΥΦΟΣ"],
        "quotes": ["'; DROP TABLE tasks; --", '"'],
        "none": [],
    }

    WANTED: tuple[tuple[list[str], list[str]], ...] = (
        (["home"], ["plain", "both"]),
        (["HOME"], ["plain", "both"]),
        ([" home "], ["plain", "both"]),
        (["hom"], []),
        (["ome"], []),
        (["home", "work"], ["both"]),
        (["work", "HOME", "Home"], ["both"]),
        (["home", "green"], []),
        (["%"], []),
        (["_"], []),
        (["\\"], []),
        (["100%"], ["signs"]),
        (["100_"], []),
        (["a_b"], ["signs"]),
        (["a%b"], []),
        (["c:\\NEW"], ["signs"]),
        (["a/b"], ["signs"]),
        (["a//b"], []),
        (["red,green"], ["comma"]),
        (["red"], ["words"]),
        (["green", "red"], ["words"]),
        (["straße"], ["folds"]),
        (["σίσυφος"], ["folds"]),
        (["'; drop table tasks; --"], ["quotes"]),
        (['"'], ["quotes"]),
    )

    def test_tag_is_a_whole_one_and_all_of_them(self, alice: Person) -> None:
        operations = [{"op": "create", "task": {"title": title, "tags": tags}} for title, tags in self.TAGS.items()]
        assert alice.post("/batch", json={"operations": operations}).status_code == 200
        for wanted, titles in self.WANTED:
            response = alice.get(query_string={"tag": wanted, "sort": "created_at"})
            assert [task["title"] for task in response.get_json()] == titles, wanted

    def test_of_all_kinds_go_together(self, alice: Person) -> None:
        alice.add("it", tags=["a", "b"], priority="high", due_date="2026-11-21", description="find me")
        for members in ({"tags": ["a"]}, {"priority": "low"}, {"due_date": "2026-11-22"}, {"description": "no"}):
            alice.add("other", **{"tags": ["a", "b"], "priority": "high", "due_date": "2026-11-21", **members})
        query = "?tag=a&tag=b&priority=high,medium&due_to=2026-11-21&q=find&status=pending&include=total"
        assert alice.titles(query) == ["it"]
        assert alice.get(query).headers["X-Total-Count"] == "1"


SORTS = ["created_at", "updated_at", "due", "priority", "title", "position", "created", "due_date"]


class TestSorts:
    @pytest.fixture
    def many(self, alice: Person) -> Person:
        """Eleven tasks, many alike in what they are sorted by."""
        operations: list[dict[str, Any]] = []
        dates = [None, "2026-11-21", "2026-11-20", None, "2026-11-21", "2026-11-21", None, "2030-01-01"]
        dates += ["1999-12-31", "2026-11-20", "2026-11-21"]
        times = [None, "09:00", None, None, None, "08:00", None, None, None, "23:59", "09:00"]
        words = itertools.cycle(["none", "high", "low", "medium", "high"])
        titles = ["b", "B", "É", "e", "a", "タスク", "Zz", "10", "9", "straße", "STRASSE"]
        for title, date, clock, word in zip(titles, dates, times, words, strict=False):
            task = {"title": title, "due_date": date, "due_time": clock, "priority": word}
            operations.append({"op": "create", "task": task})
        assert alice.post("/batch", json={"operations": operations}).status_code == 200
        alice.put("/3", json={"title": "é"})
        alice.put("/8", json={"description": "changed"})
        assert alice.post("/9/move", json={"after": None}).status_code == 200
        assert alice.post("/2/move", json={"before": 7}).status_code == 200
        return alice

    def test_pages_of_two_make_the_whole_list(self, many: Person) -> None:
        for sort in (sign + word for word in SORTS for sign in ("", "-")):
            whole = many.get(f"?sort={sort}").get_json()
            assert len({task["id"] for task in whole}) == 11
            assert self.paged(many, sort) == whole, sort

    def paged(self, many: Person, sort: str) -> list[dict[str, Any]]:
        paged: list[dict[str, Any]] = []
        query: str | None = f"?sort={sort}&limit=2"
        while query is not None:
            response = many.get(query)
            page = response.get_json()
            assert len(page) == 2 or (len(page) == 1 and "Link" not in response.headers)
            paged += page
            link = re.fullmatch(r"</api/alice/tasks(\?[^>]*)>; rel=\"next\"", response.headers.get("Link", ""))
            query = link and link[1]
        return paged

    def ids(self, person: Person, sort: str) -> list[int]:
        return [task["id"] for task in person.get(f"?sort={sort}").get_json()]

    def test_due_puts_the_undated_last_both_ways(self, many: Person) -> None:
        # By day, then by time, a day without a time after those with one; then by id.
        assert self.ids(many, "due") == [9, 10, 3, 6, 2, 11, 5, 8, 1, 4, 7]
        assert self.ids(many, "-due") == [8, 5, 11, 2, 6, 3, 10, 9, 7, 4, 1]

    def test_priority_goes_from_none_to_high(self, many: Person) -> None:
        assert self.ids(many, "priority") == [1, 6, 11, 3, 8, 4, 9, 2, 5, 7, 10]
        assert self.ids(many, "-priority") == self.ids(many, "priority")[::-1]

    def test_title_folds_case_and_accents(self, many: Person) -> None:
        titles = [task["title"] for task in many.get("?sort=title").get_json()]
        assert titles == ["10", "9", "a", "b", "B", "é", "e", "straße", "STRASSE", "Zz", "タスク"]
        assert self.ids(many, "-title") == self.ids(many, "title")[::-1]

    def test_position_is_the_order_made_by_hand(self, many: Person) -> None:
        assert self.ids(many, "position") == [9, 1, 3, 4, 5, 6, 2, 7, 8, 10, 11]
        assert self.ids(many, "-position") == self.ids(many, "position")[::-1]
        places = [task["position"] for task in many.get("?sort=position").get_json()]
        assert sorted(places) == places

    def test_updated_at_is_the_order_of_the_last_changes(self, many: Person) -> None:
        assert self.ids(many, "-updated_at")[:4] == [2, 9, 8, 3]

    def test_an_alias_means_the_same(self, many: Person) -> None:
        for alias, word in (("created", "created_at"), ("due_date", "due")):
            assert self.ids(many, alias) == self.ids(many, word)
            assert self.ids(many, f"-{alias}") == self.ids(many, f"-{word}")

    def test_anything_else_is_400(self, alice: Person) -> None:
        for sort in ("", "id", "due_at", "--due", "due,title", "Title", "tags", "-", "+title"):
            assert alice.get(query_string={"sort": sort}).status_code == 400, sort

    def test_a_cursor_of_another_sort_or_filter_is_400(self, many: Person) -> None:
        link = many.get("?sort=due&limit=2").headers["Link"]
        cursor = re.findall(r"cursor=([^>&]+)", link)[0]
        assert many.get(f"?sort=due&limit=3&cursor={cursor}").status_code == 200
        assert many.get(f"?sort=due_date&limit=3&cursor={cursor}").status_code == 200
        for query in ("sort=-due", "sort=title", "sort=due&priority=high", "sort=due&tag=a", "sort=due&no_due=true"):
            assert many.get(f"?{query}&cursor={cursor}").get_json()["code"] == "bad-cursor", query


class TestWritingAPart:
    def test_what_was_read_and_put_back_changes_nothing(self, alice: Person) -> None:
        task = alice.add(**EVERYTHING)
        assert {name: task[name] for name in EVERYTHING} == EVERYTHING
        etag = alice.get().headers["ETag"]
        for method in ("PUT", "PATCH"):
            response = alice.send(method, "/1", json=alice.get("/1").get_json())
            assert (response.status_code, response.get_json()) == (200, task)
            assert response.headers["ETag"] == f'"{task["version"]}"'
        assert alice.get().headers["ETag"] == etag
        assert alice.get().get_json() == [task]

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_a_title_alone_keeps_all_others(self, alice: Person, method: str) -> None:
        task = alice.add(**EVERYTHING)
        changed = alice.send(method, "/1", json={"title": "New"}).get_json()
        assert changed == {
            **task,
            "title": "New",
            "version": task["version"] + 1,
            "updated_at": changed["updated_at"],
        }

    def test_one_member_can_be_set_and_no_other_moves(self, alice: Person) -> None:
        other = {
            "description": "Other",
            "completed": False,
            "priority": "low",
            "tags": ["other"],
            "due_date": "2026-11-22",
            "due_time": "10:30",
            "time_zone": "Asia/Kathmandu",
            "recurrence": None,
            "repeat_from": "due",
        }
        follow = {"version", "updated_at", "due_at", "completed_at"}
        for name in EVERYTHING.keys() - {"title"}:
            task = alice.add(**EVERYTHING)
            changed = alice.put(f"/{task['id']}", json={name: other[name]}).get_json()
            assert changed[name] == other[name]
            assert {key for key in task if task[key] != changed[key]} - follow == {name}

    def test_the_title_is_the_only_member_that_a_new_task_needs(self, alice: Person) -> None:
        assert faults(alice.post(json={**EVERYTHING, "title": None})) == {"/title": "null"}
        assert faults(alice.post(json={key: EVERYTHING[key] for key in EVERYTHING if key != "title"})) == {
            "/title": "required"
        }

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
    def test_an_unknown_member_is_422(self, alice: Person, method: str) -> None:
        alice.add()
        path = "" if method == "POST" else "/1"
        for name in ("due", "dueDate", "tag", "occurrence", "folded_title", "purged_at"):
            assert faults(alice.send(method, path, json={"title": "x", name: "x"})) == {f"/{name}": "unknown"}

    def test_read_only_members_are_passed_over(self, alice: Person) -> None:
        task = alice.add()
        sent = {"id": 9, "user_id": "mallory", "position": "zz", "version": 99, "series_id": 5, "next_task_id": 7}
        times = dict.fromkeys(
            ("created_at", "updated_at", "deleted_at", "completed_at", "due_at"), "2000-01-01T00:00:00Z"
        )
        assert alice.put("/1", json={**sent, **times}).get_json() == task


class TestMergePatch:
    @pytest.mark.parametrize(
        "media_type",
        ["application/merge-patch+json", "application/json", "Application/Merge-Patch+JSON; charset=utf-8"],
    )
    def test_is_taken_as_these(self, alice: Person, media_type: str) -> None:
        alice.add(**EVERYTHING)
        response = alice.patch("/1", data=b'{"priority": null, "tags": ["x"]}', content_type=media_type)
        assert response.status_code == 200
        assert (response.get_json()["priority"], response.get_json()["tags"]) == ("none", ["x"])

    @pytest.mark.parametrize("media_type", ["application/json-patch+json", "text/plain", "application/xml", ""])
    def test_is_415_as_anything_else_and_says_what_goes(self, alice: Person, media_type: str) -> None:
        task = alice.add()
        response = alice.patch("/1", data=b'{"title": "x"}', content_type=media_type)
        assert response.status_code == 415
        assert response.headers["Accept-Patch"] == "application/merge-patch+json, application/json"
        assert alice.get("/1").get_json() == task

    def test_is_no_body_for_the_others(self, alice: Person) -> None:
        alice.add()
        for method, path in (("POST", ""), ("PUT", "/1"), ("PATCH", "/1/complete")):
            response = alice.send(method, path, data=b"{}", content_type="application/merge-patch+json")
            assert response.status_code == 415, path

    def test_never_makes_a_task(self, alice: Person) -> None:
        alice.add()
        assert alice.patch("/2", json={"title": "x"}).status_code == 404

    def test_keeps_to_the_expected_version(self, alice: Person) -> None:
        task = alice.add()
        response = alice.patch("/1", json={"title": "x"}, headers={"If-Match": '"99"'})
        assert (response.status_code, response.get_json()["current"]) == (412, task)

    def test_that_is_empty_changes_nothing(self, alice: Person) -> None:
        task = alice.add()
        assert alice.patch("/1", json={}).get_json() == task
        assert alice.patch("/1").get_json() == task

    def test_that_is_no_object_is_422(self, alice: Person) -> None:
        alice.add()
        for value in (b"[]", b'"x"', b"null", b"5"):
            assert alice.patch("/1", data=value, content_type="application/json").status_code == 422, value


class TestSearch:
    TITLES = [
        "C++ and C",
        "e-mail",
        "100% sure",
        "a_b",
        'say "hi"',
        "タスクを作る",
        "Café",
        "Hauptstraße",
        "back\\slash",
        "x",
    ]

    FOUND: tuple[tuple[str, list[str]], ...] = (
        ("C++", ["C++ and C"]),
        ("c+", ["C++ and C"]),
        ("e-mail", ["e-mail"]),
        ("%", ["100% sure"]),
        ("_", ["a_b"]),
        ('"', ['say "hi"']),
        ("\\", ["back\\slash"]),
        ("タスク", ["タスクを作る"]),
        ("ﾀｽｸ", ["タスクを作る"]),
        ("ダスク", []),
        ("CAFÉ", ["Café"]),
        ("cafe", ["Café"]),
        ("cafe\u0301", ["Café"]),
        ("straße", ["Hauptstraße"]),
        ("STRASSE", ["Hauptstraße"]),
        ("STRAẞE", ["Hauptstraße"]),
        ("a%b", []),
        ("axb", []),
        ("'", []),
    )

    @pytest.mark.parametrize("member", ["title", "description"])
    def test_finds_the_same_on_both_databases(self, alice: Person, member: str) -> None:
        tasks = [{"title": "-", member: text} for text in self.TITLES]
        if member == "description":
            tasks.append({"title": "-"})
        operations = [{"op": "create", "task": task} for task in tasks]
        assert alice.post("/batch", json={"operations": operations}).status_code == 200
        for q, titles in self.FOUND:
            response = alice.get(query_string={"q": q})
            assert [task[member] for task in response.get_json()] == titles, q

    def test_finds_what_a_change_brought_and_not_what_it_took(self, alice: Person) -> None:
        alice.add("Café", description="old", tags=["Shop"], due_date="2026-12-01")
        alice.add("Later", due_date="2026-12-02")
        alice.patch("/1", json={"title": "Tee", "description": None, "tags": ["Home"], "due_date": "2026-12-03"})
        assert alice.titles("?q=tee") == alice.titles("?tag=home") == ["Tee"]
        assert alice.titles("?q=cafe") == alice.titles("?q=old") == alice.titles("?tag=shop") == []
        assert alice.titles("?sort=due") == ["Later", "Tee"]
