"""One person never sees another's tasks, on the page or past it."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.api import ask, claims
from tests.e2e.conftest import Arrive
from tests.e2e.person import Person
from tests.e2e.stack import Stack


def test_alice_and_mallory_see_their_own_tasks_only(alice: Person, arrive: Arrive):
    mallory = arrive("Mallory").sign_up()
    alice.add("Alice's secret")
    mallory.add("Mallory's plan")

    for person, theirs, others in (
        (alice, "Alice's secret", "Mallory's plan"),
        (mallory, "Mallory's plan", "Alice's secret"),
    ):
        person.reload()
        expect(person.task(theirs)).to_be_visible()
        expect(person.task(others)).to_have_count(0)


def test_mallorys_own_token_opens_nothing_on_alices_path(alice: Person, arrive: Arrive):
    alice.add("Alice's secret")
    mallory = arrive("Mallory").sign_up()
    alices, mallorys = claims(alice.token())["sub"], mallory.token()

    for method, path in (
        *(("GET", "/tasks"), ("GET", "/tasks/1"), ("PATCH", "/tasks/1/complete"), ("DELETE", "/tasks/1")),
        *(("GET", "/changes"), ("GET", "/stats"), ("GET", "/export"), ("DELETE", "")),
    ):
        status, body = ask(alice.stack, mallorys, of=alices, path=path, method=method)
        assert (status, body["code"]) == (403, "forbidden")
    assert alice.saved()[0]["title"] == "Alice's secret"


def test_who_is_not_signed_in_is_asked_to(arrive: Arrive):
    nobody = arrive("Nobody")

    nobody.go("/")

    nobody.sees_sign_in()
    nobody.go("/account")
    nobody.sees_sign_in()


def test_the_next_person_at_the_same_browser_finds_nothing_of_the_last(alice: Person):
    alice.add("Alice's secret")
    alice.sign_out()

    alice.email = "next-" + alice.email
    alice.sign_up()

    expect(alice.page.get_by_text("Nothing to do yet")).to_be_visible()
    expect(alice.page.get_by_text("Alice's secret")).to_have_count(0)


def test_a_token_says_who_and_nothing_more(alice: Person, stack: Stack):
    said = claims(alice.token())

    assert set(said) == {"sub", "iss", "aud", "exp", "iat", "sid", "jti"}
    assert (said["iss"], said["aud"]) == (stack.url, stack.url)
    assert said["exp"] - said["iat"] == (7 * 86_400 if stack.mode == "shared-secret" else 900)
