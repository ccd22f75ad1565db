"""A user with as many tasks as the default quota allows exports, erases and imports all of them in the browser."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.person import Person

TASKS = 10_000

ROUND_TRIP = """async ({ api, count }) => {
  const { token } = await (await fetch('/api/auth/token')).json()
  const { sub } = JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')))
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const call = async (method, path, body) => {
    const response = await fetch(`${api}/api/${sub}${path}`, { method, headers, body })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text
  }
  const compared = (text) => JSON.parse(text).tasks.map(({ version, updated_at, ...rest }) => JSON.stringify(rest))

  const description = 'what has to be done, by whom and until when, as people write it down. '.repeat(5)
  const tasks = Array.from({ length: count }, (_, number) => ({ title: `Task ${number}`, description }))
  await call('POST', '/import', JSON.stringify({ tasks }))
  const before = await call('GET', '/export')
  await call('DELETE', '')
  const left = JSON.parse(await call('GET', '/export')).tasks.length
  const counts = JSON.parse(await call('POST', '/import', before))
  const [old, restored] = [before, await call('GET', '/export')].map(compared)
  const equal = old.filter((task, index) => task === restored[index]).length
  return { bytes: before.length, left, counts, equal }
}"""
"""Sends the requests from a script of the page, so that the rules of the browser for another origin apply (CORS)."""


def test_a_full_quota_is_exported_erased_and_imported_again_without_loss(alice: Person):
    result = alice.page.evaluate(ROUND_TRIP, {"api": alice.stack.api_url, "count": TASKS})

    assert result["bytes"] > 5_000_000
    assert (result["left"], result["equal"]) == (0, TASKS)
    assert result["counts"] == {"created": TASKS, "updated": 0, "unchanged": 0, "renumbered": [], "dropped": []}
    alice.reload()
    expect(alice.page.get_by_text("10,000 open")).to_be_visible()
