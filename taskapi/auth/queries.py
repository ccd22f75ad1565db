"""All SQL statements on ended sessions and executed logout tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, union, update
from sqlalchemy.dialects import postgresql, sqlite

from ..database.base import Base, db, now
from ..database.failures import DatabaseUnavailable
from ..database.transactions import PURGE, SIGN_OUTS, execute, reads, rows, writes
from .models import EndedSession, SeenLogoutToken
from .tokens import User

ATTEMPTS = 100
"""Numbers that a sign-out tries; each that another one takes first costs it a wait for that one's commit."""


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
    logout token, until `token_expires_at`; raises `Replayed` if it is stored already. Waits for other transactions that
    end a session (`_append`), and raises `DatabaseUnavailable` if they are too many. Joins the caller's transaction, if
    any; otherwise commits.
    """
    if not _insert_unless_exists(SeenLogoutToken, user, token_id=token_id, expires_at=token_expires_at):
        raise Replayed
    again = update(EndedSession).where(EndedSession.user_id == user.id, EndedSession.session_id == user.session)
    row = {"session_id": user.session, "expires_at": session_expires_at}
    for _ in range(ATTEMPTS):
        if execute(again.values(expires_at=session_expires_at)).rowcount or _append(user, row):
            return
    raise DatabaseUnavailable("too many sessions end at the same time")


def _append(user: User, row: Mapping[str, Any]) -> bool:
    """Insert a row of `ended_sessions` with the next number; return False if another transaction inserted it first.

    The unique index makes transactions with the same number wait for each other, on all nodes of a database that is
    distributed. So numbers are committed in ascending order, and a reader misses none.
    """
    last = select(func.coalesce(func.max(EndedSession.number), 0))  # of all users
    number = execute(last, job=SIGN_OUTS).scalar_one() + 1
    return _insert_unless_exists(EndedSession, user, number=number, **row)


def _insert_unless_exists(table: type[Base], user: User, **row: Any) -> bool:
    """Insert a row of a user; return False if a row with one of its unique keys exists.

    Waits for another transaction that inserts such a row.
    """
    dialect = {"sqlite": sqlite, "postgresql": postgresql}[db.engine.dialect.name]
    statement = dialect.insert(table).values(user_id=user.id, **row).on_conflict_do_nothing()
    return execute(statement.returning(table.__table__.c.user_id)).first() is not None


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
