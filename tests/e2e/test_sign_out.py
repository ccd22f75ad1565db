"""Signing out counts at the API at once, for that session and no other; the notice is never lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from playwright.sync_api import expect

from taskapi.auth.sessions import REFRESH_INTERVAL
from tests.e2e.api import ask, claims, everywhere, stored_tasks, writers
from tests.e2e.conftest import Arrive
from tests.e2e.person import Person
from tests.waiting import PATIENCE, until


def sees_refused(asked: Callable[[], set[int]]) -> None:
    """Every answer is 401 soon, and stays so, for longer than a worker relies on what it knows."""
    began = last_let_in = time.monotonic()
    while time.monotonic() - last_let_in < 2 * REFRESH_INTERVAL:
        asking = time.monotonic()
        if asked() != {401}:
            last_let_in = asking
            assert asking < began + PATIENCE, "the token still works"


def test_a_copied_token_dies_with_its_session_and_the_other_browser_goes_on(alice: Person, arrive: Arrive):
    elsewhere = arrive("Alice", email=alice.email).sign_in()
    alice.add("Buy milk")
    copied, others = alice.token(), elsewhere.token()
    assert everywhere(alice.stack, copied) == everywhere(alice.stack, others) == {200}

    alice.sign_out()

    sees_refused(lambda: everywhere(alice.stack, copied))
    assert everywhere(alice.stack, others) == {200}
    elsewhere.page.reload()
    expect(elsewhere.task("Buy milk")).to_be_visible()
    elsewhere.add("Buy bread")


def test_a_session_is_signed_out_from_the_account_page_of_another(alice: Person, arrive: Arrive):
    elsewhere = arrive("Alice", email=alice.email).sign_in()
    copied, others = elsewhere.token(), alice.token()

    alice.go("/account")
    expect(alice.page.get_by_text("This device")).to_be_visible()
    alice.page.get_by_role("button", name="Sign out everywhere else").click()

    sees_refused(lambda: everywhere(alice.stack, copied))
    assert everywhere(alice.stack, others) == {200}
    # The page there notices by itself: its next question to the API is refused, and no new token is issued.
    elsewhere.sees_sign_in()
    expect(elsewhere.page.get_by_text("Your session has ended. Sign in again.")).to_be_visible()


def test_a_new_password_signs_the_other_browsers_out(alice: Person, arrive: Arrive):
    elsewhere = arrive("Alice", email=alice.email).sign_in()
    copied = elsewhere.token()
    page = alice.go("/account")
    page.get_by_label("Current password").fill(alice.password)
    page.get_by_label("New password").fill("another long password")
    page.get_by_role("button", name="Change password").click()

    sees_refused(lambda: everywhere(alice.stack, copied))
    alice.go("/")
    alice.sees_tasks()
    assert everywhere(alice.stack, alice.token()) == {200}
    elsewhere.sign_in("another long password")


def test_a_deleted_account_leaves_neither_session_nor_task(alice: Person, arrive: Arrive):
    alice.add("Alice's secret")
    elsewhere = arrive("Alice", email=alice.email).sign_in()
    tokens = [alice.token(), elsewhere.token()]
    page = alice.go("/account")

    page.get_by_role("button", name="Delete account").click()
    dialog = page.get_by_role("alertdialog")
    dialog.get_by_label("Password").fill(alice.password)
    dialog.get_by_role("button", name="Delete everything").click()

    expect(page.get_by_role("heading", level=1, name="Create your account")).to_be_visible()
    for token in tokens:
        sees_refused(partial(everywhere, alice.stack, token))
    page.goto(alice.stack.url + "/sign-in")
    page.get_by_label("Email").fill(alice.email)
    page.get_by_label("Password").fill(alice.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").filter(has_text="password")).to_be_visible()


def test_deleting_an_account_leaves_nothing_of_writers_that_go_on_during_it(alice: Person, arrive: Arrive):
    elsewhere = arrive("Alice", email=alice.email).sign_in()
    tokens = [alice.token(), elsewhere.token()]
    page = alice.go("/account")
    page.get_by_role("button", name="Delete account").click()
    dialog = page.get_by_role("alertdialog")
    dialog.get_by_label("Password").fill(alice.password)
    with writers(alice.stack, tokens) as statuses:
        until(lambda: statuses.count(201) > 10)
        dialog.get_by_role("button", name="Delete everything").click()
        expect(page.get_by_role("heading", level=1, name="Create your account")).to_be_visible()

    assert set(statuses) == {201, 401}
    assert statuses[-1] == 401
    assert stored_tasks(alice.stack, claims(tokens[0])["sub"]) == 0


def test_a_sign_out_while_the_api_is_away_counts_when_it_is_back(alice: Person):
    copied = alice.token()
    alice.stack.stop_api()
    try:
        alice.sign_out()
    finally:
        alice.stack.start_api()

    sees_refused(lambda: everywhere(alice.stack, copied))


def test_signing_out_empties_the_page_of_the_other_tab_as_well(alice: Person):
    tab = alice.context.new_page()
    tab.goto(alice.stack.url)
    expect(tab.get_by_role("heading", name="Tasks", level=1)).to_be_visible()

    alice.sign_out()

    expect(tab.get_by_role("heading", name="Sign in", level=1)).to_be_visible()


def test_a_session_that_has_ended_does_not_revive_with_a_new_sign_in(alice: Person):
    copied = alice.token()
    alice.sign_out()
    alice.sign_in()

    sees_refused(lambda: everywhere(alice.stack, copied))
    assert ask(alice.stack, alice.token())[0] == 200


def test_a_session_that_ends_in_mid_edit_keeps_what_was_typed_and_goes_on_after_a_new_sign_in(
    alice: Person, arrive: Arrive
):
    elsewhere = arrive("Alice", email=alice.email).sign_in()
    alice.add("Buy mlik")
    alice.page.get_by_role("button", name="Edit “Buy mlik”").click()
    alice.page.get_by_role("textbox", name="Title").fill("Buy milk")
    elsewhere.go("/account").get_by_role("button", name="Sign out everywhere else").click()

    expect(alice.page.get_by_text("Your session has ended.")).to_be_visible()
    alice.page.get_by_role("textbox", name="Title").press("Enter")
    with alice.context.expect_page() as opened:
        alice.page.get_by_role("link", name="Sign in").click()
    tab = opened.value
    tab.get_by_label("Email").fill(alice.email)
    tab.get_by_label("Password").fill(alice.password)
    tab.get_by_role("button", name="Sign in").click()

    expect(alice.page.get_by_text("Your session has ended.")).to_have_count(0)
    alice.is_up_to_date()
    assert [task["title"] for task in alice.saved()] == ["Buy milk"]
