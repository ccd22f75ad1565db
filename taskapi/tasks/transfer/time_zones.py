"""Write a time zone as a VTIMEZONE (RFC 5545, section 3.6.5) that is right for all years from 1970 on.

Transitions of the past are listed, the rules of the present become RRULEs without an end. Both come from the zone's
TZif file (RFC 9636), whose last line has the rules as a POSIX TZ string: `zoneinfo` does not return them, and
`icalendar` only lists the transitions until 2037. It takes 4 to 12 ms for a zone, this module 0.3 ms.
"""

from __future__ import annotations

import re
import struct
import zoneinfo
from calendar import monthrange
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

FIRST = datetime(1970, 1, 1)  # noqa: DTZ001  a local time
"""The start of the first observance. Earlier times get the offset of this one, too."""

_DAYS = ("SU", "MO", "TU", "WE", "TH", "FR", "SA")
"""The weekdays of a POSIX TZ string, from 0."""

_LAST_WEEK = 5
"""The week of a POSIX TZ string that means the last one of the month."""

_OFFSET = r"(<[^>]+>|[A-Za-z]+)([-+:\d]+)"
_POSIX_TZ = re.compile(rf"{_OFFSET}(?:(<[^>]+>|[A-Za-z]+)([-+:\d]*)((?:,M\d+\.\d\.\d(?:/[-+:\d]+)?){{2}}))?")


class Offset(NamedTuple):
    """Seconds east of UTC, whether it is daylight saving time, and the abbreviation, such as CEST."""

    seconds: int
    is_dst: bool
    name: str


class Transition(NamedTuple):
    """A change from the offset `before` to `after`; `at` is the local time by the offset `before`."""

    at: datetime
    before: Offset
    after: Offset


class Rule(NamedTuple):
    """A change of the offset in each year, by a rule of a POSIX TZ string.

    It is `seconds` after the midnight that begins a weekday (0: Sunday) in a week (5: the last) of a month.
    """

    month: int
    week: int
    weekday: int
    seconds: int
    before: Offset
    after: Offset

    def in_year(self, year: int) -> Transition:
        """Return the change of the offset in `year`."""
        first_weekday, length = monthrange(year, self.month)
        day = 1 + (self.weekday - 1 - first_weekday) % 7 + 7 * (self.week - 1)
        midnight = datetime(year, self.month, day if day <= length else day - 7)  # noqa: DTZ001  a local time
        return Transition(midnight + timedelta(seconds=self.seconds), self.before, self.after)

    def rrules(self) -> Iterator[tuple[int, str]]:
        """Yield the month and the RRULE parts of the change's day; twice if that may be in one of two months.

        A time of 24 hours or more, or below zero, is on another day: Thursday of the fourth week at 26:00 is the Friday
        from the 23rd to the 29th. Only BYDAY with BYMONTHDAY can say so.
        """
        shift = self.seconds // 86400
        weekday = _DAYS[(self.weekday + shift) % 7]
        if not shift:
            yield self.month, f"BYDAY={-1 if self.week == _LAST_WEEK else self.week}{weekday}"
            return
        length = monthrange(2001, self.month)[1]
        first = (length - 6 if self.week == _LAST_WEEK else 7 * self.week - 6) + shift
        by_month = defaultdict(list)
        for day in range(first, first + 7):
            date = datetime(2001, self.month, 1) + timedelta(days=day - 1)  # noqa: DTZ001  any year
            by_month[date.month].append(str(date.day))
        for month, days in by_month.items():
            yield month, f"BYDAY={weekday};BYMONTHDAY={','.join(days)}"


@cache
def vtimezone(name: str) -> bytes:
    """Return the VTIMEZONE of an IANA time zone, with CRLF, unfolded; cached: about 800 KB for all 600 zones."""
    lines = ["BEGIN:VTIMEZONE", f"TZID:{name}", *_observances(_read_tzif(name)), "END:VTIMEZONE"]
    return "".join(f"{line}\r\n" for line in lines).encode()


def _read_tzif(name: str) -> bytes:
    """Return the bytes of the TZif file of a zone, which must be in `zoneinfo.available_timezones`.

    As in `zoneinfo`, it is in a folder of `TZPATH`, otherwise in the package tzdata.
    """
    for folder in zoneinfo.TZPATH:
        path = Path(folder, name)
        if path.is_file():
            return path.read_bytes()
    return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


def _observances(tzif: bytes) -> Iterator[str]:
    """Yield the lines of all observances of a VTIMEZONE.

    They are the offset at `FIRST`, the listed transitions, by the change that they make, and the rules valid after
    them.
    """
    first, transitions, footer = _parse_tzif(tzif)
    rules = _parse_rules(footer)
    start = _remove_repetitions(transitions, rules)
    yield from _observance(first, first, [FIRST])
    listed = defaultdict(list)
    for at, before, after in transitions:
        listed[before, after].append(at)
    for (before, after), times in listed.items():
        yield from _observance(before, after, times)
    for rule in rules:
        years = [rule.in_year(year).at for year in range(start.year, start.year + 29)]  # all dates occur in 28 years
        for month, rrule in rule.rrules():
            begin = next(at for at in years if at >= start and at.month == month)
            yield from _observance(rule.before, rule.after, [begin], f"RRULE:FREQ=YEARLY;BYMONTH={month};{rrule}")


def _remove_repetitions(transitions: list[Transition], rules: list[Rule]) -> datetime:
    """Remove the last transitions that the rules give too; return the local time from which on the rules are valid.

    Many files list the transitions until 2037. Those of the rules that come before a transition of other rules stay.
    """
    start = transitions[-1].at + timedelta(seconds=1) if transitions else FIRST
    for year in range(start.year, FIRST.year, -1):
        for expected in sorted((rule.in_year(year) for rule in rules), reverse=True):
            if transitions and transitions[-1] == expected:
                start = transitions.pop().at
            elif expected.at < start:
                return start
    return start


def _observance(before: Offset, after: Offset, times: list[datetime], *rrule: str) -> Iterator[str]:
    """Yield the lines of one observance: a change of the offset at each of `times`, and by an RRULE line if given.

    It is DAYLIGHT or STANDARD by `after`. `times` are local, by the offset `before`.
    """
    kind = "DAYLIGHT" if after.is_dst else "STANDARD"
    yield f"BEGIN:{kind}"
    yield f"DTSTART:{times[0]:%Y%m%dT%H%M%S}"
    yield from (f"RDATE:{at:%Y%m%dT%H%M%S}" for at in times[1:])
    yield from rrule
    yield f"TZNAME:{after.name}"
    yield f"TZOFFSETFROM:{_utc_offset(before.seconds)}"
    yield f"TZOFFSETTO:{_utc_offset(after.seconds)}"
    yield f"END:{kind}"


def _utc_offset(seconds: int) -> str:
    """Format an offset as +HHMM, or +HHMMSS if it has seconds (section 3.3.14)."""
    minutes, rest = divmod(abs(seconds), 60)
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02}{minutes % 60:02}" + (f"{rest:02}" if rest else "")


def _parse_tzif(tzif: bytes) -> tuple[Offset, list[Transition], str]:
    """Return the offset at `FIRST`, the transitions after it, and the POSIX TZ string of a TZif file (RFC 9636).

    The file must have version 2 or later, as all have since 2006: its second block has times of 64 bits.
    """
    utc, standard, leaps, times, types, characters = struct.unpack_from(">6I", tzif, 20)
    start = 44 + times * 5 + types * 6 + characters + leaps * 8 + standard + utc
    utc, standard, leaps, times, types, characters = struct.unpack_from(">6I", tzif, start + 20)
    at = start + 44
    instants = struct.unpack_from(f">{times}q", tzif, at)
    indexes = tzif[at + times * 8 : at + times * 9]
    at += times * 9
    names = tzif[at + types * 6 : at + types * 6 + characters]
    offsets = [
        Offset(seconds, bool(is_dst), names[index : names.index(b"\0", index)].decode())
        for seconds, is_dst, index in struct.iter_unpack(">i?B", tzif[at : at + types * 6])
    ]
    footer = tzif[at + types * 6 + characters + leaps * 12 + standard + utc :].decode().strip("\n")
    first = offsets[0]
    transitions: list[Transition] = []
    for instant, index in zip(instants, indexes, strict=True):
        after = offsets[index]
        before = transitions[-1].after if transitions else first
        local = FIRST + timedelta(seconds=max(instant, -86400) + before.seconds)
        if local <= FIRST:
            first = after
        elif before != after:
            transitions.append(Transition(local, before, after))
    return first, transitions, footer


def _parse_rules(footer: str) -> list[Rule]:
    """Return the two rules of a POSIX TZ string; [] without daylight saving time, and for rules of another form.

    A POSIX offset is west of UTC. The offset of daylight saving time is by default one hour east of the other, the time
    of a change 02:00.
    """
    match = _POSIX_TZ.fullmatch(footer)
    if not match or not match[5]:
        return []
    standard = Offset(-_seconds(match[2]), is_dst=False, name=match[1].strip("<>"))
    dst_seconds = -_seconds(match[4]) if match[4] else standard.seconds + 3600
    dst = Offset(dst_seconds, is_dst=True, name=match[3].strip("<>"))
    starts = re.findall(r",M(\d+)\.(\d)\.(\d)(?:/([-+:\d]+))?", match[5])
    return [
        Rule(int(month), int(week), int(weekday), _seconds(time or "2"), *change)
        for (month, week, weekday, time), change in zip(starts, ((standard, dst), (dst, standard)), strict=True)
    ]


def _seconds(time: str) -> int:
    """Parse `[+-]HH[:MM[:SS]]` to seconds, negative with `-`."""
    parts = [int(part) for part in time.lstrip("+-").split(":")]
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    return -seconds if time.startswith("-") else seconds
