"""`flask token`: a token to develop with, and never to deploy with; `flask purge` and `flask openapi`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from flask import Flask

from taskapi.auth import queries
from taskapi.auth.tokens import User
from taskapi.config import DEVELOPMENT_SECRET
from taskapi.database.base import now
from tests.conftest import Person

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def development(make_app: Callable[..., Flask]) -> Flask:
    """As `flask run` starts it, with the secret of .flaskenv."""
    return make_app(BETTER_AUTH_SECRET=DEVELOPMENT_SECRET, FLASK_RUN_FROM_CLI="true")


def run(app: Flask, *words: str) -> str:
    result = app.test_cli_runner().invoke(args=["token", *words])
    assert result.exit_code == 0, result.output
    return str(result.output.strip())


def test_the_token_it_prints_opens_that_users_tasks_and_no_others(development: Flask):
    alice = Person(development.test_client(), "alice", run(development, "alice"))
    assert alice.add()["user_id"] == "alice"
    assert alice.get(of="mallory").status_code == 403


def test_a_token_lives_a_week_or_as_many_days_as_it_is_told(development: Flask):
    for words, days in ((("alice",), 7), (("alice", "--days", "1"), 1), (("alice", "--days", "365"), 365)):
        claims = jwt.decode(run(development, *words), DEVELOPMENT_SECRET, ["HS256"])
        assert claims["exp"] - claims["iat"] == days * 86_400
        assert claims["sub"] == "alice"


@pytest.mark.parametrize("days", ["0", "-1", "366", "x"])
def test_no_token_lives_longer_than_a_year_or_not_at_all(development: Flask, days: str):
    result = development.test_cli_runner().invoke(args=["token", "alice", "--days", days])
    assert result.exit_code == 2
    assert "--days" in result.output


def test_curl_prints_a_command_to_paste(development: Flask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLASK_RUN_PORT", "8000")
    words = shlex.split(run(development, "alice@example.com", "--curl"))

    assert words[:2] == ["curl", "-H"]
    assert words[3:] == ["http://127.0.0.1:8000/api/alice%40example.com/tasks"]
    client = development.test_client()
    scheme, _, token = words[2].removeprefix("Authorization: ").partition(" ")
    assert scheme == "Bearer"
    assert Person(client, "alice@example.com", token).get().status_code == 200
    name, _, value = words[2].partition(": ")
    assert client.get("/api/alice%40example.com/tasks", headers={name: value}).status_code == 200


def test_the_token_satisfies_the_issuer_and_audience_that_are_configured(make_app: Callable[..., Flask]):
    app = make_app(
        BETTER_AUTH_SECRET=DEVELOPMENT_SECRET,
        FLASK_RUN_FROM_CLI="true",
        JWT_ISSUER="https://app.example.com",
        JWT_AUDIENCE="taskapi",
    )
    assert Person(app.test_client(), "alice", run(app, "alice")).get().status_code == 200


def test_with_any_other_secret_there_are_no_tokens_to_be_had(app: Flask):
    result = app.test_cli_runner().invoke(args=["token", "alice"])
    assert result.exit_code == 1
    assert result.output == (
        "Error: only with the development secret of .flaskenv; otherwise Better Auth issues the tokens\n"
    )


def test_with_the_development_secret_as_the_previous_one_only_there_are_none(make_app: Callable[..., Flask]):
    app = make_app(BETTER_AUTH_SECRET_PREVIOUS=DEVELOPMENT_SECRET, FLASK_RUN_FROM_CLI="true")
    assert app.test_cli_runner().invoke(args=["token", "alice"]).exit_code == 1


def flask(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command itself, as a shell starts it: with .flaskenv, and nothing of this process's environment."""
    return subprocess.run(
        [sys.executable, "-m", "flask", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_the_flask_command_finds_the_development_secret_by_itself(tmp_path: Path):
    made = flask("token", "alice", "--curl", DATABASE_URL=f"sqlite:///{tmp_path}/x.db")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith('curl -H "Authorization: Bearer ')
    assert made.stdout.endswith("http://127.0.0.1:8000/api/alice/tasks\n")


def test_the_flask_command_names_what_is_wrong_without_a_traceback(tmp_path: Path):
    refused = flask("token", "alice", BETTER_AUTH_SECRET="short", DATABASE_URL="mysql://x/y")
    assert refused.returncode != 0
    assert "BETTER_AUTH_SECRET is shorter than 32 bytes" in refused.stderr
    assert "DATABASE_URL is neither" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_description_is_printed_as_it_is_served(app: Flask):
    printed = app.test_cli_runner().invoke(args=["openapi"])
    assert printed.exit_code == 0
    assert printed.stdout_bytes == app.test_client().get("/openapi.json").data + b"\n"


def test_the_purge_forgets_ended_sessions_whose_tokens_have_died_and_says_how_many(app: Flask):
    with app.app_context():
        for session, life in (("s-1", -1), ("s-2", -1), ("s-3", 1)):
            times = {"forget_session": now() + timedelta(hours=life), "forget_token": now() + timedelta(hours=life)}
            queries.record_logout(User("alice", session), f"n-{session}", **times)
    lines = [app.test_cli_runner().invoke(args=["purge"]).output for _ in range(2)]
    assert lines == [
        f"0 tasks emptied; 0 tombstones, 0 idempotency keys, {ended} ended sessions and 0 erased users removed\n"
        for ended in (2, 0)
    ]
    with app.app_context():
        assert [queries.has_ended(User("alice", f"s-{number}")) for number in (1, 2, 3)] == [False, False, True]
        assert queries.users_due() == []
