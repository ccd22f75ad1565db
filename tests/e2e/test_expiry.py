"""Tokens expire and keys rotate while users work, without an interruption."""

from __future__ import annotations

import time
from collections.abc import Iterator

import jwt
import pytest
from playwright.sync_api import expect

from tests.conftest import DIALECTS
from tests.e2e.api import send
from tests.e2e.conftest import Arrive
from tests.e2e.person import Person
from tests.e2e.stack import Stack, run
from tests.waiting import until

TOKEN_SECONDS = 4
"""Lifetime of a token in these tests."""

MODES = ("shared-secret", "key-pair")

in_key_pair_mode = pytest.mark.parametrize("short_lived", MODES[1:], indirect=True)


@pytest.fixture(scope="package", params=MODES)
def short_lived(
    request: pytest.FixtureRequest,
    built: None,
    postgresql_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Frontend and API with tokens, and in key-pair mode also signing keys, that are valid for seconds."""
    rotation = {"KEY_ROTATION": f"{TOKEN_SECONDS}s"} if request.param == "key-pair" else {}
    folder = tmp_path_factory.mktemp("short-lived")
    with run(
        request.param, DIALECTS[0], folder, postgresql_server, TOKEN_LIFETIME=f"{TOKEN_SECONDS}s", **rotation
    ) as started:
        yield started


@pytest.fixture
def stack(short_lived: Stack) -> Stack:
    return short_lived


def test_an_expired_token_is_renewed_while_the_user_works(alice: Person):
    first = alice.token()
    alice.add("Before")
    until(lambda: send(alice.stack, first)[0] == 401)

    alice.add("After")
    alice.rename("Before", "Long before")

    expect(alice.page.get_by_role("alert").filter(has_text="session")).to_have_count(0)
    assert [task["title"] for task in alice.saved()] == ["After", "Long before"]


def test_a_page_that_was_suspended_past_the_expiry_works_again(alice: Person):
    alice.add("Before")
    alice.leave()
    time.sleep(TOKEN_SECONDS + 1)
    alice.page.go_back()

    expect(alice.task("Before")).to_be_visible()
    alice.add("After")


@in_key_pair_mode
def test_a_key_rotation_does_not_interrupt_the_user(arrive: Arrive, short_lived: Stack):
    alice = arrive("Alice").sign_up()
    kids = set()
    for number in range(3):
        alice.add(f"Task {number}")
        kids.add(jwt.get_unverified_header(alice.token())["kid"])
        time.sleep(TOKEN_SECONDS + 1)
    alice.add("Last")

    assert len(kids) > 1
    assert len(alice.saved()) == 4
