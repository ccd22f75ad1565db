"""Idempotency keys: the task of a stored response, and the number of keys and bytes stored per user."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

# As in migration 0005: in a subquery, so that it is evaluated once per statement and not once per row.
MINE = "user_id = (SELECT nullif(current_setting('taskapi.user_id', true), ''))"


def upgrade() -> None:
    # Code from before this migration still inserts rows: without a task, with the whole response.
    op.add_column("idempotency_keys", sa.Column("task_id", sa.BigInteger(), nullable=True))
    op.add_column(
        "idempotency_keys", sa.Column("is_reduced", sa.Boolean(), nullable=False, server_default=sa.text("false"))
    )
    op.create_index("ix_idempotency_keys_user_id_task_id", "idempotency_keys", ["user_id", "task_id"])
    op.create_index("ix_idempotency_keys_user_id_created_at", "idempotency_keys", ["user_id", "created_at"])
    # Keys from before this migration are not counted: they expire within a day, and `flask purge` recounts.
    op.create_table(
        "idempotency_usage",
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("key_count", sa.BigInteger(), nullable=False),
        sa.Column("body_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_idempotency_usage"),
    )
    if op.get_bind().dialect.name == "postgresql":
        _enable_row_level_security("idempotency_usage")


def _enable_row_level_security(table: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY shown ON {table} FOR SELECT USING ({MINE})")
    op.execute(f"CREATE POLICY added ON {table} FOR INSERT WITH CHECK ({MINE})")
    op.execute(f"CREATE POLICY changed ON {table} FOR UPDATE USING ({MINE}) WITH CHECK ({MINE})")
    op.execute(f"CREATE POLICY removed ON {table} FOR DELETE USING ({MINE})")


def downgrade() -> None:
    op.drop_table("idempotency_usage")
    op.drop_index("ix_idempotency_keys_user_id_created_at", "idempotency_keys")
    op.drop_index("ix_idempotency_keys_user_id_task_id", "idempotency_keys")
    op.drop_column("idempotency_keys", "is_reduced")
    op.drop_column("idempotency_keys", "task_id")
