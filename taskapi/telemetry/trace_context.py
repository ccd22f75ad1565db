"""W3C Trace Context: the `traceparent` header, by which the caller of a request names its trace and span."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_HEADER_LENGTH = 256
"""Characters from which a header is ignored; version 00 has 55, a later version may append members."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


class TraceContext(NamedTuple):
    """The ids of a trace and of the caller's span in it, in hexadecimal, and whether the caller records the trace."""

    trace_id: str
    span_id: str
    sampled: bool


def parse_traceparent(header: str) -> TraceContext | None:
    """Parse a `traceparent` header (W3C Trace Context, section 3.2); None if it is absent or invalid, which is ignored.

    A later version than 00 is read by the rules of 00, and may have more members (section 4.3).
    """
    match = _TRACEPARENT.fullmatch(header) if len(header) < MAX_HEADER_LENGTH else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not (int(trace_id, 16) and int(span_id, 16)):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1))
