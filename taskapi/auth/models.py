"""The tables of sign-out. Only the statement module beside this file imports them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from ..database.base import Base, UTCDateTime


class EndedSession(Base):
    """A session whose tokens are refused, as long as one of them could still live."""

    __tablename__ = "ended_sessions"
    # Read in this order by every worker, for all users at once.
    __table_args__ = (Index("ix_ended_sessions_number", "number"),)

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    session_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    """Counts the sign-outs in the order in which they were committed."""
    forget_at: Mapped[datetime] = mapped_column(UTCDateTime)


class SeenLogoutToken(Base):
    """A logout notice that was carried out: it is not accepted again."""

    __tablename__ = "seen_notices"

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    notice_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    forget_at: Mapped[datetime] = mapped_column(UTCDateTime)
