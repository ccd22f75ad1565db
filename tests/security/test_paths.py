"""A path matches a user byte by byte: no similar spelling, path traversal or encoding reaches another user."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

import pytest

from tests.auth.test_hook import LIKE_ALICE
from tests.security.attacker import Attack, System, assert_fails, request

pytestmark = pytest.mark.usefixtures("data_unchanged")

CODES = {403: "forbidden", 404: "not-found", 405: "method-not-allowed", 400: "bad-parameter", 401: "unauthorized"}


def sent_by(user: str, target: str | bytes, status: int, method: str = "GET") -> Attack:
    """Return an attack with a valid token of a user and any request target."""
    return Attack(lambda s: request(target, method=method, bearer=s.token(user)), status, CODES[status])


# Other spellings of alice in the path, with alice's token

NOT_A_USER_S_PATH = {
    "encoded slash before": 404,
    "encoded slash": 404,
    "slash": 404,
    "dot": 404,
    "encoded dots": 404,
    "dots": 404,
    "encoded dots and slash": 404,
    "empty": 404,
}

MISSPELLED = {
    f"alice's token at {name}": sent_by("alice", f"/api/{spelling}/tasks", NOT_A_USER_S_PATH.get(name, 403))
    for name, spelling in LIKE_ALICE.items()
}


# Users whose id looks like alice

NAMESAKES = {
    "capital": "Alice",
    "capitals": "ALICE",
    "a space after": "alice ",
    "a space before": " alice",
    "Cyrillic a": "\u0430lice",
    "Cyrillic i": "al\u0456ce",
    "Greek iota": "al\u03b9ce",
    "fullwidth": "\uff41\uff4c\uff49\uff43\uff45",
    "mathematical": "\U0001d41a\U0001d425\U0001d422\U0001d41c\U0001d41e",
    "circled": "\u24d0\u24db\u24d8\u24d2\u24d4",
    "Roman numeral": "al\u2170ce",
    "dotless i": "al\u0131ce",
    "zero width space": "alice\u200b",
    "zero width joiner": "al\u200dice",
    "soft hyphen": "al\u00adice",
    "word joiner": "\u2060alice",
    "right-to-left override": "\u202eecila",
    "byte order mark": "\ufeffalice",
    "combining mark": "alice\u0301",
    "no-break space": "alice\u00a0",
    "variation selector": "alice\ufe0f",
    "tag character": "alice\U000e0061",
    "a dot": "alice.",
    "an encoded letter": "%61lice",
    "encoded NUL": "alice%00",
    "a parameter": "alice;x=1",
    "a query": "alice?x=1",
    "a fragment": "alice#x",
    "a wildcard": "*",
    "a per cent, as LIKE has it": "%",
    "an underscore, as LIKE has it": "alic_",
    "a quote": "alice' OR '1'='1",
    "a comment": "alice'--",
    "e-mail": "alice@example.com",
    "two names": "alice,mallory",
    "a list": '["alice"]',
    "half her name": "alic",
    "twice her name": "alicealice",
}

STRANGERS = {
    f"the token of a namesake: {name}": sent_by(sub, "/api/alice/tasks/1", 403) for name, sub in NAMESAKES.items()
}


# A valid token of mallory, and paths that may lead to alice

AROUND: dict[str, tuple[str | bytes, int]] = {
    "straight": ("/api/alice/tasks", 403),
    "a task of alice's": ("/api/alice/tasks/1", 403),
    "the trash of alice's": ("/api/alice/tasks?trash=true", 403),
    "the feed of alice's": ("/api/alice/changes", 403),
    "the numbers of alice's": ("/api/alice/stats", 403),
    "the export of alice's": ("/api/alice/export", 403),
    "her own with alice in the query": ("/api/mallory/tasks?user_id=alice", 400),
    "her own with alice in the query of a task": ("/api/mallory/tasks/1?user_id=alice", 400),
    "alice with mallory in the query": ("/api/alice/tasks?user_id=mallory", 403),
    "alice with a token in the query": ("/api/alice/tasks?access_token=c4n4ry", 403),
    "dots": ("/api/mallory/../alice/tasks", 404),
    "dots from a task": ("/api/mallory/tasks/../../alice/tasks", 404),
    "encoded dots": ("/api/mallory/%2e%2e/alice/tasks", 404),
    "half-encoded dots": ("/api/mallory/.%2E/alice/tasks", 404),
    "encoded dots and slashes": ("/api/mallory%2F..%2Falice/tasks", 404),
    "dots encoded twice": ("/api/mallory/%252e%252e/alice/tasks", 404),
    "slashes encoded twice": ("/api/mallory%252F..%252Falice/tasks", 403),
    "dots with a parameter": ("/api/mallory/..;/alice/tasks", 404),
    "dots with a parameter, from a task": ("/api/mallory/tasks/..;/..;/alice/tasks", 404),
    "overlong dots": ("/api/mallory/%c0%ae%c0%ae/alice/tasks", 404),
    "overlong slashes": ("/api/mallory%c0%af..%c0%afalice/tasks", 403),
    "dots as IIS knows them": ("/api/mallory/%u002e%u002e/alice/tasks", 404),
    "fullwidth slashes": ("/api/mallory%EF%BC%8F..%EF%BC%8Falice/tasks", 403),
    "fullwidth dots": ("/api/mallory/%EF%BC%8E%EF%BC%8E/alice/tasks", 404),
    "backslashes": ("/api/mallory\\..\\alice/tasks", 403),
    "backslashes all along": ("/api\\alice\\tasks", 404),
    "encoded backslashes": ("/api/mallory%5C..%5Calice/tasks", 403),
    "a task id that leads away": ("/api/mallory/tasks/1%2F..%2F..%2F..%2Falice%2Ftasks%2F1", 404),
    "a task id with a name": ("/api/mallory/tasks/alice:1", 404),
    "a task id with a slash": ("/api/mallory/tasks/alice%2F1", 404),
    "two slashes first": ("//api/alice/tasks", 403),
    "a host first": ("//mallory.example/api/alice/tasks", 404),
    "two slashes after api": ("/api//alice/tasks", 404),
    "two slashes after the user": ("/api/alice//tasks", 404),
    "two slashes before the task": ("/api/alice/tasks//1", 404),
    "three slashes": ("///api///alice///tasks", 404),
    "a dot first": ("/./api/alice/tasks", 404),
    "a dot after the user": ("/api/alice/./tasks", 404),
    "a dot at the end": ("/api/alice/tasks/.", 403),
    "dots at the end": ("/api/alice/tasks/..", 403),
    "api in capitals": ("/API/alice/tasks", 404),
    "tasks in capitals": ("/api/alice/TASKS", 404),
    "tasks with an ending": ("/api/alice/tasks.json", 404),
    "tasks with a parameter": ("/api/alice/tasks;a=1", 404),
    "tasks with a space": ("/api/alice/tasks%20", 404),
    "tasks with NUL": ("/api/alice/tasks%00", 404),
    "tasks with NUL and an ending": ("/api/alice/tasks%00.css", 404),
    "tasks with a line break": ("/api/alice/tasks%0d%0aX-Injected:%201", 404),
    "a user with a line break": ("/api/alice%0d%0aX-Injected:%201/tasks", 403),
    "a cached file": ("/api/alice/tasks/x.css", 403),
    "a query in the path": ("/api/alice/tasks%3Flimit=1", 404),
    "two queries": ("/api/alice/tasks??limit=1", 403),
    "a fragment": ("/api/alice/tasks#/api/mallory/tasks", 403),
    "an encoded fragment": ("/api/mallory%23/../alice/tasks", 404),
    "nobody": ("/api//tasks", 404),
    "no user": ("/api/tasks", 405),
    "an encoded blank user": ("/api/%20/tasks", 403),
    "a NUL user": ("/api/%00/tasks", 403),
    "all users": ("/api/*/tasks", 403),
    "the user me": ("/api/me/tasks", 403),
    "both users": ("/api/mallory,alice/tasks", 403),
    "both users, by parameter": ("/api/mallory;user_id=alice/tasks", 403),
    "a Windows device": ("/api/CON/tasks", 403),
    "300 characters": (f"/api/{'a' * 300}/tasks", 403),
    "an absolute address": ("http://localhost/api/alice/tasks", 403),
    "an absolute address of another host": ("http://mallory.example/api/alice/tasks", 403),
    "an absolute address with a user": ("http://alice@localhost/api/alice/tasks", 403),
    "an absolute address with two slashes": ("http://localhost//api/alice/tasks", 403),
    "an absolute address without a host": ("http:///api/alice/tasks", 403),
    "another scheme": ("ftp://localhost/api/alice/tasks", 403),
    "a file": ("file:///api/alice/tasks", 403),
    "an address in the address": ("/http://localhost/api/alice/tasks", 404),
    "a file of the host": ("/../../../../etc/passwd", 404),
    "a file of the host, encoded": ("/%2e%2e/%2e%2e/%2e%2e/etc/passwd", 404),
    "a file of the docs": ("/docs/../../gunicorn.conf.py", 404),
    "a file of the docs, encoded": ("/docs/..%2f..%2fgunicorn.conf.py", 404),
    "a problem that is a file": ("/problems/..%2f..%2f..%2fetc%2fpasswd", 404),
    "a problem that is a template": ("/problems/%7B%7B7*7%7D%7D", 404),
    "the metrics": ("/metrics", 404),
    "a debugger": ("/console", 404),
    "the source": ("/.git/config", 404),
    "the environment": ("/.env", 404),
}
CROOKED = {f"mallory's token: {name}": sent_by("mallory", target, status) for name, (target, status) in AROUND.items()}


# Methods

DONE_TO_ALICE: dict[str, tuple[str, str, int]] = {
    "erase all": ("DELETE", "/api/alice", 403),
    "erase all, with a slash": ("DELETE", "/api/alice/", 403),
    "erase all by dots": ("DELETE", "/api/mallory/../alice", 404),
    "erase all by encoded dots": ("DELETE", "/api/mallory/%2e%2e/alice", 404),
    "erase everybody": ("DELETE", "/api/", 404),
    "erase the list": ("DELETE", "/api/alice/tasks", 405),
    "delete a task": ("DELETE", "/api/alice/tasks/1", 403),
    "delete a task for good": ("DELETE", "/api/alice/tasks/1?permanent=true", 403),
    "delete with a slash": ("DELETE", "/api/alice/tasks/1/", 403),
    "delete by two slashes": ("DELETE", "/api/alice//tasks/1", 404),
    "complete": ("PATCH", "/api/alice/tasks/1/complete", 403),
    "complete by another method": ("POST", "/api/alice/tasks/1/complete", 405),
    "restore": ("POST", "/api/alice/tasks/3/restore", 403),
    "move": ("POST", "/api/alice/tasks/1/move", 403),
    "batch": ("POST", "/api/alice/tasks/batch", 403),
    "import": ("POST", "/api/alice/import", 403),
    "create": ("POST", "/api/alice/tasks", 403),
    "change": ("PUT", "/api/alice/tasks/1", 403),
    "patch": ("PATCH", "/api/alice/tasks/1", 403),
    "replace the list": ("PUT", "/api/alice/tasks", 405),
    "trace": ("TRACE", "/api/alice/tasks", 405),
    "track": ("TRACK", "/api/alice/tasks", 405),
    "copy": ("COPY", "/api/alice/tasks/1", 405),
    "move as WebDAV has it": ("MOVE", "/api/alice/tasks/1", 405),
    "find": ("PROPFIND", "/api/alice/tasks", 405),
    "purge": ("PURGE", "/api/alice/tasks/1", 405),
    "debug": ("DEBUG", "/api/alice/tasks", 405),
    "query": ("QUERY", "/api/alice/tasks", 405),
    "connect": ("CONNECT", "/api/alice/tasks", 405),
    "a tunnel instead": ("CONNECT", "localhost:443", 404),
    "an asterisk instead": ("OPTIONS", "*", 404),
    "an unknown one": ("FROBNICATE", "/api/alice/tasks/1", 405),
}
DONE = {
    f"mallory's token: {name} of alice's": sent_by("mallory", path, status, method)
    for name, (method, path, status) in DONE_TO_ALICE.items()
}

# Without a token the response does not depend on what exists.
UNKNOWN_TO_STRANGERS = {
    f"no token: {name}": Attack(lambda s, target=target: request(target), 401, "unauthorized")
    for name, target in {
        "a task that is there": "/api/alice/tasks/1",
        "a task that is not": "/api/alice/tasks/99",
        "a user who is not": "/api/nobody-of-this-name/tasks",
        "a name in Cyrillic": f"/api/{quote(NAMESAKES['Cyrillic a'])}/tasks",
        "a token in the query": "/api/alice/tasks?access_token=c4n4ry",
        "an absolute address": "http://localhost/api/alice/tasks",
        "an address with a password": "http://alice:c4n4ry@localhost/api/alice/tasks",
    }.items()
}

ATTACKS: dict[str, Attack] = {**MISSPELLED, **STRANGERS, **CROOKED, **DONE, **UNKNOWN_TO_STRANGERS}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_path_to_data_of_another_user_is_refused_and_changes_no_data(system: System, attack: Attack) -> None:
    assert_fails(system, attack)


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_unicode_normalization_forms_are_different_users(system: System, form: str) -> None:
    written = "\u212b\ufb01\u00e9-1"  # an Angstrom sign, a ligature, an e with its accent
    other = unicodedata.normalize(form, written)
    assert other != written
    for sub, path in ((written, other), (other, written)):
        assert system.of(sub).status == 200
        refused = system.ask(request(f"/api/{quote(path)}/tasks", bearer=system.token(sub)))
        assert (refused.status, refused.json["code"]) == (403, "forbidden")


@pytest.mark.parametrize("target", ["http://localhost/api/mallory/tasks", "http://alice.example/api/mallory/tasks"])
def test_an_absolute_request_target_is_treated_like_its_path(system: System, target: str) -> None:
    plain, absolute = (system.ask(request(t, bearer=system.token("mallory"))) for t in ("/api/mallory/tasks", target))
    assert absolute.essence == plain.essence


def test_an_existing_and_a_missing_task_of_another_user_get_the_same_bytes(system: System) -> None:
    there, not_there, nobody_s = (
        system.ask(request(path, bearer=system.token("mallory")))
        for path in ("/api/alice/tasks/1", "/api/alice/tasks/99", "/api/nobody-of-this-name/tasks/1")
    )
    assert there.essence == not_there.essence == nobody_s.essence
