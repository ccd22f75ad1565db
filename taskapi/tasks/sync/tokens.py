"""Sync tokens."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

from ..pages import Page
from ..state import State

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
