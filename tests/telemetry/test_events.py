"""What happens in the service is counted by the metric that says so, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import psycopg
import pytest
from flask import Flask
from sqlalchemy import update

from taskapi.auth import queries as sessions
from taskapi.auth.jwks_cache import JWKS
from taskapi.auth.keys import KeysUnavailable
from taskapi.auth.tokens import User
from taskapi.database.base import now
from taskapi.database.transactions import reads
from taskapi.http.permits import Permits
from taskapi.idempotency import queries as idempotency
from taskapi.operations.oldest_due import oldest_due_seconds
from taskapi.tasks.models import Task
from taskapi.tasks.purge import TOMBSTONE_LIFETIME, TRASH_LIFETIME
from tests.auth.issuer import Signer, logout_token
from tests.auth.key_server import KeyServer
from tests.conftest import Person, build, serving, superuser_engine, token
from tests.telemetry.conftest import Scrape

Make = Callable[..., Flask]

ISSUER = {"JWT_ISSUER": "https://app.example.com", "JWT_AUDIENCE": "taskapi", "JWT_MAX_LIFETIME": "1h"}


def unauthorized(scrape: Scrape) -> dict[str, float]:
    """Return the requests with 401 by reason."""
    return {reason: count for (reason,), count in scrape.samples("taskapi_unauthorized_total").items() if count}


@pytest.mark.parametrize(
    ("reason", "claims"),
    [
        ("expired", {"exp": 1000}),
        ("not_yet_valid", {"nbf": 1e10}),
        ("not_yet_valid", {"iat": 1e10}),
        ("issuer", {"iss": "https://elsewhere.example.com"}),
        ("issuer", {"iss": None}),
        ("audience", {"aud": "another"}),
        ("audience", {"aud": None}),
        ("lifetime", {"exp": 9e9}),
        ("malformed", {"sid": ""}),
        ("malformed", {"exp": "soon"}),
    ],
)
def test_401_is_counted_by_the_claim_that_is_wrong(
    scrape: Scrape, make_app: Make, reason: str, claims: dict[str, object]
):
    bad = token("alice", **{"iss": ISSUER["JWT_ISSUER"], "aud": ISSUER["JWT_AUDIENCE"], **claims})
    assert Person(make_app(**ISSUER).test_client(), "alice", bad).get().status_code == 401
    assert unauthorized(scrape) == {reason: 1}


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        ("wrong_signature", lambda: token("alice", secret="another" * 8)),
        ("algorithm", lambda: Signer("EdDSA").token({"sub": "alice", "exp": 9e9})),
        ("type", lambda: token("alice", headers={"typ": "logout+jwt"})),
        ("malformed", lambda: "a.b.c"),
        ("malformed", lambda: "x" * 10_000),
    ],
)
def test_401_is_counted_by_what_is_wrong_with_the_token(
    scrape: Scrape, app: Flask, reason: str, make: Callable[[], str]
):
    assert Person(app.test_client(), "alice", make()).get().status_code == 401
    assert unauthorized(scrape) == {reason: 1}


def test_401_without_a_token_and_after_the_end_of_a_session_have_reasons_of_their_own(scrape: Scrape, app: Flask):
    client = app.test_client()
    assert client.get("/api/alice/tasks").status_code == 401
    assert client.post("/backchannel-logout", data={"logout_token": logout_token("alice", "s-1")}).status_code == 200
    assert Person(client, "alice", token("alice", sid="s-1")).get().status_code == 401
    assert unauthorized(scrape) == {"missing": 1, "session_ended": 1}
    assert scrape.value("taskapi_ended_sessions") == 1


def test_every_error_response_is_counted_by_its_code(scrape: Scrape, alice: Person):
    task = alice.add()
    assert alice.put(f"/{task['id']}", json={"title": "x"}, headers={"If-Match": '"999"'}).status_code == 412
    assert alice.get("/999").status_code == 404
    assert alice.post(json={}).status_code == 422
    found = {code: count for (code,), count in scrape.samples("taskapi_problems_total").items() if count}
    assert found == {"precondition-failed": 1, "not-found": 1, "invalid": 1}


def test_429_is_counted_by_the_limit_that_was_exceeded(scrape: Scrape, make_app: Make, monkeypatch: pytest.MonkeyPatch):
    app = make_app(RATE_LIMIT="2/day")
    alice, bob = Person(app.test_client(), "alice"), Person(app.test_client(), "bob")
    assert [alice.get().status_code for _ in range(3)] == [200, 200, 429]

    monkeypatch.setattr(idempotency, "MAX_KEYS", 1)
    keyed = [bob.post(json={"title": "x"}, headers={"Idempotency-Key": f"key-{n}"}).status_code for n in range(2)]
    assert keyed == [201, 429]

    permits = Permits("cups of tea", per_user=1, per_worker=2)
    with app.test_request_context(), permits.acquire("carol"), pytest.raises(Exception, match="cups of tea"):
        permits.acquire("carol", timeout=0)

    limits = {limit: count for (limit,), count in scrape.samples("taskapi_too_many_requests_total").items()}
    assert limits == {"rate": 1, "idempotency_keys": 1, "in_progress": 1}


def test_replays_are_counted_and_first_requests_are_not(scrape: Scrape, alice: Person):
    for _ in range(3):
        assert alice.post(json={"title": "x"}, headers={"Idempotency-Key": "key-1"}).status_code == 201
    assert scrape.value("taskapi_idempotent_replays_total") == 2


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    server = KeyServer(Signer("EdDSA", "key-1").jwk())
    yield server
    server.stop()


def test_fetches_of_the_key_set_are_counted_by_outcome_and_the_last_success_has_a_time(
    scrape: Scrape, key_server: KeyServer
):
    before = now().timestamp()
    assert JWKS(key_server.url).find("EdDSA", "key-1")
    assert scrape.samples("taskapi_jwks_fetches_total") == {("ok",): 1, ("failed",): 0}
    assert before <= scrape.value("taskapi_jwks_fetched_timestamp_seconds") <= now().timestamp()

    key_server.mode = "error"
    with pytest.raises(KeysUnavailable):
        JWKS(key_server.url).find("EdDSA", "key-1")
    assert scrape.samples("taskapi_jwks_fetches_total") == {("ok",): 1, ("failed",): 1}


@pytest.mark.parametrize(
    ("error", "reason"),
    [(psycopg.errors.SerializationFailure, "serialization"), (psycopg.errors.DeadlockDetected, "deadlock")],
)
def test_repeated_units_of_work_are_counted_by_reason(
    scrape: Scrape, postgresql_url: str, error: type[psycopg.Error], reason: str
):
    attempts = []

    @reads
    def read(_owner: User) -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise error

    with serving(postgresql_url):
        read(User("alice"))
    found = {reason: count for (reason,), count in scrape.samples("taskapi_database_retries_total").items() if count}
    assert found == {reason: 2}


def test_requests_without_a_database_are_counted(scrape: Scrape):
    nobody = Person(build("postgresql://nobody@127.0.0.1:1/nothing").test_client(), "alice")
    assert nobody.get().status_code == 503
    assert scrape.value("taskapi_database_unavailable_total") == 1


# Statements


@pytest.fixture(params=["text", "json"])
def measured(make_app: Make, request: pytest.FixtureRequest) -> Person:
    """A user of a service with METRICS_PORT, also with the JSON log, which counts statements for its own purpose."""
    app = make_app(METRICS_PORT="9090", RATE_LIMIT="off", LOG_FORMAT=request.param)
    return Person(app.test_client(), "alice")


def work(scrape: Scrape) -> tuple[float, float]:
    """Return the numbers of statements and of round trips so far."""
    return scrape.value("taskapi_database_statements_total"), scrape.value("taskapi_database_round_trips_total")


def test_statements_and_round_trips_of_a_request_are_counted(scrape: Scrape, measured: Person, database_url: str):
    measured.add()
    on_postgresql = database_url.startswith("postgresql")
    # Two of the list and of the new task, each with set_config on PostgreSQL; BEGIN and COMMIT around a write.
    expected = {"GET": (3, 1) if on_postgresql else (2, 0), "POST": (4, 1) if on_postgresql else (4, 0)}
    for method, (statements, round_trips) in expected.items():
        before = work(scrape)
        assert measured.send(method, json={"title": "x"} if method == "POST" else None).status_code < 300
        after = work(scrape)
        assert (after[0] - before[0], after[1] - before[1]) == (statements, round_trips), method
    assert scrape.value("taskapi_database_seconds_total") > 0


def test_without_a_metrics_port_no_statement_is_counted(scrape: Scrape, alice: Person):
    alice.add()
    assert work(scrape) == (0, 0)


# Purge


@pytest.fixture
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def delete(person: Person, age: timedelta) -> None:
    """Create a task and put it into the trash, `age` ago."""
    task = person.add()["id"]
    assert person.delete(f"/{task}").status_code == 204
    with superuser_engine().begin() as connection:
        mine = (Task.user_id == person.id) & (Task.id == task)
        connection.execute(update(Task.__table__).where(mine).values(deleted_at=now() - age))


@pytest.mark.usefixtures("context")
def test_nothing_is_due_for_purge_while_all_is_young(alice: Person):
    delete(alice, TRASH_LIFETIME - timedelta(days=1))
    assert alice.post(json={"title": "x"}, headers={"Idempotency-Key": "key-1"}).status_code == 201
    assert oldest_due_seconds() == 0


@pytest.mark.usefixtures("context")
def test_the_age_of_the_oldest_row_due_for_purge_is_that_of_all_users_and_kinds(app: Flask, alice: Person, bob: Person):
    delete(alice, TRASH_LIFETIME + timedelta(hours=1))
    assert oldest_due_seconds() == pytest.approx(3600, abs=60)
    past = now() - timedelta(hours=2)
    sessions.record_logout(User("bob", "s-1"), "n-1", session_expires_at=past, token_expires_at=past)
    assert oldest_due_seconds() == pytest.approx(7200, abs=60)
    delete(bob, TOMBSTONE_LIFETIME + timedelta(hours=3))
    # Its content was due 60 days earlier than its tombstone.
    assert oldest_due_seconds() == pytest.approx((TOMBSTONE_LIFETIME - TRASH_LIFETIME).total_seconds() + 10_800, abs=60)

    assert app.test_cli_runner().invoke(args=["purge"]).exit_code == 0
    assert oldest_due_seconds() == 0
