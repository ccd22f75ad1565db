"""Tables of ended sessions and of processed logout tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from taskapi.database.base import UTCDateTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "ended_sessions",
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("session_id", sa.String(255), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("forget_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "session_id", name="pk_ended_sessions"),
    )
    op.create_index("ix_ended_sessions_number", "ended_sessions", ["number"])
    op.create_table(
        "seen_notices",
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("notice_id", sa.String(255), nullable=False),
        sa.Column("forget_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "notice_id", name="pk_seen_notices"),
    )


def downgrade() -> None:
    op.drop_table("seen_notices")
    op.drop_table("ended_sessions")
