"""Signing out takes effect at the API at once, for that session only; the logout token is never lost.

On both databases frontend/src/server/logout-token.test.ts tests each request that ends a session and an API that is down,
in both token modes how a logout token is signed, and tests/auth/test_backchannel.py what the API does with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from playwright.sync_api import expect

from taskapi.auth.sessions import REFRESH_INTERVAL
from tests.e2e.api import claims, count_stored_tasks, send, statuses_of_workers, writers
from tests.e2e.conftest import Arrive, on_one_stack
from tests.e2e.person import Person
from tests.waiting import WAIT_LIMIT, until


def assert_ends(statuses: Callable[[], set[int]]) -> None:
    """Wait until all statuses are 401 for longer than a worker uses its copy of the ended sessions."""
    began = last_accepted = time.monotonic()
    while time.monotonic() - last_accepted < 2 * REFRESH_INTERVAL:
        polled = time.monotonic()
        if statuses() != {401}:
            last_accepted = polled
            assert polled < began + WAIT_LIMIT, "the token is still accepted"
        time.sleep(REFRESH_INTERVAL / 4)


def test_signing_out_ends_a_copied_token_and_no_other_session(alice: Person, arrive: Arrive):
    elsewhere = arrive("Alice", email=alice.email).sign_in()
    alice.add("Buy milk")
    alice.is_up_to_date()
    copied, others = alice.token(), elsewhere.token()
    assert statuses_of_workers(alice.stack, copied) == statuses_of_workers(alice.stack, others) == {200}

    alice.sign_out()

    assert_ends(lambda: statuses_of_workers(alice.stack, copied))
    assert statuses_of_workers(alice.stack, others) == {200}
    elsewhere.page.reload()
    expect(elsewhere.task("Buy milk")).to_be_visible()
    elsewhere.add("Buy bread")


@on_one_stack
def test_sign_out_everywhere_else_ends_the_other_sessions(alice: Person, arrive: Arrive):
    elsewhere = arrive("Alice", email=alice.email).sign_in()
    copied, others = elsewhere.token(), alice.token()

    alice.go("/account")
    expect(alice.page.get_by_text("This device")).to_be_visible()
    alice.page.get_by_role("button", name="Sign out everywhere else").click()

    assert_ends(lambda: statuses_of_workers(alice.stack, copied))
    assert statuses_of_workers(alice.stack, others) == {200}
    # The next request of that page is 401, and it gets no new token.
    elsewhere.sees_sign_in()
    expect(elsewhere.page.get_by_text("Your session has ended. Sign in again.")).to_be_visible()


@on_one_stack
def test_a_new_password_ends_the_other_sessions(alice: Person, arrive: Arrive):
    elsewhere = arrive("Alice", email=alice.email).sign_in()
    copied = elsewhere.token()
    page = alice.go("/account")
    page.get_by_label("Current password").fill(alice.password)
    page.get_by_label("New password").fill("another long password")
    page.get_by_role("button", name="Change password").click()

    expect(page.get_by_text("Your password is changed.")).to_be_visible()  # the page has its new session
    assert_ends(lambda: statuses_of_workers(alice.stack, copied))
    alice.go("/")
    alice.sees_tasks()
    assert statuses_of_workers(alice.stack, alice.token()) == {200}
    elsewhere.sign_in("another long password")


def test_deleting_an_account_ends_its_sessions_and_deletes_the_user(alice: Person, arrive: Arrive):
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
        assert_ends(partial(statuses_of_workers, alice.stack, token))
    page.goto(alice.stack.url + "/sign-in")
    page.get_by_label("Email").fill(alice.email)
    page.get_by_label("Password").fill(alice.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").filter(has_text="password")).to_be_visible()


def test_writes_during_the_deletion_of_an_account_leave_no_tsend(alice: Person, arrive: Arrive):
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
    assert count_stored_tasks(alice.stack, claims(tokens[0])["sub"]) == 0


@on_one_stack
def test_a_sign_out_while_the_api_is_down_takes_effect_once_it_is_up(alice: Person):
    copied = alice.token()
    alice.stack.stop_api()
    try:
        alice.sign_out()
    finally:
        alice.stack.start_api()

    assert_ends(lambda: statuses_of_workers(alice.stack, copied))


@on_one_stack
def test_signing_out_shows_the_sign_in_page_in_other_tabs_too(alice: Person):
    tab = alice.context.new_page()
    tab.goto(alice.stack.url)
    expect(tab.get_by_role("heading", name="Tasks", level=1)).to_be_visible()

    alice.sign_out()

    expect(tab.get_by_role("heading", name="Sign in", level=1)).to_be_visible()


@on_one_stack
def test_a_new_sign_in_does_not_make_tokens_of_an_ended_session_valid(alice: Person):
    copied = alice.token()
    alice.sign_out()
    alice.sign_in()

    assert_ends(lambda: statuses_of_workers(alice.stack, copied))
    assert send(alice.stack, alice.token())[0] == 200


@on_one_stack
def test_a_session_that_ends_during_an_edit_keeps_the_input_until_the_next_sign_in(alice: Person, arrive: Arrive):
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
