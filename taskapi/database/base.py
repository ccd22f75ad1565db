"""Declarative base of the models, their column types, and the timestamp of writes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask.globals import _cv_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, Dialect, Engine, MetaData, text
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
"""Absolute path of the Alembic migrations, so that `flask db` works from any directory."""


_ENGINE = "taskapi.engine"
"""Key of the engine in the extensions of the application."""


class Base(DeclarativeBase):
    """Declarative base of the models. They do not inherit from `db.Model`, which fails mypy --strict."""

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
"""Server default of an empty string. Alembic's comparison treats a plain empty string as no default."""


class UTCDateTime(TypeDecorator[datetime]):
    """Column type for timezone-aware UTC datetimes; stored without a time zone on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC, naive on SQLite; raises ValueError for a naive datetime. None stays None."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime: the column needs a timezone-aware value")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Return the stored time with the UTC time zone, which SQLite does not store; None for NULL."""
        return None if value is None else value.replace(tzinfo=UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return None, for no conversion, on PostgreSQL: psycopg returns aware datetimes in UTC, the session's zone.

        On SQLite return the function that calls `process_result_value`.
        """
        return super().result_processor(dialect, coltype) if dialect.name == "sqlite" else None


def now() -> datetime:
    """Return the UTC time, truncated to milliseconds, the precision of a JavaScript `Date`: clients round nothing."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


class _Database(SQLAlchemy):
    """Flask-SQLAlchemy whose `engine` is a lookup in a dict; its own looks through all binds in a weak dictionary."""

    @property
    def engine(self) -> Engine:
        """The engine of the current application; raises RuntimeError outside of an application context."""
        context = _cv_app.get(None)
        if context is None:
            return super().engine
        extensions = context.app.extensions
        if _ENGINE not in extensions:
            extensions[_ENGINE] = super().engine
        engine: Engine = extensions[_ENGINE]
        return engine


db = _Database(metadata=Base.metadata)


del db.session  # work is marked @reads or @writes
