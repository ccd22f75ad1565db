"""Sync tokens of the delta feed: a position in the feed, signed with HMAC-SHA256 under the user's epoch."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

from ..pages import Page
from ..state import State

_EPOCH_ID = re.compile(r"[0-9a-f]{8}")

_NO_DATA = "0"
"""The token of a user without data, who has no epoch to sign with. It stands for the beginning of the feed."""

_LAST_ID = 2**63 - 1
"""The `id` of a position after all rows of its revision."""


class SyncTokenExpired(Exception):
    """The feed cannot go on from a token: later tombstones are removed, or the user's data was erased or replaced."""


class InvalidSyncToken(Exception):
    """Not a token of this user's feed."""


@dataclass(frozen=True)
class SyncPosition:
    """The position in the feed after the row (`revision`, `id`).

    `initial_revision` is the user's revision when the client's first sync began. That sync lists live tasks only, so
    the client needs no tombstone of a task that was deleted at or before that revision.
    """

    revision: int
    id: int
    initial_revision: int

    @property
    def tombstones_known_until(self) -> int:
        """The revision up to which the client needs no more tombstones; below `sync_floor` its token is expired."""
        return max(self.initial_revision, self.revision if self.id == _LAST_ID else self.revision - 1)

    def is_at_end(self, state: State) -> bool:
        """Return True if the client at this position has received every change up to `state.revision`.

        Only then may the ETag give 304: all pages of one sync have the same ETag.
        """
        return self.id == _LAST_ID and self.revision == state.revision


def position_after(page: Page, since: SyncPosition, state: State) -> SyncPosition:
    """Return the position after a page that started at `since`, with the `initial_revision` of `since`.

    It is after the last row if more rows of its revision follow, otherwise after all of that revision. After the last
    page it is at least after `state.revision`: `state` must have been read before the page.
    """
    revision = page.last.revision if page.last else since.revision
    if page.following is None:
        return SyncPosition(max(revision, state.revision), _LAST_ID, since.initial_revision)
    # The rows of one write share a revision, so a page may end between them. A page with long texts is read twice: if
    # a write changed many tasks in between, `following` is from before it, with a lower revision than the last row.
    is_split = page.following.revision <= revision
    return SyncPosition(revision, page.last.id if is_split and page.last else _LAST_ID, since.initial_revision)


def encode_token(position: SyncPosition, state: State) -> str:
    """Return the token of a position: the public id of the epoch, and the position signed with the epoch.

    For a user without data (revision 0), who has no epoch, it is `_NO_DATA`.
    """
    if not state.revision:
        return _NO_DATA
    values = [position.revision, position.id, position.initial_revision]
    return f"{state.epoch_id}.{_serializer(state).dumps(values)}"


def decode_token(token: str | None, state: State) -> SyncPosition:
    """Return the position of a token after its verification; None stands for the start of a first sync.

    `_NO_DATA` stands for the beginning of the feed. Raises `SyncTokenExpired` for another epoch, if tombstones after
    the position were removed, and for a revision above the user's (a restored backup); `InvalidSyncToken` for other
    texts.
    """
    if token is None:
        return SyncPosition(0, 0, initial_revision=state.revision)
    since = SyncPosition(0, _LAST_ID, initial_revision=0) if token == _NO_DATA else _verify_token(token, state)
    # A revision above the user's comes from data that was replaced by an older backup.
    if since.tombstones_known_until < state.sync_floor or since.revision > state.revision:
        raise SyncTokenExpired
    return since


def _verify_token(token: str, state: State) -> SyncPosition:
    """Return the position of a token.

    Raises `SyncTokenExpired` if it names another epoch (the signature is not checked then), and `InvalidSyncToken` if
    the signature is wrong or the token has another form.
    """
    epoch_id, _, signed = token.partition(".")
    if epoch_id != state.epoch_id:
        raise SyncTokenExpired if _EPOCH_ID.fullmatch(epoch_id) else InvalidSyncToken
    try:
        return SyncPosition(*_serializer(state).loads(signed))
    except BadData as error:
        raise InvalidSyncToken from error


def _serializer(state: State) -> URLSafeSerializer:
    """Return a serializer that signs with the user's epoch (itsdangerous, HMAC-SHA256), and verifies on `loads`."""
    return URLSafeSerializer(
        state.epoch,
        salt="taskapi.feed",
        signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
    )
