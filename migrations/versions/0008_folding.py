"""Column `users.folding`: the version of the text folding by which `flask purge` has checked all tasks of the user."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # With a server default: code from before this migration still inserts rows without the column.
    op.add_column("users", sa.Column("folding", sa.SmallInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("users", "folding")
