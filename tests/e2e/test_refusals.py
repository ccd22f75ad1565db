"""When a request is refused, the page shows the reason, keeps the input and allows another attempt."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from tests.e2e.conftest import Arrive, on_one_stack
from tests.e2e.person import Person

pytestmark = on_one_stack


def test_a_wrong_password_shows_an_error_and_keeps_the_email(alice: Person, arrive: Arrive):
    visitor = arrive("Alice")
    page = visitor.go("/sign-in")
    page.get_by_label("Email").fill(alice.email)
    page.get_by_label("Password").fill("not the password")

    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("alert").filter(has_text="password")).to_be_visible()
    expect(page.get_by_label("Email")).to_have_value(alice.email)
    page.get_by_label("Password").fill(alice.password)
    page.get_by_role("button", name="Sign in").click()
    visitor.sees_tasks()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("Email", None, "already"), ("Email", "nobody", "email"), ("Password", "short", "8 characters")],
    ids=("duplicate e-mail", "no e-mail", "weak password"),
)
def test_a_refused_sign_up_shows_the_reason_beside_the_field(
    alice: Person, arrive: Arrive, field: str, value: str | None, words: str
):
    visitor = arrive("Bob")
    page = visitor.go("/sign-up")
    typed = {"Name": "Bob", "Email": visitor.email, "Password": visitor.password, field: value or alice.email}
    for label, text in typed.items():
        page.get_by_label(label).fill(text)

    page.get_by_role("button", name="Sign up").click()

    box = page.get_by_label(field)
    expect(box).to_have_attribute("aria-invalid", "true")
    expect(box).to_have_accessible_description(containing(words))
    for label, text in typed.items():
        expect(page.get_by_label(label)).to_have_value(text)
    page.get_by_label(field).fill(visitor.email if field == "Email" else visitor.password)
    page.get_by_role("button", name="Sign up").click()
    visitor.sees_tasks()


def containing(words: str) -> re.Pattern[str]:
    return re.compile(re.escape(words), re.IGNORECASE)


def test_a_title_that_is_too_long_shows_the_limit_beside_the_field_and_is_kept(alice: Person):
    title = "x" * 201

    alice.add_box.fill(title)
    alice.add_box.press("Enter")

    expect(alice.add_box).to_have_attribute("aria-invalid", "true")
    expect(alice.add_box).to_have_accessible_description(containing("200"))
    expect(alice.add_box).to_have_value(title)
    alice.add_box.fill("x" * 200)
    alice.add_box.press("Enter")
    expect(alice.task("x" * 200)).to_be_visible()


def problem(status: int, code: str, detail: str, **headers: str) -> Callable[[Route], None]:
    """Return a route handler that responds with a problem document, like the API."""
    body = {"type": f"/problems/{code}", "title": code, "status": status, "detail": detail, "code": code}
    allowed = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}

    def fulfill(route: Route) -> None:
        if route.request.method == "OPTIONS":
            route.continue_()
            return
        route.fulfill(
            status=status,
            body=json.dumps({**body, "request_id": "r-1"}),
            headers={"Content-Type": "application/problem+json", **allowed, **headers},
        )

    return fulfill


PERMANENT = {
    "403": (403, "forbidden", "another account"),
    "404": (404, "not-found", "not there any more"),
    "409": (409, "quota-exceeded", "as many tasks"),
    "428": (428, "precondition-required", "try again"),
}


@pytest.mark.parametrize(("status", "code", "words"), PERMANENT.values(), ids=PERMANENT)
def test_a_permanent_error_is_shown_the_input_is_kept_and_a_retry_succeeds(
    alice: Person, status: int, code: str, words: str
):
    alice.add("Buy mlik")
    alice.page.route("**/api/*/tasks/*", problem(status, code, "Refused for the test."))

    alice.rename("Buy mlik", "Buy milk")

    box = alice.page.get_by_role("textbox", name="Title")
    expect(box).to_have_accessible_description(containing(words))
    expect(box).to_have_value("Buy milk")
    alice.page.unroute("**/api/*/tasks/*")
    box.press("Enter")
    expect(alice.task("Buy milk")).to_be_visible()
    expect(box).to_have_count(0)
    assert alice.saved()[0]["title"] == "Buy milk"


TEMPORARY = {
    "409": (409, "in-flight"),
    "429": (429, "too-many-requests"),
    "503": (503, "unavailable"),
}


@pytest.mark.parametrize(("status", "code"), TEMPORARY.values(), ids=TEMPORARY)
def test_a_temporary_error_is_retried_with_the_same_idempotency_key(alice: Person, status: int, code: str):
    keys = []
    refuse = problem(status, code, "Refused for the test.", **{"Retry-After": "1"})

    def refuse_twice(route: Route) -> None:
        if route.request.method != "POST" or len(keys) == 2:
            route.continue_()
            return
        keys.append(route.request.headers.get("idempotency-key"))
        refuse(route)

    alice.page.route("**/api/*/tasks", refuse_twice)

    alice.add("Buy milk")

    alice.reload()
    expect(alice.task("Buy milk")).to_have_count(1)
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert keys[0]


def test_a_lost_response_creates_no_second_task(alice: Person):
    lost: list[str] = []

    def lose(route: Route) -> None:
        if route.request.method == "POST" and not lost:
            route.fetch()  # the API has created the task
            lost.append(route.request.url)
            route.abort()
            return
        route.continue_()

    alice.page.route("**/api/*/tasks", lose)
    alice.add("Buy milk")
    alice.reload()

    expect(alice.task("Buy milk")).to_have_count(1)
    assert lost


def test_a_refused_token_is_renewed_without_signing_the_user_out(alice: Person):
    refused: list[str] = []
    refuse = problem(401, "unauthorized", "Sign in again.")

    def refuse_once(route: Route) -> None:
        if route.request.method == "OPTIONS" or refused:
            route.continue_()
            return
        refused.append(route.request.method)
        refuse(route)

    alice.page.route("**/api/*/tasks", refuse_once)

    alice.add("Buy milk")

    assert refused
    alice.sees_tasks()
    alice.reload()
    expect(alice.task("Buy milk")).to_have_count(1)


def test_changes_of_different_members_in_two_browsers_are_merged(alice: Person, arrive: Arrive):
    elsewhere = arrive("Alice", email=alice.email)
    alice.add("Buy milk")
    elsewhere.sign_in()
    alice.page.get_by_role("button", name="Edit “Buy milk”").click()
    elsewhere.complete("Buy milk")
    alice.page.wait_for_timeout(500)
    box = alice.page.get_by_role("textbox", name="Title")
    box.fill("Buy oat milk")

    box.press("Enter")

    expect(alice.checkbox("Buy oat milk")).to_be_checked()
    assert [(t["title"], t["completed"]) for t in alice.saved()] == [("Buy oat milk", True)]


@pytest.mark.parametrize(("button", "kept"), [("Keep mine", "Buy oat milk"), ("Take theirs", "Buy soy milk")])
def test_changes_of_the_same_member_in_two_browsers_are_shown_to_the_user(
    alice: Person, arrive: Arrive, button: str, kept: str
):
    elsewhere = arrive("Alice", email=alice.email)
    alice.add("Buy milk")
    elsewhere.sign_in()
    alice.page.get_by_role("button", name="Edit “Buy milk”").click()
    box = alice.page.get_by_role("textbox", name="Title")
    box.fill("Buy oat milk")
    with elsewhere.page.expect_response(lambda response: response.request.method in ("PATCH", "PUT")):
        elsewhere.rename("Buy milk", "Buy soy milk")

    box.press("Enter")
    expect(alice.page.get_by_role("alert").filter(has_text="changed elsewhere")).to_be_visible()
    alice.page.get_by_role("button", name=button).click()

    expect(alice.task(kept)).to_be_visible()
    expect(box).to_have_count(0)
    alice.is_up_to_date()
    assert [task["title"] for task in alice.saved()] == [kept]
