"""The service behind a real nginx, with a path prefix, compression and each way in which nginx passes requests on."""

from __future__ import annotations

import http.client
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import delete_all_rows, token
from tests.gunicorn_server import CLIENT_TIMEOUT, ROOT, launch, serve
from tests.nginx import (
    FORWARDED_PREFIX,
    KEEP_ALIVE_UNBUFFERED,
    OWN_DEFAULTS,
    PREFIX,
    Proxy,
    Site,
    nginx,
    require_nginx,
)
from tests.server.test_worker import FAILING
from tests.test_user_ids import USER_IDS

TASKS = f"{PREFIX}/api/alice/tasks"

SITES = ("stripped", "not-stripped", "stripped-unbuffered", "not-stripped-unbuffered")


@pytest.fixture(scope="module")
def sites(sqlite_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Proxy]]:
    """nginx in front of two services, of which one has the prefix in its settings, and the other in each request."""
    require_nginx()
    common = {"WEB_CONCURRENCY": "1", "RATE_LIMIT": "off"}
    with (
        serve(sqlite_database_url, URL_PREFIX=PREFIX, **common) as configured,
        serve(sqlite_database_url, TRUSTED_PROXIES="1", **common) as forwarded,
        nginx(
            tmp_path_factory.mktemp("nginx"),
            [
                Site(forwarded.port, True, FORWARDED_PREFIX),
                Site(configured.port, False),
                Site(configured.port, True, KEEP_ALIVE_UNBUFFERED),
                Site(forwarded.port, False, KEEP_ALIVE_UNBUFFERED + FORWARDED_PREFIX),
            ],
        ) as proxies,
    ):
        yield dict(zip(SITES, proxies, strict=True))
    delete_all_rows(sqlite_database_url)


@pytest.fixture(params=SITES)
def proxy(request: pytest.FixtureRequest, sites: dict[str, Proxy], sqlite_database_url: str) -> Iterator[Proxy]:
    yield sites[request.param]
    delete_all_rows(sqlite_database_url)


def test_a_task_can_be_created_read_changed_and_deleted_with_the_etags_that_arrive(proxy: Proxy):
    created = proxy.send("POST", TASKS, {"title": "Buy milk", "description": "long enough to be compressed " * 9})
    assert created.status == 201
    assert created.headers["ETag"] == '"1"'
    url = created.headers["Location"]
    assert url == f"{TASKS}/1"

    read = proxy.get(url)
    assert (read.status, read.json) == (200, created.json)
    assert read.headers["Content-Encoding"] == "gzip"
    assert read.headers["ETag"] == 'W/"1"', "nginx weakens the ETag of a response that it compresses"
    assert proxy.get(url, headers={"If-None-Match": read.headers["ETag"]}).status == 304

    changed = proxy.send("PUT", url, {"title": "Buy oat milk"}, headers={"If-Match": read.headers["ETag"]})
    assert (changed.status, changed.json["title"]) == (200, "Buy oat milk")
    stale = proxy.send("PUT", url, {"title": "Buy soy milk"}, headers={"If-Match": read.headers["ETag"]})
    assert (stale.status, stale.json["current"]["version"]) == (412, 2)
    assert stale.json["type"] == f"{PREFIX}/problems/precondition-failed"

    completed = proxy.send("PATCH", f"{url}/complete", headers={"If-Match": changed.headers["ETag"]})
    assert (completed.status, completed.json["completed"]) == (200, True)
    deleted = proxy.send("DELETE", url, headers={"If-Match": completed.headers["ETag"]})
    assert (deleted.status, deleted.body) == (204, b"")
    assert proxy.get(url).status == 404
    assert proxy.send("POST", f"{url}/restore").status == 200


def test_all_pages_of_a_list_can_be_followed_and_an_unchanged_one_is_304(proxy: Proxy):
    for number in range(5):
        proxy.send("POST", TASKS, {"title": f"Task {number}"})
    following, titles = f"{TASKS}?limit=2", []
    while following:
        page = proxy.get(following)
        titles += [task["title"] for task in page.json]
        link = re.fullmatch(r'<([^>]+)>; rel="next"', page.headers["Link"] or "")
        following = link[1] if link else ""
        assert not following or following.startswith(TASKS)
    assert titles == [f"Task {number}" for number in (4, 3, 2, 1, 0)]

    whole = proxy.get(TASKS)
    assert whole.headers["ETag"].startswith("W/")
    unchanged = proxy.get(TASKS, headers={"If-None-Match": f'"0", {whole.headers["ETag"]}'})
    assert (unchanged.status, unchanged.body) == (304, b"")


def test_an_export_of_several_megabytes_is_taken_back_unchanged(proxy: Proxy):
    tasks = [{"title": f"Task {number}", "description": secrets.token_urlsafe(7_000)} for number in range(500)]
    imported = proxy.send("POST", f"{PREFIX}/api/alice/import", {"tasks": tasks})
    assert (imported.status, imported.json["created"]) == (200, 500)

    exported = proxy.get(f"{PREFIX}/api/alice/export")
    assert len(exported.body) > 4_000_000
    assert {task["description"] for task in exported.json["tasks"]} == {task["description"] for task in tasks}
    again = proxy.send("POST", f"{PREFIX}/api/alice/import", exported.json)
    assert (again.status, again.json["unchanged"]) == (200, 500)

    for name, kind in (("csv", "text/csv"), ("ics", "text/calendar")):
        other = proxy.get(f"{PREFIX}/api/alice/export?format={name}")
        assert (other.status, other.headers.get_content_type()) == (200, kind)
        assert len(other.body) > 4_000_000


def test_errors_arrive_as_problem_documents_whose_type_has_the_prefix(proxy: Proxy):
    too_large = proxy.send("POST", TASKS, {"title": "x", "description": "x" * 70_000})
    malformed = proxy.send("POST", TASKS, b"{", headers={"Content-Type": "application/json"})
    for response, status, code in (
        (proxy.get(TASKS, headers={"Authorization": ""}), 401, "unauthorized"),
        (proxy.get(TASKS, user="mallory"), 403, "forbidden"),
        (proxy.get(f"{TASKS}/99"), 404, "not-found"),
        (proxy.send("PUT", TASKS, {}), 405, "method-not-allowed"),
        (too_large, 413, "too-large"),
        (malformed, 400, "bad-request"),
        (proxy.send("POST", TASKS, {"title": ""}), 422, "invalid"),
    ):
        assert (response.status, response.json["type"]) == (status, f"{PREFIX}/problems/{code}")
        assert response.headers["Content-Type"] == "application/problem+json"
        page = proxy.get(response.json["type"])
        assert (page.status, page.headers.get_content_type()) == (200, "text/html")


def test_head_has_the_headers_of_get_and_no_body(proxy: Proxy):
    url = proxy.send("POST", TASKS, {"title": "x"}).headers["Location"]
    plain = {"Accept-Encoding": "identity"}
    got, head = proxy.get(url, headers=plain), proxy.send("HEAD", url, headers=plain)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(got.body))
    assert head.headers["ETag"] == got.headers["ETag"] == '"1"', "not compressed, so not weakened"


def test_a_connection_serves_requests_until_the_client_closes_it(proxy: Proxy):
    with closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=CLIENT_TIMEOUT)) as connection:
        for headers in ({}, {}, {"Connection": "close"}):
            connection.request("GET", TASKS, headers={"Authorization": f"Bearer {token('alice')}", **headers})
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"[]")
            assert response.will_close == bool(headers)


def test_the_pages_and_all_that_they_load_are_below_the_prefix(proxy: Proxy):
    page = proxy.get(f"{PREFIX}/docs").body.decode()
    urls = set(re.findall(r'(?:href|src|data-url)="(/[^"]+)"', page))
    assert len(urls) == 4
    for url in urls:
        assert url.startswith(f"{PREFIX}/")
        assert proxy.get(url).status == 200, url
    document = proxy.get(f"{PREFIX}/openapi.json").json
    assert document["servers"] == [{"url": PREFIX}]
    assert proxy.get(f"{PREFIX}/healthz").json == proxy.get(f"{PREFIX}/readyz").json == {"status": "ok"}


def test_a_logout_token_reaches_the_service(proxy: Proxy):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    refused = proxy.send("POST", f"{PREFIX}/backchannel-logout", b"logout_token=x", headers=form)
    assert (refused.status, refused.json["type"]) == (400, f"{PREFIX}/problems/bad-notice")


def test_every_user_id_works_in_the_urls_that_arrive(proxy: Proxy):
    for name, user_id in USER_IDS.items():
        tasks = f"{PREFIX}/api/{quote(user_id, safe='')}/tasks"
        for title in ("One", "Two"):
            created = proxy.send("POST", tasks, {"title": title}, user=user_id)
            assert (created.status, created.json["user_id"]) == (201, user_id), name
        assert proxy.get(created.headers["Location"], user=user_id).json == created.json, name
        link = re.fullmatch(r'<([^>]+)>; rel="next"', proxy.get(f"{tasks}?limit=1", user=user_id).headers["Link"])
        assert link, name
        assert [task["title"] for task in proxy.get(link[1], user=user_id).json] == ["One"], name


# A response that ends early


def test_a_response_that_ends_early_never_looks_complete(sqlite_database_url: str, tmp_path: Path):
    """In HTTP/1.0, nginx's default, the end of the connection ends a response: the service resets it instead."""
    require_nginx()
    (tmp_path / "failing.py").write_text(FAILING)
    python_path = os.pathsep.join((str(ROOT), str(tmp_path)))
    with launch(sqlite_database_url, "failing:app", WEB_CONCURRENCY="1", PYTHONPATH=python_path) as (_, server):
        sites = [Site(server.port, True, directives) for directives in (OWN_DEFAULTS, KEEP_ALIVE_UNBUFFERED)]
        with nginx(tmp_path, sites) as proxies:
            for proxy in proxies:
                complete = proxy.get(f"{PREFIX}/fails/not")
                assert (complete.status, complete.body) == (200, b"half of it, and the rest")
                for how in ("exception", "OSError"):
                    assert is_incomplete(proxy, f"{PREFIX}/fails/{how}"), how


def is_incomplete(proxy: Proxy, path: str) -> bool:
    """Return whether the client notices that a response is incomplete: by its status, its length or its last chunk."""
    try:
        return proxy.get(path).status == 502
    except (http.client.HTTPException, ConnectionError):
        return True


# Rate limit


@contextmanager
def limited(database_url: str, folder: Path) -> Iterator[Proxy]:
    """A service with a small limit behind nginx, and behind a proxy that the test plays, which also sends the port."""
    require_nginx()
    settings = {"WEB_CONCURRENCY": "1", "RATE_LIMIT": "3/hour", "TRUSTED_PROXIES": "2", "URL_PREFIX": PREFIX}
    with serve(database_url, **settings) as server, nginx(folder, [Site(server.port, True)]) as (proxy,):
        yield proxy
    delete_all_rows(database_url)


def test_the_rate_limit_counts_users_and_addresses_with_ports_behind_nginx(sqlite_database_url: str, tmp_path: Path):
    with limited(sqlite_database_url, tmp_path) as proxy:

        def statuses(address: str, users: int, requests: int) -> list[int]:
            return [
                proxy.get(
                    f"{PREFIX}/api/{quote(address)}-{user}/tasks",
                    user=f"{address}-{user}",
                    headers={"X-Forwarded-For": address.replace("PORT", str(10_000 + user))},
                ).status
                for user in range(users)
                for _ in range(requests)
            ]

        assert statuses("8.8.8.8:PORT", 1, 4) == [200] * 3 + [429], "a user"
        assert statuses("8.8.4.4:PORT", 31, 1) == [200] * 30 + [429], "an IPv4 address"
        assert statuses("[2606:4700::1]:PORT", 31, 1) == [200] * 30 + [429], "an IPv6 address"
        refused = proxy.get(f"{PREFIX}/api/8.8.8.8%3APORT-0/tasks", user="8.8.8.8:PORT-0")
        assert (refused.status, refused.json["type"]) == (429, f"{PREFIX}/problems/too-many-requests")
        assert int(refused.headers["Retry-After"]) > 0
