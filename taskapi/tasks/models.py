"""The tables: a task, and its owner's counters. Only the statement modules beside this file import them."""

from __future__ import annotations

import secrets
from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, UTCDateTime

# Compared byte by byte, in PostgreSQL as in SQLite, whatever the locale of the database: the same order on both.
Bytewise = Text().with_variant(Text(collation="C"), "postgresql")


def new_epoch() -> str:
    """A random secret."""
    return secrets.token_hex(16)


class User(Base):
    """The counters of one user; the row is made by the first write and locked by every write."""

    __tablename__ = "users"

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger)
    """Goes up by one with every write of this user: a version for each row and for the whole list."""
    last_task_id: Mapped[int] = mapped_column(BigInteger)
    """The id given last; ids are never reused."""
    epoch: Mapped[str] = mapped_column(String(32), default=new_epoch)
    """Random, secret, and new for each life of this row: what its cursors are signed with."""


class Task(Base):
    """A task. Its identity is (user_id, id): no key, index or join leaves the owner out."""

    __tablename__ = "tasks"
    # The whole order of a list by `updated_at`, so that its pages are read off the index and never sorted.
    __table_args__ = (Index(None, "user_id", "revision", "id"),)

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(BigInteger)
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(Text)
    completed: Mapped[bool] = mapped_column(Boolean)
    completed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    folded_title: Mapped[str] = mapped_column(Bytewise)
    """The title as search and sort see it, folded by the application so that both databases agree."""
    folded_description: Mapped[str | None] = mapped_column(Bytewise)
