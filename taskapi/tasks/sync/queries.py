"""SELECT statements of the delta feed: the tasks that changed after a revision, in the order of their revisions.

Every write of a user gets its revision under the lock of the user's row, so revisions become visible in order: a client
that has read one revision has read all before it. With a global sequence or with timestamps a client misses rows whose
transaction commits late.
"""

from __future__ import annotations

from sqlalchemy import or_, tuple_

from ...auth.tokens import User
from ...database.unit_of_work import execute, reads
from ..models import Task
from ..pages import Page, PageQuery, max_short_bytes
from .tokens import SyncPosition


@reads
def page(user: User, since: SyncPosition, limit: int) -> Page:
    """Read the next `limit` changes after a position; a deleted task only if the client may have received it before.

    The descriptions of long tasks are left out (`pages`); `long_page` reads them.
    """
    rows = execute(_query(user, since).short(limit + 1, max_short_bytes(limit))).all()
    return Page.from_rows(rows, limit, keys=0)


@reads
def long_page(user: User, since: SyncPosition, short: Page) -> Page:
    """Read the page `short` again with all descriptions; it may end earlier, at about `pages.MAX_BYTES`."""
    return short.read_long(lambda max_rows, max_bytes: execute(_query(user, since).bounded(max_rows, max_bytes)).all())


def _query(user: User, since: SyncPosition) -> PageQuery:
    """Return the query of the rows after a position, without tombstones that a full sync does not need."""
    position = tuple_(since.revision, since.id, types=[Task.revision.type, Task.id.type])
    conditions = (
        Task.user_id == user.id,
        tuple_(Task.revision, Task.id) > position,
        or_(Task.deleted_at.is_(None), Task.revision > since.initial_revision),
    )
    return PageQuery(conditions, (), (Task.revision, Task.id))
