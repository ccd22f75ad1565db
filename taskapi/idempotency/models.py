"""Tables of idempotency keys. Only `queries` in this package imports them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Index, LargeBinary, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from ..database.base import Base, UTCDateTime


class StoredResponse(Base):
    """A stored response, identified by a user and an idempotency key."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index(None, "user_id", "task_id"),
        Index(None, "user_id", "created_at"),
    )

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the request in hex; another request with the same key is refused (`KeyReused`)."""
    status: Mapped[int] = mapped_column(SmallInteger)
    headers: Mapped[str] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    task_id: Mapped[int | None] = mapped_column(BigInteger)
    """The id of the task in the response, if the response is a single task."""
    is_reduced: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """True if `body` contains no data of tasks: a replay rebuilds the response from the current tasks."""


class Usage(Base):
    """Number of a user's stored keys and bytes of their bodies.

    Updated with each stored key, because summing the rows for each request would be slow.
    """

    __tablename__ = "idempotency_usage"

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    key_count: Mapped[int] = mapped_column(BigInteger)
    body_bytes: Mapped[int] = mapped_column(BigInteger)
