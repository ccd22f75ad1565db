"""The delta feed: what has changed since, by revision, with tombstones for what is gone.

A user's revisions are given under the lock of the user's row and so become visible in their own order: a reader who
has seen one has seen all before it. With a global sequence, or with times, readers miss rows that commit late.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import or_, tuple_

from ...auth.tokens import User
from ...database.unit_of_work import execute, reads
from ..listing.pages import Page, Walk, longest_short
from ..models import Task
from ..queries import State

_EPOCH_ID = re.compile(r"[0-9a-f]{8}")

_NO_DATA = "0"
"""The token of who has no data yet, and no epoch to sign with. It opens nothing: its bearer begins at the beginning."""

_LAST_ID = 2**63 - 1
"""The id of a place that no row of its revision comes after."""


class SyncTokenExpired(Exception):
    """The feed cannot continue from there: its tombstones are gone, or it is of another epoch of the user's data."""


class InvalidSyncToken(Exception):
    """Not a token of this feed."""


@dataclass(frozen=True)
class SyncPosition:
    """A place in the feed: after this row, for a reader who began with what was live at a revision.

    A reader who is told what is there needs no word of what had gone before it came.
    """

    revision: int
    id: int
    began: int

    @property
    def known(self) -> int:
        """The last revision of which no tombstone is still to be told."""
        return max(self.began, self.revision if self.id == _LAST_ID else self.revision - 1)

    def is_at_end(self, state: State) -> bool:
        """Whether everything was told. It is not in the middle of a walk, of which each page has the same ETag."""
        return self.id == _LAST_ID and self.revision == state.revision


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


def end(page: Page, since: SyncPosition, state: State) -> SyncPosition:
    """The place after a page, that began after `since`.

    `state` was read before: a reader who has come to the end knows of everything up to its revision at least.
    """
    reached = page.last.revision if page.last else since.revision
    if page.following is None:
        return SyncPosition(max(reached, state.revision), _LAST_ID, since.began)
    # Rows of one write share a revision, so a page may end in the middle of one.
    cut = page.following.revision == reached
    return SyncPosition(reached, page.last.id if cut and page.last else _LAST_ID, since.began)


def encode_token(place: SyncPosition, state: State) -> str:
    """A token for what comes after a place."""
    if not state.revision:
        return _NO_DATA
    return f"{state.epoch_id}.{_serializer(state).dumps([place.revision, place.id, place.began])}"


def decode_token(token: str | None, state: State) -> SyncPosition:
    """The place a token stands for; the beginning without one. Raises `SyncTokenExpired` and `InvalidSyncToken`."""
    if token is None:
        return SyncPosition(0, 0, began=state.revision)
    since = SyncPosition(0, _LAST_ID, began=0) if token == _NO_DATA else _verify_token(token, state)
    # From the future is a place in data that was set back to a backup.
    if since.known < state.sync_floor or since.revision > state.revision:
        raise SyncTokenExpired
    return since


def _verify_token(token: str, state: State) -> SyncPosition:
    life, _, sealed = token.partition(".")
    if life != state.epoch_id:
        raise SyncTokenExpired if _EPOCH_ID.fullmatch(life) else InvalidSyncToken
    try:
        return SyncPosition(*_serializer(state).loads(sealed))
    except BadData as error:
        raise InvalidSyncToken from error


def _serializer(state: State) -> URLSafeSerializer:
    return URLSafeSerializer(
        state.epoch,
        salt="taskapi.feed",
        signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
    )
