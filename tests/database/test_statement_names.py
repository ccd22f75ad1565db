"""Names of statements: every prepared statement is found by its name in the code, and none has a value."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import pytest
from sqlalchemy import bindparam, select

from taskapi.database.prepared import Prepared
from taskapi.database.row_security import set_current_user
from taskapi.database.statement_names import statement_name
from taskapi.tasks import queries
from taskapi.tasks.models import Task
from taskapi.tasks.statements import counters

PACKAGE = Path(__file__).resolve().parents[2] / "taskapi"

HERE = Prepared(select(Task.id).where(Task.user_id == bindparam("owner")))
KEPT = {"by": ("a", Prepared(select(Task.title).where(Task.user_id == bindparam("owner"))))}


def made_on_demand() -> Prepared:
    return Prepared(select(Task.position).where(Task.user_id == bindparam("owner")))


def test_a_prepared_statement_has_the_name_of_the_variable_that_holds_it():
    assert queries._LIVE_TASK.name == "tasks.queries._LIVE_TASK"
    assert counters.BUMP_REVISION.name == "tasks.statements.counters.BUMP_REVISION"
    assert HERE.name.endswith(".HERE")
    assert KEPT["by"][1].name.endswith(".KEPT")
    assert made_on_demand().name.endswith(".made_on_demand")


def test_every_prepared_statement_of_the_service_is_found_by_its_name():
    gc.unfreeze()  # objects that are frozen (conftest.py) are not listed
    names = {
        each.name for each in gc.get_objects() if isinstance(each, Prepared) and each._made_in[0].startswith("taskapi")
    }
    assert len(names) > 20
    for name in names:
        module, variable = re.fullmatch(r"([a-z_.]+)\.(_?\w+)(?:\.\w+)?", name).groups()
        source = PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text()
        assert re.search(rf"^(def |class )?{variable}\b", source, re.MULTILINE), name


def test_statements_share_a_name_with_their_text_on_each_database():
    assert statement_name(HERE.on_sqlite.sql) == HERE.name
    assert statement_name(HERE.on_postgresql.sql) == HERE.name


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("BEGIN", "BEGIN"),
        ("BEGIN IMMEDIATE", "BEGIN"),
        ("COMMIT", "COMMIT"),
        ("SELECT tasks.id \nFROM tasks WHERE tasks.user_id = $1 FOR UPDATE", "SELECT tasks"),
        ('INSERT INTO "idempotency_keys" (user_id) VALUES ($1)', "INSERT idempotency_keys"),
        ("UPDATE users SET revision = 1", "UPDATE users"),
        ("", "statement"),
    ],
)
def test_another_statement_has_the_verb_and_the_table(sql: str, name: str):
    assert statement_name(sql) == name


def test_the_statement_that_sets_the_user_has_one_name_with_and_without_settings():
    assert statement_name(set_current_user(("alice", "")).sql) == "set_current_user"
    assert statement_name(set_current_user(("alice", ""), ("TimeZone", "UTC")).sql) == "set_current_user"
