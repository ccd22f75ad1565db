"""Every statement on ended sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select, union, update

from ..database.base import db, now
from ..database.unit_of_work import PURGE, SIGN_OUTS, execute, reads, rows, writes
from .models import EndedSession, SeenLogoutToken
from .tokens import User


class Replayed(Exception):
    """The notice was carried out before."""


@dataclass(frozen=True, slots=True)
class EndedSessionEntry:
    """One sign-out of the log that all workers read."""

    number: int
    name: str
    forget_at: datetime
    """Tells it from another in its place: numbers are given anew when the last was purged or a backup was restored."""


def name(user_id: str, session_id: str) -> str:
    """One string for a session of a user, for neither id can hold a line break."""
    return f"{user_id}\n{session_id}"


@writes
def record_logout(user: User, notice: str, *, forget_session: datetime, forget_notice: datetime) -> None:
    """End the session that `user` names, once for each notice; if it has ended before, remember that as of now.

    Raises `Replayed`.
    """
    _lock_log()
    seen = select(SeenLogoutToken.notice_id).where(
        SeenLogoutToken.user_id == user.id, SeenLogoutToken.notice_id == notice
    )
    if execute(seen).first():
        raise Replayed
    execute(insert(SeenLogoutToken).values(user_id=user.id, notice_id=notice, forget_at=forget_notice))
    again = update(EndedSession).where(EndedSession.user_id == user.id, EndedSession.session_id == user.session)
    if not execute(again.values(forget_at=forget_session)).rowcount:
        last = select(func.coalesce(func.max(EndedSession.number), 0))  # of all users
        number = execute(last, job=SIGN_OUTS).scalar_one() + 1
        row = {"session_id": user.session, "number": number, "forget_at": forget_session}
        execute(insert(EndedSession).values(user_id=user.id, **row))


def _lock_log() -> None:
    """Let one sign-out be written at a time, so that their numbers are committed in order and no reader misses one."""
    if db.engine.dialect.name == "postgresql":  # SQLite lets one write at a time anyway
        execute(select(func.pg_advisory_xact_lock(func.hashtextextended(EndedSession.__tablename__, 0))))


@reads
def has_ended(user: User) -> bool:
    """Whether the session that `user` names has ended."""
    mine = (EndedSession.user_id == user.id, EndedSession.session_id == user.session)
    return execute(select(EndedSession.number).where(*mine)).first() is not None


def ended_sessions_since(since: int, most: int) -> Sequence[EndedSessionEntry]:
    """At most so many entries from that number on; about no user, for every worker needs to know of all."""
    entries = select(EndedSession.__table__).where(EndedSession.number >= since)
    found = rows(entries.order_by(EndedSession.number).limit(most), job=SIGN_OUTS)
    return [EndedSessionEntry(row.number, name(row.user_id, row.session_id), row.forget_at) for row in found]


def users_due() -> list[User]:
    """Who has something to forget; about no user, so for the purge only."""
    due = union(*(select(table.user_id).where(table.forget_at <= now()) for table in (EndedSession, SeenLogoutToken)))
    return [User(row.user_id) for row in rows(due, job=PURGE)]


@writes
def purge(user: User) -> int:
    """Forget a user's sessions of which no token can live any more, and the notices; how many sessions there were."""
    execute(delete(SeenLogoutToken).where(SeenLogoutToken.user_id == user.id, SeenLogoutToken.forget_at <= now()))
    return execute(
        delete(EndedSession).where(EndedSession.user_id == user.id, EndedSession.forget_at <= now())
    ).rowcount
