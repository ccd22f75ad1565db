"""SQL of an import: read what exists, and write any number of rows with one statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

import orjson
from sqlalchemy import BindParameter, Dialect, Text, bindparam, cast, column, func, select, update
from sqlalchemy.dialects import postgresql, registry, sqlite

from ...auth.tokens import User
from ...concurrency.cooperative import yielding
from ...database.base import db
from ...database.lists import integers, is_one_of
from ...database.prepared import Prepared
from ...database.transactions import execute_for_each, fetch, reads
from .. import models
from ..models import Task
from ..pages import TEXT_BYTES
from ..state import read_state
from ..statements.rows import COLUMNS, OWNER

MAX_IMPORTED_ID = 1_000_000_000
"""Maximum `id` and `series_id` that a file can bring, since new tasks get ids after it.

An imported task with a higher one is created with a new number, unless the number was allocated in this account.
"""

CHUNK = 100
"""Existing tasks that an import reads before it yields to other requests: some milliseconds."""

IDENTITIES_PER_CHUNK = 1_000
"""Existing tasks of which an import reads the numbers only before it yields: some milliseconds."""

ROWS_PER_STATEMENT, CHARACTERS_PER_STATEMENT = 200, 64 * 1024
"""Rows, and characters of their descriptions, of one statement on PostgreSQL: about 200 KB of JSON, made in 3 ms."""

T = TypeVar("T")


class RowCounts(NamedTuple):
    """The number of rows with the ids, or in the series, `values`: all, and the tombstones among them."""

    values: Sequence[int]
    rows: int
    tombstones: int


NO_ROWS = RowCounts((), 0, 0)

_IDS: BindParameter[Any] = integers("ids")
_NAMED = (Task.user_id == OWNER, is_one_of(Task.id, _IDS))
_IN_SERIES = (Task.user_id == OWNER, is_one_of(Task.series_id, _IDS))
_COUNTS = (func.count(Task.id), func.count(Task.purged_at), func.coalesce(func.max(Task.revision), 0))

_SELECT_COUNTERS = Prepared(select(models.User.revision, models.User.last_task_id).where(models.User.user_id == OWNER))
_SELECT_IDENTITIES = Prepared(
    select(Task.id, Task.created_at, Task.purged_at, Task.series_id, Task.occurrence, Task.next_task_id).where(*_NAMED)
)
_SELECT_TEXT_BYTES = Prepared(select(func.coalesce(func.sum(TEXT_BYTES), 0)).where(*_NAMED))
_SELECT_EXISTING = Prepared(select(*COLUMNS, Task.purged_at).where(*_NAMED))
_SELECT_IN_SERIES = Prepared(select(Task.id, Task.series_id, Task.occurrence).where(*_IN_SERIES))
_COUNT_NAMED = Prepared(select(*_COUNTS).where(*_NAMED))
_COUNT_IN_SERIES = Prepared(select(*_COUNTS).where(*_IN_SERIES))


def revision(user: User) -> int:
    """Return the user's revision; 0 for a user without a row. Joins the caller's unit of work, if any."""
    return read_state(user).revision


@reads
def counters(user: User) -> tuple[int, int]:
    """Return (revision, last task id) from the user's row; (0, 0) for a user without one."""
    (rows,) = fetch(_SELECT_COUNTERS(owner=user.id))
    return (rows[0].revision, rows[0].last_task_id) if rows else (0, 0)


def identities(user: User, ids: Sequence[int]) -> dict[int, Any]:
    """Return the rows that have these ids, by id, tombstones included: only the columns of `_SELECT_IDENTITIES`.

    Reads chunks of `IDENTITIES_PER_CHUNK`, each in a unit of work of its own, and yields to other requests after each.
    """
    chunks_of_ids = chunks(ids, IDENTITIES_PER_CHUNK)
    return {row.id: row for some in chunks_of_ids for row in _identities(user, some)}


@reads
def _identities(user: User, ids: Sequence[int]) -> Sequence[Any]:
    """Read the rows that have these ids, for one chunk of `identities`, tombstones included, in any order."""
    return fetch(_SELECT_IDENTITIES(owner=user.id, ids=ids))[0]


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Yield slices of `size` items, the last may be shorter; yields to other requests after each."""
    return yielding((items[start : start + size] for start in range(0, len(items), size)), every=1)


@reads
def text_bytes(user: User, ids: Sequence[int]) -> int:
    """Return the total bytes of title, description and tags of the stored tasks with these ids; 0 without ids."""
    return int(fetch(_SELECT_TEXT_BYTES(owner=user.id, ids=ids))[0][0][0]) if ids else 0


@reads
def existing_rows(user: User, ids: Sequence[int]) -> Mapping[int, Any]:
    """Return the rows that have these ids, by id, tombstones included: `COLUMNS` and `purged_at`; {} without ids."""
    return {row.id: row for row in fetch(_SELECT_EXISTING(owner=user.id, ids=ids))[0]} if ids else {}


@reads
def rows_in_series(user: User, series: Sequence[int]) -> Sequence[Any]:
    """Return `id`, `series_id` and `occurrence` of the user's rows in these series, in any order."""
    return fetch(_SELECT_IN_SERIES(owner=user.id, ids=series))[0]


def have_changed(user: User, since: int, named: RowCounts, in_series: RowCounts) -> bool:
    """Return True if a row that was counted in `named` or `in_series` may have changed after the revision `since`.

    Such rows have a higher revision, or their numbers differ: a purge makes tombstones, or deletes them, without a new
    revision. Runs in the caller's transaction (RuntimeError without).
    """
    found = fetch(_COUNT_NAMED(owner=user.id, ids=named.values), _COUNT_IN_SERIES(owner=user.id, ids=in_series.values))
    return any(
        tuple(counts[:2]) != (before.rows, before.tombstones) or counts[2] > since
        for (counts,), before in zip(found, (named, in_series), strict=True)
    )


# Writing

_COLUMNS = {column.name: column.type for column in Task.__table__.columns}
_OTHERS = [name for name in _COLUMNS if name != "user_id"]

ID, REVISION, POSITION, DESCRIPTION, SERIES, NEXT = map(
    [*_COLUMNS].index, ("id", "revision", "position", "description", "series_id", "next_task_id")
)
"""The indexes of columns in a row that `encode` returns."""


def _or_replace(statement: Any) -> Any:
    """Add ON CONFLICT DO UPDATE to an INSERT of tasks: a stored row with the same id gets all its other columns."""
    changed = {name: statement.excluded[name] for name in _OTHERS if name != "id"}
    return statement.on_conflict_do_update(index_elements=[Task.user_id, Task.id], set_=changed)


_JSON_ROWS = (
    func.json_to_recordset(cast(bindparam("rows", type_=Text), postgresql.JSON))
    .table_valued(*(column(name, _COLUMNS[name]) for name in _OTHERS))
    .render_derived(with_types=True)
)

# The owner comes from the user's row, which the statement before has updated and locked.
_UPSERT_JSON = Prepared(
    _or_replace(
        postgresql.insert(Task).from_select(
            ["user_id", *_OTHERS],
            select(models.User.user_id, *(_JSON_ROWS.c[name] for name in _OTHERS)).where(models.User.user_id == OWNER),
        )
    )
)
"""PostgreSQL: insert or replace the rows of `rows`, a JSON array of objects; all are the owner's."""

_UPSERT_ROW = Prepared(_or_replace(sqlite.insert(Task).values({name: bindparam(name) for name in _COLUMNS})))
"""SQLite: insert or replace one row; its placeholders are in the order of `_COLUMNS`.

JSON functions take twice as long as a statement for each row in one call.
"""

_LEAVE_SERIES = Prepared(update(Task).where(*_NAMED).values(occurrence=None))


def encode(row: Mapping[str, Any]) -> list[Any]:
    """Return all columns of a row, in the table's order, converted as SQLAlchemy would bind them for the database.

    Prepared statements for many rows, and JSON, skip that conversion.
    """
    return _encoder(db.engine.dialect.name)(row)


@cache
def _encoder(dialect_name: str) -> Callable[[Mapping[str, Any]], list[Any]]:
    """Return the function that does the work of `encode` for a dialect, such as "sqlite"; cached by its name."""
    dialect: Dialect = registry.load(dialect_name)()
    converters = [(name, type_.dialect_impl(dialect).bind_processor(dialect)) for name, type_ in _COLUMNS.items()]
    return lambda row: [convert(row[name]) if convert else row[name] for name, convert in converters]


def write_rows(user: User, rows: Sequence[Sequence[Any]], moved: Sequence[int]) -> None:
    """Insert `rows`, which `encode` has returned; a stored row with the same id gets all columns of the new one.

    The tasks with the ids `moved` first lose their `occurrence`, so that two can exchange theirs. Runs in the caller's
    transaction, which must have locked the user's row.
    """
    if moved:
        # The unique index is checked with each row, so it would reject an exchange.
        fetch(_LEAVE_SERIES(owner=user.id, ids=moved))
    if db.engine.dialect.name == "sqlite":
        execute_for_each(_UPSERT_ROW, rows)
        return
    for some in _slices(rows):
        objects = [dict(zip(_COLUMNS, row, strict=True)) for row in some]
        fetch(_UPSERT_JSON(owner=user.id, rows=orjson.dumps(objects).decode()))


def _slices(rows: Sequence[Sequence[Any]]) -> Iterator[Sequence[Sequence[Any]]]:
    """Yield the rows in order, in slices for one statement each: up to `ROWS_PER_STATEMENT` rows.

    A slice ends earlier with the row whose description makes it `CHARACTERS_PER_STATEMENT` long. Making the JSON of one
    takes a few milliseconds; then the worker waits for the database.
    """
    start = characters = 0
    for end, row in enumerate(rows, 1):
        characters += len(row[DESCRIPTION] or "")
        if end - start == ROWS_PER_STATEMENT or characters >= CHARACTERS_PER_STATEMENT or end == len(rows):
            yield rows[start:end]
            start, characters = end, 0
