"""The place where a page ended, sealed: opaque to the client, of use for one walk of one user only.

It is signed with the user's own epoch and carries no authority; the seal keeps foreign values out of statements.
"""

from __future__ import annotations

import hashlib

from itsdangerous import BadData, URLSafeSerializer

from ..errors import BadCursor
from .queries import Place, State
from .selection import Selection


def seal(place: Place, selection: Selection, state: State) -> str:
    """A cursor for the page after `place`."""
    return str(_serializer(selection, state).dumps(place))


def unseal(selection: Selection, state: State) -> Place | None:
    """The place the selection's cursor stands for; None for the first page. Raises `BadCursor`."""
    if selection.cursor is None:
        return None
    try:
        return tuple(_serializer(selection, state).loads(selection.cursor))
    except BadData as error:
        raise BadCursor(
            "Start again without `cursor`; it goes with the filters and the sort it was given for."
        ) from error


def _serializer(selection: Selection, state: State) -> URLSafeSerializer:
    # The filters are part of the salt: with others the seal is broken, and nothing of them need stand inside.
    return URLSafeSerializer(
        state.epoch,
        salt=f"taskapi.cursor {selection.filters}",
        signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
    )
