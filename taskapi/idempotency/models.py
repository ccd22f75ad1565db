"""The tables of idempotency keys. Only the statement module beside this file imports them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Index, LargeBinary, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from ..database.base import Base, UTCDateTime


class StoredResponse(Base):
    """The response that was given under a key of a user."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index(None, "user_id", "task_id"),
        Index(None, "user_id", "created_at"),
    )

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the request, in hex: the same key with another request is a mistake."""
    status: Mapped[int] = mapped_column(SmallInteger)
    headers: Mapped[str] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    task_id: Mapped[int | None] = mapped_column(BigInteger)
    """The task whose content the response is, if it is one task."""
    is_reduced: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """Whether `body` has no content of tasks: a replay rebuilds it from the tasks as they are."""


class Usage(Base):
    """How many keys of a user are stored, and the bytes of their bodies; counted with each key, never summed up."""

    __tablename__ = "idempotency_usage"

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    key_count: Mapped[int] = mapped_column(BigInteger)
    body_bytes: Mapped[int] = mapped_column(BigInteger)
