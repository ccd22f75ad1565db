"""The message of a parse error is the name of its class."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from gunicorn.http import errors

from taskapi.server.parse_errors import redact

PARSE_ERRORS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ParseException)
]


@pytest.mark.parametrize("kind", PARSE_ERRORS)
def test_a_redacted_parse_error_quotes_nothing(kind: Any) -> None:
    error = (
        kind(*["s3cr3t"] * len(inspect.signature(kind).parameters))
        if kind.__init__ is not Exception.__init__
        else kind("s3cr3t")
    )
    redact(error)
    redact(error)
    assert isinstance(error, kind)
    assert str(error) == type(error).__name__ == kind.__name__


def test_other_errors_are_unchanged() -> None:
    error = ValueError("x")
    redact(error)
    assert (type(error), str(error)) == (ValueError, "x")
