"""Read the tasks of an iCalendar file: an export of ours, or VTODOs of other programs, which have more than a task.

What a task cannot have is reported and does not fail the import: a reminder, a start, a rule that is not supported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from marshmallow import ValidationError

from ...http.fields.time import FIRST_DAY, LAST_DAY, is_time_zone
from ..recurrence.rrule import last_day
from ..schemas import MAX_DESCRIPTION, MAX_TAG, MAX_TAGS, MAX_TITLE
from .icalendar_lines import Todo, read_todos
from .import_report import Report
from .schemas import imported_task

CATEGORIES_CHARACTERS = 10_000
"""Characters in all CATEGORIES of a VTODO that are read: 20 tags have 2,000 with escapes. 16 MiB would take 700 ms."""

_DROPPED = {
    "ATTACH": "Attachments are not kept.",
    "ATTENDEE": "Participants are not kept.",
    "COMMENT": "Comments are not kept.",
    "CONTACT": "Contacts are not kept.",
    "EXDATE": "Exceptions of a recurrence are not kept.",
    "GEO": "Places are not kept.",
    "LOCATION": "Places are not kept.",
    "ORGANIZER": "Participants are not kept.",
    "RDATE": "Further dates of a recurrence are not kept.",
    "RELATED-TO": "Relations of tasks are not kept: a subtask becomes a task.",
    "URL": "Links are not kept.",
}
"""Properties that a task does not have, and how they are reported."""

_READ = {
    *("SUMMARY", "DESCRIPTION", "STATUS", "COMPLETED", "PERCENT-COMPLETE", "PRIORITY", "CATEGORIES", "DUE", "DTSTART"),
    *("DURATION", "RRULE", "CREATED", "LAST-MODIFIED", "UID", "RECURRENCE-ID"),
    *("X-TASKAPI-MILLISECONDS", "X-TASKAPI-REPEAT-FROM", "X-TASKAPI-TIME-ZONE"),
    *("DTSTAMP", "SEQUENCE", "CLASS"),  # say nothing about the content
}
"""Properties that are not reported."""

_PRIORITIES = ("none", *["high"] * 4, "medium", *["low"] * 4)
"""The priority for each value of PRIORITY (section 3.8.1.9): 1 is highest, 0 undefined."""

_DATE_TIME = re.compile(r"([0-9]{8})(?:T([0-9]{4})([0-9]{2})(Z?))?")
_DURATION = re.compile(
    r"\+?P(?:([0-9]{1,4})W)?(?:([0-9]{1,5})D)?(?:T(?:([0-9]{1,5})H)?(?:([0-9]{1,6})M)?(?:[0-9]{1,6}S)?)?"
)


class _When(NamedTuple):
    """A date, with a local time (`HH:MM`) and its time zone if it has them."""

    day: date
    time: str | None
    zone: str | None


def read(raw: bytes, report: Report) -> Iterator[dict[str, Any]]:
    """Yield the tasks of an iCalendar file as the members of a JSON import; skip changed occurrences of a series.

    Adds the line of each task, and what is not kept, to `report`. Yields to other requests. Raises `MalformedFile`.
    """
    report.rules_begin_at_task = True
    zones: dict[str, str] = {}
    for todo in read_todos(raw, report, zones):
        reader = _TodoReader(todo, report, zones)
        if "RECURRENCE-ID" in reader.first:
            reader.drop("RECURRENCE-ID", "A changed occurrence of a recurring task is not kept.")
        else:
            report.lines.append(todo.line)
            yield reader.members()


class _TodoReader:
    """Converts one VTODO to the members of a task; reports what is not kept."""

    def __init__(self, todo: Todo, report: Report, zones: dict[str, str]) -> None:
        self._line, self._report, self._zones = todo.line, report, zones
        self._properties = todo.properties
        self.first = {each.name: each for each in reversed(todo.properties)}
        """The first property of each name."""

    def drop(self, name: str, detail: str) -> None:
        """Report that a property is not kept as it is, with the line of its first one; without one, of the VTODO."""
        self._report.drop(name, detail, self.first[name].line if name in self.first else self._line)

    def members(self) -> dict[str, Any]:
        """Return the members of the task as in a JSON import; report what of the VTODO is not kept."""
        members = {**self._identity(), **self._state(), **self._times()}
        members |= {"title": self._title(), "description": self._description(), "tags": self._tags()}
        priority = self._value("PRIORITY")
        members["priority"] = _PRIORITIES[int(priority)] if re.fullmatch("[0-9]", priority) else "none"
        members |= self._schedule(is_open=not members["completed"])
        self._report_others()
        return members

    def _value(self, name: str) -> str:
        """Return the trimmed value of the first property of this name; "" without it."""
        return self.first[name].value.strip() if name in self.first else ""

    def _identity(self) -> dict[str, Any]:
        """Return `user_id` and `id` from the UID of an export of ours; {} for a UID of another program."""
        match = re.fullmatch(r"(.*)-([1-9][0-9]{0,17})@taskapi", self._text("UID"), re.DOTALL)
        return {"user_id": match[1], "id": int(match[2])} if match else {}

    def _text(self, name: str) -> str:
        """Return the value of the first property of this name as TEXT, unescaped; "" without it."""
        return self.first[name].unescaped() if name in self.first else ""

    def _title(self) -> str:
        """Return SUMMARY in one line, cut at `MAX_TITLE`, or "Untitled" without a visible character; report both."""
        title = _one_line(self._text("SUMMARY"))
        if len(title) > MAX_TITLE:
            self.drop("SUMMARY", f"Titles are cut after {MAX_TITLE} characters.")
        title = title[:MAX_TITLE].strip()
        return self._valid("title", title, "SUMMARY", "A task without a title is named Untitled.") or "Untitled"

    def _description(self) -> str | None:
        """Return DESCRIPTION without control characters, cut at `MAX_DESCRIPTION`; None without one.

        An empty one is "" in an export of ours, and None in a file of another program.
        """
        text = self._text("DESCRIPTION").replace("\r\n", "\n").replace("\r", "\n")
        text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", " ", text)
        if len(text) > MAX_DESCRIPTION:
            self.drop("DESCRIPTION", f"Descriptions are cut after {MAX_DESCRIPTION} characters.")
        return text[:MAX_DESCRIPTION] or ("" if "DESCRIPTION" in self.first and self._identity() else None)

    def _tags(self) -> list[str]:
        """Return the tags of all CATEGORIES, each once; report those cut at `MAX_TAG` or `MAX_TAGS`, or not valid."""
        tags: dict[str, str] = {}
        for tag in map(_one_line, self._categories()):
            if len(tag) > MAX_TAG:
                self.drop("CATEGORIES", f"Tags are cut after {MAX_TAG} characters.")
            tags.setdefault(tag[:MAX_TAG].strip().casefold(), tag[:MAX_TAG].strip())
        tags.pop("", None)
        if len(tags) > MAX_TAGS:
            self.drop("CATEGORIES", f"Only the first {MAX_TAGS} tags of a task are kept.")
        return (
            self._valid("tags", [*tags.values()][:MAX_TAGS], "CATEGORIES", "Tags that cannot be seen are not kept.")
            or []
        )

    def _categories(self) -> Iterator[str]:
        """Yield the items of all CATEGORIES, of which together only the first `CATEGORIES_CHARACTERS` are read."""
        room = CATEGORIES_CHARACTERS
        for each in self._properties:
            if each.name == "CATEGORIES" and room > 0:
                yield from each.items(room)
                room -= len(each.value)

    def _valid(self, member: str, value: Any, name: str, detail: str) -> Any:
        """Return `value` if the schema accepts it as `member`; else None, and report property `name` with `detail`."""
        try:
            imported_task.fields[member].deserialize(value)
        except ValidationError:
            self.drop(name, detail)
            return None
        return value

    def _state(self) -> dict[str, Any]:
        """Return `completed`, and `completed_at` if known, from STATUS, COMPLETED, PERCENT-COMPLETE, LAST-MODIFIED."""
        status, percent = self._value("STATUS").upper(), self._value("PERCENT-COMPLETE")
        is_done = "COMPLETED" in self.first or percent == "100"
        is_completed = status in ("COMPLETED", "CANCELLED") or (not status and is_done)
        if status == "CANCELLED":
            self.drop("STATUS", "A cancelled task becomes a completed one.")
        elif status == "IN-PROCESS" or (not is_completed and percent not in ("", "0")):
            self.drop("STATUS" if status == "IN-PROCESS" else "PERCENT-COMPLETE", "The progress of a task is not kept.")
        if not is_completed:
            return {"completed": False}
        completed_at = self._instant("COMPLETED", 2) or self._instant("LAST-MODIFIED", 1)
        return {"completed": True, **({"completed_at": completed_at} if completed_at else {})}

    def _times(self) -> dict[str, Any]:
        """Return `created_at` and `updated_at` from CREATED and LAST-MODIFIED, without those that the file lacks."""
        times = {"created_at": self._instant("CREATED", 0), "updated_at": self._instant("LAST-MODIFIED", 1)}
        return {name: time for name, time in times.items() if time}

    def _instant(self, name: str, number: int) -> str | None:
        """Return a property as a time taken as UTC, with the milliseconds at index `number` of an export, or None."""
        when, match = self._when(name), _DATE_TIME.fullmatch(self._value(name))
        if when is None or match is None:
            return None
        found = re.findall("[0-9]{1,3}", self._value("X-TASKAPI-MILLISECONDS"))
        milliseconds = int(found[number]) if number < len(found) else 0
        return f"{when.day}T{when.time or '00:00'}:{match[3] or '00'}.{milliseconds:03}Z"

    def _when(self, name: str) -> _When | None:
        """Return the date or time of a property; None without it, and, with a report, for one that is not possible."""
        if name not in self.first:
            return None
        parameters, match = self.first[name].parameters, _DATE_TIME.fullmatch(self._value(name))
        try:
            if match is None:
                raise ValueError(name)  # noqa: TRY301  one report for all
            day = date.fromisoformat(match[1])
            if match[2]:
                datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3]}")
        except ValueError:
            day = date.min
        if match is None or not FIRST_DAY <= day <= LAST_DAY:
            self.drop(name, "The date or time does not exist, or is not possible.")
            return None
        zone = "UTC" if match[4] else self._zone(name, parameters.get("TZID", ""))
        time = match[2] and f"{match[2][:2]}:{match[2][2:]}"
        return _When(day, time, zone if time else None)

    def _zone(self, name: str, tzid: str) -> str | None:
        """Return the IANA name of a TZID, or of the end of its path; None without a TZID, or, reported, if unknown."""
        if not tzid:
            return None
        for found in (
            tzid,
            self._zones.get(tzid, ""),
            *("/".join(tzid.rsplit("/", 3)[-count:]) for count in (3, 2, 1)),
        ):
            if is_time_zone(found):
                return found
        self.drop(name, "The time zone is not known: the time is kept without it.")
        return None

    def _schedule(self, *, is_open: bool) -> dict[str, Any]:
        """Return the members about time: from DUE, or DTSTART and DURATION, or, with an RRULE, DTSTART alone."""
        due, start = self._when("DUE"), self._when("DTSTART")
        if due is None and start and "DURATION" in self.first:
            due = self._after(start)
        elif start and due is None and "RRULE" in self.first:
            due = start
        if start and start != due:
            self.drop("DTSTART", "The start of a task is not kept.")
        if due is None:
            if "RRULE" in self.first:
                self.drop("RRULE", "A recurrence without a date is not kept.")
            return dict.fromkeys(("due_date", "due_time", "time_zone", "recurrence"))
        zone = due.zone or (self._value("X-TASKAPI-TIME-ZONE") if not due.time else None)
        members: dict[str, Any] = {
            "due_date": str(due.day),
            "due_time": due.time,
            "time_zone": zone if zone and is_time_zone(zone) else None,
        }
        if "RRULE" in self.first or is_open:  # an export has the rules of open tasks only
            members["recurrence"] = self._recurrence(due.time, members["time_zone"])
        if self._value("X-TASKAPI-REPEAT-FROM").lower() in ("due", "completion"):
            members["repeat_from"] = self._value("X-TASKAPI-REPEAT-FROM").lower()
        return members

    def _after(self, start: _When) -> _When | None:
        """Return the time that is DURATION after `start`; None, and a report, if it is invalid or after `LAST_DAY`."""
        match = _DURATION.fullmatch(self._value("DURATION").upper())
        if match:
            weeks, days, hours, minutes = (int(part or 0) for part in match.groups())
            at = datetime.fromisoformat(f"{start.day}T{start.time or '00:00'}")
            at += timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes)
            if at.date() <= LAST_DAY:
                return _When(at.date(), start.time and f"{at:%H:%M}", start.zone)
        self.drop("DURATION", "The duration of a task is not kept.")
        return None

    def _recurrence(self, clock: str | None, zone: str | None) -> str | None:
        """Return the rule in normal form, with UNTIL as a date (`last_day` of a task due at `clock` in `zone`).

        None without a rule, and, with a report, for one that is invalid or not supported.
        """
        if "RRULE" not in self.first:
            return None
        try:
            rule: str = imported_task.fields["recurrence"].deserialize(self._value("RRULE"))
        except ValidationError:
            self.drop("RRULE", "The rule is not supported: the task is kept without a recurrence.")
            return None
        return re.sub("(?<=UNTIL=)[0-9]{8}T[0-9]{6}Z?", lambda match: _date(last_day(match[0], clock, zone)), rule)

    def _report_others(self) -> None:
        """Report the properties that a task cannot have (`_DROPPED`), and unknown ones as "other property"."""
        for each in self._properties:
            if each.name in _DROPPED:
                self._report.drop(each.name, _DROPPED[each.name], each.line)
            elif each.name not in _READ:
                self._report.drop("other property", "Other properties are not kept.", each.line)


def _one_line(text: str) -> str:
    """Return trimmed text with one space in place of each run of line breaks and other control characters."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text).strip()


def _date(day: date) -> str:
    """Format a date as iCalendar does, such as 20261231."""
    return day.isoformat().replace("-", "")
