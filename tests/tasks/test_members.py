"""Members of a task: priority, tags and others are written, cleared, filtered, sorted and searched."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.conftest import Person

ALL_MEMBERS = {
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


def error_codes(response: TestResponse) -> dict[str, str]:
    """Return the error codes of a 422 by JSON pointer."""
    assert response.status_code == 422, response.text
    return {fault["pointer"]: fault["code"] for fault in response.get_json()["errors"]}


class TestPriority:
    @pytest.mark.parametrize("name", ["none", "low", "medium", "high"])
    def test_a_priority_is_stored_and_returned(self, alice: Person, name: str) -> None:
        assert alice.add(priority=name)["priority"] == name
        assert alice.get("/1").get_json()["priority"] == name

    def test_priority_defaults_to_none_and_null_resets_it(self, alice: Person) -> None:
        assert alice.add()["priority"] == "none"
        assert alice.add(priority=None)["priority"] == "none"
        assert alice.add(priority="high")["priority"] == "high"
        assert alice.put("/3", json={"priority": None}).get_json()["priority"] == "none"

    def test_any_other_priority_is_422(self, alice: Person) -> None:
        for value in ("High", "urgent", "", "high ", 3, 0, True, ["high"], {"high": 1}):
            assert error_codes(alice.post(json={"title": "x", "priority": value})) == {"/priority": "choice"}, value


class TestTags:
    def test_tags_are_trimmed_and_keep_their_order_and_case(self, alice: Person) -> None:
        task = alice.add(tags=["  zebra ", "Apple", "\u3000ß\u00a0", "%", "_", "\\", "a, b", "タスク", "🏠"])
        assert task["tags"] == ["zebra", "Apple", "ß", "%", "_", "\\", "a, b", "タスク", "🏠"]
        assert alice.get("/1").get_json() == task

    def test_tags_default_to_an_empty_list_and_null_clears_them(self, alice: Person) -> None:
        assert alice.add()["tags"] == []
        assert alice.add(tags=None)["tags"] == []
        alice.add(tags=["a"])
        assert alice.put("/3", json={"tags": None}).get_json()["tags"] == []
        assert alice.put("/3", json={"tags": ["b"]}).get_json()["tags"] == ["b"]
        assert alice.put("/3", json={"tags": []}).get_json()["tags"] == []

    def test_20_tags_of_50_code_points_are_allowed(self, alice: Person) -> None:
        tags = [f"{number:02}" + "🏠" * 48 for number in range(20)]
        assert alice.add(tags=tags)["tags"] == tags
        assert alice.titles("?tag=" + tags[19].upper()) == ["Buy milk"]

    INVALID_TAGS: tuple[tuple[Any, dict[str, str]], ...] = (
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

    def test_invalid_tags_are_422_with_a_pointer(self, alice: Person) -> None:
        for tags, expected in self.INVALID_TAGS:
            assert error_codes(alice.post(json={"title": "x", "tags": tags})) == expected, tags
        assert alice.get().get_json() == []

    def test_a_tag_with_an_unpaired_surrogate_is_422(self, alice: Person) -> None:
        response = alice.post(data=b'{"title": "x", "tags": ["\\ud800"]}', content_type="application/json")
        assert error_codes(response) == {"/tags/0": "characters"}

    def test_reordered_tags_change_the_version_and_equal_tags_do_not(self, alice: Person) -> None:
        task = alice.add(tags=["a", "b"])
        assert alice.put("/1", json={"tags": [" a", "b"]}).get_json() == task
        changed = alice.put("/1", json={"tags": ["b", "a"]}).get_json()
        assert (changed["tags"], changed["version"]) == (["b", "a"], task["version"] + 1)
        assert alice.put("/1", json={"tags": ["B", "a"]}).get_json()["tags"] == ["B", "a"]


class TestFilters:
    def test_the_priority_filter_selects_tasks_with_any_of_the_listed_priorities(self, alice: Person) -> None:
        for name in ("none", "low", "medium", "high"):
            alice.add(name, priority=name)
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

    INVALID_FILTERS = (
        *("priority=", "priority=high,", "priority=High", "priority=3", "priority=high;low", "priority=high, low"),
        *("priority=high&priority=low", "tag=", "tag=%20", "tag=a%0Ab", "tags=a", f"tag={'x' * 51}", "tag=a%00"),
    )

    def test_an_invalid_priority_or_tag_filter_is_400(self, alice: Person) -> None:
        for query in self.INVALID_FILTERS:
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

    TAG_QUERIES: tuple[tuple[list[str], list[str]], ...] = (
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

    def test_the_tag_filter_selects_tasks_that_have_all_tags_exactly_ignoring_case(self, alice: Person) -> None:
        operations = [{"op": "create", "task": {"title": title, "tags": tags}} for title, tags in self.TAGS.items()]
        assert alice.post("/batch", json={"operations": operations}).status_code == 200
        for wanted, titles in self.TAG_QUERIES:
            response = alice.get(query_string={"tag": wanted, "sort": "created_at"})
            assert [task["title"] for task in response.get_json()] == titles, wanted

    def test_filters_are_combined_with_and(self, alice: Person) -> None:
        alice.add("it", tags=["a", "b"], priority="high", due_date="2026-11-21", description="find me")
        for members in ({"tags": ["a"]}, {"priority": "low"}, {"due_date": "2026-11-22"}, {"description": "no"}):
            alice.add("other", **{"tags": ["a", "b"], "priority": "high", "due_date": "2026-11-21", **members})
        query = "?tag=a&tag=b&priority=high,medium&due_to=2026-11-21&q=find&status=pending&include=total"
        assert alice.titles(query) == ["it"]
        assert alice.get(query).headers["X-Total-Count"] == "1"


SORTS = ["created_at", "updated_at", "due", "priority", "title", "position", "created", "updated", "due_date"]


class TestSorts:
    @pytest.fixture
    def alice_with_11_tasks(self, alice: Person) -> Person:
        """Alice with 11 tasks, many of which have equal sort keys."""
        operations: list[dict[str, Any]] = []
        dates = [None, "2026-11-21", "2026-11-20", None, "2026-11-21", "2026-11-21", None, "2030-01-01"]
        dates += ["1999-12-31", "2026-11-20", "2026-11-21"]
        times = [None, "09:00", None, None, None, "08:00", None, None, None, "23:59", "09:00"]
        priorities = itertools.cycle(["none", "high", "low", "medium", "high"])
        titles = ["b", "B", "É", "e", "a", "タスク", "Zz", "10", "9", "straße", "STRASSE"]
        for title, date, clock, name in zip(titles, dates, times, priorities, strict=False):
            task = {"title": title, "due_date": date, "due_time": clock, "priority": name}
            operations.append({"op": "create", "task": task})
        assert alice.post("/batch", json={"operations": operations}).status_code == 200
        alice.put("/3", json={"title": "é"})
        alice.put("/8", json={"description": "changed"})
        assert alice.post("/9/move", json={"after": None}).status_code == 200
        assert alice.post("/2/move", json={"before": 7}).status_code == 200
        return alice

    def test_all_pages_together_are_the_complete_list_in_each_sort_order(self, alice_with_11_tasks: Person) -> None:
        for sort in (sign + name for name in SORTS for sign in ("", "-")):
            whole = alice_with_11_tasks.get(f"?sort={sort}").get_json()
            assert len({task["id"] for task in whole}) == 11
            assert self.all_pages(alice_with_11_tasks, sort) == whole, sort

    def all_pages(self, alice_with_11_tasks: Person, sort: str) -> list[dict[str, Any]]:
        """Return the tasks of all pages of two, following the next links."""
        all_pages: list[dict[str, Any]] = []
        query: str | None = f"?sort={sort}&limit=2"
        while query is not None:
            response = alice_with_11_tasks.get(query)
            page = response.get_json()
            assert len(page) == 2 or (len(page) == 1 and "Link" not in response.headers)
            all_pages += page
            link = re.fullmatch(r"</api/alice/tasks(\?[^>]*)>; rel=\"next\"", response.headers.get("Link", ""))
            query = link and link[1]
        return all_pages

    def ids(self, person: Person, sort: str) -> list[int]:
        """Return the ids of the list in this sort order."""
        return [task["id"] for task in person.get(f"?sort={sort}").get_json()]

    def test_sort_by_due_puts_tasks_without_a_date_last_in_both_directions(self, alice_with_11_tasks: Person) -> None:
        # Sorted by date, then by time (a task without a time after those with one), then by id.
        assert self.ids(alice_with_11_tasks, "due") == [9, 10, 3, 6, 2, 11, 5, 8, 1, 4, 7]
        assert self.ids(alice_with_11_tasks, "-due") == [8, 5, 11, 2, 6, 3, 10, 9, 7, 4, 1]

    def test_sort_by_priority_is_from_none_to_high(self, alice_with_11_tasks: Person) -> None:
        assert self.ids(alice_with_11_tasks, "priority") == [1, 6, 11, 3, 8, 4, 9, 2, 5, 7, 10]
        assert self.ids(alice_with_11_tasks, "-priority") == self.ids(alice_with_11_tasks, "priority")[::-1]

    def test_sort_by_title_ignores_case_and_accents(self, alice_with_11_tasks: Person) -> None:
        titles = [task["title"] for task in alice_with_11_tasks.get("?sort=title").get_json()]
        assert titles == ["10", "9", "a", "b", "B", "é", "e", "straße", "STRASSE", "Zz", "タスク"]
        assert self.ids(alice_with_11_tasks, "-title") == self.ids(alice_with_11_tasks, "title")[::-1]

    def test_sort_by_position_is_the_manual_order(self, alice_with_11_tasks: Person) -> None:
        assert self.ids(alice_with_11_tasks, "position") == [9, 1, 3, 4, 5, 6, 2, 7, 8, 10, 11]
        assert self.ids(alice_with_11_tasks, "-position") == self.ids(alice_with_11_tasks, "position")[::-1]
        places = [task["position"] for task in alice_with_11_tasks.get("?sort=position").get_json()]
        assert sorted(places) == places

    def test_sort_by_updated_at_is_the_order_of_the_last_changes(self, alice_with_11_tasks: Person) -> None:
        assert self.ids(alice_with_11_tasks, "-updated_at")[:4] == [2, 9, 8, 3]

    def test_an_alias_sorts_as_the_name_it_stands_for(self, alice_with_11_tasks: Person) -> None:
        for alias, name in (("created", "created_at"), ("due_date", "due")):
            assert self.ids(alice_with_11_tasks, alias) == self.ids(alice_with_11_tasks, name)
            assert self.ids(alice_with_11_tasks, f"-{alias}") == self.ids(alice_with_11_tasks, f"-{name}")

    def test_an_unknown_sort_is_400(self, alice: Person) -> None:
        for sort in ("", "id", "due_at", "--due", "due,title", "Title", "tags", "-", "+title"):
            assert alice.get(query_string={"sort": sort}).status_code == 400, sort

    def test_a_cursor_with_another_sort_or_filter_is_400(self, alice_with_11_tasks: Person) -> None:
        link = alice_with_11_tasks.get("?sort=due&limit=2").headers["Link"]
        cursor = re.findall(r"cursor=([^>&]+)", link)[0]
        assert alice_with_11_tasks.get(f"?sort=due&limit=3&cursor={cursor}").status_code == 200
        assert alice_with_11_tasks.get(f"?sort=due_date&limit=3&cursor={cursor}").status_code == 200
        for query in ("sort=-due", "sort=title", "sort=due&priority=high", "sort=due&tag=a", "sort=due&no_due=true"):
            assert alice_with_11_tasks.get(f"?{query}&cursor={cursor}").get_json()["code"] == "bad-cursor", query


class TestPartialUpdates:
    def test_sending_a_task_back_as_it_was_read_changes_nothing(self, alice: Person) -> None:
        task = alice.add(**ALL_MEMBERS)
        assert {name: task[name] for name in ALL_MEMBERS} == ALL_MEMBERS
        etag = alice.get().headers["ETag"]
        for method in ("PUT", "PATCH"):
            response = alice.send(method, "/1", json=alice.get("/1").get_json())
            assert (response.status_code, response.get_json()) == (200, task)
            assert response.headers["ETag"] == f'"{task["version"]}"'
        assert alice.get().headers["ETag"] == etag
        assert alice.get().get_json() == [task]

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_updating_the_title_keeps_all_other_members(self, alice: Person, method: str) -> None:
        task = alice.add(**ALL_MEMBERS)
        changed = alice.send(method, "/1", json={"title": "New"}).get_json()
        assert changed == {
            **task,
            "title": "New",
            "version": task["version"] + 1,
            "updated_at": changed["updated_at"],
        }

    def test_setting_one_member_changes_no_other(self, alice: Person) -> None:
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
        derived = {"version", "updated_at", "due_at", "completed_at"}
        for name in ALL_MEMBERS.keys() - {"title"}:
            task = alice.add(**ALL_MEMBERS)
            changed = alice.put(f"/{task['id']}", json={name: other[name]}).get_json()
            assert changed[name] == other[name]
            assert {key for key in task if task[key] != changed[key]} - derived == {name}

    def test_title_is_required_and_must_not_be_null(self, alice: Person) -> None:
        assert error_codes(alice.post(json={**ALL_MEMBERS, "title": None})) == {"/title": "null"}
        assert error_codes(alice.post(json={key: ALL_MEMBERS[key] for key in ALL_MEMBERS if key != "title"})) == {
            "/title": "required"
        }

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
    def test_an_unknown_member_is_422(self, alice: Person, method: str) -> None:
        alice.add()
        path = "" if method == "POST" else "/1"
        for name in ("due", "dueDate", "tag", "occurrence", "folded_title", "purged_at"):
            assert error_codes(alice.send(method, path, json={"title": "x", name: "x"})) == {f"/{name}": "unknown"}

    def test_read_only_members_are_ignored(self, alice: Person) -> None:
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
    def test_patch_accepts_merge_patch_and_plain_json(self, alice: Person, media_type: str) -> None:
        alice.add(**ALL_MEMBERS)
        response = alice.patch("/1", data=b'{"priority": null, "tags": ["x"]}', content_type=media_type)
        assert response.status_code == 200
        assert (response.get_json()["priority"], response.get_json()["tags"]) == ("none", ["x"])

    @pytest.mark.parametrize("media_type", ["application/json-patch+json", "text/plain", "application/xml", ""])
    def test_patch_with_another_media_type_is_415_with_accept_patch(self, alice: Person, media_type: str) -> None:
        task = alice.add()
        response = alice.patch("/1", data=b'{"title": "x"}', content_type=media_type)
        assert response.status_code == 415
        assert response.headers["Accept-Patch"] == "application/merge-patch+json, application/json"
        assert alice.get("/1").get_json() == task

    def test_other_methods_refuse_merge_patch_with_415(self, alice: Person) -> None:
        alice.add()
        for method, path in (("POST", ""), ("PUT", "/1"), ("PATCH", "/1/complete")):
            response = alice.send(method, path, data=b"{}", content_type="application/merge-patch+json")
            assert response.status_code == 415, path

    def test_patch_of_an_absent_task_is_404(self, alice: Person) -> None:
        alice.add()
        assert alice.patch("/2", json={"title": "x"}).status_code == 404

    def test_patch_with_a_stale_if_match_is_412_with_the_current_task(self, alice: Person) -> None:
        task = alice.add()
        response = alice.patch("/1", json={"title": "x"}, headers={"If-Match": '"99"'})
        assert (response.status_code, response.get_json()["current"]) == (412, task)

    def test_an_empty_patch_changes_nothing(self, alice: Person) -> None:
        task = alice.add()
        assert alice.patch("/1", json={}).get_json() == task
        assert alice.patch("/1").get_json() == task

    def test_a_patch_that_is_not_an_object_is_422(self, alice: Person) -> None:
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

    SEARCHES: tuple[tuple[str, list[str]], ...] = (
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
    def test_a_search_gives_the_same_results_on_both_databases(self, alice: Person, member: str) -> None:
        tasks = [{"title": "-", member: text} for text in self.TITLES]
        if member == "description":
            tasks.append({"title": "-"})
        operations = [{"op": "create", "task": task} for task in tasks]
        assert alice.post("/batch", json={"operations": operations}).status_code == 200
        for q, titles in self.SEARCHES:
            response = alice.get(query_string={"q": q})
            assert [task[member] for task in response.get_json()] == titles, q

    def test_search_filters_and_sort_use_the_values_after_an_update(self, alice: Person) -> None:
        alice.add("Café", description="old", tags=["Shop"], due_date="2026-12-01")
        alice.add("Later", due_date="2026-12-02")
        alice.patch("/1", json={"title": "Tee", "description": None, "tags": ["Home"], "due_date": "2026-12-03"})
        assert alice.titles("?q=tee") == alice.titles("?tag=home") == ["Tee"]
        assert alice.titles("?q=cafe") == alice.titles("?q=old") == alice.titles("?tag=shop") == []
        assert alice.titles("?sort=due") == ["Later", "Tee"]
