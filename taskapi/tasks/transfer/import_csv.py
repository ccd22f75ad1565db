"""Read the tasks of a CSV file: an export, also after a spreadsheet has saved it, or a file with the same columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from ...concurrency.cooperative import yielding_by_size
from .csv_cells import COLUMNS, split_tags, unescape
from .import_report import LINE_BYTES, MAX_LINES, READ_AT_A_TIME, MalformedFile, Report, work_of_line

MAX_COLUMNS = 100
"""Maximum columns of a file, of which those that are not known are reported one by one."""

_DELIMITERS = (",", ";", "\t")
"""Spreadsheets write a semicolon where the comma is the decimal separator."""


class _Lines:
    """The lines of a file for `csv.reader`, without a byte order mark; yields to other requests."""

    def __init__(self, raw: bytes) -> None:
        source = io.BytesIO(raw.removeprefix(b"\xef\xbb\xbf"))
        lines = iter(lambda: source.readline(LINE_BYTES + 1), b"")
        self._lines = yielding_by_size(lines, every=READ_AT_A_TIME, size=work_of_line)
        self.number = 0
        """The lines that were read."""
        self.record_size = 0
        """The bytes of the present record, which may have several lines."""

    def __iter__(self) -> Iterator[str]:
        """Yield the lines in text, with their line breaks; count them in `number`, and their bytes in `record_size`.

        Raises `MalformedFile` for a record over `LINE_BYTES`, more than `MAX_LINES`, and bytes that are not UTF-8.
        """
        for number, line in enumerate(self._lines, 1):
            self.number = number
            self.record_size += len(line)
            if self.record_size > LINE_BYTES or number > MAX_LINES:
                raise MalformedFile(number, "Is too long a record or file, or a quotation mark is missing.")
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                raise MalformedFile(number, "Must be UTF-8.") from error


def read(raw: bytes, report: Report) -> Iterator[dict[str, Any]]:
    """Yield the tasks of a CSV file as the members of a JSON import; the first line names the columns.

    Skips records of empty cells only. Adds the line of each task to `report`, and columns that are not known. Yields to
    other requests. Raises `MalformedFile`.
    """
    lines = _Lines(raw)
    records = _records(lines)
    start, header = next(records, (1, []))
    names = _names(header, report)
    for start, cells in records:
        if any(cells):
            if len(cells) > len(names):
                raise MalformedFile(start, "Has more cells than the first line.")
            report.lines.append(start)
            yield {name: value for name, value in map(_member, names, cells) if name}


def _records(lines: _Lines) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the number of the first line and the cells of each record, the header included.

    The delimiter is the one of `_DELIMITERS` that the first line has most often. Raises `MalformedFile` for wrong
    quotation marks, and as `_Lines` does.
    """
    source = iter(lines)
    first = next(source, "")
    delimiter = max(_DELIMITERS, key=first.count)
    start = 1
    try:
        for cells in csv.reader(chain([first], source), delimiter=delimiter, strict=True):
            yield start, cells
            start, lines.record_size = lines.number + 1, 0
    except csv.Error as error:
        raise MalformedFile(start, "Is not CSV: a quotation mark is missing, or is in the wrong place.") from error


def _names(header: Sequence[str], report: Report) -> list[str]:
    """Return the member of each column; "" for `due_at`, and for a column that is not known, which is reported.

    Raises `MalformedFile` without `title`, with a known column twice, and with more than `MAX_COLUMNS`.
    """
    names = [cell.strip().lower() for cell in header]
    known = [name for name in names if name in COLUMNS]
    if "title" not in known or len(known) != len(set(known)) or len(names) > MAX_COLUMNS:
        raise MalformedFile(1, f"Must name up to {MAX_COLUMNS} columns: `title`, and others of an export, each once.")
    for number, name in enumerate(names, 1):
        if name and name not in COLUMNS:
            report.drop(f"column {number}", "The column is not one of an export.", 1)
    return [name if name in COLUMNS and name != "due_at" else "" for name in names]


def _member(name: str, cell: str) -> tuple[str, Any]:
    """Return the name and the JSON value of a cell; name "" if the member is absent or its column not known.

    An empty cell means `_EMPTY`, or an absent member. A value that cannot be parsed stays text, which the schema
    rejects.
    """
    if not cell:
        return (name if name in _EMPTY else "", _EMPTY.get(name))
    text = unescape(cell)
    return name, _PARSERS[name](text.strip()) if name in _PARSERS else text


def _id(text: str) -> int | str:
    """Return a text of 1 to 18 digits as a number; another text unchanged, which the schema rejects."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else text


def _tags(text: str) -> list[str] | str:
    """Return the tags (`split_tags`); a text with wrong quotation marks unchanged, which the schema rejects."""
    try:
        return split_tags(text)
    except csv.Error:
        return text


def _due_time(text: str) -> str:
    """Return a time such as 9:30 or 09:30:00, as spreadsheets write it, as `HH:MM`; another text unchanged."""
    match = re.fullmatch("([0-9]{1,2}):([0-9]{2})(:00)?", text)
    return f"{match[1]:0>2}:{match[2]}" if match else text


_EMPTY: Mapping[str, Any] = {
    **dict.fromkeys(("description", "completed_at", "due_date", "due_time", "time_zone", "recurrence")),
    "tags": [],
}
"""The values of empty cells; an empty cell of another member counts as absent."""

_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "id": _id,
    "completed": lambda text: {"true": True, "false": False}.get(text.lower(), text),  # spreadsheets write TRUE
    "tags": _tags,
    "due_time": _due_time,
    **dict.fromkeys(("completed_at", "created_at", "updated_at", "due_date", "time_zone", "priority"), str),
}
"""The functions that parse cells; the others are text as it is."""
