"""While the API is down no input is lost, and afterwards no change is made twice."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.conftest import on_one_stack
from tests.e2e.person import Person

UNREACHABLE = "The task service cannot be reached."
RECOVERY_TIMEOUT = 60_000
"""Milliseconds; a limit of the tests."""

pytestmark = on_one_stack


def test_changes_made_while_the_api_restarts_are_saved_afterwards(alice: Person):
    alice.add("Buy mlik")
    alice.add("Call the plumber")
    page = alice.page
    page.get_by_role("button", name="Edit “Buy mlik”").click()
    box = page.get_by_role("textbox", name="Title")
    box.fill("Buy milk")

    alice.stack.stop_api()
    try:
        box.press("Enter")
        alice.add("Added while the API is down")
        alice.checkbox("Call the plumber").click()
        expect(page.get_by_text(UNREACHABLE)).to_be_visible()
        expect(alice.task("Buy milk")).to_be_visible()
    finally:
        alice.stack.start_api()

    expect(page.get_by_text(UNREACHABLE)).to_have_count(0, timeout=RECOVERY_TIMEOUT)
    alice.reload()
    expect(alice.task("Added while the API is down")).to_be_visible()
    tasks = {task["title"]: task["completed"] for task in alice.saved()}
    assert tasks == {"Buy milk": False, "Call the plumber": True, "Added while the API is down": False}


def test_offline_the_page_says_so_and_sends_the_changes_when_it_is_online_again(alice: Person):
    alice.add("Before")
    alice.context.set_offline(True)
    alice.add("Added offline")
    expect(alice.page.get_by_text("You are offline.")).to_be_visible()

    with alice.page.expect_response(lambda response: response.request.method == "POST", timeout=RECOVERY_TIMEOUT):
        alice.context.set_offline(False)

    expect(alice.page.get_by_text("You are offline.")).to_have_count(0)
    alice.reload()
    expect(alice.task("Added offline")).to_be_visible()


def test_a_page_opened_while_the_api_is_down_shows_the_tasks_once_it_is_up(alice: Person):
    alice.add("Buy milk")
    alice.is_up_to_date()
    alice.stack.stop_api()
    try:
        alice.page.reload()
        expect(alice.page.get_by_text(UNREACHABLE)).to_be_visible()
    finally:
        alice.stack.start_api()

    expect(alice.task("Buy milk")).to_be_visible(timeout=RECOVERY_TIMEOUT)
