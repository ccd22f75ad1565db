"""GET /tasks: sort, filters, pages and ETag."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from werkzeug.test import TestResponse

from tests.conftest import Person, Statements

NEXT = re.compile(r'<([^<>]+)>; rel="next"')


def follow_next_link(person: Person, response: TestResponse, **options: Any) -> TestResponse:
    """Request the URL of the `Link` header with rel=next."""
    link = NEXT.fullmatch(response.headers["Link"])
    assert link, response.headers["Link"]
    path, _, query = link[1].partition("?")
    assert path == f"/api/{person.id}/tasks"
    return person.get(f"?{query}", **options)


def titles_by_page(person: Person, query: str) -> list[list[str]]:
    """Follow the next links and return the titles of each page."""
    response = person.get(query)
    pages = [[task["title"] for task in response.get_json()]]
    while "Link" in response.headers:
        response = follow_next_link(person, response)
        pages.append([task["title"] for task in response.get_json()])
    return pages


def flatten(pages: list[list[str]]) -> list[str]:
    """Return the titles of all pages in one list."""
    return [title for page in pages for title in page]


@pytest.fixture
def alice_with_5_tasks(alice: Person) -> Person:
    """Alice with five tasks, titled a to e: b and d are completed, a was changed last."""
    for title in "cadeb":
        alice.add(title, description=f"about {title}", completed=title in "bd")
    alice.put("/2", json={"description": "About A"})
    return alice


class TestOrder:
    def test_a_list_without_tasks_is_an_empty_array(self, alice: Person) -> None:
        response = alice.get()
        assert (response.status_code, response.data) == (200, b"[]")
        assert response.content_type == "application/json"
        assert response.headers["ETag"] == '"0.0"'
        assert "Link" not in response.headers
        assert "X-Total-Count" not in response.headers

    def test_a_list_has_complete_tasks_newest_first(self, alice: Person) -> None:
        made = [alice.add("one"), alice.add("two", description="x"), alice.add("three", completed=True)]
        assert alice.get().get_json() == made[::-1]

    @pytest.mark.parametrize(
        ("sort", "titles"),
        [
            ("created_at", "cadeb"),
            ("-created_at", "bedac"),
            ("created", "cadeb"),
            ("-created", "bedac"),
            ("updated_at", "cdeba"),
            ("-updated_at", "abedc"),
            ("title", "abcde"),
            ("-title", "edcba"),
        ],
    )
    def test_the_list_is_sorted_as_requested_on_one_page_and_on_several(
        self, alice_with_5_tasks: Person, sort: str, titles: str
    ) -> None:
        assert alice_with_5_tasks.titles(f"?sort={sort}") == list(titles)
        assert titles_by_page(alice_with_5_tasks, f"?sort={sort}&limit=2") == [
            list(titles[:2]),
            list(titles[2:4]),
            list(titles[4:]),
        ]

    def test_sort_by_title_ignores_case_and_accents_and_sorts_equal_titles_by_id(self, alice: Person) -> None:
        for title in (
            "zebra",
            "Ärger",
            "apple",
            "Éclair",
            "eclair",
            "ECLAIR",
            "タスク",
            "ZEBRA",
            "10",
            "9",
            "Łeba",
            "“la”",
            "lz",
        ):
            alice.add(title)
        expected = [
            "“la”",
            "10",
            "9",
            "apple",
            "Ärger",
            "Éclair",
            "eclair",
            "ECLAIR",
            "Łeba",
            "lz",
            "zebra",
            "ZEBRA",
            "タスク",
        ]
        assert alice.titles("?sort=title") == expected
        assert alice.titles("?sort=-title") == expected[::-1]
        assert flatten(titles_by_page(alice, "?sort=title&limit=1")) == expected

    @pytest.mark.parametrize(
        ("query", "sort"),
        [
            ("order=asc", "created_at"),
            ("order=desc", "-created_at"),
            ("sort=title&order=asc", "title"),
            ("sort=title&order=desc", "-title"),
            ("sort=updated&order=desc", "-updated_at"),
            ("sort=due_date&order=asc", "due"),
            ("sort=due_date&order=desc", "-due"),
            ("sort=created", "created_at"),
        ],
    )
    def test_order_is_the_direction_of_sort_or_of_the_default_sort(
        self, alice_with_5_tasks: Person, query: str, sort: str
    ) -> None:
        assert alice_with_5_tasks.titles(f"?{query}") == alice_with_5_tasks.titles(f"?sort={sort}")
        pages = titles_by_page(alice_with_5_tasks, f"?{query}&limit=2")
        assert pages == titles_by_page(alice_with_5_tasks, f"?sort={sort}&limit=2")

    def test_a_cursor_is_valid_for_every_spelling_of_its_sort_and_filters(self, alice_with_5_tasks: Person) -> None:
        first = alice_with_5_tasks.get("?sort=updated&order=desc&search=about&limit=2")
        cursor = parse_qs(urlsplit(NEXT.fullmatch(first.headers["Link"])[1]).query)["cursor"][0]  # type: ignore[index]
        for same in ("sort=-updated_at&q=ABOUT", "sort=-updated&search=about", "sort=updated_at&order=desc&q=about"):
            assert alice_with_5_tasks.titles(f"?{same}&cursor={cursor}") == ["e", "d", "c"], same
        for other in ("sort=updated&q=about", "sort=updated&order=asc&q=about", "sort=-updated", "q=about"):
            assert alice_with_5_tasks.get(f"?{other}&cursor={cursor}").status_code == 400, other


SEARCHES = {
    "c++": ["C++"],
    "E-MAIL": ["e-mail"],
    "cafe": ["cafe", "café", "CAFÉ"],
    "CAFÉ": ["cafe", "café", "CAFÉ"],
    "cafe\u0301": ["cafe", "café", "CAFÉ"],
    "strasse": ["STRASSE", "straße"],
    "Straße": ["STRASSE", "straße"],
    "タスク": ["新しいタスク"],
    "スク": ["新しいタスク"],
    "ﾀｽｸ": ["新しいタスク"],
    "ガ": ["ガ"],
    "カ": ["カ"],
    "istanbul": ["İstanbul"],
    "fish": ["ﬁsh"],
    "%": ["100 %"],
    "_": ["snake_case"],
    "\\": ["back\\slash"],
    "/": ["and/or"],
    "'": ["it's"],
    '"': ["Łódź – “Øl”", 'say "no"'],
    "';--": [],
    "%%": [],
    "c%+": [],
    "_mail": [],
    "*": [],
    "σίσυφος": ["ΣΊΣΥΦΟΣ"],
    "\U0001f95b": ["milk \U0001f95b"],
    "lodz": ["Łódź – “Øl”"],
    'lodz - "ol"': ["Łódź – “Øl”"],
    "„ØL‟": ["Łódź – “Øl”"],
    "it’s": ["it's"],
    "say «no": ['say "no"'],
    "ｅ－ｍａｉｌ": ["e-mail"],
    "e\u2011mail": ["e-mail"],
    "שלום": ["שָׁלוֹם"],
    "مُحَمَّد": ["محمد"],
    "x" * 200: [],
}
"""Search texts and the titles that match."""


class TestFilters:
    @pytest.mark.parametrize(
        ("query", "titles"),
        [
            ("?status=all", "bedac"),
            ("?status=pending", "eac"),
            ("?status=completed", "bd"),
            ("?completed=false", "eac"),
            ("?completed=true", "bd"),
            ("?q=about", "bedac"),
            ("?q=ABOUT+a", "a"),
            ("?q=%20about%20a%20", "a"),
            ("?q=", "bedac"),
            ("?q=nowhere", ""),
            ("?q=d&status=completed", "d"),
            ("?q=d&status=pending", ""),
            ("?completed=true&sort=title", "bd"),
            ("?search=about", "bedac"),
            ("?search=ABOUT+a", "a"),
            ("?completed_from=2020-01-01", "bd"),
            ("?completed_to=2020-01-01", ""),
            ("?completed_from=2020-01-01T00:00:00Z&status=pending", ""),
        ],
    )
    def test_filters_select_the_listed_and_counted_tasks(
        self, alice_with_5_tasks: Person, query: str, titles: str
    ) -> None:
        assert alice_with_5_tasks.titles(query) == list(titles)
        assert flatten(titles_by_page(alice_with_5_tasks, f"{query}&limit=1")) == list(titles)
        counted = alice_with_5_tasks.get(f"{query}&include=total&limit=1")
        assert counted.headers["X-Total-Count"] == str(len(titles))

    def test_search_ignores_case_and_accents_and_has_no_wildcards(self, alice: Person) -> None:
        for title in (
            *("C++", "c", "e-mail", "email", "CAFÉ", "café", "cafe", "straße", "STRASSE", "新しいタスク", "ガ", "カ"),
            *("İstanbul", "ﬁsh", "100 %", "snake_case", "snakecase", "back\\slash", "and/or", "it's", 'say "no"'),
            *("ΣΊΣΥΦΟΣ", "milk \U0001f95b", "Łódź – “Øl”", "שָׁלוֹם", "محمد"),
        ):
            alice.add(title)
        found = {q: [task["title"] for task in alice.get(query_string={"q": q}).get_json()] for q in SEARCHES}
        assert found == SEARCHES

    def test_a_search_matches_within_the_title_or_within_the_description(self, alice: Person) -> None:
        alice.add("Buy", description="MILK\n\tand Tea")
        assert alice.titles("?q=milk") == alice.titles("?q=and+tea") == ["Buy"]
        assert alice.titles("?q=buymilk") == alice.titles("?q=buy+milk") == []

    def test_a_search_uses_the_text_after_an_update(self, alice: Person) -> None:
        alice.add("Buy milk", description="soon")
        alice.put("/1", json={"title": "Sell it", "description": "Later"})
        assert [alice.titles(f"?q={q}") for q in ("milk", "soon", "sell", "later")] == [
            [],
            [],
            ["Sell it"],
            ["Sell it"],
        ]

    COMPLETIONS = {
        "completed_from=2026-11-29": ["late", "noon"],
        "completed_to=2026-11-29": ["noon", "early"],
        "completed_from=2026-11-29&completed_to=2026-11-29": ["noon"],
        # 2026-11-29 begins at 2026-11-28T11:00Z in Auckland, and at 2026-11-29T08:00Z in Los Angeles.
        "completed_from=2026-11-29&completed_to=2026-11-29&tz=Pacific/Auckland": ["early"],
        "completed_from=2026-11-29&completed_to=2026-11-29&tz=America/Los_Angeles": ["late", "noon"],
        "completed_from=2026-11-29T12:00:00Z": ["late", "noon"],
        "completed_from=2026-11-29T12:00:00.001Z": ["late"],
        "completed_from=2026-11-29T12:00:00.0009Z": ["late", "noon"],
        "completed_to=2026-11-29T12:00:00Z": ["noon", "early"],
        "completed_to=2026-11-29T11:59:59.999Z": ["early"],
        "completed_from=2026-11-29T13:00:00%2B01:00": ["late", "noon"],
        "completed_from=2026-11-29T07:00:00-05:00&completed_to=2026-11-30&tz=Asia/Tokyo": ["late", "noon"],
        "completed_from=1900-01-01&completed_to=2999-12-31&tz=Pacific/Kiritimati": ["late", "noon", "early"],
        "completed_from=2026-12-01&completed_to=2026-11-01": [],
    }
    """Parameters and the titles that match."""

    def test_tasks_are_selected_by_time_of_completion_or_by_day_in_a_time_zone(self, alice: Person) -> None:
        times = {
            "early": "2026-11-28T23:00:00.000Z",
            "noon": "2026-11-29T12:00:00.000Z",
            "late": "2026-11-30T07:59:59.999Z",
        }
        tasks = [{"title": title, "completed": True, "completed_at": time} for title, time in times.items()]
        assert alice.data("POST", "/import", json={"tasks": [*tasks, {"title": "open"}]}).status_code == 200
        for query, titles in self.COMPLETIONS.items():
            assert alice.titles(f"?{query}") == titles, query
            assert flatten(titles_by_page(alice, f"?{query}&limit=1&sort=updated&order=desc")) == titles, query

    def test_a_list_by_completion_keeps_its_etag(self, alice: Person) -> None:
        alice.add(completed=True)
        query = "?completed_from=2020-01-01&tz=Asia/Tokyo"
        tag = alice.get(query).headers["ETag"]
        assert alice.get(query, headers={"If-None-Match": tag}).status_code == 304

    def test_a_list_never_has_tasks_of_another_user(self, alice_with_5_tasks: Person, mallory: Person) -> None:
        assert mallory.titles("?q=about") == mallory.titles("?sort=title") == mallory.titles() == []
        mallory.add("mine")
        assert mallory.titles("?sort=-updated_at") == ["mine"]
        assert mallory.get("?include=total").headers["X-Total-Count"] == "1"


class TestPages:
    def test_a_limit_over_1000_is_400(self, alice: Person) -> None:
        limit = {"limit": "1000"}
        assert alice.get(query_string=limit).status_code == 200
        assert alice.get("?limit=1001").status_code == 400

    def test_a_full_last_page_has_no_next_link(self, alice_with_5_tasks: Person) -> None:
        assert titles_by_page(alice_with_5_tasks, "?limit=5") == [list("bedac")]
        assert [len(page) for page in titles_by_page(alice_with_5_tasks, "?limit=4")] == [4, 1]

    def test_the_next_link_keeps_all_query_parameters(self, alice_with_5_tasks: Person) -> None:
        response = alice_with_5_tasks.get("?limit=2&sort=title&status=all&q=about&include=total")
        query = parse_qs(urlsplit(NEXT.fullmatch(response.headers["Link"])[1]).query)  # type: ignore[index]
        cursor = query.pop("cursor")
        assert query == {"limit": ["2"], "sort": ["title"], "status": ["all"], "q": ["about"], "include": ["total"]}
        assert len(cursor) == 1
        second = follow_next_link(alice_with_5_tasks, response)
        assert [task["title"] for task in second.get_json()] == ["c", "d"]
        assert second.headers["X-Total-Count"] == "5"

    def test_the_next_link_escapes_the_search_text(self, alice: Person) -> None:
        q = 'a&b=c#d?e/f+g %20;"<>é\U0001f95b'
        alice.add(q)
        alice.add(q)
        first = alice.get(query_string={"q": q, "limit": "1"})
        assert follow_next_link(alice, first).get_json()[0]["id"] == 1

    def test_the_limit_may_change_between_pages(self, alice_with_5_tasks: Person) -> None:
        first = alice_with_5_tasks.get("?limit=1")
        cursor = parse_qs(urlsplit(NEXT.fullmatch(first.headers["Link"])[1]).query)["cursor"][0]  # type: ignore[index]
        assert alice_with_5_tasks.titles(f"?limit=1000&cursor={cursor}") == list("edac")

    def test_a_list_with_a_trailing_slash_has_the_same_pages(self, alice_with_5_tasks: Person) -> None:
        first = alice_with_5_tasks.get("/?limit=3")
        assert [task["title"] for task in follow_next_link(alice_with_5_tasks, first).get_json()] == ["a", "c"]

    def test_the_next_page_is_right_after_the_last_row_was_deleted(self, alice_with_5_tasks: Person) -> None:
        first = alice_with_5_tasks.get("?limit=2")
        for path in ("/5", "/4"):
            alice_with_5_tasks.delete(path)
        alice_with_5_tasks.add("new")
        assert [task["title"] for task in follow_next_link(alice_with_5_tasks, first).get_json()] == ["d", "a"]

    @pytest.mark.parametrize("sort", ["title", "-title"])
    def test_pages_by_title_work_with_titles_that_folding_makes_longer(self, alice: Person, sort: str) -> None:
        # Each of these characters folds to several, so the keyset value is longer than the maximum length of a title.
        squared = "".join(map(chr, range(0x3300, 0x3358)))
        titles = [(squared[n:] + "\ufdfa" + squared + squared)[:200] for n in range(4)]
        for title in titles:
            alice.add(title)
        assert sorted(flatten(titles_by_page(alice, f"?sort={sort}&limit=1"))) == sorted(titles)

    def test_the_total_count_is_sent_only_with_include_total(self, alice_with_5_tasks: Person) -> None:
        assert "X-Total-Count" not in alice_with_5_tasks.get("?limit=2").headers
        assert alice_with_5_tasks.get("?limit=2&include=total").headers["X-Total-Count"] == "5"
        assert alice_with_5_tasks.send("HEAD", "?include=total").headers["X-Total-Count"] == "5"

    def test_head_has_the_next_link_of_get(self, alice_with_5_tasks: Person) -> None:
        assert (
            alice_with_5_tasks.send("HEAD", "?limit=2").headers["Link"]
            == alice_with_5_tasks.get("?limit=2").headers["Link"]
        )


class TestETag:
    def test_the_list_etag_changes_with_every_write_and_with_nothing_else(self, alice: Person, mallory: Person) -> None:
        def tag() -> str:
            etag: str = alice.get().headers["ETag"]
            return etag

        seen = [tag()]
        for write in (
            alice.add,
            alice.add,
            lambda: alice.put("/1", json={"title": "x"}),
            lambda: alice.patch("/1/complete"),
            lambda: alice.patch("/1/complete", json={"completed": False}),
            lambda: alice.delete("/1"),
        ):
            write()
            seen.append(tag())
        assert len(set(seen)) == len(seen)
        for no_write in (
            lambda: alice.get("/2"),
            lambda: alice.get("?q=x&sort=title"),
            lambda: alice.put("/2", json={}),
            lambda: alice.put("/2", json={"title": "Buy milk", "completed": False}),
            lambda: alice.patch("/2/complete", json={"completed": False}),
            lambda: alice.put("/2", json={"title": "y"}, headers={"If-Match": '"1"'}),
            lambda: alice.put("/2", json={"title": ""}),
            lambda: alice.put("/1", json={"title": "y"}),
            lambda: alice.delete("/1"),
            lambda: alice.delete("/9"),
            lambda: alice.post(json={}),
            mallory.add,
            lambda: mallory.put("/2", of="alice", json={"title": "y"}),
        ):
            no_write()
            assert tag() == seen[-1]

    @pytest.mark.parametrize("query", ["", "?limit=2", "?q=about", "?sort=title&include=total"])
    def test_a_list_with_the_current_etag_is_304(self, alice_with_5_tasks: Person, query: str) -> None:
        tag = alice_with_5_tasks.get(query).headers["ETag"]
        response = alice_with_5_tasks.get(query, headers={"If-None-Match": tag})
        assert (response.status_code, response.data, response.headers["ETag"]) == (304, b"", tag)
        assert "Content-Type" not in response.headers
        alice_with_5_tasks.patch("/1/complete")
        assert alice_with_5_tasks.get(query, headers={"If-None-Match": tag}).status_code == 200

    def test_a_next_page_has_the_list_etag(self, alice_with_5_tasks: Person) -> None:
        first = alice_with_5_tasks.get("?limit=2")
        tag = first.headers["ETag"]
        assert follow_next_link(alice_with_5_tasks, first).headers["ETag"] == tag
        assert follow_next_link(alice_with_5_tasks, first, headers={"If-None-Match": tag}).status_code == 304

    def test_the_list_of_a_user_without_data_has_an_etag(self, alice: Person) -> None:
        assert alice.get(headers={"If-None-Match": '"0.0"'}).status_code == 304
        alice.add()
        assert alice.get(headers={"If-None-Match": '"0.0"'}).status_code == 200

    def test_the_list_etag_is_the_revision_and_the_epoch_id(self, alice: Person, mallory: Person) -> None:
        alice.add()
        tag, same = alice.get().headers["ETag"], alice.get("?sort=title").headers["ETag"]
        assert re.fullmatch(r'"1\.[0-9a-f]{8}"', tag)
        assert tag == same
        mallory.add()
        assert mallory.get().headers["ETag"] != tag

    def test_a_list_etag_from_before_an_erasure_never_matches_again(self, alice: Person) -> None:
        alice.add()
        tag = alice.get().headers["ETag"]
        assert alice.data("DELETE").status_code == 204
        assert alice.get(headers={"If-None-Match": tag}).get_json() == []
        alice.add()
        assert alice.revision() == 3, "the revision continues after an erasure"
        assert alice.get(headers={"If-None-Match": tag}).status_code == 200

    def test_a_304_for_a_list_takes_one_select_by_primary_key(
        self, alice_with_5_tasks: Person, statements: Statements
    ) -> None:
        tag = alice_with_5_tasks.get().headers["ETag"]
        statements.clear()
        assert alice_with_5_tasks.get("?sort=title&include=total", headers={"If-None-Match": tag}).status_code == 304
        ((statement, _),) = statements.sent
        assert re.fullmatch(
            r"SELECT users\.revision, users\.epoch, users\.sync_floor\s+FROM users\s+WHERE users\.user_id = \S+",
            statement,
        )
