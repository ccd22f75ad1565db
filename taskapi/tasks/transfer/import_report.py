"""What the import of a CSV or iCalendar file reports: the lines of its tasks, what was not kept, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from marshmallow import ValidationError

MAX_LINES = 2_000_000
"""Maximum lines of a file. 16 MiB of the shortest lines would have 8 million, and take ten seconds."""

LINE_BYTES = 64 * 1024
"""Bytes of a line, and of a CSV record, that are read in one piece: the longest task of an export has 47,000."""

MAX_REPORTED_LINES = 20
"""Maximum line numbers in the report of one kind of what was not kept."""

READ_AT_A_TIME = 300
"""Lines that are read before other requests run; a line counts for one more for each full 200 bytes: 1 to 4 ms."""


class MalformedFile(Exception):
    """A file that cannot be read as CSV or iCalendar: the number of the line, from 1, and the reason."""

    def __init__(self, line: int, detail: str) -> None:
        super().__init__(detail)
        self.line, self.detail = line, detail


@dataclass
class _Kind:
    """How often something of one kind was not kept, and the first `MAX_REPORTED_LINES` of its lines."""

    count: int = 0
    lines: list[int] = field(default_factory=list)


@dataclass
class Report:
    """The line at which each task of a file begins, and what of the file is not kept. Empty for JSON."""

    lines: list[int] = field(default_factory=list)
    """By index of the task."""
    rules_begin_at_task: bool = False
    """True if COUNT and UNTIL of a rule are those of `remaining_rule`, as in calendars."""
    _kinds: dict[tuple[str, str], _Kind] = field(default_factory=dict)

    def drop(self, name: str, detail: str, line: int) -> None:
        """Report that a piece of the file, on line `line`, is not kept; counted by name and detail.

        `name` and `detail` must be texts of this program, not of the file: the response has them.
        """
        kind = self._kinds.setdefault((name, detail), _Kind())
        kind.count += 1
        if len(kind.lines) < MAX_REPORTED_LINES:
            kind.lines.append(line)

    @property
    def dropped(self) -> list[dict[str, Any]]:
        """What was not kept, by name and detail, as the member `dropped` of the response (`DroppedOut`)."""
        return [
            {"name": name, "detail": detail, "count": kind.count, "lines": kind.lines}
            for (name, detail), kind in self._kinds.items()
        ]

    @contextmanager
    def errors_by_line(self) -> Iterator[None]:
        """Replace indexes of tasks in a ValidationError of the block by lines of the file: `/tasks/3` -> `/lines/12`.

        Other errors, and those of a JSON body, which has no lines, pass unchanged.
        """
        try:
            yield
        except ValidationError as error:
            tasks = error.messages.get("tasks") if isinstance(error.messages, Mapping) else None
            if not self.lines or tasks is None:
                raise
            if isinstance(tasks, Mapping):
                tasks = {self.lines[index]: messages for index, messages in tasks.items()}
            raise ValidationError({"lines": tasks}) from error


def work_of_line(line: bytes) -> int:
    """Return the work on a line in the unit of `READ_AT_A_TIME`: 1, and 1 more for each full 200 bytes."""
    return 1 + len(line) // 200
