"""Queries of the delta feed."""

from __future__ import annotations

from sqlalchemy import or_, tuple_

from ...auth.tokens import User
from ...database.unit_of_work import execute, reads
from ..models import Task
from ..pages import Page, Walk, longest_short
from .tokens import SyncPosition


@reads
def page(user: User, since: SyncPosition, limit: int) -> Page:
    """What changed after a place, and, of what was deleted, only what the reader may have seen.

    The descriptions of long tasks are left out: see `pages`, and `long_page`.
    """
    rows = execute(_walk(user, since).short(limit + 1, longest_short(limit))).all()
    return Page.of(rows, limit, keys=0)


@reads
def long_page(user: User, since: SyncPosition, short: Page) -> Page:
    """The page that was read without its long tasks, with them; it may end earlier then."""
    return short.whole(lambda most, most_bytes: execute(_walk(user, since).bounded(most, most_bytes)).all())


def _walk(user: User, since: SyncPosition) -> Walk:
    place = tuple_(since.revision, since.id, types=[Task.revision.type, Task.id.type])
    conditions = (
        Task.user_id == user.id,
        tuple_(Task.revision, Task.id) > place,
        or_(Task.deleted_at.is_(None), Task.revision > since.began),
    )
    return Walk(conditions, (), (Task.revision, Task.id))
