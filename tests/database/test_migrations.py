"""Alembic migrations: from an empty database to the models and back, with locks and row data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import inspect, text

from taskapi.database.base import MIGRATIONS, db
from taskapi.operations.health import MIGRATION_HEAD
from taskapi.tasks.models import Bytewise
from tests import postgres
from tests.conftest import Person, build


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database for one test."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/own.db"
        return
    with postgres.new_database(request.getfixturevalue("postgresql_server")) as url:
        yield url


@pytest.fixture
def app(empty_url: str) -> Iterator[Flask]:
    settings = {} if empty_url.startswith("sqlite") else {"MIGRATION_DATABASE_URL": postgres.as_owner(empty_url)}
    made = build(empty_url, **settings)
    yield made
    with made.app_context():
        db.engine.dispose()


def flask_db(app: Flask, *words: str) -> str:
    result = app.test_cli_runner().invoke(args=["db", *words])
    assert result.exit_code == 0, result.output
    return result.output


def tables(app: Flask) -> set[str]:
    with app.app_context():
        return set(inspect(db.engine).get_table_names())


def scripts() -> ScriptDirectory:
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    return ScriptDirectory.from_config(config)


def test_migrations_are_linear_with_one_head():
    assert len(scripts().get_heads()) == 1
    assert len(scripts().get_bases()) == 1
    for step in scripts().walk_revisions():
        assert not step.is_merge_point
        assert not step.is_branch_point


def test_migrations_are_numbered_and_readiness_expects_the_last():
    numbers = [step.revision for step in reversed(list(scripts().walk_revisions()))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    assert numbers[-1] == MIGRATION_HEAD


def test_every_migration_has_a_docstring_and_a_downgrade():
    for step in scripts().walk_revisions():
        assert step.doc, step.revision
        assert callable(step.module.upgrade)
        assert callable(step.module.downgrade)


def test_the_migrated_schema_equals_the_models(app: Flask):
    flask_db(app, "upgrade")
    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": db.metadata}
        )
        assert compare_metadata(context, db.metadata) == []


def test_migrations_and_models_use_the_same_primary_key_names(app: Flask):
    """Autogenerate does not compare names of primary keys; a later migration that drops one needs the right name."""
    flask_db(app, "upgrade")
    with app.app_context():
        inspector = inspect(db.engine)
        for table in db.metadata.sorted_tables:
            key = inspector.get_pk_constraint(table.name)
            assert key["name"] == f"pk_{table.name}"
            assert key["constrained_columns"] == [column.name for column in table.primary_key.columns]


def test_migrations_and_models_use_the_same_collations(app: Flask):
    """Autogenerate does not compare collations."""
    flask_db(app, "upgrade")
    if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        return
    with app.app_context():
        columns = {column["name"]: column["type"] for column in inspect(db.engine).get_columns("tasks")}
    bytewise = {column.name for column in db.metadata.tables["tasks"].columns if column.type is Bytewise}
    assert {"folded_title", "folded_description", "position", "due_order"} <= bytewise
    assert {columns[name].collation for name in bytewise} == {"C"}


def test_downgrade_to_base_and_upgrade_again(app: Flask):
    flask_db(app, "upgrade")
    full = tables(app)
    assert {"tasks", "users", "alembic_version"} <= full
    flask_db(app, "downgrade", "base")
    assert tables(app) == {"alembic_version"}
    flask_db(app, "upgrade")
    assert tables(app) == full
    Person(app.test_client(), "alice").add()


def test_each_migration_can_be_downgraded_and_repeated(app: Flask):
    for step in reversed(list(scripts().walk_revisions())):
        flask_db(app, "upgrade", step.revision)
        flask_db(app, "downgrade", step.down_revision or "base")
        flask_db(app, "upgrade", step.revision)
    assert "tasks" in tables(app)


def test_upgrading_twice_changes_nothing_and_keeps_the_rows(app: Flask):
    flask_db(app, "upgrade")
    alice = Person(app.test_client(), "alice")
    alice.add("Kept")
    flask_db(app, "upgrade")
    assert alice.titles() == ["Kept"]


def test_autogenerate_finds_no_difference(app: Flask):
    """`flask db check`, which a developer runs after changing a model."""
    flask_db(app, "upgrade")
    flask_db(app, "check")


def test_an_offline_migration_is_refused(app: Flask):
    result = app.test_cli_runner().invoke(args=["db", "upgrade", "--sql"])
    assert result.exit_code != 0
    assert "taskapi has online migrations only" in str(result.exception) + result.output
    assert tables(app) == set()


def test_a_migration_fails_when_it_waits_too_long_for_a_lock(app: Flask):
    if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        return  # SQLite has no lock queue; a writer waits for its busy timeout
    flask_db(app, "upgrade")
    with app.app_context(), db.engine.connect() as reader:
        reader.execute(text("BEGIN"))
        reader.execute(text("SELECT 1 FROM tasks"))  # an open transaction, with its lock on the table
        result = app.test_cli_runner().invoke(args=["db", "downgrade", "base"])
    assert result.exit_code == 1
    assert result.output == (
        "Error: the database is busy: canceling statement due to lock timeout. Repeat the command.\n"
    )
    assert "tasks" in tables(app)
