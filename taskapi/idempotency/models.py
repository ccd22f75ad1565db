"""The table of answers that were given under a key. Only the statement module beside this file imports it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import LargeBinary, SmallInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, UTCDateTime


class Answered(Base):
    """What a key of a user was answered with."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the request, in hex: the same key with another request is a mistake."""
    status: Mapped[int] = mapped_column(SmallInteger)
    headers: Mapped[str] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
