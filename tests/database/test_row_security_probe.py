"""The probe of row-level security: /readyz is 503 if a user's own rows are hidden, or those of others are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import make_url, text

from taskapi.auth.claims import InvalidToken, subject
from taskapi.database import policies, row_security_probe
from taskapi.database.base import db
from tests import postgres
from tests.conftest import Person, build, superuser_engine

Change = Callable[[str, str], None]

SHOWN = f"ALTER POLICY shown ON users {policies.clauses('users', 'shown', policies.plain_condition)}"


@pytest.fixture
def app(postgresql_app: Flask) -> Flask:
    return postgresql_app


def problem(app: Flask) -> str:
    response = app.test_client().get("/readyz")
    assert response.status_code == 503
    return str(response.get_json()["detail"])


def probes() -> list[str]:
    with superuser_engine().connect() as connection:
        return list(connection.execute(text("SELECT user_id FROM users WHERE user_id LIKE chr(10) || '%'")).scalars())


def test_a_working_database_is_ready_and_keeps_one_row_of_a_probe(app: Flask):
    for _ in range(3):
        assert app.test_client().get("/readyz").status_code == 200
    assert probes() == ["\n0"]


def test_no_token_can_have_the_id_of_a_probe():
    for id in ("\n", "\n0"):
        with pytest.raises(InvalidToken):
            subject({"sub": id})


@pytest.mark.parametrize("has_row", [False, True])
def test_a_policy_that_hides_a_user_s_own_rows_is_reported(app: Flask, change: Change, has_row: bool):  # noqa: FBT001
    """Otherwise every list would be an empty 200."""
    if has_row:
        assert app.test_client().get("/readyz").status_code == 200
    Person(app.test_client(), "alice").add()
    change("ALTER POLICY shown ON users USING (false)", SHOWN)
    assert problem(app).startswith(row_security_probe.SHOWS_NOTHING)


def test_a_setting_that_does_not_reach_the_rows_is_reported(app: Flask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("taskapi.database.row_security.SET_USER", "SELECT $1::text, $2::text")
    assert problem(app).startswith(row_security_probe.SHOWS_NOTHING)


def test_a_policy_that_shows_the_rows_of_others_is_reported(app: Flask, change: Change):
    change("ALTER POLICY shown ON users USING (true)", SHOWN)
    assert problem(app).startswith(row_security_probe.HIDES_NOTHING)


def test_missing_rights_are_reported(app: Flask, change: Change):
    change(f"REVOKE SELECT ON users FROM {postgres.SERVICE}", f"GRANT SELECT ON users TO {postgres.SERVICE}")
    assert problem(app).startswith(row_security_probe.NO_RIGHTS)


@pytest.mark.parametrize("part", ["role", "database"])
def test_a_role_or_database_that_does_not_exist_is_reported_without_its_name(postgresql_url: str, part: str):
    changed = {"role": {"username": "missing"}, "database": {"database": "missing"}}[part]
    app = build(make_url(postgresql_url).set(**changed).render_as_string(hide_password=False))
    detail = problem(app)
    assert detail.startswith("PostgreSQL, or a node of its Citus cluster, refuses the role")
    assert "missing" not in detail
    with app.app_context():
        db.engine.dispose()


def test_the_purge_leaves_the_row_of_a_probe(app: Flask):
    assert app.test_client().get("/readyz").status_code == 200
    result = app.test_cli_runner().invoke(args=["purge"])
    assert result.exit_code == 0, result.output
    assert probes() == ["\n0"]
