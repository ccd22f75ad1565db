"""The delta feed: what has changed since, by revision, with tombstones for what is gone.

A user's revisions are given under the lock of the user's row and so become visible in their own order: a reader who
has seen one has seen all before it. With a global sequence, or with times, readers miss rows that commit late.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import or_, select, tuple_

from ..auth.tokens import User
from ..db import execute, reads
from .models import Task
from .queries import State
from .statements import COLUMNS, TaskRow

_LIFE = re.compile(r"[0-9a-f]{8}")

_NEVER_WROTE = "0"
"""The token of who has no data yet, and no epoch to sign with. It opens nothing: its bearer begins at the beginning."""

_ALL = 2**63 - 1
"""The id of a place that no row of its revision comes after."""


class Forgotten(Exception):
    """The feed cannot answer from there: its tombstones are gone, or it belonged to another life of the user's data."""


class BadToken(Exception):
    """Not a token of this feed."""


@dataclass(frozen=True)
class Since:
    """A place in the feed: after this row, for a reader who began with what was live at a revision.

    A reader who is told what is there needs no word of what had gone before it came.
    """

    revision: int
    id: int
    began: int

    @property
    def known(self) -> int:
        """The last revision of which no tombstone is still to be told."""
        return max(self.began, self.revision if self.id == _ALL else self.revision - 1)

    def is_at_end(self, state: State) -> bool:
        """Whether everything was told. It is not in the middle of a walk, of which each page has the same ETag."""
        return self.id == _ALL and self.revision == state.revision


@dataclass(frozen=True)
class Changes:
    """Some rows by revision, and the place after them; `more` tells whether others follow right now."""

    rows: Sequence[TaskRow]
    end: Since
    more: bool


@reads
def changes(user: User, since: Since, limit: int, state: State) -> Changes:
    """What changed after a place, and, of what was deleted, only what the reader may have seen.

    `state` was read before: whoever has come to the end knows of everything up to its revision at least, and whoever
    was there already need not look.
    """
    if since.is_at_end(state):
        return Changes((), since, more=False)
    place = tuple_(since.revision, since.id, types=[Task.revision.type, Task.id.type])
    query = (
        select(*COLUMNS)
        .where(
            Task.user_id == user.id,
            tuple_(Task.revision, Task.id) > place,
            or_(Task.deleted_at.is_(None), Task.revision > since.began),
        )
        .order_by(Task.revision, Task.id)
        .limit(limit + 1)
    )
    rows = execute(query).all()
    shown, following = rows[:limit], rows[limit:]
    reached = shown[-1].revision if shown else since.revision
    if not following:
        return Changes(shown, Since(max(reached, state.revision), _ALL, since.began), more=False)
    # Rows of one write share a revision, so a page may end in the middle of one.
    cut = following[0].revision == reached
    return Changes(shown, Since(reached, shown[-1].id if cut else _ALL, since.began), more=True)


def seal(place: Since, state: State) -> str:
    """A token for what comes after a place."""
    if not state.revision:
        return _NEVER_WROTE
    return f"{state.life}.{_serializer(state).dumps([place.revision, place.id, place.began])}"


def unseal(token: str | None, state: State) -> Since:
    """The place a token stands for; the beginning without one. Raises `Forgotten` and `BadToken`."""
    if token is None:
        return Since(0, 0, began=state.revision)
    since = Since(0, _ALL, began=0) if token == _NEVER_WROTE else _open(token, state)
    # From the future is a place in data that was set back to a backup.
    if since.known < state.sync_floor or since.revision > state.revision:
        raise Forgotten
    return since


def _open(token: str, state: State) -> Since:
    life, _, sealed = token.partition(".")
    if life != state.life:
        raise Forgotten if _LIFE.fullmatch(life) else BadToken
    try:
        return Since(*_serializer(state).loads(sealed))
    except BadData as error:
        raise BadToken from error


def _serializer(state: State) -> URLSafeSerializer:
    return URLSafeSerializer(
        state.epoch,
        salt="taskapi.feed",
        signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
    )
