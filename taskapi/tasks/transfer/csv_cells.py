"""Cells of a CSV file that no spreadsheet evaluates as a formula, and that are read back without a loss."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

COLUMNS = (
    *("id", "title", "description", "completed", "completed_at", "priority", "tags", "due_date", "due_time"),
    *("time_zone", "due_at", "recurrence", "repeat_from", "created_at", "updated_at", "user_id"),
)
"""The members of a task in an exported file."""

_FORMULA = r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
"""First characters of a cell that a spreadsheet evaluates (OWASP, CSV injection), with their full-width forms."""

_ESCAPED = re.compile(rf"'*(?:{_FORMULA}|\Z)")
_UNESCAPED = re.compile(rf"'+(?:{_FORMULA}|\Z)")


def csv_line(cells: Iterable[str]) -> bytes:
    """Encode one line of CSV in UTF-8, ended by CRLF (RFC 4180); cells are quoted where necessary.

    Pass text through `escape` first: a cell that is a formula is written as it is.
    """
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()


def escape(text: str) -> str:
    """Return the text with an apostrophe before it if a spreadsheet would evaluate it, and if it is empty.

    Spreadsheets take a cell that begins with an apostrophe as text; an empty cell stands for null. A text that begins
    with apostrophes before such a character gets one more, so that `unescape` restores every text.
    """
    return f"'{text}" if _ESCAPED.match(text) else text


def unescape(cell: str) -> str:
    """Return the text that `escape` was called with; a cell that `escape` would not have changed stays as it is."""
    return cell[1:] if _UNESCAPED.match(cell) else cell


def join_tags(tags: Iterable[str]) -> str:
    """Return the tags in one text such as `home, "a, b"`: those with a comma or a quotation mark are quoted."""
    return ", ".join(f'"{tag.replace(chr(34), chr(34) * 2)}"' if re.search('[,"]', tag) else tag for tag in tags)


def split_tags(text: str) -> list[str]:
    """Return the tags in the text of `join_tags`, or of a person: trimmed, without empty ones. Raises `csv.Error`."""
    tags = [tag.strip() for row in csv.reader([text], skipinitialspace=True, strict=True) for tag in row]
    return [tag for tag in tags if tag]
