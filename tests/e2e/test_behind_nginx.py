"""Frontend and API behind one nginx, which compresses responses, with a path prefix and PgBouncer behind the API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Request, expect

from tests.e2e.api import send
from tests.e2e.conftest import Arrive, on_one_stack
from tests.e2e.person import Person
from tests.e2e.stack import Stack, run
from tests.nginx import PREFIX, require_nginx
from tests.waiting import until


@pytest.fixture
def proxied(built: None, postgresql_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    require_nginx()
    folder = tmp_path_factory.mktemp("behind-nginx")
    with run("key-pair", "postgresql", folder, postgresql_server, behind_nginx=True) as started:
        yield started


CHANGE_WITH_ETAG = """async ({ api }) => {
  const { token } = await (await fetch('/api/auth/token')).json()
  const { sub } = JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')))
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const [task] = await (await fetch(`${api}/api/${sub}/tasks`, { headers })).json()
  const url = `${api}/api/${sub}/tasks/${task.id}`
  const etag = (await fetch(url, { headers })).headers.get('etag')
  const put = (title) =>
    fetch(url, { method: 'PUT', headers: { ...headers, 'if-match': etag }, body: JSON.stringify({ title }) })
  return [etag, (await put('Buy oat milk')).status, (await put('Buy soy milk')).status]
}"""
"""Changes the first task twice with the ETag that the browser got for it."""


@on_one_stack
def test_tasks_and_sign_out_work_with_a_prefix_and_compressed_responses(arrive: Arrive, proxied: Stack):
    alice: Person = arrive("Alice", on=proxied)
    api_requests: list[Request] = []
    alice.page.on("request", lambda request: api_requests.append(request) if "/tasks" in request.url else None)
    alice.sign_up()
    alice.add("Buy milk")
    alice.complete("Buy milk")
    alice.is_up_to_date()
    assert api_requests
    assert all(request.url.startswith(f"{proxied.url}{PREFIX}/api/") for request in api_requests)

    etag, first, second = alice.page.evaluate(CHANGE_WITH_ETAG, {"api": proxied.api_url})
    assert etag.startswith('W/"')
    assert (first, second) == (200, 412)
    expect(alice.task("Buy oat milk")).to_be_visible()  # the page polls with a weak ETag
    alice.reload()
    expect(alice.task("Buy oat milk")).to_be_visible()

    token = alice.token()
    assert send(proxied, token)[0] == 200
    alice.sign_out()
    until(lambda: send(proxied, token)[0] == 401, otherwise="the token is still accepted")
