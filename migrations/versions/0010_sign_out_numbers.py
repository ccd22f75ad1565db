"""The numbers of ended sessions are unique: the index, and no longer an advisory lock, puts them in order."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    # Code from before this migration holds an advisory lock while it inserts, so there are no duplicates.
    op.drop_index("ix_ended_sessions_number", "ended_sessions")
    op.create_index("ix_ended_sessions_number", "ended_sessions", ["number"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_ended_sessions_number", "ended_sessions")
    op.create_index("ix_ended_sessions_number", "ended_sessions", ["number"])
