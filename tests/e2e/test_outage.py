"""The API goes away and comes back; nothing that was typed is lost, and nothing is done twice."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.person import Person

AWAY = "The task service cannot be reached."
RECOVERING = 30_000


def test_an_api_that_restarts_in_mid_edit_loses_nothing(alice: Person):
    alice.add("Buy mlik")
    alice.add("Call the plumber")
    page = alice.page
    page.get_by_role("button", name="Edit “Buy mlik”").click()
    box = page.get_by_role("textbox", name="Title")
    box.fill("Buy milk")

    alice.stack.stop_api()
    try:
        box.press("Enter")
        alice.add("Added in the dark")
        alice.checkbox("Call the plumber").click()
        expect(page.get_by_text(AWAY)).to_be_visible()
        expect(alice.task("Buy milk")).to_be_visible()
    finally:
        alice.stack.start_api()

    expect(page.get_by_text(AWAY)).to_have_count(0, timeout=RECOVERING)
    alice.reload()
    expect(alice.task("Added in the dark")).to_be_visible()
    tasks = {task["title"]: task["completed"] for task in alice.saved()}
    assert tasks == {"Buy milk": False, "Call the plumber": True, "Added in the dark": False}


def test_a_browser_that_is_offline_says_so_and_goes_on_when_it_is_back(alice: Person):
    alice.add("Before")
    alice.context.set_offline(True)
    alice.add("In the tunnel")
    expect(alice.page.get_by_text("You are offline.")).to_be_visible()

    with alice.page.expect_response(lambda response: response.request.method == "POST", timeout=RECOVERING):
        alice.context.set_offline(False)

    expect(alice.page.get_by_text("You are offline.")).to_have_count(0)
    alice.reload()
    expect(alice.task("In the tunnel")).to_be_visible()


def test_a_page_that_is_opened_while_the_api_is_away_comes_to_life(alice: Person):
    alice.add("Buy milk")
    alice.stack.stop_api()
    try:
        alice.page.reload()
        expect(alice.page.get_by_text(AWAY)).to_be_visible()
    finally:
        alice.stack.start_api()

    expect(alice.task("Buy milk")).to_be_visible(timeout=RECOVERING)
