"""The tables `tasks` and `users` (the counters of a task's owner). Only statement modules may import them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Date, Dialect, Index, SmallInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from ..database.base import EMPTY, Base, UTCDateTime

Bytewise = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that is compared byte by byte, independent of the database's locale: the same order in PostgreSQL and SQLite."""


def new_epoch() -> str:
    """Return a new random epoch of 32 hex digits, the key that cursors and sync tokens are signed with."""
    return secrets.token_hex(16)


class Labels(TypeDecorator[tuple[str, ...]]):
    """Column type of tags: one text, each tag between two line breaks, so that a substring search finds whole tags."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, _dialect: Dialect) -> str:
        """Return the stored text of tags; "" for None and for no tags."""
        return "".join(f"\n{tag}\n" for tag in value or ())

    def process_result_value(self, value: str | None, _dialect: Dialect) -> tuple[str, ...]:
        """Return the tags of a stored text; () for NULL and for an empty text."""
        return _decode_labels(value)

    def result_processor(self, _dialect: Dialect, _coltype: object) -> Callable[[Any], Any]:
        """Return the function that decodes tags, without TypeDecorator's slower wrapper: it is called per row."""
        return _decode_labels


def _decode_labels(value: str | None) -> tuple[str, ...]:
    """Return the tags of a stored text; () for NULL and for an empty text."""
    return tuple(value[1:-1].split("\n\n")) if value else ()


class User(Base):
    """The counters of one user. The first write inserts the row, and every write locks it."""

    __tablename__ = "users"

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger)
    """Incremented by every write of this user; the version of each row it writes, and of the whole list."""
    last_task_id: Mapped[int] = mapped_column(BigInteger)
    """The last allocated task id; ids are never reused."""
    live_tasks: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """The number of tasks that are not in the trash, so that the quota is checked without counting rows."""
    sync_floor: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """The last revision whose tombstones were removed: a sync token of an earlier revision is expired (410)."""
    epoch: Mapped[str] = mapped_column(String(32), default=new_epoch)
    """Random secret, replaced by an erasure; the HMAC key of cursors and sync tokens."""
    erased_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    """When the user erased all data. The row stays for 90 days, so that no version and no id is used twice."""
    folding: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """The `folding.VERSION` by which `flask purge` has checked all tasks of the user; 0 for none."""


class Task(Base):
    """A task, or its tombstone. The primary key is (user_id, id); every index and join includes the owner."""

    __tablename__ = "tasks"
    __table_args__ = (
        Index(None, "user_id", "revision", "id"),
        # Two concurrent completions of a recurring task insert one next task.
        Index(None, "user_id", "series_id", "occurrence", unique=True),
    )

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(BigInteger)
    created_revision: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """The revision that inserted the row; equal to `revision` as long as the task is unchanged."""
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
    """The id of the first task of the series; NULL until the series has a second task."""
    occurrence: Mapped[int | None] = mapped_column(BigInteger)
    """The position in the series, from 1."""
    next_task_id: Mapped[int | None] = mapped_column(BigInteger)
    position: Mapped[str] = mapped_column(Bytewise, server_default=EMPTY)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    """When the task was moved to the trash or deleted permanently."""
    purged_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    """When the content was removed: the row is a tombstone for the delta feed."""
    folded_title: Mapped[str] = mapped_column(Bytewise)
    """The title without case, accents and typography (`folding.fold`), for search and sort."""
    folded_description: Mapped[str | None] = mapped_column(Bytewise)
    folded_tags: Mapped[tuple[str, ...]] = mapped_column(Labels, server_default=EMPTY)
    due_order: Mapped[str] = mapped_column(Bytewise, server_default=EMPTY)
    """The due date and time as a sort key (`schedule.due_sort_key`); empty without a due date."""
