"""Bodies and query strings that are invalid, ambiguous or meant for another user are refused; read-only members are ignored."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.security.attacker import JSON, Attack, Reply, System, assert_fails, request
from tests.tasks.test_bad_input import BODIES

pytestmark = pytest.mark.usefixtures("data_unchanged")

MALLORYS = "/api/mallory/tasks"
KIB = 1024


def sent_body(
    body: bytes | Callable[[], bytes],
    status: int,
    code: str,
    *,
    path: str = "/tasks",
    method: str = "POST",
    content_type: str | None = JSON,
    **headers: str,
) -> Attack:
    """Return an attack that sends a body to one of mallory's own paths."""
    lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Attack(
        lambda s: request(
            f"/api/mallory{path}",
            method=method,
            bearer=s.token("mallory"),
            body=body() if callable(body) else body,
            content_type=content_type,
            headers=lines,
        ),
        status,
        code,
    )


def sent_json(members: Any, status: int = 422, code: str = "invalid", **options: Any) -> Attack:
    """Return an attack that sends a JSON body."""
    return sent_body(json.dumps(members).encode(), status, code, **options)


BAD, TYPE, LARGE = (400, "bad-request"), (415, "unsupported-media-type"), (413, "too-large")


# Bodies that are not strict JSON

STRICT = {f"a body of {name}": sent_body(body, status, code) for name, (body, status, code) in BODIES.items()}

NUMBERS = {
    f"the number {name}": sent_body(b'{"title":"x","completed":' + number + b"}", *refusal)
    for name, (number, refusal) in {
        "1e999": (b"1e999", BAD),
        "-1e999": (b"-1e999", BAD),
        "1e99999999999": (b"1e99999999999", BAD),
        "1e-99999": (b"1e-99999", (422, "invalid")),
        "of 4,301 digits": (b"1" * 4301, BAD),
        "of 60,000 digits": (b"1" * 60_000, BAD),
        "minus zero": (b"-0", (422, "invalid")),
        "in hexadecimal": (b"0x1", BAD),
        "with a plus": (b"+1", BAD),
        "with a zero first": (b"01", BAD),
        "NaN in lower case": (b"nan", BAD),
        "of a thousand decimals": (b"0." + b"1" * 1000, (422, "invalid")),
    }.items()
}

DEEP = {
    f"{name} deep": sent_body(body, *BAD, path=path)
    for name, path, body in (
        ("20,000 arrays", "/tasks", b'{"title":' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
        ("9,000 objects", "/tasks", b'{"title":' + b'{"a":' * 9000 + b"1" + b"}" * 9000 + b"}"),
        ("400,000 arrays of a batch", "/tasks/batch", b'{"operations":' + b"[" * 400_000),
        ("100,000 objects of an import", "/import", b'{"tasks":' + b'{"a":' * 100_000),
    )
}

TEXTS = {
    f"a title with {name}": sent_body(b'{"title":"c4n4ry' + text + b'"}', *refusal)
    for name, (text, refusal) in {
        "half a pair": (rb"\ud800", (422, "invalid")),
        "the other half": (rb"\udc00", (422, "invalid")),
        "the halves the wrong way round": (rb"\udc00\ud800", (422, "invalid")),
        "NUL": (rb"\u0000", (422, "invalid")),
        "a line break": (rb"\r\nX-Injected: 1", (422, "invalid")),
        "an escape": (rb"\u001b[31m", (422, "invalid")),
        "a C1 control": (rb"\u0085", (422, "invalid")),
        "a raw line break": (b"\r\n", BAD),
        "UTF-8 of half a pair": (b"\xed\xa0\x80", BAD),
        "overlong UTF-8": (b"\xc0\x80", BAD),
        "five bytes of UTF-8": (b"\xf8\x88\x80\x80\x80", BAD),
        "beyond Unicode": (b"\xf4\x90\x80\x80", BAD),
        "201 characters": (b"x" * 201, (422, "invalid")),
    }.items()
}

ENCODINGS = {
    f"a body in {name}": sent_body(text.encode(encoding), *BAD, content_type=f"{JSON}; charset={charset}")
    for text in ('{"title":"c4n4ry\u00e9"}',)
    for name, encoding, charset in (
        ("UTF-16 that says so", "utf-16", "utf-16"),
        ("UTF-16 that says UTF-8", "utf-16", "utf-8"),
        ("UTF-32 that says so", "utf-32", "utf-32"),
        ("UTF-8 with a mark", "utf-8-sig", "utf-8"),
        ("Latin-1 that says so", "latin-1", "iso-8859-1"),
        ("EBCDIC that says so", "cp500", "cp500"),
    )
}


# Other media types and content codings

MEDIA = {
    f"the type {name}": sent_body(b'{"title":"c4n4ry"}', *TYPE, content_type=media_type)
    for name, media_type in {
        "none": None,
        "empty": "",
        "of a simple request: text": "text/plain",
        "of a simple request: form": "application/x-www-form-urlencoded",
        "of a simple request: multipart": "multipart/form-data; boundary=c4n4ry",
        "text with JSON in a parameter": "text/plain; application/json",
        "two of them": "text/plain, application/json",
        "JSON, and another": "application/json, text/plain",
        "JSON with an ending": "application/jsonx",
        "JSON for sequences": "application/json-seq",
        "JSON for linked data": "application/ld+json",
        "a merge patch": "application/merge-patch+json",
        "a JSON patch": "application/json-patch+json",
        "XML": "application/xml",
        "YAML": "application/yaml",
        "pickle": "application/x-python-pickle",
        "anything": "*/*",
        "in quotes": '"application/json"',
        "with a space": "application /json",
    }.items()
}


@cache
def bomb(coding: str) -> bytes:
    """Return ten megabytes of JSON, compressed to ten kilobytes or less."""
    blank = b'{"title":"x"' + b" " * 10_000_000 + b"}"
    once = gzip.compress(blank, 9)
    return {"gzip": once, "twice": gzip.compress(once, 9), "deflate": zlib.compress(blank, 9)}[coding]


BOMBS = {
    f"a bomb in {name}": sent_body(lambda kind=kind: bomb(kind), *TYPE, path=path, Content_Encoding=coding)
    for name, kind, coding, path in (
        ("gzip", "gzip", "gzip", "/tasks"),
        ("gzip for a batch", "gzip", "gzip", "/tasks/batch"),
        ("gzip for an import", "gzip", "gzip", "/import"),
        ("deflate", "deflate", "deflate", "/tasks"),
        ("gzip within gzip", "twice", "gzip, gzip", "/tasks"),
        ("x-gzip", "gzip", "x-gzip", "/tasks"),
        ("gzip, called br", "gzip", "br", "/tasks"),
        ("gzip, called zstd", "gzip", "zstd", "/tasks"),
        ("gzip, called identity too", "gzip", "identity, gzip", "/tasks"),
        ("GZIP in capitals", "gzip", "GZIP", "/tasks"),
    )
} | {
    "a bomb that does not say it is one": sent_body(lambda: bomb("gzip"), *BAD),
    "a bomb for the sign-out": Attack(
        lambda _: request(
            "/backchannel-logout",
            method="POST",
            body=bomb("gzip"),
            content_type="application/x-www-form-urlencoded",
            headers=[("Content-Encoding", "gzip")],
        ),
        *TYPE,
    ),
}

SIZES = {
    f"{name} too much": sent_body(body, *LARGE, path=path)
    for name, path, body in (
        ("a byte", "/tasks", b" " * (64 * KIB + 1)),
        ("a byte of a batch", "/tasks/batch", b" " * (1024 * KIB + 1)),
        ("a byte of an import", "/import", b" " * (16 * 1024 * KIB + 1)),
    )
} | {
    "101 changes": sent_json({"operations": [{"op": "delete", "id": 1}] * 101}, path="/tasks/batch"),
    "10,001 tasks": sent_json({"tasks": [{}] * 10_001}, path="/import"),
    "21 tags": sent_json({"title": "x", "tags": [str(n) for n in range(21)]}),
    "10,001 characters": sent_json({"title": "x", "description": "x" * 10_001}),
    "a form of 17 KiB for the sign-out": Attack(
        lambda _: request(
            "/backchannel-logout",
            method="POST",
            body=b"logout_token=" + b"x" * 17_000,
            content_type="application/x-www-form-urlencoded",
        ),
        *LARGE,
    ),
}


# Members that do not exist

FOREIGN_MEMBERS = (
    *("revision", "owner", "owner_id", "userId", "user", "is_admin", "role", "permissions", "epoch", "folded_title"),
    *("purged_at", "created_revision", "occurrence", "sub", "tenant", "__proto__", "constructor", "__class__"),
    *(
        "__dict__",
        "_sa_instance_state",
        "metadata",
        "query",
        "$where",
        "$set",
        "task.user_id",
        "tags[]",
        "ID",
        "User_Id",
    ),
)

ASSIGNED = {
    f"{verb} with {member}": sent_json(wrap({"title": "c4n4ry", member: "alice"}), path=path, method=method)
    for member in FOREIGN_MEMBERS
    for verb, method, path, wrap in (
        ("create", "POST", "/tasks", lambda task: task),
        ("change", "PUT", "/tasks/1", lambda task: task),
    )
} | {
    f"{verb} with {member}": sent_json(
        wrap({"title": "c4n4ry", member: "alice"}), path=path, method=method, **options
    )
    for member in ("revision", "owner", "userId", "is_admin", "__proto__", "purged_at")
    for verb, method, path, wrap, options in (
        ("patch", "PATCH", "/tasks/1", lambda task: task, {"content_type": "application/merge-patch+json"}),
        ("batch", "POST", "/tasks/batch", lambda t: {"operations": [{"op": "create", "task": t}]}, {}),
        ("batch change", "POST", "/tasks/batch", lambda t: {"operations": [{"op": "update", "id": 1, "task": t}]}, {}),
        ("import", "POST", "/import", lambda task: {"tasks": [task]}, {}),
    )
}  # fmt: skip

OPERATIONS = {
    "a batch for another user": sent_json(
        {"user_id": "alice", "operations": [{"op": "delete", "id": 1}]}, path="/tasks/batch"
    ),
    "an operation for another user": sent_json(
        {"operations": [{"op": "delete", "id": 1, "user_id": "alice"}]}, path="/tasks/batch"
    ),
    "an operation on a path": sent_json({"operations": [{"op": "delete", "id": "../../alice/tasks/1"}]}, path="/tasks/batch"),
    "an operation on a list of ids": sent_json({"operations": [{"op": "delete", "id": [1, 2]}]}, path="/tasks/batch"),
    "an operation on true": sent_json({"operations": [{"op": "delete", "id": True}]}, path="/tasks/batch"),
    "an operation on everything": sent_json({"operations": [{"op": "delete", "id": {"$gt": 0}}]}, path="/tasks/batch"),
    "an operation on a number of 19 digits": sent_json({"operations": [{"op": "delete", "id": 2**63}]}, path="/tasks/batch"),
    "an unknown operation": sent_json({"operations": [{"op": "purge", "id": 1}]}, path="/tasks/batch"),
    "an operation on what is only alice's": sent_json(
        {"operations": [{"op": "delete", "id": 3}]}, 404, "not-found", path="/tasks/batch"
    ),
    "a good operation before a bad one": sent_json(
        {"operations": [{"op": "delete", "id": 1}, {"op": "delete", "id": 3}]}, 404, "not-found", path="/tasks/batch"
    ),
    "a move before what is only alice's": sent_json({"before": 3}, 404, "not-found", path="/tasks/1/move"),
    "a restore of what is only in alice's trash": sent_json({}, 404, "not-found", path="/tasks/3/restore"),
    "an import that names another user": sent_json({"user_id": "alice", "tasks": []}, path="/import"),
    "an import with an id of 19 digits": sent_json({"tasks": [{"id": 10**18, "title": "x"}]}, path="/import"),
    "an import of one id twice": sent_json(
        {"tasks": [{"id": 7, "title": "x"}, {"id": 7, "title": "y"}]}, path="/import"
    ),
    "an import of a good task and a bad one": sent_json(
        {"tasks": [{"title": "x"}, {"title": "\0"}]}, path="/import"
    ),
    "a rule that never ends to count": sent_json({"title": "x", "due_date": "2026-01-01", "recurrence": "FREQ=SECONDLY"}),
    "a rule without a step": sent_json({"title": "x", "due_date": "2026-01-01", "recurrence": "FREQ=DAILY;INTERVAL=0"}),
    "a rule with a second line": sent_json(
        {"title": "x", "due_date": "2026-01-01", "recurrence": "FREQ=DAILY\r\nATTACH:file:///etc/passwd"}
    ),
    "a zone that is a path": sent_json(
        {"title": "x", "due_date": "2026-01-01", "due_time": "09:00", "time_zone": "../../../../etc/passwd"}
    ),
    "a zone that is this host's": sent_json(
        {"title": "x", "due_date": "2026-01-01", "due_time": "09:00", "time_zone": "localtime"}
    ),
}  # fmt: skip


# Query strings

QUERIES = {
    f"the query {query}": Attack(
        lambda s, query=query: request(f"{MALLORYS}?{query}", bearer=s.token("mallory")), 400, code
    )
    for query, code in {
        "sort=title;DROP+TABLE+tasks": "bad-parameter",
        "sort=(SELECT+1)": "bad-parameter",
        "sort=title,user_id": "bad-parameter",
        "limit=1+OFFSET+0": "bad-parameter",
        "limit=-1": "bad-parameter",
        "limit=1e9": "bad-parameter",
        "limit=%D9%A1": "bad-parameter",
        "limit[]=1": "bad-parameter",
        "limit=1&limit=2": "bad-parameter",
        "status[$ne]=x": "bad-parameter",
        "user_id=alice": "bad-parameter",
        "fields=*": "bad-parameter",
        "trash=1": "bad-parameter",
        "tz=../../etc/passwd&overdue=true": "bad-parameter",
        "due_from=2026-02-30": "bad-parameter",
        "q=c4n4ry%00": "bad-parameter",
        "q=c4n4ry%0d%0aSet-Cookie:+a=b": "bad-parameter",
        "c4n4ry%0d%0aSet-Cookie:+a=1": "bad-parameter",
        "cursor=c4n4ry": "bad-cursor",
        "cursor=WzFd.AAAA": "bad-cursor",
        "cursor=.eJyLjgUAARUAuQ.AAAA": "bad-cursor",
        "cursor=gASVBQAAAAAAAABLAS4.AAAA": "bad-cursor",
    }.items()
}

ATTACKS: dict[str, Attack] = {
    **STRICT,
    **NUMBERS,
    **DEEP,
    **TEXTS,
    **ENCODINGS,
    **MEDIA,
    **BOMBS,
    **SIZES,
    **ASSIGNED,
    **OPERATIONS,
    **QUERIES,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_invalid_body_or_query_is_refused_and_changes_no_data(system: System, attack: Attack) -> None:
    assert_fails(system, attack)


# Read-only members

READ_ONLY = {
    "user_id": "alice",
    "id": 1,
    "version": 99,
    "completed_at": "2000-01-01T00:00:00.000Z",
    "created_at": "2000-01-01T00:00:00.000Z",
    "updated_at": "2000-01-01T00:00:00.000Z",
    "deleted_at": "2000-01-01T00:00:00.000Z",
    "due_at": "2000-01-01T00:00:00.000Z",
    "position": "zzzz",
    "series_id": 1,
    "next_task_id": 1,
}

WRITES: dict[str, tuple[str, str, Callable[[dict[str, Any]], Any], Callable[[Any], dict[str, Any]]]] = {
    "create": ("POST", "/tasks", lambda task: task, lambda answer: answer),
    "change": ("PUT", "/tasks/{id}", lambda task: task, lambda answer: answer),
    "patch": ("PATCH", "/tasks/{id}", lambda task: task, lambda answer: answer),
    "batch create": (
        *("POST", "/tasks/batch", lambda task: {"operations": [{"op": "create", "task": task}]}),
        lambda answer: answer["results"][0],
    ),
}  # fmt: skip


def send_json(system: System, method: str, path: str, members: Any, user: str = "trudy") -> Reply:
    """Send a JSON body to a path of a user."""
    return system.of(user, path, method=method, body=json.dumps(members).encode())


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
@pytest.mark.parametrize("member", READ_ONLY)
def test_a_read_only_member_is_ignored(system: System, member: str, write: tuple[str, str, Any, Any]) -> None:
    method, path, wrap, unwrap = write
    for _ in range(2):  # so that the task has another id than 1
        made = send_json(system, "POST", "/tasks", {"title": "Mine"}).json
    reply = send_json(system, method, path.format(id=made["id"]), wrap({"title": "Mine", member: READ_ONLY[member]}))
    assert reply.status in (200, 201)
    task = unwrap(reply.json)
    assert task["user_id"] == "trudy"
    assert task[member] != READ_ONLY[member]
    assert task["deleted_at"] is task["series_id"] is task["next_task_id"] is None


def test_imported_tasks_belong_to_the_user_of_the_request(system: System) -> None:
    stolen = system.of("alice", "/export").json
    assert {task["user_id"] for task in stolen["tasks"]} == {"alice"}
    assert send_json(system, "POST", "/import", stolen, "oscar").status == 200
    assert {task["user_id"] for task in system.of("oscar", "/export").json["tasks"]} == {"oscar"}


@pytest.mark.parametrize(
    "title", ["'; DROP TABLE tasks; --", "{{7*7}}", "${7*7}", "<script>alert(1)</script>", "%s%n", "=cmd|' /C calc'!A0"]
)
def test_a_title_is_stored_as_text_and_never_interpreted(system: System, title: str) -> None:
    made = send_json(system, "POST", "/tasks", {"title": title})
    assert (made.status, made.json["title"]) == (201, title)
    assert made.headers["X-Content-Type-Options"] == "nosniff"
    assert title in [task["title"] for task in system.of("trudy").json]


@pytest.mark.parametrize(
    "search", ["%25'+OR+1=1+--", "%27)+UNION+SELECT+*+FROM+tasks+--", "%25", "_", "milk%27+OR+user_id=%27alice"]
)
def test_a_search_finds_no_task_of_another_user(system: System, search: str) -> None:
    found = system.of("mallory", f"/tasks?q={search}")
    assert (found.status, found.json) == (200, [])


# Cursors and sync tokens of another user


def next_cursor(reply: Reply) -> str:
    """Return the cursor in the Link header of a page."""
    return parse_qs(urlsplit(reply.headers["Link"].partition(">")[0]).query)["cursor"][0]


@pytest.mark.parametrize("query", ["limit=1", "limit=1&sort=title", "limit=1&sort=position"])
def test_a_cursor_of_another_user_is_400(system: System, query: str) -> None:
    theirs = next_cursor(system.of("alice", f"/tasks?{query}"))
    assert system.of("alice", f"/tasks?{query}&cursor={theirs}").status == 200
    for user in ("mallory", "somebody-new"):
        refused = system.of(user, f"/tasks?{query}&cursor={theirs}")
        assert (refused.status, refused.json["code"]) == (400, "bad-cursor")


def test_a_sync_token_of_another_user_is_410(system: System) -> None:
    theirs = system.of("alice", "/changes?limit=1").json["next"]
    assert system.of("alice", f"/changes?since={theirs}").status == 200
    for user in ("mallory", "somebody-new"):
        refused = system.of(user, f"/changes?since={theirs}")
        assert (refused.status, refused.json["code"]) == (410, "gone")
        assert b"Buy milk" not in refused.body


@pytest.mark.parametrize(
    "kind", ["cursor for sync token", "sync token for cursor", "own epoch, signed for another user"]
)
def test_a_signed_value_is_refused_in_another_use_or_epoch(system: System, kind: str) -> None:
    cursor = next_cursor(system.of("mallory", "/tasks?limit=1"))
    since = system.of("mallory", "/changes").json["next"]
    theirs = system.of("alice", "/changes").json["next"]
    epoch = since.partition(".")[0]
    path = {
        "cursor for sync token": f"/changes?since={epoch}.{cursor}",
        "sync token for cursor": f"/tasks?limit=1&cursor={since.partition('.')[2]}",
        "own epoch, signed for another user": f"/changes?since={epoch}.{theirs.partition('.')[2]}",
    }[kind]
    refused = system.of("mallory", path)
    assert (refused.status, refused.json["code"]) == (400, "bad-cursor")
