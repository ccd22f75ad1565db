"""The list: its order, its filters, its pages and its tag."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from werkzeug.test import TestResponse

from tests.conftest import Person, Statements

NEXT = re.compile(r'<([^<>]+)>; rel="next"')


def follow(person: Person, response: TestResponse, **options: Any) -> TestResponse:
    """The next page, asked for as its link says."""
    link = NEXT.fullmatch(response.headers["Link"])
    assert link, response.headers["Link"]
    path, _, query = link[1].partition("?")
    assert path == f"/api/{person.id}/tasks"
    return person.get(f"?{query}", **options)


def walk(person: Person, query: str) -> list[list[str]]:
    """The titles of each page, from the first to the last."""
    response = person.get(query)
    pages = [[task["title"] for task in response.get_json()]]
    while "Link" in response.headers:
        response = follow(person, response)
        pages.append([task["title"] for task in response.get_json()])
    return pages


def all_of(pages: list[list[str]]) -> list[str]:
    return [title for page in pages for title in page]


@pytest.fixture
def five(alice: Person) -> Person:
    """Alice with five tasks: b and d are completed, a was changed last."""
    for title in "cadeb":
        alice.add(title, description=f"about {title}", completed=title in "bd")
    alice.put("/2", json={"description": "About A"})
    return alice


class TestOrder:
    def test_nothing_is_an_empty_array(self, alice: Person) -> None:
        response = alice.get()
        assert (response.status_code, response.data) == (200, b"[]")
        assert response.content_type == "application/json"
        assert response.headers["ETag"] == '"0.0"'
        assert "Link" not in response.headers
        assert "X-Total-Count" not in response.headers

    def test_whole_tasks_come_newest_first(self, alice: Person) -> None:
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
    def test_the_order_is_the_one_asked_for_on_one_page_and_on_many(self, five: Person, sort: str, titles: str) -> None:
        assert five.titles(f"?sort={sort}") == list(titles)
        assert walk(five, f"?sort={sort}&limit=2") == [list(titles[:2]), list(titles[2:4]), list(titles[4:])]

    def test_titles_are_sorted_without_regard_to_case_and_accents_and_alike_by_age(self, alice: Person) -> None:
        for title in ("zebra", "Ärger", "apple", "Éclair", "eclair", "ECLAIR", "タスク", "ZEBRA", "10", "9"):
            alice.add(title)
        expected = ["10", "9", "apple", "Ärger", "Éclair", "eclair", "ECLAIR", "zebra", "ZEBRA", "タスク"]
        assert alice.titles("?sort=title") == expected
        assert alice.titles("?sort=-title") == expected[::-1]
        assert all_of(walk(alice, "?sort=title&limit=1")) == expected


FOUND = {
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
    '"': ['say "no"'],
    "';--": [],
    "%%": [],
    "c%+": [],
    "_mail": [],
    "*": [],
    "σίσυφος": ["ΣΊΣΥΦΟΣ"],
    "\U0001f95b": ["milk \U0001f95b"],
    "x" * 200: [],
}
"""What is searched for, and the titles that have it."""


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
        ],
    )
    def test_only_what_was_asked_for_is_shown_and_counted(self, five: Person, query: str, titles: str) -> None:
        assert five.titles(query) == list(titles)
        assert all_of(walk(five, f"{query}&limit=1")) == list(titles)
        counted = five.get(f"{query}&include=total&limit=1")
        assert counted.headers["X-Total-Count"] == str(len(titles))

    def test_search_finds_the_same_on_every_database(self, alice: Person) -> None:
        for title in (
            *("C++", "c", "e-mail", "email", "CAFÉ", "café", "cafe", "straße", "STRASSE", "新しいタスク", "ガ", "カ"),
            *("İstanbul", "ﬁsh", "100 %", "snake_case", "snakecase", "back\\slash", "and/or", "it's", 'say "no"'),
            *("ΣΊΣΥΦΟΣ", "milk \U0001f95b"),
        ):
            alice.add(title)
        found = {q: [task["title"] for task in alice.get(query_string={"q": q}).get_json()] for q in FOUND}
        assert found == FOUND

    def test_search_looks_into_titles_and_descriptions_each_by_itself(self, alice: Person) -> None:
        alice.add("Buy", description="MILK\n\tand Tea")
        assert alice.titles("?q=milk") == alice.titles("?q=and+tea") == ["Buy"]
        assert alice.titles("?q=buymilk") == alice.titles("?q=buy+milk") == []

    def test_search_follows_a_change(self, alice: Person) -> None:
        alice.add("Buy milk", description="soon")
        alice.put("/1", json={"title": "Sell it", "description": "Later"})
        assert [alice.titles(f"?q={q}") for q in ("milk", "soon", "sell", "later")] == [
            [],
            [],
            ["Sell it"],
            ["Sell it"],
        ]

    def test_nobody_finds_the_tasks_of_another(self, five: Person, mallory: Person) -> None:
        assert mallory.titles("?q=about") == mallory.titles("?sort=title") == mallory.titles() == []
        mallory.add("mine")
        assert mallory.titles("?sort=-updated_at") == ["mine"]
        assert mallory.get("?include=total").headers["X-Total-Count"] == "1"


class TestPages:
    def test_without_a_limit_a_page_has_a_thousand(self, alice: Person) -> None:
        limit = {"limit": "1000"}
        assert alice.get(query_string=limit).status_code == 200
        assert alice.get("?limit=1001").status_code == 400

    def test_a_full_last_page_has_no_next(self, five: Person) -> None:
        assert walk(five, "?limit=5") == [list("bedac")]
        assert [len(page) for page in walk(five, "?limit=4")] == [4, 1]

    def test_the_next_link_keeps_all_that_was_asked(self, five: Person) -> None:
        response = five.get("?limit=2&sort=title&status=all&q=about&include=total")
        query = parse_qs(urlsplit(NEXT.fullmatch(response.headers["Link"])[1]).query)  # type: ignore[index]
        cursor = query.pop("cursor")
        assert query == {"limit": ["2"], "sort": ["title"], "status": ["all"], "q": ["about"], "include": ["total"]}
        assert len(cursor) == 1
        second = follow(five, response)
        assert [task["title"] for task in second.get_json()] == ["c", "d"]
        assert second.headers["X-Total-Count"] == "5"

    def test_a_link_survives_any_words_that_were_searched_for(self, alice: Person) -> None:
        q = 'a&b=c#d?e/f+g %20;"<>é\U0001f95b'
        alice.add(q)
        alice.add(q)
        first = alice.get(query_string={"q": q, "limit": "1"})
        assert follow(alice, first).get_json()[0]["id"] == 1

    def test_a_page_of_another_size_may_follow(self, five: Person) -> None:
        first = five.get("?limit=1")
        cursor = parse_qs(urlsplit(NEXT.fullmatch(first.headers["Link"])[1]).query)["cursor"][0]  # type: ignore[index]
        assert five.titles(f"?limit=1000&cursor={cursor}") == list("edac")

    def test_a_trailing_slash_leads_to_the_same_pages(self, five: Person) -> None:
        first = five.get("/?limit=3")
        assert [task["title"] for task in follow(five, first).get_json()] == ["a", "c"]

    def test_a_page_begins_where_the_last_one_ended_although_its_last_row_is_gone(self, five: Person) -> None:
        first = five.get("?limit=2")
        for path in ("/5", "/4"):
            five.delete(path)
        five.add("new")
        assert [task["title"] for task in follow(five, first).get_json()] == ["d", "a"]

    @pytest.mark.parametrize("sort", ["title", "-title"])
    def test_a_walk_by_title_gets_past_the_longest_titles_there_are(self, alice: Person, sort: str) -> None:
        # Each of these folds to several characters, so the place to go on from is longer than a title may be.
        squared = "".join(map(chr, range(0x3300, 0x3358)))
        titles = [(squared[n:] + "\ufdfa" + squared + squared)[:200] for n in range(4)]
        for title in titles:
            alice.add(title)
        assert sorted(all_of(walk(alice, f"?sort={sort}&limit=1"))) == sorted(titles)

    def test_a_total_is_given_only_when_asked_for(self, five: Person) -> None:
        assert "X-Total-Count" not in five.get("?limit=2").headers
        assert five.get("?limit=2&include=total").headers["X-Total-Count"] == "5"
        assert five.send("HEAD", "?include=total").headers["X-Total-Count"] == "5"

    def test_head_links_to_the_next_page_as_get_does(self, five: Person) -> None:
        assert five.send("HEAD", "?limit=2").headers["Link"] == five.get("?limit=2").headers["Link"]


class TestTag:
    def test_every_write_changes_it_and_nothing_else_does(self, alice: Person, mallory: Person) -> None:
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
        for nothing in (
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
            nothing()
            assert tag() == seen[-1]

    @pytest.mark.parametrize("query", ["", "?limit=2", "?q=about", "?sort=title&include=total"])
    def test_an_unchanged_list_is_not_sent_again(self, five: Person, query: str) -> None:
        tag = five.get(query).headers["ETag"]
        response = five.get(query, headers={"If-None-Match": tag})
        assert (response.status_code, response.data, response.headers["ETag"]) == (304, b"", tag)
        assert "Content-Type" not in response.headers
        five.patch("/1/complete")
        assert five.get(query, headers={"If-None-Match": tag}).status_code == 200

    def test_a_next_page_has_a_tag_too(self, five: Person) -> None:
        first = five.get("?limit=2")
        tag = first.headers["ETag"]
        assert follow(five, first).headers["ETag"] == tag
        assert follow(five, first, headers={"If-None-Match": tag}).status_code == 304

    def test_a_list_that_never_held_anything_has_a_tag(self, alice: Person) -> None:
        assert alice.get(headers={"If-None-Match": '"0.0"'}).status_code == 304
        alice.add()
        assert alice.get(headers={"If-None-Match": '"0.0"'}).status_code == 200

    def test_it_is_the_revision_and_the_life_of_the_data(self, alice: Person, mallory: Person) -> None:
        alice.add()
        tag, same = alice.get().headers["ETag"], alice.get("?sort=title").headers["ETag"]
        assert re.fullmatch(r'"1\.[0-9a-f]{8}"', tag)
        assert tag == same
        mallory.add()
        assert mallory.get().headers["ETag"] != tag

    def test_a_tag_from_before_the_data_were_erased_is_never_current_again(self, alice: Person) -> None:
        alice.add()
        tag = alice.get().headers["ETag"]
        assert alice.data("DELETE").status_code == 204
        assert alice.get(headers={"If-None-Match": tag}).get_json() == []
        alice.add()
        assert alice.revision() == 3, "the revision counts on"
        assert alice.get(headers={"If-None-Match": tag}).status_code == 200

    def test_what_is_overdue_changes_with_the_clock_so_it_has_no_tag(self, alice: Person) -> None:
        alice.add(due_date="2020-01-01")
        response = alice.get("?overdue=true", headers={"If-None-Match": "*"})
        assert (response.status_code, len(response.get_json())) == (200, 1)
        assert "ETag" not in response.headers

    def test_an_unchanged_list_costs_one_read_by_primary_key(self, five: Person, statements: Statements) -> None:
        tag = five.get().headers["ETag"]
        statements.clear()
        assert five.get("?sort=title&include=total", headers={"If-None-Match": tag}).status_code == 304
        ((statement, _),) = statements.sent
        assert re.fullmatch(
            r"SELECT users\.revision, users\.epoch, users\.sync_floor\s+FROM users\s+WHERE users\.user_id = \S+",
            statement,
        )
