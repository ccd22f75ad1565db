"""Pagination cursors: the sort key of the last row of a page, signed with HMAC-SHA256 (not encrypted).

A cursor is opaque to the client and valid only for one user, sort and set of filters. The HMAC key is the user's epoch.
A cursor grants no access; the signature only keeps values that the service did not produce out of SQL statements.
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
"""Length of the truncated HMAC-SHA256 in bytes (RFC 2104, section 5)."""

COMPRESS_OVER_BYTES = 100
"""Keyset values whose JSON is longer than this many bytes are compressed: a folded title may have thousands."""


def encode_cursor(keyset: KeysetValues, selection: Selection, state: State) -> str:
    """Return the signed cursor (URL-safe base64) of the page that follows the row with these keyset values.

    It is valid only for the sort and filters of `selection`, and for the epoch of `state`.
    """
    payload = orjson.dumps(keyset)
    if len(payload) > COMPRESS_OVER_BYTES:
        payload = zlib.compress(payload)  # starts with `x`, a JSON array with `[`: decode_cursor tells them apart
    return urlsafe_b64encode(_sign(payload, selection, state) + payload).rstrip(b"=").decode()


def decode_cursor(selection: Selection, state: State) -> KeysetValues | None:
    """Return the keyset values of the selection's cursor; None without a cursor, for the first page.

    Raises `BadCursor` (400) for a malformed cursor, and for one of another user, epoch (erasure), sort or filter.
    """
    if selection.cursor is None:
        return None
    try:
        decoded = b64decode(selection.cursor + "=" * (-len(selection.cursor) % 4), altchars="-_", validate=True)
    except ValueError:
        decoded = b""
    payload = decoded[SIGNATURE_BYTES:]
    if not hmac.compare_digest(decoded[:SIGNATURE_BYTES], _sign(payload, selection, state)):
        raise BadCursor("Start again without `cursor`; it goes with the filters and the sort it was given for.")
    return tuple(orjson.loads(zlib.decompress(payload) if payload[:1] == b"x" else payload))


def _sign(payload: bytes, selection: Selection, state: State) -> bytes:
    """Return the HMAC-SHA256 of payload, sort and filters, cut to `SIGNATURE_BYTES`; the key is the user's epoch."""
    # The filters are signed but not stored in the cursor: with other filters the signature does not match.
    text = f"taskapi.cursor {selection.signed_filters}\n".encode(errors="surrogatepass")
    return hmac.digest(state.epoch.encode(), text + payload, "sha256")[:SIGNATURE_BYTES]
