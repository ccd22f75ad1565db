"""All SQL statements on ended sessions and executed logout tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select, union, update

from ..database.base import db, now
from ..database.transactions import PURGE, SIGN_OUTS, execute, reads, rows, writes
from .models import EndedSession, SeenLogoutToken
from .tokens import User


class Replayed(Exception):
    """The logout token was executed before."""


@dataclass(frozen=True, slots=True)
class EndedSessionEntry:
    """A row of `ended_sessions`, as the workers' caches read it."""

    number: int
    key: str
    expires_at: datetime
    """Distinguishes rows of one number: numbers repeat after the last row was purged or a backup was restored."""


def session_key(user_id: str, session_id: str) -> str:
    """Return the key of a session among those of all users: the two ids, joined by a line break, which no id has."""
    return f"{user_id}\n{session_id}"


@writes
def record_logout(user: User, token_id: str, *, session_expires_at: datetime, token_expires_at: datetime) -> None:
    """Insert the session that `user` names into `ended_sessions`; only set its `expires_at` if it has ended before.

    `session_expires_at` is when the last token of the session has expired. Also stores `token_id`, the `jti` of the
    logout token, until `token_expires_at`; raises `Replayed` if it is stored already. Waits for the lock of
    `_lock_log`. Joins the caller's transaction, if any; otherwise commits.
    """
    _lock_log()
    seen = select(SeenLogoutToken.token_id).where(
        SeenLogoutToken.user_id == user.id, SeenLogoutToken.token_id == token_id
    )
    if execute(seen).first():
        raise Replayed
    execute(insert(SeenLogoutToken).values(user_id=user.id, token_id=token_id, expires_at=token_expires_at))
    again = update(EndedSession).where(EndedSession.user_id == user.id, EndedSession.session_id == user.session)
    if not execute(again.values(expires_at=session_expires_at)).rowcount:
        last = select(func.coalesce(func.max(EndedSession.number), 0))  # of all users
        number = execute(last, job=SIGN_OUTS).scalar_one() + 1
        row = {"session_id": user.session, "number": number, "expires_at": session_expires_at}
        execute(insert(EndedSession).values(user_id=user.id, **row))


def _lock_log() -> None:
    """Wait until no other transaction, of any user, writes `ended_sessions`; this one holds the lock until it ends.

    So numbers are committed in ascending order, and a reader misses none. Call it before the last number is read. On
    SQLite, which has one writer at a time anyway, it does nothing.
    """
    if db.engine.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        execute(select(func.pg_advisory_xact_lock(func.hashtextextended(EndedSession.__tablename__, 0))))


@reads
def has_ended(user: User) -> bool:
    """Return True if the session that `user` names is in `ended_sessions`, expired or not."""
    is_session = (EndedSession.user_id == user.id, EndedSession.session_id == user.session)
    return execute(select(EndedSession.number).where(*is_session)).first() is not None


def ended_sessions_since(first: int, limit: int) -> Sequence[EndedSessionEntry]:
    """Return up to `limit` ended sessions of all users, from number `first` (inclusive), in ascending order.

    Runs as the row-level security job SIGN_OUTS, which may read the rows of all users.
    """
    columns = (
        EndedSession.number,
        EndedSession.user_id,
        EndedSession.session_id,
        EndedSession.expires_at.label("expires_at"),
    )
    entries = select(*columns).where(EndedSession.number >= first)
    found = rows(entries.order_by(EndedSession.number).limit(limit), job=SIGN_OUTS)
    return [EndedSessionEntry(row.number, session_key(row.user_id, row.session_id), row.expires_at) for row in found]


def users_due() -> list[User]:
    """Return the users with expired ended sessions or logout token ids.

    Reads the rows of all users, in a unit of work of its own (row-level security job PURGE).
    """
    due = union(*(select(table.user_id).where(table.expires_at <= now()) for table in (EndedSession, SeenLogoutToken)))
    return [User(row.user_id) for row in rows(due, job=PURGE)]


def oldest_due() -> datetime | None:
    """Return when the oldest ended session or logout token id of all users expired; None if none has (job PURGE)."""
    found = [
        row.expired
        for table in (EndedSession, SeenLogoutToken)
        for row in rows(select(func.min(table.expires_at).label("expired")).where(table.expires_at <= now()), job=PURGE)
    ]
    return min(filter(None, found), default=None)


@writes
def purge(user: User) -> int:
    """Delete a user's expired ended sessions and logout token ids; return the number of sessions only.

    Joins the caller's transaction, if any; otherwise commits.
    """
    execute(delete(SeenLogoutToken).where(SeenLogoutToken.user_id == user.id, SeenLogoutToken.expires_at <= now()))
    return execute(
        delete(EndedSession).where(EndedSession.user_id == user.id, EndedSession.expires_at <= now())
    ).rowcount
