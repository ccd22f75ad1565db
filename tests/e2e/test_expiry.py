"""Tokens end and keys change while people work; they notice nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import jwt
import pytest
from playwright.sync_api import expect

from tests.conftest import DIALECTS
from tests.e2e.api import ask
from tests.e2e.conftest import Arrive
from tests.e2e.person import Person
from tests.e2e.stack import Stack, run
from tests.waiting import until

LIFE = 4
"""Seconds that a token lives here."""


MODES = ("shared-secret", "key-pair")

in_key_pair_mode = pytest.mark.parametrize("hasty", MODES[1:], indirect=True)


@pytest.fixture(scope="package", params=MODES)
def hasty(
    request: pytest.FixtureRequest,
    built: None,
    postgresql_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Where tokens live for seconds, and each key pair signs for as long."""
    rotation = {"KEY_ROTATION": f"{LIFE}s"} if request.param == "key-pair" else {}
    folder = tmp_path_factory.mktemp("hasty")
    with run(request.param, DIALECTS[0], folder, postgresql_server, TOKEN_LIFETIME=f"{LIFE}s", **rotation) as started:
        yield started


@pytest.fixture
def stack(hasty: Stack) -> Stack:
    return hasty


def test_a_token_that_expires_in_mid_work_is_not_noticed(alice: Person):
    first = alice.token()
    alice.add("Before")
    until(lambda: ask(alice.stack, first)[0] == 401)

    alice.add("After")
    alice.rename("Before", "Long before")

    expect(alice.page.get_by_role("alert").filter(has_text="session")).to_have_count(0)
    assert [task["title"] for task in alice.saved()] == ["After", "Long before"]


def test_a_page_that_slept_for_long_wakes_up_and_works(alice: Person):
    alice.add("Before")
    alice.page.goto("about:blank")
    time.sleep(LIFE + 1)
    alice.page.go_back()

    expect(alice.task("Before")).to_be_visible()
    alice.add("After")


@in_key_pair_mode
def test_a_key_rotation_while_signed_in_is_not_noticed(arrive: Arrive, hasty: Stack):
    alice = arrive("Alice").sign_up()
    kids = set()
    for number in range(3):
        alice.add(f"Task {number}")
        kids.add(jwt.get_unverified_header(alice.token())["kid"])
        time.sleep(LIFE + 1)
    alice.add("Last")

    assert len(kids) > 1
    assert len(alice.saved()) == 4
