"""No user sees the tasks of another, neither on the pages nor through the API."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.api import claims, send
from tests.e2e.conftest import Arrive, on_one_stack
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


def test_mallorys_token_is_403_on_every_path_of_alice(alice: Person, arrive: Arrive):
    alice.add("Alice's secret")
    mallory = arrive("Mallory").sign_up()
    alices, mallorys = claims(alice.token())["sub"], mallory.token()

    for method, path in (
        *(("GET", "/tasks"), ("GET", "/tasks/1"), ("PATCH", "/tasks/1/complete"), ("DELETE", "/tasks/1")),
        *(("GET", "/changes"), ("GET", "/stats"), ("GET", "/export"), ("DELETE", "")),
    ):
        status, body = send(alice.stack, mallorys, of=alices, path=path, method=method)
        assert (status, body["code"]) == (403, "forbidden")
    assert alice.saved()[0]["title"] == "Alice's secret"


@on_one_stack
def test_without_a_session_every_page_leads_to_the_sign_in(arrive: Arrive):
    visitor = arrive("Nobody")

    for path in ("/", "/account"):
        visitor.go(path)
        visitor.sees_sign_in()


@on_one_stack
def test_the_next_user_of_a_browser_sees_no_data_of_the_previous_one(alice: Person):
    alice.add("Alice's secret")
    alice.sign_out()

    alice.email = "next-" + alice.email
    alice.sign_up_on_page()

    expect(alice.page.get_by_text("Nothing to do yet")).to_be_visible()
    expect(alice.page.get_by_text("Alice's secret")).to_have_count(0)


def test_an_access_token_has_the_documented_claims_only(alice: Person, stack: Stack):
    decoded = claims(alice.token())

    assert set(decoded) == {"sub", "iss", "aud", "exp", "iat", "sid", "jti"}
    assert (decoded["iss"], decoded["aud"]) == (stack.url, stack.url)
    assert decoded["exp"] - decoded["iat"] == (7 * 86_400 if stack.mode == "shared-secret" else 900)
