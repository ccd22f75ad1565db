"""Claim an idempotency key: the transaction inserts the row of the key first, and others with that key wait for it.

A row lock and no advisory lock, which applies to one node only if the database is distributed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from psycopg.errors import LockNotAvailable
from sqlalchemy import String, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ..auth.tokens import User
from ..database.base import UTCDateTime, db, now
from ..database.prepared import Prepared
from ..database.transactions import fetch_with_lock_timeout
from .models import StoredResponse

LIFETIME = timedelta(hours=24)
"""Time for which a stored response is replayed."""

LOCK_TIMEOUT = "100ms"
"""Longest wait for a request with the same key on PostgreSQL, in which it occupies a slot; then the response is 409."""


class InFlight(Exception):
    """The first request with this key is still being executed."""


_OWNER, _KEY = bindparam("owner", type_=String), bindparam("key", type_=String)
_OWN_KEY = (StoredResponse.user_id == _OWNER, StoredResponse.key == _KEY)
_CLAIM = {
    "fingerprint": bindparam("request_fingerprint", type_=String),
    "status": 0,
    "headers": "",
    "body": b"",
    "created_at": bindparam("claimed_at", type_=UTCDateTime),
}
"""The columns of a key whose response is not known yet; no other transaction sees such a row."""

_INSERT_KEY = {
    dialect.__name__.rpartition(".")[2]: Prepared(
        dialect.insert(StoredResponse)
        .values(user_id=_OWNER, key=_KEY, **_CLAIM)
        .on_conflict_do_nothing(index_elements=[StoredResponse.user_id, StoredResponse.key])
        .returning(StoredResponse.key)
    )
    for dialect in (postgresql, sqlite)
}
"""By dialect: claim a key that is not stored. Waits for a transaction that has inserted it."""

_SELECT_KEY = Prepared(select(StoredResponse.__table__).where(*_OWN_KEY))

_TAKE_EXPIRED_KEY = Prepared(
    update(StoredResponse)
    .where(*_OWN_KEY, StoredResponse.created_at <= bindparam("expired_at", type_=UTCDateTime))
    .values(_CLAIM)
    .returning(StoredResponse.key)
)
"""Claim a key that has expired. Waits for a transaction that has taken it."""


def claim(user: User, key: str, fingerprint: str) -> tuple[Any, bool]:
    """Return the stored row of the key, or None after claiming the key; and whether the key's row is new.

    A claim is a row that the caller's transaction has inserted, or taken from an expired response. Another transaction
    with the key waits for it for `LOCK_TIMEOUT`, then raises `InFlight`. SQLite executes one write transaction at a
    time, so that a second request waits for the first.
    """
    at = now()
    own_key = {"owner": user.id, "key": key}
    claimed = {**own_key, "request_fingerprint": fingerprint, "claimed_at": at}
    try:
        insertion = _INSERT_KEY[db.engine.dialect.name](**claimed)
        inserted, found = fetch_with_lock_timeout(LOCK_TIMEOUT, insertion, _SELECT_KEY(**own_key))
        if inserted:
            return None, True
        if found and found[0].created_at > at - LIFETIME:
            return found[0], False
        (taken,) = fetch_with_lock_timeout(LOCK_TIMEOUT, _TAKE_EXPIRED_KEY(**claimed, expired_at=at - LIFETIME))
    except LockNotAvailable:
        raise InFlight from None
    if not taken:
        raise InFlight  # another request has just taken it, or the purge has removed it
    return None, False
