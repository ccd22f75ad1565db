"""The place where a page ended, sealed: opaque to the client, of use for one walk of one user only.

It is signed with the user's own epoch and carries no authority; the seal keeps foreign values out of statements.
"""

from __future__ import annotations

import hmac
import zlib
from base64 import b64decode, urlsafe_b64encode

import orjson

from ...http.errors import BadCursor
from ..pages import KeysetValues
from ..state import State
from .selection import Selection

SIGNATURE_BYTES = 16
"""Bytes of HMAC-SHA256 that are kept (RFC 2104, section 5)."""

COMPRESS_OVER_BYTES = 100
"""Bytes of a place from which on it is compressed: a folded title may have thousands."""


def encode_cursor(place: KeysetValues, selection: Selection, state: State) -> str:
    """A cursor for the page after `place`."""
    payload = orjson.dumps(place)
    if len(payload) > COMPRESS_OVER_BYTES:
        payload = zlib.compress(payload)  # begins with an `x`, and an array with a bracket
    return urlsafe_b64encode(_sign(payload, selection, state) + payload).rstrip(b"=").decode()


def decode_cursor(selection: Selection, state: State) -> KeysetValues | None:
    """The place the selection's cursor stands for; None for the first page. Raises `BadCursor`."""
    if selection.cursor is None:
        return None
    try:
        sealed = b64decode(selection.cursor + "=" * (-len(selection.cursor) % 4), altchars="-_", validate=True)
    except ValueError:
        sealed = b""
    payload = sealed[SIGNATURE_BYTES:]
    if not hmac.compare_digest(sealed[:SIGNATURE_BYTES], _sign(payload, selection, state)):
        raise BadCursor("Start again without `cursor`; it goes with the filters and the sort it was given for.")
    return tuple(orjson.loads(zlib.decompress(payload) if payload[:1] == b"x" else payload))


def _sign(payload: bytes, selection: Selection, state: State) -> bytes:
    # The filters are signed too: with others the seal is broken, and nothing of them need stand inside.
    text = f"taskapi.cursor {selection.filters}\n".encode(errors="surrogatepass")
    return hmac.digest(state.epoch.encode(), text + payload, "sha256")[:SIGNATURE_BYTES]
