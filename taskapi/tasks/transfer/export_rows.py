"""Read all tasks of a user in chunks, so that an export of any size needs bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import BigInteger, Integer, bindparam, literal

from ...auth.tokens import User
from ...concurrency import slots
from ...concurrency.cooperative import wait_for_turn
from ...concurrency.slots import Slot
from ...database.prepared import Prepared
from ...database.transactions import fetch, reads
from ..models import Task
from ..pages import Page, PageQuery, max_short_bytes
from ..statements.rows import OWNER, TaskRow

EXPORT_CHUNK_ROWS, EXPORT_CHUNK_BYTES = 100, 256 * 1024
"""Maximum tasks and bytes of text that an export reads at a time and holds in memory."""


def export(user: User, *, trash: bool) -> Iterator[TaskRow]:
    """Return an iterator of all tasks by id; with `trash`, those in the trash too.

    Reads the first chunk before it returns, each further one when the iterator reaches it, after it has yielded to
    other requests: the tasks are no snapshot. A further chunk is read inside a concurrency slot, which is waited for;
    sending holds none.
    """
    return _iterate(user, _export_chunk(user, 0, trash=trash), slots.later(), trash=trash)


def _iterate(user: User, page: Page, slot: Slot, *, trash: bool) -> Iterator[TaskRow]:
    """Yield the rows of `page` and of the chunks after it.

    Before each chunk it yields to other requests; reading one holds `slot`.
    """
    yield from page.rows
    while page.following is not None and page.last is not None:
        after = page.last.id
        del page  # free its rows before the waits
        wait_for_turn()
        with slot():
            page = _export_chunk(user, after, trash=trash)
        yield from page.rows


@reads
def _export_chunk(user: User, after: int, *, trash: bool) -> Page:
    """Read the tasks after the id `after`: at most `EXPORT_CHUNK_ROWS`, and about `EXPORT_CHUNK_BYTES`."""
    short, bounded = _SELECT_CHUNK[trash]
    binds = {"owner": user.id, "after": after}
    (rows,) = fetch(short(**binds, max_rows=EXPORT_CHUNK_ROWS + 1))
    page = Page.from_rows(rows, EXPORT_CHUNK_ROWS, keys=0)
    if not page.has_long:
        return page
    return page.read_long(
        lambda max_rows, max_bytes: fetch(bounded(**binds, max_rows=max_rows, max_bytes=max_bytes))[0],
        EXPORT_CHUNK_BYTES,
    )


def _prepare_statements(*, trash: bool) -> tuple[Prepared, Prepared]:
    """Return the statements of a chunk, `PageQuery.short` and `bounded`; `trash` includes the tasks in the trash.

    Tombstones are never included. The bind parameters are `owner`, `after`, `max_rows` and, of the second only,
    `max_bytes`, at which it ends. The first leaves out the descriptions of long tasks, the second has all.
    """
    conditions = [Task.user_id == OWNER, Task.id > bindparam("after", type_=BigInteger), Task.purged_at.is_(None)]
    if not trash:
        conditions.append(Task.deleted_at.is_(None))
    query = PageQuery(conditions, (), (Task.id,))
    max_rows, max_bytes = bindparam("max_rows", type_=Integer), bindparam("max_bytes", type_=Integer)
    return (
        Prepared(query.short(max_rows, literal(max_short_bytes(EXPORT_CHUNK_ROWS)))),
        Prepared(query.bounded(max_rows, max_bytes)),
    )


_SELECT_CHUNK = {trash: _prepare_statements(trash=trash) for trash in (False, True)}
"""By whether tasks in the trash are exported, too."""
