"""Column `users.erased_at`: the counters of an erased user stay, so that no id and no version is used twice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from taskapi.database.base import UTCDateTime

revision = "0007"
down_revision = "0006"

# As in migration 0005: in subqueries, so that they are evaluated once per statement and not once per row.
MINE = "user_id = (SELECT nullif(current_setting('taskapi.user_id', true), ''))"
# The purge reads erased users of all. CASE because of the planner's estimate: see `shown` in migration 0005.
MINE_OR_PURGE = f"CASE WHEN {MINE} THEN true ELSE (SELECT current_setting('taskapi.job', true)) IN ('purge') END"


def upgrade() -> None:
    # Code from before this migration still deletes the row at an erasure, and ignores the column.
    op.add_column("users", sa.Column("erased_at", UTCDateTime(), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER POLICY shown ON users USING ({MINE_OR_PURGE})")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER POLICY shown ON users USING ({MINE})")
    op.drop_column("users", "erased_at")
