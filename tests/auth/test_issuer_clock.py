"""The clock of this host and the issuer's: a difference of more than a minute is reported, with both times."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate

import pytest
from flask import Flask

from taskapi.auth import hook
from taskapi.auth.issuer_clock import MAX_AGE, MAX_DIFFERENCE, IssuerClock
from tests.auth.conftest import Clock
from tests.auth.issuer import Signer
from tests.auth.key_server import KeyServer
from tests.conftest import Person, token
from tests.waiting import until

NOW = 1_700_000_000.0


@pytest.fixture
def wall() -> Clock:
    return Clock(NOW)


@pytest.fixture
def compared(wall: Clock, clock: Clock) -> IssuerClock:
    return IssuerClock(wall=wall, steady=clock)


def dated(seconds: float, **others: str) -> dict[str, str]:
    return {"Date": formatdate(NOW + seconds, usegmt=True), **others}


@pytest.mark.parametrize(
    ("headers", "reported"),
    [
        (dated(0), None),
        (dated(MAX_DIFFERENCE), None),
        (dated(-MAX_DIFFERENCE), None),
        (dated(300), "300 s behind the issuer's: 2023-11-14T22:13:20Z here, 2023-11-14T22:18:20Z there"),
        (dated(-300), "300 s ahead of the issuer's: 2023-11-14T22:13:20Z here, 2023-11-14T22:08:20Z there"),
        (dated(-300, Age="300"), None),
        (dated(0, Age="300"), "300 s behind"),
        (dated(-300, Age="-1"), "300 s ahead of"),
        (dated(0, Age="9" * 50), None),
        ({}, None),
        ({"Date": "yesterday"}, None),
        ({"Date": "Mon, 99 Foo 9999 99:99:99 GMT"}, None),
    ],
)
def test_a_difference_of_more_than_a_minute_to_a_response_is_reported(
    compared: IssuerClock, headers: dict[str, str], reported: str | None, caplog: pytest.LogCaptureFixture
):
    compared.observe_response(headers)
    if reported is None:
        assert compared.problem is None
        assert not caplog.messages
    else:
        assert compared.problem
        assert reported in compared.problem
        assert caplog.messages == [compared.problem]


def test_it_is_logged_once_a_minute(compared: IssuerClock, clock: Clock, wall: Clock, caplog: pytest.LogCaptureFixture):
    for _ in range(90):
        compared.observe_response(dated(300))
        clock.now += 1
        wall.now += 1
    assert len(caplog.messages) == 2
    assert caplog.messages[1].endswith("(59 more of this kind since the last line)")


def test_a_correction_of_the_clock_shows_at_once_and_so_does_a_new_error(compared: IssuerClock, wall: Clock):
    compared.observe_response(dated(300))
    assert compared.problem
    wall.now += 300
    assert compared.problem is None
    wall.now += 3600
    assert compared.problem
    assert "3600 s ahead of" in compared.problem


def test_an_observation_counts_for_ten_minutes(compared: IssuerClock, clock: Clock, wall: Clock):
    compared.observe_response(dated(300))
    for waiting in (MAX_AGE, 1):
        clock.now += waiting
        wall.now += waiting
    assert compared.problem is None


def test_a_token_issued_in_the_future_shows_that_this_clock_is_behind(compared: IssuerClock, wall: Clock):
    compared.observe_issue(NOW + 300)
    assert compared.problem
    assert "at least 300 s behind the issuer's" in compared.problem
    wall.now += 900
    assert compared.problem is None, "how much later it is at the issuer is not known"


def test_a_response_of_the_issuer_counts_more_than_a_token(compared: IssuerClock, clock: Clock):
    compared.observe_response(dated(0))
    compared.observe_issue(NOW + 300)
    assert compared.problem is None
    clock.now += MAX_AGE + 1
    compared.observe_issue(NOW + MAX_AGE + 300)
    assert compared.problem


def test_readyz_names_a_clock_that_is_behind_the_tokens_of_the_shared_secret(make_app: Callable[..., Flask]):
    client = make_app().test_client()
    assert client.get("/readyz").get_json() == {"status": "ok"}
    now = int(time.time())
    forged = Person(client, "alice", token("alice", secret="another-secret-0123456789abcdef0123", iat=now + 600))
    assert forged.get().status_code == 401
    assert client.get("/readyz").get_json() == {"status": "ok"}, "its signature is wrong"
    early = Person(client, "alice", token("alice", iat=now + 600, exp=now + 900))
    assert early.get().status_code == 401
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.get_json()["status"] == "degraded"
    assert "s behind the issuer's" in response.get_json()["detail"]


def test_readyz_names_a_clock_that_differs_from_the_key_servers(
    make_app: Callable[..., Flask], serve_keys: Callable[..., KeyServer], monkeypatch: pytest.MonkeyPatch
):
    server = serve_keys(Signer("EdDSA").jwk())
    app = make_app(BETTER_AUTH_SECRET="", BETTER_AUTH_JWKS_URL=server.url)
    real = time.time
    monkeypatch.setattr(hook.issuer_clock(app), "_wall", lambda: real() + 300)
    hook.prefetch_keys(app)
    report = until(lambda: found if (found := app.test_client().get("/readyz").get_json())["status"] != "ok" else None)
    assert "s ahead of the issuer's" in report["detail"]
    assert len(server.fetches) == 1


def test_without_a_key_set_nothing_is_fetched_at_the_start(make_app: Callable[..., Flask]):
    hook.prefetch_keys(make_app())
