"""The commands `flask token` (development only), `flask purge`, `flask distribute` and `flask openapi`."""

from __future__ import annotations

import os
import re
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
from taskapi.config.shared_secrets import DEVELOPMENT_SECRET
from taskapi.database.base import db, now
from tests import postgres
from tests.conftest import Person, build

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def development(make_app: Callable[..., Flask]) -> Flask:
    """An application as `flask run` creates it, with the secret of .flaskenv."""
    return make_app(BETTER_AUTH_SECRET=DEVELOPMENT_SECRET, FLASK_RUN_FROM_CLI="true")


def run(app: Flask, *words: str) -> str:
    result = app.test_cli_runner().invoke(args=["token", *words])
    assert result.exit_code == 0, result.output
    return str(result.output.strip())


def test_the_printed_token_gives_access_to_that_users_tasks_only(development: Flask):
    alice = Person(development.test_client(), "alice", run(development, "alice"))
    assert alice.add()["user_id"] == "alice"
    assert alice.get(of="mallory").status_code == 403


def test_a_printed_token_lives_seven_days_or_as_many_as_the_option_says(development: Flask):
    for words, days in ((("alice",), 7), (("alice", "--days", "1"), 1), (("alice", "--days", "365"), 365)):
        claims = jwt.decode(run(development, *words), DEVELOPMENT_SECRET, ["HS256"])
        assert claims["exp"] - claims["iat"] == days * 86_400
        assert claims["sub"] == "alice"


@pytest.mark.parametrize("days", ["0", "-1", "366", "x"])
def test_days_must_be_from_1_to_365(development: Flask, days: str):
    result = development.test_cli_runner().invoke(args=["token", "alice", "--days", days])
    assert result.exit_code == 2
    assert "--days" in result.output


def test_the_curl_option_prints_a_command_that_works(development: Flask, monkeypatch: pytest.MonkeyPatch):
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


def test_the_printed_token_has_the_configured_issuer_and_audience(make_app: Callable[..., Flask]):
    app = make_app(
        BETTER_AUTH_SECRET=DEVELOPMENT_SECRET,
        FLASK_RUN_FROM_CLI="true",
        JWT_ISSUER="https://app.example.com",
        JWT_AUDIENCE="taskapi",
    )
    assert Person(app.test_client(), "alice", run(app, "alice")).get().status_code == 200


@pytest.mark.parametrize("user_id", ["a/b", "..", ""])
def test_flask_token_prints_no_token_that_the_service_would_refuse(development: Flask, user_id: str):
    result = development.test_cli_runner().invoke(args=["token", user_id])
    assert result.exit_code == 1
    assert result.output.startswith("Error: sub of the token ")


def test_with_another_secret_flask_token_fails(app: Flask):
    result = app.test_cli_runner().invoke(args=["token", "alice"])
    assert result.exit_code == 1
    assert result.output == (
        "Error: only with the development secret of .flaskenv; otherwise Better Auth issues the tokens\n"
    )


def test_with_the_development_secret_as_previous_secret_only_flask_token_fails(make_app: Callable[..., Flask]):
    app = make_app(BETTER_AUTH_SECRET_PREVIOUS=DEVELOPMENT_SECRET, FLASK_RUN_FROM_CLI="true")
    assert app.test_cli_runner().invoke(args=["token", "alice"]).exit_code == 1


def flask(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the `flask` command in a process of its own, with .flaskenv and without this process's environment."""
    return subprocess.run(
        [sys.executable, "-m", "flask", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_flask_command_reads_the_development_secret_from_flaskenv(tmp_path: Path):
    made = flask("token", "alice", "--curl", DATABASE_URL=f"sqlite:///{tmp_path}/x.db")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith('curl -H "Authorization: Bearer ')
    assert made.stdout.endswith("http://127.0.0.1:8000/api/alice/tasks\n")


def test_the_flask_command_prints_config_errors_without_a_traceback(tmp_path: Path):
    refused = flask("token", "alice", BETTER_AUTH_SECRET="short", DATABASE_URL="mysql://x/y")
    assert refused.returncode != 0
    assert "BETTER_AUTH_SECRET is shorter than 32 bytes" in refused.stderr
    assert "DATABASE_URL is neither" in refused.stderr
    assert "Traceback" not in refused.stderr


COMMANDS = (("purge",), ("db", "upgrade"), ("db", "current"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("url", ["postgresql://taskapi:hunter2@127.0.0.1:1/taskapi", "sqlite:////nonexistent/t.db"])
def test_a_command_without_a_database_prints_one_line_that_says_what_to_do(command: tuple[str, ...], url: str):
    ended = build(url).test_cli_runner().invoke(args=[*command])
    assert ended.exit_code == 1
    (line,) = ended.output.splitlines()
    reason = "unable to open database file"
    if url.startswith("postgresql"):
        reason = 'connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused'
    assert line == (
        f"Error: the database cannot be used: {reason}. Correct DATABASE_URL or MIGRATION_DATABASE_URL, or start it."
    )


def test_the_flask_command_prints_that_line_to_stderr(tmp_path: Path):
    ended = flask("db", "upgrade", DATABASE_URL=f"sqlite:///{tmp_path}/nonexistent/t.db")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch("Error: the database cannot be used: .*\n", ended.stderr)


UNREACHABLE = "postgresql://taskapi@127.0.0.1:1/taskapi"


@pytest.mark.parametrize("command", [("openapi",), ("token", "alice")], ids=" ".join)
def test_the_other_commands_need_no_database(command: tuple[str, ...]):
    app = build(UNREACHABLE, BETTER_AUTH_SECRET=DEVELOPMENT_SECRET, FLASK_RUN_FROM_CLI="true")
    ended = app.test_cli_runner().invoke(args=[*command])
    assert (ended.exit_code, ended.stderr) == (0, "")


def test_flasks_own_commands_need_no_database():
    ended = flask("routes", DATABASE_URL=UNREACHABLE)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_flask_purge_of_a_database_that_is_not_migrated_says_what_to_do(tmp_path: Path):
    ended = flask("purge", DATABASE_URL=f"sqlite:///{tmp_path}/x.db")
    assert ended.returncode == 1
    assert ended.stderr == "Error: The database is not migrated: run `flask db upgrade`.\n"


def test_flask_db_as_a_role_that_may_not_change_the_tables_says_what_to_do(postgresql_server: str):
    with postgres.new_database(postgresql_server) as url:
        app = build(url)  # the role of the service, and no MIGRATION_DATABASE_URL
        result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 1
    assert result.output == (
        "Error: permission denied for schema public. Set MIGRATION_DATABASE_URL to the role that owns the database"
        " (docs/operations.md).\n"
    )


def test_flask_openapi_prints_the_document_that_is_served(app: Flask):
    printed = app.test_cli_runner().invoke(args=["openapi"])
    assert printed.exit_code == 0
    assert printed.stdout_bytes == app.test_client().get("/openapi.json").data + b"\n"


def test_flask_purge_deletes_expired_ended_sessions_and_prints_the_number(app: Flask):
    with app.app_context():
        for session, hours in (("s-1", -1), ("s-2", -1), ("s-3", 1)):
            expiry = now() + timedelta(hours=hours)
            user = User("alice", session)
            queries.record_logout(user, f"n-{session}", session_expires_at=expiry, token_expires_at=expiry)
    lines = [app.test_cli_runner().invoke(args=["purge"]).output for _ in range(2)]
    assert lines == [
        f"0 tasks emptied; 0 tombstones, 0 idempotency keys, {ended} ended sessions and 0 erased users removed\n"
        for ended in (2, 0)
    ]
    with app.app_context():
        assert [queries.has_ended(User("alice", f"s-{number}")) for number in (1, 2, 3)] == [False, False, True]
        assert queries.users_due() == []


def test_flask_distribute_refuses_sqlite_in_one_line(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/x.db"
    assert (
        flask("distribute", DATABASE_URL=url).stderr == "Error: The database is not migrated: run `flask db upgrade`.\n"
    )
    assert flask("db", "upgrade", DATABASE_URL=url).returncode == 0
    refused = flask("distribute", DATABASE_URL=url)
    assert refused.returncode == 1
    assert refused.stderr == "Error: only PostgreSQL with Citus can be distributed, not SQLite. Set DATABASE_URL.\n"


def test_flask_distribute_without_citus_says_what_to_do_in_one_line(postgresql_url: str):
    app = build(postgresql_url, MIGRATION_DATABASE_URL=postgres.as_owner(postgresql_url))
    result = app.test_cli_runner().invoke(args=["distribute"])
    assert result.exit_code == 1
    assert re.fullmatch("Error: this database has no Citus. Add citus to shared_preload_libraries .*\n", result.output)
    with app.app_context():
        db.engine.dispose()
