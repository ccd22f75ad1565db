"""Redaction of gunicorn's parse errors: a log line or a 400 page that quotes a request may show a bearer token."""

from __future__ import annotations

from gunicorn.http.errors import ParseException


def redact(error: BaseException) -> None:
    """Replace the message of a parse error by the name of its class, in place; leave other errors unchanged.

    gunicorn's messages quote the request line or the header at fault.
    """
    if isinstance(error, ParseException):
        error.__class__ = _redacted_class(type(error))


_redacted_classes: dict[type[ParseException], type[ParseException]] = {}


def _redacted_class(kind: type[ParseException]) -> type[ParseException]:
    """Return a subclass of `kind`, made once, whose message is the name of `kind`."""
    if kind not in _redacted_classes:
        members = {"__str__": lambda _: kind.__name__, "__module__": kind.__module__}
        _redacted_classes[kind] = type(kind.__name__, (kind,), members)
    return _redacted_classes[kind]
