"""Read the tasks of an import's body: JSON, CSV or iCalendar, by its media type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import request

from ...http.errors import BadRequest
from ...http.fields import strict
from ...http.request import long_json_body
from . import import_csv, import_icalendar
from .import_report import MalformedFile, Report
from .schemas import import_in, imported_tasks

_READERS: Mapping[str, Callable[[bytes, Report], Iterator[dict[str, Any]]]] = {
    "text/csv": import_csv.read,
    "text/calendar": import_icalendar.read,
}

MEDIA_TYPES = ("application/json", *_READERS)
"""The media types of an import. A body without one is JSON."""


def read_tasks() -> tuple[list[Any], Report]:
    """Return the tasks of the body of the current request, as `ImportedTask` loads them, and the report of a file.

    The report of a JSON body is empty. Yields to other requests. Raises `ValidationFailed` or ValidationError for
    invalid tasks, and `BadRequest` for a body that cannot be read; their pointers into a file are its lines
    (`/lines/3`).
    """
    report = Report()
    read = _READERS.get(request.mimetype)
    if read is None:
        return long_json_body(import_in)["tasks"], report
    with report.errors_by_line():
        try:
            items = imported_tasks.load_items(read(request.get_data(), report))
        except MalformedFile as error:
            violations = [{"pointer": f"/lines/{error.line}", "detail": error.detail, "code": "malformed"}]
            raise BadRequest(strict.describe(violations, "Body"), errors=violations) from error
        return import_in.load({"tasks": items})["tasks"], report
