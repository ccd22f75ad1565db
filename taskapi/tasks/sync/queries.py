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
    """Read the user's state and the first page of a first sync, without tombstones, in one round trip.

    In a long task the description is None (`pages`); read such a page again with `long_page`.
    """
    state_rows, rows = fetch(SELECT_STATE(owner=user.id), _bind_page(user, _START, limit))
    return state_of(state_rows), Page.from_rows(rows, limit, keys=0)


@reads
def page(user: User, since: SyncPosition, limit: int) -> Page:
    """Read the first `limit` changes after a position, in the order of revision and id.

    A deleted task is left out if its revision is not above `since.initial_revision`: the client never received it. In a
    long task the description is None: read such a page again with `long_page`.
    """
    (rows,) = fetch(_bind_page(user, since, limit))
    return Page.from_rows(rows, limit, keys=0)


@reads
def long_page(user: User, since: SyncPosition, short: Page) -> Page:
    """Read the page `short` again with all descriptions; it may end earlier, at about `pages.MAX_BYTES`.

    `short` is what `page` has read after `since`, or the first page of a first sync. The page has no rows if they were
    removed meanwhile.
    """

    def read(max_rows: int, max_bytes: int) -> Rows:
        """Read the first rows of the page with all descriptions, up to `max_rows`, and `max_bytes` together."""
        return fetch(_LONG_PAGE(**_bind_position(user, since), max_rows=max_rows, max_bytes=max_bytes))[0]

    return short.read_long(read)


def _bind_page(user: User, since: SyncPosition, limit: int) -> BoundStatement:
    """Bind the statement that reads `limit + 1` changes after `since`; the description of a long task is NULL."""
    return _PAGE(**_bind_position(user, since), max_rows=limit + 1, max_text_bytes=max_short_bytes(limit))


def _bind_position(user: User, since: SyncPosition) -> dict[str, Any]:
    """Return the values of the bind parameters of `_QUERY`: the owner, and the position `since`."""
    return {"owner": user.id, "revision": since.revision, "id": since.id, "initial_revision": since.initial_revision}
