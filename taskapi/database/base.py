"""What all models share: the declarative base, column types, and the clock of writes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, Dialect, MetaData, text
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
"""Where Alembic's steps stand, whatever directory a command is run from."""


class Base(DeclarativeBase):
    """Base of the models. They do not inherit from `db.Model`, which strict typing cannot follow."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


EMPTY = text("''")
"""The empty string as a default of the database: Alembic takes a plain one for none when it compares."""


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime in and out, on databases with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the database")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Nothing to do where the driver gives aware times, in the zone of its session: UTC (`SESSION`)."""
        return super().result_processor(dialect, coltype) if dialect.name == "sqlite" else None


def now() -> datetime:
    """The time of a write, in whole milliseconds: the precision of a JavaScript `Date`, so nothing is cut off there."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


db = SQLAlchemy(metadata=Base.metadata)


del db.session  # work is marked @reads or @writes
