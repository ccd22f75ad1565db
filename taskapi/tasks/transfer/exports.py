"""Read all tasks of a user in chunks."""

from __future__ import annotations

from collections.abc import Iterator

from ...auth.tokens import User
from ...concurrency import slots
from ...concurrency.slots import Slot
from ...database.unit_of_work import execute, reads
from ..models import Task
from ..pages import Page, Walk, longest_short
from ..statements.rows import TaskRow

EXPORT_CHUNK_ROWS, PIECE_BYTES = 100, 256 * 1024
"""Tasks that an export reads at a time, and their bytes: what an export of any size holds in memory."""


def export(user: User, *, trash: bool) -> Iterator[TaskRow]:
    """Every task by id, with those in the trash if they are wanted; in pieces, each as it is when it is read.

    The first piece is read at once. No concurrency slot is held while one is sent.
    """
    return _rows(user, _export_chunk(user, 0, trash=trash), slots.later(), trash=trash)


def _rows(user: User, page: Page, slot: Slot, *, trash: bool) -> Iterator[TaskRow]:
    yield from page.rows
    while page.following is not None and page.last is not None:
        after = page.last.id
        del page  # the client may not have taken all of it
        with slot():
            page = _export_chunk(user, after, trash=trash)
        yield from page.rows


@reads
def _export_chunk(user: User, after: int, *, trash: bool) -> Page:
    conditions = [Task.user_id == user.id, Task.id > after, Task.purged_at.is_(None)]
    if not trash:
        conditions.append(Task.deleted_at.is_(None))
    walk = Walk(conditions, (), (Task.id,))
    page = Page.of(
        execute(walk.short(EXPORT_CHUNK_ROWS + 1, longest_short(EXPORT_CHUNK_ROWS))).all(), EXPORT_CHUNK_ROWS, keys=0
    )
    if not page.has_long:
        return page
    return page.whole(lambda most, most_bytes: execute(walk.bounded(most, most_bytes)).all(), PIECE_BYTES)
