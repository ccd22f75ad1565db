"""A test client that validates every response of the suite against the OpenAPI document of the service."""

from __future__ import annotations

import re
from typing import Any

import orjson
from flask import Flask
from flask.testing import FlaskClient
from jsonschema_rs import Draft202012Validator, Registry
from werkzeug.test import TestResponse

from taskapi.docs import openapi
from taskapi.http.request_id import HEADER

DOCUMENT = "urn:openapi"

OPTIONAL_HEADERS = {"Link", "X-Total-Count", "Idempotency-Replayed", "Accept-Patch", "RateLimit", "RateLimit-Policy"}
"""Headers that depend on the request, or on the check that rejected it."""


class GuardedClient(FlaskClient):
    """Fails a test if the status, headers, media type or body of a response are not described."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        check(_operations(self.application), response)
        if response.status_code >= 400:
            # A server closes each response, which releases its permits. Here the traceback of the error would keep it
            # until the next garbage collection, and later requests of the same user would be 429.
            response.close()
        return response


def check(operations: _Operations, response: TestResponse) -> None:
    """Assert that an OpenAPI document describes a response: its status, headers, media type and body."""
    request = response.request
    operation = operations.find(request.method, request.path)
    if operation is None:
        assert response.status_code in (200, 401, 404, 405), f"{request.method} {request.path} is not described"
        assert (
            request.method in ("OPTIONS", "TRACE") or response.status_code in (401, 404, 405) or _is_page(request.path)
        )
        return
    described = operation["responses"].get(str(response.status_code))
    assert described, f"{request.method} {request.path} returned {response.status_code}, which is not described"
    for name in described["headers"]:
        # Lists by `overdue` change with the clock and have no ETag; waiting does not help against a full quota.
        exempt = (name == "ETag" and "overdue" in request.args) or (name, response.status_code) == ("Retry-After", 409)
        if name not in OPTIONAL_HEADERS and not exempt:
            assert name in response.headers, f"{name} is described but absent"
    for name in ("ETag", "Link", "Location", "X-Total-Count", "WWW-Authenticate", "Retry-After", HEADER):
        assert name not in response.headers or name in described["headers"], f"{name} is not described"
    if "content" not in described:
        assert response.data == b""
        return
    if request.method == "HEAD":
        return
    content = described["content"].get(response.content_type)
    assert content, f"{request.method} {request.path} returned {response.content_type}, which is not described"
    if not response.is_json:
        return
    errors = list(operations.validator(content["schema"]).iter_errors(response.get_json()))
    assert not errors, f"{request.method} {request.path} {response.status_code}: {errors[0].message}"


def _is_page(path: str) -> bool:
    return path.startswith(("/docs", "/problems/", "/openapi.json"))


class _Operations:
    """Looks up operations of an OpenAPI document by request, and caches the validators of its schemas."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._registry = Registry([(DOCUMENT, document)])
        self._document = document
        # Concrete paths match before templated ones: `batch` is not a task id (OpenAPI 3.1.1, section 4.8.8.2).
        self._patterns = [
            (re.compile(re.sub(r"\{[a-z_]+\}", "[^/]+", path) + "/?"), operations)
            for path, operations in sorted(document["paths"].items(), key=lambda item: item[0].count("{"))
        ]
        self._validators: dict[int, Draft202012Validator] = {}

    def find(self, method: str, path: str) -> dict[str, Any] | None:
        """Return the operation object of a request; None if the document has none."""
        name = "get" if method == "HEAD" else method.lower()
        for pattern, operations in self._patterns:
            if pattern.fullmatch(path):
                found: dict[str, Any] | None = operations.get(name)
                return found
        return None

    def validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        """Return the validator of a schema of the document."""
        validator = self._validators.get(id(schema))  # ids stay unique, because this object holds the document
        if validator is None:
            validator = self._validators[id(schema)] = Draft202012Validator(
                _absolute(schema), registry=self._registry, validate_formats=True
            )
        return validator


def _absolute(schema: Any) -> Any:
    """Return a schema whose references are absolute, to `DOCUMENT`."""
    if isinstance(schema, dict):
        return {key: DOCUMENT + value if key == "$ref" else _absolute(value) for key, value in schema.items()}
    return schema


def _operations(app: Flask) -> _Operations:
    """Return the operations of an application's document, which is the same for all applications with the same routes."""
    found: _Operations | None = app.extensions.get(__name__)
    if found is None:
        routes = frozenset(map(repr, app.url_map.iter_rules()))
        if routes not in _by_routes:
            _by_routes[routes] = _Operations(orjson.loads(openapi.document(app)))
        found = app.extensions[__name__] = _by_routes[routes]
    return found


_by_routes: dict[frozenset[str], _Operations] = {}
"""An application and its document take 11 ms each to create, and many tests need an application of their own."""
