"""SELECT statements of the delta feed: the tasks that changed after a revision, in the order of their revisions.

Every write of a user gets its revision under the lock of the user's row, so revisions become visible in order: a client
that has read one revision has read all before it. With a global sequence or with timestamps a client misses rows whose
transaction commits late.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Integer, bindparam, or_, tuple_

from ...auth.tokens import User
from ...database.prepared import BoundStatement, Prepared, Rows
from ...database.transactions import fetch, reads
from ..models import Task
from ..pages import Page, PageQuery, max_short_bytes
from ..state import SELECT_STATE, State, state_of
from ..statements.rows import OWNER
from .tokens import SyncPosition

_BINDS = {name: bindparam(name, type_=BigInteger) for name in ("revision", "id", "initial_revision")}

_QUERY = PageQuery(
    conditions=(
        Task.user_id == OWNER,
        tuple_(Task.revision, Task.id) > tuple_(_BINDS["revision"], _BINDS["id"]),
        # Without tombstones that a full sync does not need.
        or_(Task.deleted_at.is_(None), Task.revision > _BINDS["initial_revision"]),
    ),
    keys=(),
    order_by=(Task.revision, Task.id),
)
_MAX_ROWS = bindparam("max_rows", type_=Integer)
_PAGE = Prepared(_QUERY.short(_MAX_ROWS, bindparam("max_text_bytes", type_=Integer)))
_LONG_PAGE = Prepared(_QUERY.bounded(_MAX_ROWS, bindparam("max_bytes", type_=Integer)))

_START = SyncPosition(0, 0, initial_revision=2**63 - 1)
"""The start of a first sync. Its first page needs no tombstones: the client has received nothing before."""


@reads
def state_and_first_page(user: User, limit: int) -> tuple[State, Page]:
    """Read the user's state and the first page of a first sync, without tombstones, in one round trip."""
    state_rows, rows = fetch(SELECT_STATE(owner=user.id), _bind_page(user, _START, limit))
    return state_of(state_rows), Page.from_rows(rows, limit, keys=0)


@reads
def page(user: User, since: SyncPosition, limit: int) -> Page:
    """Read the next `limit` changes after a position; a deleted task only if the client may have received it before.

    The descriptions of long tasks are left out (`pages`); `long_page` reads them.
    """
    (rows,) = fetch(_bind_page(user, since, limit))
    return Page.from_rows(rows, limit, keys=0)


@reads
def long_page(user: User, since: SyncPosition, short: Page) -> Page:
    """Read the page `short` again with all descriptions; it may end earlier, at about `pages.MAX_BYTES`.

    `page` has read it with this `since`, or it is the first page and `since` is the start.
    """

    def read(max_rows: int, max_bytes: int) -> Rows:
        """Read the page with all descriptions, up to a number of rows and of bytes."""
        return fetch(_LONG_PAGE(**_bind_position(user, since), max_rows=max_rows, max_bytes=max_bytes))[0]

    return short.read_long(read)


def _bind_page(user: User, since: SyncPosition, limit: int) -> BoundStatement:
    """Bind the statement of a page of `limit` rows and the following one; the description of a long task is NULL."""
    return _PAGE(**_bind_position(user, since), max_rows=limit + 1, max_text_bytes=max_short_bytes(limit))


def _bind_position(user: User, since: SyncPosition) -> dict[str, Any]:
    """Return the values of the bind parameters of `_QUERY`."""
    return {"owner": user.id, "revision": since.revision, "id": since.id, "initial_revision": since.initial_revision}
