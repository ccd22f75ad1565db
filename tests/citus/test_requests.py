"""Requests on a Citus cluster: each endpoint as on plain PostgreSQL, and the same answers in races."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from taskapi.auth import queries
from taskapi.auth.tokens import User
from tests.auth.issuer import logout_token
from tests.conftest import Person, serving
from tests.database.test_row_security import summary
from tests.every_request import send_every_request


def test_every_endpoint_answers_as_on_plain_postgresql(app: Flask, postgresql_url: str):
    actual = [summary(response) for response in send_every_request(Person(FlaskClient(app), "olga"))]
    with serving(postgresql_url) as plain:
        expected = [summary(response) for response in send_every_request(Person(FlaskClient(plain), "olga"))]
    assert len(expected) > 250
    assert actual == expected


def test_rows_from_before_the_distribution_are_served(app: Flask, existing_rows: list[str]):
    assert Person(app.test_client(), "alice").titles() == existing_rows


def test_of_concurrent_requests_with_one_idempotency_key_one_is_executed(app: Flask):
    def create(_number: int) -> TestResponse:
        return Person(FlaskClient(app), "racer").post(json={"title": "T"}, headers={"Idempotency-Key": "one"})

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(create, range(24)))
    assert {response.status_code for response in responses} <= {201, 409}
    first = [response for response in responses if "Idempotency-Replayed" not in response.headers]
    assert Counter(response.status_code for response in first)[201] == 1
    assert Person(FlaskClient(app), "racer").titles() == ["T"]


def test_concurrent_toggles_and_creates_of_a_user_are_all_counted(app: Flask):
    person = Person(FlaskClient(app), "counter")
    person.add()

    def work(number: int) -> int:
        mine = Person(FlaskClient(app), "counter")
        return (mine.patch("/1/complete") if number % 2 else mine.post(json={"title": "T"})).status_code

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(work, range(40))) == {200: 20, 201: 20}
    assert person.revision() == 41
    assert sorted(task["id"] for task in person.get().get_json()) == list(range(1, 22))


def test_sign_outs_of_users_on_all_nodes_are_numbered_without_gaps(app: Flask):
    users = [f"leaver-{number}" for number in range(24)]

    def sign_out(user: str) -> int:
        data = {"logout_token": logout_token(user, "s")}
        return FlaskClient(app).post("/backchannel-logout", data=data).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(sign_out, users)) == {200}
    entries = queries.ended_sessions_since(0, 1000)
    numbers = [entry.number for entry in entries if entry.key.startswith("leaver-")]
    assert numbers == list(range(numbers[0], numbers[0] + 24))
    assert all(queries.has_ended(User(user, "s")) for user in users)
