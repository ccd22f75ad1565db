"""The tables of back-channel logout. Only queries.py imports them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from ..database.base import Base, UTCDateTime


class EndedSession(Base):
    """A session that has ended: its tokens are rejected. Kept until the last of them has expired."""

    __tablename__ = "ended_sessions"
    # Every worker reads the rows of all users in this order.
    __table_args__ = (Index("ix_ended_sessions_number", "number"),)

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    session_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    """Sequence number, ascending in commit order."""
    forget_at: Mapped[datetime] = mapped_column(UTCDateTime)


class SeenLogoutToken(Base):
    """The `jti` of a logout token that was executed, which is not accepted again until it has expired."""

    __tablename__ = "seen_notices"

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    notice_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    forget_at: Mapped[datetime] = mapped_column(UTCDateTime)
