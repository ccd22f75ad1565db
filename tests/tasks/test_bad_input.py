"""Malformed and hostile input gives a 4xx with a usable detail; never a 5xx, a changed row or an echo of the input."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from taskapi.database.base import db
from taskapi.http.fields.strict import MAX_VIOLATIONS
from taskapi.tasks.transfer.schemas import ImportedTask
from tests.conftest import Person, superuser_engine, token
from tests.gunicorn_server import Request, Server, ServerResponse, serve

CANARY = "c4n4ry"
JSON = "application/json"

Rows = Callable[[], dict[str, Any]]


@pytest.fixture
def rows(app: Flask) -> Rows:
    """Return a function that reads all rows of all tables."""

    def read() -> dict[str, Any]:
        with app.app_context(), superuser_engine().connect() as connection:
            return {
                table.name: connection.execute(table.select().order_by(*table.primary_key)).all()
                for table in db.metadata.sorted_tables
            }

    return read


@pytest.fixture
def unchanged_rows(alice: Person, mallory: Person, rows: Rows) -> Iterator[None]:
    """Give alice and mallory a task each, and check after the test that no row in the database has changed."""
    alice.add("Buy milk", description="Two liters")
    mallory.add("Sell milk")
    before = rows()
    yield
    assert rows() == before


def assert_refused(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    """Check the status and the problem document of a response: complete, and without input. Returns the document."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    assert CANARY not in response.text
    assert CANARY not in str(response.headers)
    body: dict[str, Any] = response.get_json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"/problems/{code}")
    assert len(body["detail"]) > 10
    assert response.headers["Cache-Control"] == "no-store"
    for fault in body.get("errors", []):
        assert fault["detail"]
        assert fault["code"]
    assert bool(body.get("errors")) == (code in ("invalid", "bad-parameter"))
    return body


BODIES = {
    "cut off": (b'{"title": "c4n4ry"', 400, "bad-request"),
    "no quotes": (b"{title: c4n4ry}", 400, "bad-request"),
    "single quotes": (b"{'title': 'c4n4ry'}", 400, "bad-request"),
    "comma at the end": (b'{"title": "c4n4ry",}', 400, "bad-request"),
    "comment": (b'{"title": "c4n4ry"} // c4n4ry', 400, "bad-request"),
    "two values": (b'{"title": "x"} {"title": "c4n4ry"}', 400, "bad-request"),
    "blank": (b" \n", 400, "bad-request"),
    "a form": (b"title=c4n4ry", 400, "bad-request"),
    "a member twice": (b'{"title": "x", "title": "c4n4ry"}', 400, "bad-request"),
    "a member twice, escaped": (b'{"title": "x", "\\u0074itle": "c4n4ry"}', 400, "bad-request"),
    "a member twice, nested": (b'{"id": {"c4n4ry": 1, "c4n4ry": 2}}', 400, "bad-request"),
    "NaN": (b'{"completed": NaN}', 400, "bad-request"),
    "Infinity": (b'{"completed": Infinity}', 400, "bad-request"),
    "-Infinity": (b'{"id": -Infinity}', 400, "bad-request"),
    "byte order mark": (b'\xef\xbb\xbf{"title": "c4n4ry"}', 400, "bad-request"),
    "UTF-16": ('{"title": "c4n4ry"}'.encode("utf-16"), 400, "bad-request"),
    "UTF-16 without a mark": ('{"title": "c4n4ry"}'.encode("utf-16-le"), 400, "bad-request"),
    "UTF-32": ('{"title": "c4n4ry"}'.encode("utf-32"), 400, "bad-request"),
    "Latin-1": (b'{"title": "caf\xe9 c4n4ry"}', 400, "bad-request"),
    "overlong UTF-8": (b'{"title": "c4n4ry \xc0\xaf"}', 400, "bad-request"),
    "surrogates in UTF-8": (b'{"title": "c4n4ry \xed\xa0\x80"}', 400, "bad-request"),
    "a raw control character": (b'{"title": "c4n4ry \x00"}', 400, "bad-request"),
    "an unknown escape": (b'{"title": "\\x63"}', 400, "bad-request"),
    "nested brackets": (b"[" * 30_000, 400, "bad-request"),
    "nested brackets, closed": (b"[" * 30_000 + b"]" * 30_000, 400, "bad-request"),
    "nested objects": (b'{"id":' * 5_000 + b"1" + b"}" * 5_000, 400, "bad-request"),
    "100,000 nested brackets": (b"[" * 100_000, 413, "too-large"),
    "an integer of 5000 digits": (b'{"completed": ' + b"9" * 5000 + b"}", 400, "bad-request"),
    "an integer of 5000 digits in a read-only member": (b'{"id": ' + b"9" * 5000 + b"}", 400, "bad-request"),
    "an integer of 4000 digits": (b'{"completed": ' + b"9" * 4000 + b"}", 422, "invalid"),
    "a number too large": (b'{"completed": 1e999}', 400, "bad-request"),
    "an array": (b'["c4n4ry"]', 422, "invalid"),
    "an empty array": (b"[]", 422, "invalid"),
    "a string": (b'"c4n4ry"', 422, "invalid"),
    "null": (b"null", 422, "invalid"),
    "true": (b"true", 422, "invalid"),
    "a number": (b"1", 422, "invalid"),
    "an unknown member": (b'{"titel": "c4n4ry"}', 422, "invalid"),
    "a member without a name": (b'{"": "c4n4ry"}', 422, "invalid"),
    "a hostile name": (b'{"<script>c4n4ry": 1}', 422, "invalid"),
    "a name with half a surrogate pair": (b'{"c4n4ry\\ud800": 1}', 422, "invalid"),
    "a name with the escapes of a JSON Pointer": (b'{"a/c4n4ry~1": 1}', 422, "invalid"),
    "a name that marshmallow uses": (b'{"_schema": "c4n4ry"}', 422, "invalid"),
    "a wrong type": (b'{"completed": "c4n4ry"}', 422, "invalid"),
    "thousands of members": (b"{" + b",".join(b'"m%d":1' % n for n in range(5000)) + b"}", 422, "invalid"),
}


@pytest.mark.usefixtures("unchanged_rows")
@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES)
def test_a_body_that_is_not_a_strict_json_object_is_refused(alice: Person, body: bytes, status: int, code: str) -> None:
    for method, path in (("POST", ""), ("PUT", "/1"), ("PATCH", "/1/complete")):
        assert_refused(alice.send(method, path, data=body, content_type=JSON), status, code)


@pytest.mark.usefixtures("unchanged_rows")
@pytest.mark.parametrize(
    "value",
    [f"{CANARY}\x00", [CANARY], {CANARY: CANARY}, f"{CANARY}\ud800", [[CANARY] * 500]],
    ids=lambda value: repr(value)[:30],
)
def test_a_validation_error_does_not_echo_the_value(alice: Person, value: Any) -> None:
    sent = {"title": value, "description": value, "completed": value}
    for method, path in (("POST", ""), ("PUT", "/1")):
        body = assert_refused(alice.send(method, path, json=sent), 422, "invalid")
        assert sorted(fault["pointer"] for fault in body["errors"]) == ["/completed", "/description", "/title"]


@pytest.mark.usefixtures("unchanged_rows")
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/merge-patch+json",
        "application/jsonp",
        "text/json",
        "garbage",
        f"application/{CANARY}",
    ],
)
def test_an_unsupported_media_type_is_415(alice: Person, content_type: str | None) -> None:
    for method, path in (("POST", ""), ("PUT", "/1"), ("PATCH", "/1/complete")):
        response = alice.send(method, path, data=b'{"title": "c4n4ry"}', content_type=content_type)
        assert_refused(response, 415, "unsupported-media-type")


@pytest.mark.parametrize("content_type", [JSON, "Application/JSON", "application/json; charset=utf-8"])
def test_the_json_media_type_is_case_insensitive_and_may_have_a_charset(alice: Person, content_type: str) -> None:
    assert alice.post(data=b'{"title": "x"}', content_type=content_type).status_code == 201


@pytest.mark.usefixtures("unchanged_rows")
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, identity", CANARY])
def test_a_body_with_content_encoding_is_415(alice: Person, coding: str) -> None:
    for method, path in (("POST", ""), ("PUT", "/1"), ("PATCH", "/1/complete")):
        options: dict[str, Any] = {"data": gzip.compress(b'{"title": "x"}'), "headers": {"Content-Encoding": coding}}
        assert_refused(alice.send(method, path, content_type=JSON, **options), 415, "unsupported-media-type")


@pytest.mark.usefixtures("unchanged_rows")
def test_a_body_of_10_mb_is_413_and_without_a_token_401(alice: Person, client: FlaskClient) -> None:
    body = b'{"title": "' + b"x" * 10_000_000 + b'"}'
    for method, path in (("POST", ""), ("PUT", "/1"), ("PATCH", "/1/complete")):
        assert_refused(alice.send(method, path, data=body, content_type=JSON), 413, "too-large")
        response = client.open(f"/api/alice/tasks{path}", method=method, data=body, content_type=JSON)
        assert_refused(response, 401, "unauthorized")


@pytest.mark.parametrize(("size", "status"), [(64 * 1024, 201), (64 * 1024 + 1, 413)])
def test_a_body_over_64_kib_is_413(alice: Person, size: int, status: int) -> None:
    body = b'{"title": "x"}'.ljust(size)
    assert alice.post(data=body, content_type=JSON).status_code == status


IDS = {
    **{same: same for same in ("2", "2147483647", "2147483648", "9223372036854775807", "9223372036854775808")},
    **{
        same: same
        for same in ("-1", "0", "00", "01", "+1", "1.0", "1e0", "0x1", "1_0", "abc", "1;", "1,1", "null", "c4n4ry")
    },
    "10^22": "1" + "0" * 22,
    "5000 digits": "9" * 5000,
    "NUL": "%00",
    "1 and NUL": "1%00",
    "1 and a space": "1%20",
    "1 and a line break": "1%0A",
    "Arabic-Indic one": "%D9%A1",
    "full-width one": "%EF%BC%91",
    "superscript one": "%C2%B9",
    "not UTF-8": "%FF",
    "not UTF-8 after 1": "1%FF",
    "a quote": "1'--",
    "a wildcard": "%25",
}


@pytest.mark.usefixtures("unchanged_rows")
@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("PUT", ""), ("DELETE", ""), ("PATCH", "/complete")], ids=lambda part: part
)
def test_a_malformed_number_is_the_404_of_an_unused_id_and_all_other_text_is_one_other_404(
    alice: Person, method: str, path: str
) -> None:
    headers = {"X-Request-Id": "r"}
    absent = alice.send(method, f"/999{path}", headers=headers)
    assert_refused(absent, 404, "not-found")
    no_number = alice.send(method, f"/abc{path}", headers=headers)
    assert_refused(no_number, 404, "not-found")
    for name, spelling in IDS.items():
        response = alice.send(method, f"/{spelling}{path}", headers=headers)
        expected = absent if re.fullmatch("[0-9]+", spelling) else no_number
        assert (response.status_code, response.data) == (404, expected.data), name
        assert sorted(response.headers) == sorted(expected.headers), name


PARAMETERS = {
    "unknown": ("canary=c4n4ry", "/canary", "unknown"),
    "unknown with a hostile name": ("%3Cc4n4ry%3E=1", "", "unknown"),
    "unknown without a name": ("=c4n4ry", "", "unknown"),
    "unknown with NUL": ("c4n4ry%00=1", "", "unknown"),
    "offset pagination": ("offset=5", "/offset", "unknown"),
    "page number": ("page=2", "/page", "unknown"),
    "skipped tasks": ("skip=c4n4ry", "/skip", "unknown"),
    "user id of another user": ("user_id=mallory", "/user_id", "unknown"),
    "a token": ("access_token=c4n4ry", "/access_token", "unknown"),
    "other letter case": ("Limit=5", "/Limit", "unknown"),
    **{
        f"limit={value}": (f"limit={value}", "/limit", "range")
        for value in ("0", "-1", "1001", "", "c4n4ry", "1.5", "1e2", "%201", "1%0A", "0x10", "%D9%A1", "9" * 5000)
    },
    **{
        f"sort={value}": (f"sort={value}", "/sort", "choice")
        for value in ("", "c4n4ry", "--title", "%2Btitle", "TITLE")
    },
    "sort by an expression": ("sort=title;DROP+TABLE+tasks", "/sort", "choice"),
    "sort by a column": ("sort=folded_title", "/sort", "choice"),
    **{f"order={value}": (f"order={value}", "/order", "choice") for value in ("", "c4n4ry", "ASC", "-1")},
    "order and a signed sort": ("sort=-title&order=asc", "", "conflict"),
    "order and a sort signed in the same direction": ("sort=-title&order=desc", "", "conflict"),
    "q and search": ("q=c4n4ry&search=c4n4ry", "", "conflict"),
    **{
        f"completed_to={value}": (f"completed_to={value}", "/completed_to", code)
        for value, code in {
            "": "type",
            "c4n4ry": "type",
            "2026-1-1": "type",
            "2026-11-29T12:00Z": "type",
            "2026-11-29T12:00:00": "type",
            "2026-11-29T12:00:00%2B0100": "type",
            "2026-11-29T12:00:00+01:00": "type",  # a plus sign that is not escaped is a space
            "%D9%A2026-11-29": "type",
            "2026-02-30": "range",
            "2026-02-30T00:00:00Z": "range",
            "2026-11-29T24:00:00Z": "type",
            "2026-11-29T12:00:60Z": "type",
            "2026-11-29T12:00:00%2B25:00": "type",
            "0001-01-01T00:00:00%2B23:00": "range",
            "1899-12-31": "range",
            "3000-01-01T00:00:00Z": "range",
        }.items()
    },
    "tz without a date": ("tz=Europe/Berlin&completed_from=2026-11-29T12:00:00Z", "", "conflict"),
    "tz and dates that are due": ("tz=Europe/Berlin&due_from=2026-11-29", "", "conflict"),
    **{f"status={value}": (f"status={value}", "/status", "choice") for value in ("", "c4n4ry", "done", "Pending")},
    **{f"completed={value}": (f"completed={value}", "/completed", "choice") for value in ("", "1", "yes", "True")},
    **{f"include={value}": (f"include={value}", "/include", "choice") for value in ("", "c4n4ry", "total,total")},
    "q with NUL": ("q=c4n4ry%00", "/q", "characters"),
    "q with a control character": ("q=c4n4ry%1B", "/q", "characters"),
    "q too long": ("q=" + "c4n4ry" * 40, "/q", "length"),
    "a cursor too long": ("cursor=" + "c4n4ry" * 1000, "/cursor", "length"),
    "a cursor with NUL": ("cursor=c4n4ry%00", "/cursor", "characters"),
    **{
        f"{name} twice": (f"{name}={value}&{name}={value}", f"/{name}", "repeated")
        for name, value in {
            "limit": "5",
            "cursor": CANARY,
            "sort": "title",
            "status": "all",
            "completed": "true",
            "q": CANARY,
            "search": CANARY,
            "order": "asc",
            "completed_from": "2026-11-29",
            "include": "total",
            "canary": "1",
        }.items()
    },
    "status and completed": ("status=pending&completed=false", "", "conflict"),
}


@pytest.mark.usefixtures("unchanged_rows")
def test_an_unknown_repeated_or_invalid_query_parameter_is_400(alice: Person) -> None:
    for name, (query, pointer, code) in PARAMETERS.items():
        body = assert_refused(alice.get(f"?{query}"), 400, "bad-parameter")
        assert [(fault["pointer"], fault["code"]) for fault in body["errors"]] == [(pointer, code)], name
        assert alice.send("HEAD", f"?{query}").status_code == 400, name


def test_a_400_names_all_invalid_query_parameters(alice: Person) -> None:
    body = assert_refused(alice.get("?limit=0&sort=x&canary=1"), 400, "bad-parameter")
    assert sorted(fault["pointer"] for fault in body["errors"]) == ["/canary", "/limit", "/sort"]


REFUSED_ON_PURPOSE: dict[str, tuple[str, Any, str]] = {
    "an offset": ("GET", "?offset=20&limit=20", "offset: Is not known here: follow the URL in `Link` to the next page"),
    "a page": ("GET", "?page=2", "page: Is not known here: follow the URL in `Link` to the next page"),
    "a misspelled filter": ("GET", "?stauts=done", "stauts: Is not known here."),
    "both directions": ("GET", "?sort=-due&order=asc", "Query: Give `order`, or `-` before the `sort`, not both."),
    "both names of q": ("GET", "?q=a&search=a", "Query: Give `q` or `search`, not both."),
    "an integer as priority": ("POST", {"priority": 1}, "priority: Must be one of none, low, medium, high."),
    "an upper-case priority": ("POST", {"priority": "HIGH"}, "priority: Must be one of none, low, medium, high."),
    "a due date-time": (
        *("POST", {"due_date": "2026-11-21T09:30:00.000Z"}),
        "due_date: Must be a date such as 2026-02-28, without a time.",
    ),
    "a wrapped task": ("POST", {"task": {"title": "x"}}, "task: Is not known here."),
    "an unknown member": ("POST", {"category": "work"}, "category: Is not known here."),
}


@pytest.mark.parametrize(("method", "sent", "detail"), REFUSED_ON_PURPOSE.values(), ids=REFUSED_ON_PURPOSE)
def test_what_other_services_accept_and_this_one_does_not_is_refused_with_an_instruction(
    alice: Person, method: str, sent: Any, detail: str
) -> None:
    refused = alice.get(sent) if method == "GET" else alice.post(json={"title": "x", **sent})
    assert refused.status_code == (400 if method == "GET" else 422)
    assert refused.get_json()["detail"].startswith(detail)


def test_a_search_for_special_characters_or_invalid_utf8_is_no_error(alice: Person) -> None:
    alice.add()
    for q in ("%25", "_", "%5C", "%5C%5C", "%5C%25", "'", "%22", "%FF%FE", "%ED%A0%80", "%EF%BF%BF", "%F0%9F%A5%9B"):
        assert alice.titles(f"?q={q}") == [], q


class TestCursors:
    @pytest.fixture
    def cursor(self, alice: Person) -> str:
        """A cursor of alice's pending tasks, after the first of three."""
        for title in "abc":
            alice.add(title)
        return _cursor(alice.get("?limit=1&status=pending"))

    def test_a_cursor_with_the_same_filters_gives_the_next_page(self, alice: Person, cursor: str) -> None:
        assert alice.titles(f"?status=pending&cursor={cursor}") == ["b", "a"]

    def test_a_malformed_or_modified_cursor_is_400(self, alice: Person, cursor: str) -> None:
        broken = {
            *("", CANARY, "%20", ".", "2", "%F0%9F%A5%9B"),
            *(
                cursor[:-5],
                cursor[5:],
                cursor[: len(cursor) // 2],
                cursor + "A",
                "." + cursor,
                cursor.swapcase(),
                cursor * 2,
            ),
        }
        for cursor_text in broken:
            assert_refused(alice.get(f"?status=pending&cursor={cursor_text}"), 400, "bad-cursor")

    @pytest.mark.parametrize("filters", ["", "?status=completed", "?sort=title&status=pending", "?q=a&status=pending"])
    def test_a_cursor_with_other_filters_is_400(self, alice: Person, cursor: str, filters: str) -> None:
        response = alice.get(f"{filters}{'&' if filters else '?'}cursor={cursor}")
        assert_refused(response, 400, "bad-cursor")

    def test_a_cursor_of_another_user_is_400(self, alice: Person, mallory: Person, cursor: str) -> None:
        assert_refused(mallory.get(f"?status=pending&cursor={cursor}"), 400, "bad-cursor")
        mallory.add("one")
        mallory.add("two")
        assert_refused(mallory.get(f"?status=pending&cursor={cursor}"), 400, "bad-cursor")
        assert_refused(mallory.get(f"?status=pending&cursor={cursor}", of="alice"), 403, "forbidden")
        theirs = _cursor(mallory.get("?limit=1&status=pending"))
        assert_refused(alice.get(f"?status=pending&cursor={theirs}"), 400, "bad-cursor")


def _cursor(response: TestResponse) -> str:
    """Return the cursor in the next link of a response."""
    return parse_qs(urlsplit(response.headers["Link"].partition(">")[0]).query)["cursor"][0]


@pytest.mark.usefixtures("unchanged_rows")
@pytest.mark.parametrize("name", ["token", "access_token", "jwt", "authorization"])
def test_a_token_in_the_query_string_is_ignored_and_not_echoed(client: FlaskClient, name: str) -> None:
    query = {name: token("alice")}
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/1"), ("PUT", "/1"), ("DELETE", "/1")):
        response = client.open(f"/api/alice/tasks{path}", method=method, query_string=query)
        assert_refused(response, 401, "unauthorized")
        assert query[name] not in response.text


@pytest.mark.usefixtures("unchanged_rows")
@pytest.mark.parametrize(
    "header", ["If-Match", "If-None-Match", "X-Request-Id", "Accept", "Range", "X-HTTP-Method-Override"]
)
def test_a_malformed_or_unsupported_request_header_is_ignored_and_not_echoed(alice: Person, header: str) -> None:
    for value in ("c4n4ry<>", '"' * 500, "c4n4ry\t\x80\xff", "DELETE", "bytes=0-1"):
        response = alice.get("/1", headers={header: value})
        assert response.status_code == 200, value
        assert response.get_json()["title"] == "Buy milk"
        assert "c4n4ry" not in str(response.headers)


@pytest.fixture(scope="module")
def server(database_url: str) -> Iterator[Server]:
    """A gunicorn server without a rate limit."""
    with serve(database_url, RATE_LIMIT="off") as server:
        yield server


class TestOnASocket:
    """Bodies that never arrive, are truncated or have invalid chunks: this needs a real server and a socket."""

    @pytest.fixture(autouse=True)
    def empty_database(self, make_app: Callable[..., Flask]) -> None:
        """Make the database empty after each test: `make_app` removes all rows."""

    def head(self, method: str = "POST", path: str = "", user: str | None = "alice", **headers: str) -> bytes:
        """Return the request line and the headers of a request as bytes."""
        authorization = {"Authorization": f"Bearer {token(user)}"} if user else {}
        lines = {"Host": "localhost", "Content-Type": JSON, **authorization, **headers}
        start = f"{method} /api/alice/tasks{path} HTTP/1.1\r\n"
        return (
            start + "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        ).encode()

    def refused(self, response: ServerResponse, status: int, code: str) -> None:
        """Check the status and the code of a problem document, and that it does not echo input."""
        assert (response.status, response.json["code"]) == (status, code)
        assert response.headers["Content-Type"] == "application/problem+json"
        assert CANARY.encode() not in response.body

    @pytest.mark.parametrize("length", ["10000000", "100"])
    @pytest.mark.parametrize(("method", "path"), [("POST", ""), ("PUT", "/1"), ("PATCH", "/1/complete")])
    def test_401_and_403_are_sent_before_the_body_arrives(
        self, server: Server, method: str, path: str, length: str
    ) -> None:
        response = server.raw(self.head(method, path, None, Content_Length=length))
        self.refused(response, 401, "unauthorized")
        self.refused(server.raw(self.head(method, path, "mallory", Content_Length=length)), 403, "forbidden")

    def test_413_for_a_content_length_over_the_limit_is_sent_before_the_body_arrives(self, server: Server) -> None:
        self.refused(server.raw(self.head(Content_Length="10000000")), 413, "too-large")

    @pytest.mark.parametrize(
        "chunks",
        [
            pytest.param(b"c4n4ry\r\n", id="no size"),
            pytest.param(b"-5\r\nc4n4ry\r\n0\r\n\r\n", id="negative size"),
            pytest.param(b"3\r\nc4n4ry\r\n0\r\n\r\n", id="wrong size"),
            pytest.param(b"ffffffffffffffffffffff\r\nc4n4ry\r\n", id="huge size"),
            pytest.param(b"\r\n\r\n", id="blank"),
        ],
    )
    def test_a_malformed_chunked_body_is_400(self, server: Server, chunks: bytes) -> None:
        self.refused(server.raw(self.head(Transfer_Encoding="chunked"), chunks, hang_up=True), 400, "bad-request")
        assert server.send("alice", Request("GET")).json == []

    def test_a_chunked_body_of_up_to_64_kib_is_decoded_and_a_longer_one_is_413(self, server: Server) -> None:
        whole = b'9\r\n{"title":\r\n4\r\n"x"}\r\n'
        blank = b"1000\r\n" + b" " * 4096 + b"\r\n"
        largest = whole + blank * 15 + b"FF3\r\n" + b" " * 0xFF3 + b"\r\n"  # 65,536 bytes
        for body in (whole, largest):
            response = server.raw(self.head(Transfer_Encoding="chunked"), body + b"0\r\n\r\n")
            assert (response.status, response.json["title"]) == (201, "x")
        for body in (largest + b"1\r\n \r\n0\r\n\r\n", largest + b"6\r\nc4n4ry\r\n0\r\n\r\n", whole + blank * 200):
            self.refused(server.raw(self.head(Transfer_Encoding="chunked"), body), 413, "too-large")
        assert len(server.send("alice", Request("GET")).json) == 2

    @pytest.mark.parametrize(
        "framing",
        [
            pytest.param({"Content_Length": "50"}, id="Content-Length"),
            pytest.param({"Transfer_Encoding": "chunked"}, id="chunked"),
        ],
    )
    @pytest.mark.parametrize("begun", [b"", b"{}", b'{"completed": true}', b'{"completed": tr'])
    def test_a_body_truncated_by_a_disconnect_is_400_and_changes_nothing(
        self, server: Server, framing: dict[str, str], begun: bytes
    ) -> None:
        # PATCH /complete toggles a task if it has no body, so a lost body must not be read as an empty one.
        made = server.send("alice", Request("POST", json={"title": "x"}))
        if begun and "Transfer_Encoding" in framing:
            begun = b"%x\r\n%s\r\n" % (len(begun), begun)
        response = server.raw(self.head("PATCH", "/1/complete", **framing), begun, hang_up=True)
        self.refused(response, 400, "bad-request")
        assert server.send("alice", Request("GET", "/1")).json == made.json


TITLE = "Must have 1 to 200 characters, spaces around it not counted."
DETAILS: dict[str, tuple[str, str, Any, str]] = {
    "a task": (
        *("POST", "/tasks", {"title": " ", "due_date": "tomorrow", CANARY * 20: 1}),
        (
            f"title: {TITLE} due_date: Must be a date such as 2026-02-28, without a time. "
            "Body: Contains a name that is not known here. Remove it, or correct its spelling."
        ),
    ),
    "a change": (*("PUT", "/tasks/1", {"completed": CANARY}), "completed: Must be true or false."),
    "a merge patch": (
        *("PATCH", "/tasks/1", {"tags": ["a", CANARY * 20, "A"]}),
        (
            "tags[1]: Must have 1 to 50 characters, spaces around it not counted. "
            "tags[2]: Is there already; case makes no difference."
        ),
    ),
    "a completion": (*("PATCH", "/tasks/1/complete", {"completed": 1}), "completed: Must be true or false."),
    "a rule about several members": (
        *("PUT", "/tasks/1", {"due_time": "09:30"}),
        "due_time: Needs `due_date`: set both, or clear this one too.",
    ),
    "a body that is no object": (*("POST", "/tasks", [CANARY]), "Body: Must be a JSON object."),
    "a batch": (
        *("POST", "/tasks/batch", {"operations": [{"op": "delete"}, {"op": "create", "task": {"title": ""}}]}),
        f"operations[0].id: Is required with `delete`. operations[1].task.title: {TITLE}",
    ),
    "an operation that fails later": (
        *("POST", "/tasks/batch", {"operations": [{"op": "update", "id": 1, "task": {"due_time": "09:30"}}]}),
        "operations[0].task.due_time: Needs `due_date`: set both, or clear this one too.",
    ),
    "an import": (
        *("POST", "/import", {"tasks": [{"title": "x"}, {"title": "", "tags": ["a", 1]}]}),
        f"tasks[1].title: {TITLE} tasks[1].tags[1]: Must be a string.",
    ),
    "an import that fails later": (
        *("POST", "/import", {"tasks": [{"title": "x"}, {"title": "y", "due_time": "09:30"}]}),
        "tasks[1].due_time: Needs `due_date`: set both, or clear this one too.",
    ),
    "eleven tags": (
        *("POST", "/tasks", {"title": "x", "tags": [1] * 11}),
        " ".join(f"tags[{n}]: Must be a string." for n in range(10)) + " And 1 more.",
    ),
}


@pytest.mark.usefixtures("unchanged_rows")
@pytest.mark.parametrize(("method", "path", "body", "detail"), DETAILS.values(), ids=DETAILS)
def test_the_detail_of_a_422_names_each_member_and_what_is_wrong_with_it(
    alice: Person, method: str, path: str, body: Any, detail: str
) -> None:
    """None of thirty public clients reads `errors`; one showed its users a `detail` that only referred to it."""
    assert assert_refused(alice.data(method, path, json=body), 422, "invalid")["detail"] == detail


def test_the_detail_of_a_failed_operation_of_a_batch_names_the_operation(alice: Person) -> None:
    operations = [{"op": "create", "task": {"title": "x"}}, {"op": "delete", "id": 9}]
    refused = alice.post("/batch", json={"operations": operations})
    assert (refused.status_code, refused.get_json()["detail"]) == (404, "operations[1]: You have no task of this id.")


TOO_MANY: dict[str, tuple[str, Any]] = {
    "unknown members of operations": ("/tasks/batch", {"operations": [{f"a{n}": 1 for n in range(90)}] * 100}),
    "wrong tasks of an import": ("/import", {"tasks": [{"a": 1, "b": 2, "c": 3}] * 5_000}),
    "wrong tags of a task": ("/tasks", {"title": "x", "tags": [1] * 20, **{f"a{n}": 1 for n in range(90)}}),
    "wrong operations of a batch": ("/tasks/batch", {"operations": [{"op": "nothing", "a": 1, "b": 2}] * 100}),
}


@pytest.mark.parametrize(("path", "body"), TOO_MANY.values(), ids=TOO_MANY)
def test_a_422_lists_at_most_100_violations(alice: Person, path: str, body: Any) -> None:
    response = alice.data("POST", path, json=body)
    assert response.status_code == 422
    assert len(response.get_json()["errors"]) == MAX_VIOLATIONS
    assert response.get_json()["detail"].endswith(" And at least 90 more.")
    assert len(response.data) < 20_000


def test_an_import_stops_validating_after_100_violations(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    examined: list[Any] = []
    load = ImportedTask.load
    monkeypatch.setattr(ImportedTask, "load", lambda schema, task: examined.append(task) or load(schema, task))
    assert alice.data("POST", "/import", json={"tasks": [{}] * 10_000}).status_code == 422
    assert len(examined) == MAX_VIOLATIONS
