"""The tables: a task, and its owner's counters. Only the statement modules beside this file import them."""

from __future__ import annotations

import secrets
from datetime import date, datetime

from sqlalchemy import BigInteger, Boolean, Date, Dialect, Index, SmallInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from ..database.base import EMPTY, Base, UTCDateTime

# Compared byte by byte, in PostgreSQL as in SQLite, whatever the locale of the database: the same order on both.
Bytewise = Text().with_variant(Text(collation="C"), "postgresql")


def new_epoch() -> str:
    """A random secret."""
    return secrets.token_hex(16)


class Labels(TypeDecorator[tuple[str, ...]]):
    """Tags as one text, each between two line breaks: a substring search finds a whole tag, and order is kept."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, _dialect: Dialect) -> str:
        return "".join(f"\n{tag}\n" for tag in value or ())

    def process_result_value(self, value: str | None, _dialect: Dialect) -> tuple[str, ...]:
        return tuple(value[1:-1].split("\n\n")) if value else ()


class User(Base):
    """The counters of one user; the row is made by the first write and locked by every write."""

    __tablename__ = "users"

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger)
    """Goes up by one with every write of this user: a version for each row and for the whole list."""
    last_task_id: Mapped[int] = mapped_column(BigInteger)
    """The id given last; ids are never reused."""
    live_tasks: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """How many tasks are not in the trash: what the quota is held against, without counting."""
    sync_floor: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """The last revision whose tombstones were forgotten: the feed cannot answer from before it."""
    epoch: Mapped[str] = mapped_column(String(32), default=new_epoch)
    """Random, secret, and new after each erasure: what cursors and feed tokens are signed with."""
    erased_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    """When everything of the user was erased. The counters stay for a while, so that no version and no id repeats."""


class Task(Base):
    """A task, or what is left of one. Its identity is (user_id, id): no key, index or join leaves the owner out."""

    __tablename__ = "tasks"
    __table_args__ = (
        Index(None, "user_id", "revision", "id"),
        # Completing twice, at the same moment too, makes one next task.
        Index(None, "user_id", "series_id", "occurrence", unique=True),
    )

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(BigInteger)
    created_revision: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """The revision that made it: the same as `revision` until it is touched."""
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(Text)
    completed: Mapped[bool] = mapped_column(Boolean)
    completed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    tags: Mapped[tuple[str, ...]] = mapped_column(Labels, server_default=EMPTY)
    due_date: Mapped[date | None] = mapped_column(Date)
    due_time: Mapped[str | None] = mapped_column(String(5))
    time_zone: Mapped[str | None] = mapped_column(String(64))
    due_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    recurrence: Mapped[str | None] = mapped_column(String(200))
    repeat_from: Mapped[str] = mapped_column(String(10), server_default="due")
    series_id: Mapped[int | None] = mapped_column(BigInteger)
    """The first task of the series, once it has a second."""
    occurrence: Mapped[int | None] = mapped_column(BigInteger)
    """The place in the series, from 1."""
    next_task_id: Mapped[int | None] = mapped_column(BigInteger)
    position: Mapped[str] = mapped_column(Bytewise, server_default=EMPTY)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    """Since when it is in the trash."""
    purged_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    """Since when it is a tombstone: without content, for the feed only."""
    folded_title: Mapped[str] = mapped_column(Bytewise)
    """The title as search and sort see it, folded by the application so that both databases agree."""
    folded_description: Mapped[str | None] = mapped_column(Bytewise)
    folded_tags: Mapped[tuple[str, ...]] = mapped_column(Labels, server_default=EMPTY)
    due_order: Mapped[str] = mapped_column(Bytewise, server_default=EMPTY)
    """When it is due, as text that sorts; empty for never."""
