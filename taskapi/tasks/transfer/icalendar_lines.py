"""Read an iCalendar file (RFC 5545) line by line: content lines, and the properties of each VTODO.

`icalendar` takes 1 ms for a VTODO, which is 10 s for 10,000, and rejects a file for one wrong value. This module only
finds names, parameters and values; the tests compare them with those of `icalendar`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from ...concurrency.cooperative import yielding_by_size
from .import_report import LINE_BYTES, MAX_LINES, READ_AT_A_TIME, MalformedFile, Report, work_of_line

MAX_PROPERTIES = 1_000
"""Maximum properties of a VTODO that are read, and maximum time zones of a file whose names are read."""

MAX_ITEMS = 100
"""Maximum items of a list, such as the categories of a task, and parameters of a property that are read."""

MAX_DEPTH = 10
"""Maximum depth of components inside of each other. A reminder of a task has 3."""

_VALUE = r'(?:"[^"]*"|(?:[^";:,][^;:,]*+)?)'
"""The value of a parameter. Programs write quotation marks within one without quotes, `CN=Ann "A" Lee`."""

_CONTENT_LINE = re.compile(rf"([A-Za-z0-9._-]+)((?:;[A-Za-z0-9-]+={_VALUE}(?:,{_VALUE})*+)*+):(.*)", re.DOTALL)
_ESCAPES = (("\\\\", "\0"), ("\\n", "\n"), ("\\N", "\n"), ("\\,", ","), ("\\;", ";"))
"""The escapes of TEXT; NUL, which no task has, stands for a backslash until all are replaced."""

_ITEM = re.compile(r"(?:[^,\\]|\\.)+", re.DOTALL)
_PARAMETER = re.compile(rf";([A-Za-z0-9-]+)=({_VALUE}(?:,{_VALUE})*+)")


class Property(NamedTuple):
    """A property: its first line in the file, its name and the names of its parameters in upper case, and its value."""

    line: int
    name: str
    parameters: dict[str, str]
    value: str

    def unescaped(self) -> str:
        """Return the value as TEXT: its escapes are replaced (section 3.3.11)."""
        return _unescape(self.value)

    def items(self, characters: int = LINE_BYTES) -> list[str]:
        """Return the comma-separated TEXT items of the value: `MAX_ITEMS` at most, of its first `characters`."""
        parts = islice(_ITEM.finditer(self.value, 0, characters), MAX_ITEMS)
        return [_unescape(part[0]) for part in parts]


class Todo(NamedTuple):
    """A VTODO: the line on which it begins, and its properties, at most `MAX_PROPERTIES`."""

    line: int
    properties: list[Property]


def _unescape(text: str) -> str:
    """Replace the escapes of a TEXT value by their characters; a backslash of no escape stays, NUL becomes a space."""
    if "\\" not in text:
        return text
    # Without a function for each escape: a long description may have 10,000.
    for escape, character in (("\0", " "), *_ESCAPES):
        text = text.replace(escape, character)
    return text.replace("\0", "\\")


def read_todos(raw: bytes, report: Report, zones: dict[str, str]) -> Iterator[Todo]:
    """Yield each VTODO of a file, which may have several calendars. Raises `MalformedFile`.

    Reports other components as not kept. Adds to `zones`, by the TZID of a VTIMEZONE, the IANA name that it has as
    X-LIC-LOCATION. Yields to other requests.
    """
    components, line = _Components(report, zones), 0
    for each in _content_lines(raw):
        line, name = each.line, each.value.strip().upper()
        if each.name == "BEGIN":
            components.begin(line, name)
        elif not components.open:
            raise MalformedFile(line, "Must begin with BEGIN:VCALENDAR.")
        elif each.name != "END":
            components.add(each)
        elif components.end(line, name) == "VTODO":
            yield components.todo
    if components.open or not line:
        raise MalformedFile(line + 1, "The file ends before its END:VCALENDAR.")


class _Components:
    """The components that have begun and not ended (`open`, outermost first), and the last VTODO (`todo`)."""

    def __init__(self, report: Report, zones: dict[str, str]) -> None:
        self._report, self._zones = report, zones
        self._tzid = self._location = ""
        """The TZID and the X-LIC-LOCATION of the last VTIMEZONE; empty without one."""
        self.open: list[str] = []
        self.todo = Todo(0, [])

    def begin(self, line: int, name: str) -> None:
        """Begin a component, and report one that is not kept.

        Raises `MalformedFile` if it is not in a VCALENDAR, is in one of its own kind, or exceeds `MAX_DEPTH`.
        """
        is_misplaced = name in self.open or (name == "VCALENDAR" if self.open else name != "VCALENDAR")
        if is_misplaced or len(self.open) == MAX_DEPTH:
            raise MalformedFile(line, "A component is not in a VCALENDAR, or in one where it cannot be.")
        self.open.append(name)
        if name == "VTODO":
            self.todo = Todo(line, [])
        elif name == "VTIMEZONE":
            self._tzid = self._location = ""
        elif name not in ("VCALENDAR", "STANDARD", "DAYLIGHT"):
            self._report.drop(*_component(name), line)

    def end(self, line: int, name: str) -> str:
        """End the innermost component and return its name; of a VTIMEZONE with both, add the IANA name to `zones`.

        `zones` gets at most `MAX_PROPERTIES` names. Raises `MalformedFile` if the component's name is not `name`.
        """
        if self.open.pop() != name:
            raise MalformedFile(line, "Ends another component than the one that has begun.")
        # Only here, because the properties of a component have no order (section 3.6).
        if name == "VTIMEZONE" and self._tzid and self._location and len(self._zones) < MAX_PROPERTIES:
            self._zones[self._tzid] = self._location
        return name

    def add(self, each: Property) -> None:
        """Add a property to a VTODO, or keep the TZID or X-LIC-LOCATION of a VTIMEZONE; the last one of it counts.

        Ignores the properties of a VTODO beyond `MAX_PROPERTIES`, and those of other components.
        """
        if self.open[-1] == "VTODO" and len(self.todo.properties) < MAX_PROPERTIES:
            self.todo.properties.append(each)
        elif self.open[-1] == "VTIMEZONE" and each.name == "TZID":
            self._tzid = each.value
        elif self.open[-1] == "VTIMEZONE" and each.name == "X-LIC-LOCATION":
            self._location = each.value


def _component(name: str) -> tuple[str, str]:
    """Return the name and the sentence by which `Report.drop` reports a component that is not a task."""
    known = {
        "VALARM": "Reminders are not kept.",
        "VEVENT": "Events are not tasks.",
        "VJOURNAL": "Journal entries are not tasks.",
        "VFREEBUSY": "Free and busy times are not tasks.",
    }
    return (name, known[name]) if name in known else ("other component", "Components of other kinds are not kept.")


def _content_lines(raw: bytes) -> Iterator[Property]:
    """Yield the properties of a file: its content lines, unfolded, decoded and divided (section 3.1).

    Skips blank lines. Raises `MalformedFile` for other lines, and for bytes that are not UTF-8. Yields to other
    requests.
    """
    for number, data in _unfolded(raw):
        try:
            line = data.decode()
        except UnicodeDecodeError as error:
            raise MalformedFile(number, "Must be UTF-8.") from error
        match = _CONTENT_LINE.fullmatch(line)
        if match:
            found = islice(_PARAMETER.finditer(match[2]), MAX_ITEMS)
            parameters = {each[1].upper(): each[2].strip('"') for each in found}
            yield Property(number, match[1].upper(), parameters, match[3])
        elif line.strip():
            raise MalformedFile(number, "Is not a line of iCalendar: NAME:value.")


def _unfolded(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number of its first line, bytes without line break) for each unfolded content line.

    A fold may be within a character. Of a line longer than `LINE_BYTES`, such as an attachment, only the beginning is
    yielded, in whole characters. Raises `MalformedFile` after `MAX_LINES`. Yields to other requests.
    """
    source = io.BytesIO(raw.removeprefix(b"\xef\xbb\xbf"))
    pieces = iter(lambda: source.readline(LINE_BYTES), b"")
    number, start, is_complete, parts, size = 0, 1, True, [b""], 0
    for piece in yielding_by_size(pieces, every=READ_AT_A_TIME, size=work_of_line):
        is_continued = not is_complete or piece[:1] in (b" ", b"\t")
        number += is_complete
        if number > MAX_LINES:
            raise MalformedFile(number, "The file has too many lines.")
        if not is_continued:
            yield start, _joined(parts, size)
            start, parts, size = number, [], 0
        text = piece.rstrip(b"\r\n") if piece.endswith(b"\n") else piece
        if size < LINE_BYTES:
            parts.append(text[1:] if is_continued and is_complete else text)
            size += len(text)
        is_complete = piece.endswith(b"\n")
    yield start, _joined(parts, size)


def _joined(parts: list[bytes], size: int) -> bytes:
    """Join the parts of a content line; if it was cut (`size` from `LINE_BYTES`), drop an incomplete last character."""
    data = b"".join(parts)
    return data if size < LINE_BYTES else data.decode(errors="ignore").encode()
