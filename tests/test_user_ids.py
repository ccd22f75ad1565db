"""Every user id that a token may have works in every URL; the other ids are refused with a reason."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from tests.conftest import Person, token

USER_IDS = {
    "better-auth": "R5Qq5bzPFQFEQiIdTLYRPUulxUnXc1KH",
    "email": "me+tasks@x.example",
    "auth0": "auth0|5f7c8ec7c33c6c004bbafe82",
    "windows": "DOMAIN\\user",
    "space": "a b",
    "spaces-around": " a ",
    "only-a-space": " ",
    "dots-in-front": "...",
    "dot-in-front": ".a",
    "dots-within": "a..b",
    "percent": "%",
    "percent-at-the-end": "100%",
    "encoded-slash": "a%2Fb",
    "encoded-dots": "%2e%2e",
    "query": "a?b=c",
    "fragment": "a#b",
    "plus": "a+b",
    "separators": "a&b=c;d,e:f!$'()*~",
    "quotes": "'\"`",
    "brackets": "<a>[b]{c}^",
    "backslash": "\\",
    "accent": "\u00e9",
    "combining-accent": "e\u0301",
    "japanese": "\u65e5\u672c\u8a9e",
    "emoji": "\U0001f600",
    "right-to-left": "\u202eabc",
    "line-separator": "a\u2028b",
    "no-break-space": "\u00a0",
    "longest": "x" * 255,
    "longest-when-encoded": "\U0001f600" * 255,
    "word-of-a-path": "tasks",
    "other-word-of-a-path": "api",
}

REFUSED = {
    "dot": ".",
    "two-dots": "..",
    "slash": "a/b",
    "only-a-slash": "/",
    "parent": "../b",
    "slash-at-the-end": "a/",
}


def headers(user_id: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(user_id)}"}


@pytest.mark.parametrize("user_id", USER_IDS.values(), ids=USER_IDS)
def test_the_url_of_a_task_and_of_the_next_page_can_be_followed(client: FlaskClient, user_id: str):
    auth, base = headers(user_id), f"/api/{quote(user_id, safe='')}"
    for title in ("One", "Two"):
        created = client.post(f"{base}/tasks", json={"title": title}, headers=auth)
        assert (created.status_code, created.json["user_id"]) == (201, user_id)
    url = created.headers["Location"]
    assert re.fullmatch(r"/api/[^/?#]+/tasks/2", url)
    assert client.get(url, headers=auth).json == created.json

    link = re.fullmatch(r'<(.+)>; rel="next"', client.get(f"{base}/tasks?limit=1", headers=auth).headers["Link"])
    assert link
    assert [task["title"] for task in client.get(link[1], headers=auth).json] == ["One"]
    start = re.fullmatch(
        r'<(.+)>; rel="start"', client.get(f"{base}/changes?since=0123abcd.old", headers=auth).headers["Link"]
    )
    assert start
    assert len(client.get(start[1], headers=auth).json["items"]) == 2

    assert client.patch(f"{url}/complete", headers=auth).json["completed"] is True
    assert client.get(f"{base}/export", headers=auth).json["tasks"][0]["user_id"] == user_id
    assert client.delete(base, headers=auth).status_code == 204


@pytest.mark.parametrize("user_id", REFUSED.values(), ids=REFUSED)
def test_an_id_that_no_url_path_can_hold_is_refused_with_the_reason(client: FlaskClient, user_id: str):
    response = client.get("/api/alice/tasks", headers=headers(user_id))
    reason = "sub of the token cannot be part of a URL: it contains a slash, or is one or two dots"
    assert response.status_code == 401
    assert response.json["detail"] == f"Sign in again: {reason}."
    challenge = response.headers["WWW-Authenticate"]
    assert challenge == f'Bearer realm="taskapi", error="invalid_token", error_description="{reason}"'


@pytest.mark.parametrize("path", ["/api/a/b/tasks", "/api//tasks/1", "/tasks", "/api/alice/nothing"])
def test_the_path_of_such_an_id_which_does_not_exist_has_the_reason_too(client: FlaskClient, path: str):
    assert client.get(path, headers=headers("a/b")).json["detail"].startswith("Sign in again: sub of the token cannot")
    for other in (headers("a"), {}, {"Authorization": "Basic YTpi"}):
        assert client.get(path, headers=other).status_code == 404


def test_similar_ids_are_different_users(client: FlaskClient):
    for name, user_id in USER_IDS.items():
        person = Person(client, quote(user_id, safe=""), token(user_id))
        person.add(name)
        assert person.titles() == [name]
