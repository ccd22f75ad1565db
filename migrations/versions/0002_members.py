"""Columns for priority, tags, due dates, recurrence, manual order, trash and tombstones."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from taskapi.database.base import UTCDateTime

revision = "0002"
down_revision = "0001"

Bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

USERS: tuple[sa.Column[Any], ...] = (
    sa.Column("live_tasks", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("sync_floor", sa.BigInteger(), nullable=False, server_default="0"),
)
# Each has a server default: code from before this migration still inserts rows without these columns.
TASKS: tuple[sa.Column[Any], ...] = (
    sa.Column("created_revision", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("priority", sa.SmallInteger(), nullable=False, server_default="0"),
    sa.Column("tags", sa.Text(), nullable=False, server_default=sa.text("''")),
    sa.Column("due_date", sa.Date(), nullable=True),
    sa.Column("due_time", sa.String(5), nullable=True),
    sa.Column("time_zone", sa.String(64), nullable=True),
    sa.Column("due_at", UTCDateTime(), nullable=True),
    sa.Column("recurrence", sa.String(200), nullable=True),
    sa.Column("repeat_from", sa.String(10), nullable=False, server_default="due"),
    sa.Column("series_id", sa.BigInteger(), nullable=True),
    sa.Column("occurrence", sa.BigInteger(), nullable=True),
    sa.Column("next_task_id", sa.BigInteger(), nullable=True),
    sa.Column("position", Bytewise, nullable=False, server_default=sa.text("''")),
    sa.Column("purged_at", UTCDateTime(), nullable=True),
    sa.Column("folded_tags", sa.Text(), nullable=False, server_default=sa.text("''")),
    sa.Column("due_order", Bytewise, nullable=False, server_default=sa.text("''")),
)


def upgrade() -> None:
    for column in USERS:
        op.add_column("users", column)
    for column in TASKS:
        op.add_column("tasks", column)
    # The format of taskapi.tasks.positions: a letter for the number of digits of the id, then the id.
    op.execute(
        "UPDATE tasks SET position = substr('abcdefghijklmnopqrs', length(CAST(id AS text)), 1) || CAST(id AS text)"
    )
    op.execute(
        "UPDATE users SET live_tasks = "
        "(SELECT count(*) FROM tasks WHERE tasks.user_id = users.user_id AND tasks.deleted_at IS NULL)"
    )
    op.create_index(
        "ix_tasks_user_id_series_id_occurrence", "tasks", ["user_id", "series_id", "occurrence"], unique=True
    )


def downgrade() -> None:
    op.drop_index("ix_tasks_user_id_series_id_occurrence", "tasks")
    # Without purged_at a tombstone would be a task in the trash without content.
    op.execute("DELETE FROM tasks WHERE purged_at IS NOT NULL")
    for column in TASKS:
        op.drop_column("tasks", column.name)
    for column in USERS:
        op.drop_column("users", column.name)
