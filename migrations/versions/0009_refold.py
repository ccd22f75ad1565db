"""Fold the text of all tasks again: search ignores more letters, marks and punctuation since this release."""

from __future__ import annotations

from alembic import op

from taskapi.tasks.refolding import refold_all

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    # Commits the migrations before, then works in transactions of its own, of 100 tasks each: requests go on. When it
    # is interrupted the version is still 0008, and the next run finds the rest: it writes only what is not up to date.
    with op.get_context().autocommit_block():
        if op.get_bind().dialect.name == "sqlite":
            op.execute("COMMIT")  # our connections begin each transaction, also this empty one, with the write lock
        refold_all()


def downgrade() -> None:
    """Keep the folded text: code from before folds a task again when it changes its text."""
