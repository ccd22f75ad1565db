"""A test client that holds every answer of the suite against the service's own OpenAPI description."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from werkzeug.test import TestResponse

from taskapi.request_id import HEADER

DOCUMENT = "urn:openapi"


class GuardedClient(FlaskClient):
    """Fails a test whose answer the description does not know: status, headers, media type or body."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        check(self.application.extensions["taskapi.openapi"], response)
        return response


def check(document: bytes, response: TestResponse) -> None:
    request = response.request
    operation = _operations(document).find(request.method, request.path)
    if operation is None:
        assert response.status_code in (200, 404, 405), f"{request.method} {request.path} is not described"
        assert request.method in ("OPTIONS", "TRACE") or response.status_code in (404, 405) or _is_page(request.path)
        return
    described = operation["responses"].get(str(response.status_code))
    assert described, f"{request.method} {request.path} answered {response.status_code}, which is not described"
    for name in described["headers"]:
        if name not in ("Link", "X-Total-Count"):  # these depend on the request
            assert name in response.headers, f"{name} is described but absent"
    for name in ("ETag", "Link", "Location", "X-Total-Count", "WWW-Authenticate", "Retry-After", HEADER):
        assert name not in response.headers or name in described["headers"], f"{name} is not described"
    if "content" not in described:
        assert response.data == b""
        return
    if request.method == "HEAD":
        return
    ((media_type, content),) = described["content"].items()
    assert response.content_type == media_type
    errors = list(_operations(document).validator(content["schema"]).iter_errors(response.get_json()))
    assert not errors, f"{request.method} {request.path} {response.status_code}: {errors[0].message}"


def _is_page(path: str) -> bool:
    return path.startswith(("/docs", "/problems/", "/openapi.json"))


class _Operations:
    def __init__(self, document: dict[str, Any]) -> None:
        self._registry: Registry[Any] = Registry().with_resource(
            DOCUMENT, Resource.from_contents(document, default_specification=DRAFT202012)
        )
        self._patterns = [
            (re.compile(re.sub(r"\{[a-z_]+\}", "[^/]+", path) + "/?"), operations)
            for path, operations in document["paths"].items()
        ]
        # Response headers are given by reference; their names are what counts here.

    def find(self, method: str, path: str) -> dict[str, Any] | None:
        name = "get" if method == "HEAD" else method.lower()
        for pattern, operations in self._patterns:
            if pattern.fullmatch(path) and name in operations:
                found: dict[str, Any] = operations[name]
                return found
        return None

    def validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        return Draft202012Validator(
            _absolute(schema), registry=self._registry, format_checker=Draft202012Validator.FORMAT_CHECKER
        )


def _absolute(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: DOCUMENT + value if key == "$ref" else _absolute(value) for key, value in schema.items()}
    return schema


@cache
def _operations(document: bytes) -> _Operations:
    import orjson

    return _Operations(orjson.loads(document))
