"""The tables of back-channel logout. Only queries.py imports them.

The names `seen_notices`, `notice_id` and `forget_at` are older than these attributes. They cannot be renamed in the
database: during a deployment the code of the last release runs on the migrated tables (docs/operations.md, "Database").
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from ..database.base import Base, UTCDateTime


class EndedSession(Base):
    """A session that has ended: its tokens are rejected. Kept until the last of them has expired."""

    __tablename__ = "ended_sessions"
    # Every worker reads the rows of all users in this order, in which they are committed: see queries.py.
    __table_args__ = (Index("ix_ended_sessions_number", "number", unique=True),)

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    session_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    """Sequence number, ascending in commit order."""
    expires_at: Mapped[datetime] = mapped_column("forget_at", UTCDateTime)
    """The last token of the session has expired by then; `flask purge` deletes the row."""


class SeenLogoutToken(Base):
    """The `jti` of a logout token that was executed, which is not accepted again until it has expired."""

    __tablename__ = "seen_notices"

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    token_id: Mapped[str] = mapped_column("notice_id", String(255), primary_key=True)
    """The `jti`."""
    expires_at: Mapped[datetime] = mapped_column("forget_at", UTCDateTime)
