"""Every page, light and dark, on a desktop and a phone: no axe violation, no horizontal scrolling; with screenshots."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Arrive, on_one_stack
from tests.e2e.frontend import FRONTEND
from tests.e2e.person import Person

pytestmark = on_one_stack

AXE = FRONTEND / "node_modules/axe-core/axe.min.js"

WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 375, "height": 667}
LOOKS: dict[str, dict[str, Any]] = {
    "wide": {"viewport": WIDE, "color_scheme": "light"},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "has_touch": True},
}
# As a test it would repeat two others: contrast does not depend on the width, nor the layout on colors.
if "SCREENSHOTS" in os.environ:
    LOOKS["phone-dark"] = {**LOOKS["phone"], "color_scheme": "dark"}
in_every_look = pytest.mark.parametrize("look", LOOKS)


def violations(page: Page) -> list[str]:
    """Return the violations of accessibility rules that axe finds on the page in its present state.

    With dark colors only those of rules about colors, of which one is off by default: the elements are the same as with
    light ones.
    """
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text())
    result = page.evaluate(
        """() => {
          const colors = { runOnly: ['cat.color'], rules: { 'color-contrast-enhanced': { enabled: false } } }
          const dark = matchMedia('(prefers-color-scheme: dark)').matches
          return axe.run({ resultTypes: ['violations'], ...(dark ? colors : {}) })
        }"""
    )
    return [f"{rule['id']} ({rule['help']}): {node['html']}" for rule in result["violations"] for node in rule["nodes"]]


def assert_accessible(page: Page) -> None:
    """Assert that axe finds no violation and that the page does not scroll sideways."""
    assert violations(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"), "it scrolls sideways"


PUBLIC = ("/sign-in", "/sign-in?expired=1", "/sign-up", "/forgot-password", "/reset-password?token=x", "/nowhere")


@in_every_look
def test_public_pages_are_accessible_and_do_not_scroll_sideways(arrive: Arrive, look: str):
    visitor = arrive("Nobody", **LOOKS[look])
    for path in PUBLIC:
        page = visitor.go(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert_accessible(page)


@in_every_look
def test_the_task_page_is_accessible_and_does_not_scroll_sideways_in_each_of_its_states(
    arrive: Arrive, look: str, screenshots: Path
):
    person = arrive("Alice", **LOOKS[look]).sign_up()
    page = person.page
    expect(page.get_by_text("Nothing to do yet")).to_be_visible()
    assert_accessible(page)

    fill(person)
    person.reload()
    expect(person.task("Renew the passport")).to_be_visible()
    assert_accessible(page)
    page.screenshot(path=screenshots / f"tasks-{look}.png")

    page.get_by_role("button", name="More about “Renew the passport”").click()
    expect(page.get_by_label("Description")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Delete “Answer Ada's letter”").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("searchbox", name="Search tasks").fill("nothing like this")
    expect(page.get_by_text("No task matches")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Account menu").click()
    expect(page.get_by_role("menuitem", name="Sign out")).to_be_visible()
    assert_accessible(page)


@in_every_look
def test_the_account_page_is_accessible_and_does_not_scroll_sideways(arrive: Arrive, look: str):
    page = arrive("Alice", **LOOKS[look]).sign_up().go("/account")
    expect(page.get_by_text("This device")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Delete account").click()
    expect(page.get_by_role("alertdialog")).to_be_visible()
    assert_accessible(page)


def fill(person: Person) -> None:
    """Create a typical list of tasks."""
    person.page.evaluate(
        """async ({ api, tasks }) => {
          const { token } = await (await fetch('/api/auth/token')).json()
          const { sub } = JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')))
          for (const task of tasks) {
            const made = await fetch(`${api}/api/${sub}/tasks`, {
              method: 'POST',
              headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
              body: JSON.stringify(task),
            })
            if (!made.ok) throw new Error(await made.text())
          }
        }""",
        {"api": person.stack.api_url, "tasks": EXAMPLES},
    )


EXAMPLES: list[dict[str, Any]] = [
    {"title": "Book the train to Lisbon", "completed": True, "tags": ["travel"]},
    {"title": "Answer Ada's letter"},
    {"title": "Water the plants", "due_date": "2031-05-02", "recurrence": "FREQ=WEEKLY", "tags": ["home"]},
    {"title": "Pay the rent", "priority": "medium", "due_date": "2031-06-01", "recurrence": "FREQ=MONTHLY"},
    {
        "title": "Read the chapter on row-level security and write down what surprised you",
        "tags": ["study", "postgres"],
    },
    {"title": "Renew the passport", "priority": "high", "due_date": "2024-02-29", "tags": ["travel", "papers"]},
]
