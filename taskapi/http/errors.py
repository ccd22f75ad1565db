"""Problem types and error handlers: every error response is application/problem+json (RFC 9457), made here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Self

import orjson
from flask import Flask, Response, current_app, request
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ..database.failures import DatabaseUnavailable
from ..telemetry.limited_log import limited_log
from ..telemetry.metrics import DATABASE_UNAVAILABLE, PROBLEMS
from .fields import strict
from .request_id import request_id
from .stack_traces import stack_trace

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An error response. Subclasses set `status`, `code`, `title` and, for its documentation, a `remedy`.

    `detail` is about this request, `headers` are added to the response, and `members` to its body. None of them may
    contain rejected input.
    """

    status: int = 500
    code: str = "internal"
    title: str = "Internal server error"
    remedy: str = "The defect is ours. Report it with the `request_id` of the response, which is in our log, too."

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members


class InvalidInput(Problem):
    """Base of the problems of invalid input; `whole` names the part of the request that is invalid, such as "Body".

    `errors` has each violation, and `detail` names the first ones and what is wrong with them.
    """

    whole: str

    @classmethod
    def of(cls, error: ValidationError) -> Self:
        """Return this problem for a marshmallow error.

        Its `Violation`s become `errors`, and the first ones also the text of `detail`.
        """
        violations = strict.violations(error)
        return cls(strict.describe(violations, cls.whole), errors=violations)


class BadRequest(Problem):
    status, code, title = 400, "bad-request", "The request is malformed"
    remedy = "Send complete, strict JSON in UTF-8: no member twice, no NaN or Infinity, no thousands of brackets."


class BadParameter(InvalidInput):
    whole = "Query"
    status, code, title = 400, "bad-parameter", "A query parameter is wrong"
    remedy = "`errors` names each parameter and what it may be. Unknown ones and repeated ones are never just ignored."


class BadCursor(Problem):
    status, code, title = 400, "bad-cursor", "The cursor is not valid here"
    remedy = "Follow the `next` link as it is. A cursor belongs to one user, one sort and one set of filters."


class InvalidLogoutToken(Problem):
    status, code, title = 400, "bad-notice", "The logout notice is not valid"
    remedy = (
        "No session was ended. Sign a fresh logout token (`typ` is `logout+jwt`; with `sub`, `sid`, `iat`, `exp`, "
        "`jti` and `events`) with the key that signs the access tokens."
    )


class Unauthorized(Problem):
    status, code, title = 401, "unauthorized", "A valid token is required"
    remedy = (
        "Get a fresh token from Better Auth and send it as `Authorization: Bearer <token>`; no other place is read."
    )


class Forbidden(Problem):
    status, code, title = 403, "forbidden", "This path belongs to another user"
    remedy = "The user in the path must be the subject (`sub`) of the token."


class NotFound(Problem):
    status, code, title = 404, "not-found", "Not found"
    remedy = "You have no such task, or it is in the trash; or nothing is served at this address."


class MethodNotAllowedProblem(Problem):
    status, code, title = 405, "method-not-allowed", "This path does not know this method"
    remedy = "`Allow` lists the methods that it knows."


class InFlight(Problem):
    status, code, title = 409, "in-flight", "The same request is still under way"
    remedy = "Wait `Retry-After` seconds and send it again with the same `Idempotency-Key`: you will get its response."


class QuotaExceeded(Problem):
    status, code, title = 409, "quota-exceeded", "You have as many tasks as is allowed"
    remedy = "Delete some. If the trash, which may hold twice as many, is full, too, delete tasks in it permanently."


class Gone(Problem):
    status, code, title = 410, "gone", "The feed no longer reaches back so far"
    remedy = "Discard your copy and read the feed from its start: the `Link` with `rel=start`."


class TaskDeleted(Problem):
    status, code, title = 410, "task-deleted", "The task of this response has been deleted"
    remedy = (
        "This repeats a request that succeeded, and whose task was deleted permanently afterwards: its content is not "
        "stored. Do not send it again."
    )


class LengthRequired(Problem):
    status, code, title = 411, "length-required", "The length of the body is required"
    remedy = "Send the body with `Content-Length`: the server in front of the service does not decode a chunked body."


class PreconditionFailed(Problem):
    status, code, title = 412, "precondition-failed", "The task has changed"
    remedy = "Another request changed it first. Look at `current`, decide again, and send its version in `If-Match`."


class TooLarge(Problem):
    status, code, title = 413, "too-large", "The body is too large"
    remedy = "Send less; `detail` says how much is accepted."


class UnsupportedMedia(Problem):
    status, code, title = 415, "unsupported-media-type", "The body is not in a supported format"
    remedy = "Send the body with a `Content-Type` that `detail` names, uncompressed."


class ValidationFailed(InvalidInput):
    whole = "Body"
    status, code, title = 422, "invalid", "The body breaks a rule"
    remedy = "`errors` has, for each member that must change, a JSON Pointer to it, a sentence and a code."


class KeyReused(Problem):
    status, code, title = 422, "key-reused", "The idempotency key belongs to another request"
    remedy = "Make a new key for each request, and keep it for the repetitions of that request only."


class PreconditionRequired(Problem):
    status, code, title = 428, "precondition-required", "If-Match is required"
    remedy = "This service runs in strict mode: send the `ETag` you last saw in `If-Match`, so nothing unseen is lost."


class TooManyRequests(Problem):
    status, code, title = 429, "too-many-requests", "Too many requests"
    remedy = "Wait `Retry-After` seconds. `RateLimit` on every response says how many requests are left."


class TooManyKeys(Problem):
    status, code, title = 429, "too-many-keys", "Too many idempotency keys"
    remedy = (
        "Each key is stored for 24 hours. Wait `Retry-After` seconds, until the oldest expires, or send what can "
        "be repeated without harm (`If-Match`, a state to set) without a key."
    )


class ServiceUnavailable(Problem):
    status, code, title = 503, "unavailable", "The service cannot answer right now"
    remedy = (
        "Try again after `Retry-After` seconds. Do not sign the user out: nothing is known to be wrong with the token."
    )


class InternalError(Problem):
    """An unexpected exception. The response has no details; the log has them, with the request id."""


CATALOGUE: dict[str, type[Problem]] = {
    problem.code: problem
    for problem in (
        *(BadRequest, BadParameter, BadCursor, InvalidLogoutToken, Unauthorized, Forbidden, NotFound),
        *(MethodNotAllowedProblem, InFlight, QuotaExceeded, Gone, TaskDeleted, LengthRequired, PreconditionFailed),
        *(TooLarge, UnsupportedMedia, ValidationFailed, KeyReused, PreconditionRequired, TooManyRequests),
        *(TooManyKeys, ServiceUnavailable, InternalError),
    )
}
"""All problem types by code, for `/problems/<code>` and the OpenAPI document."""

RETRY_AFTER = {"Retry-After": "1"}
"""Headers of a 503 that is likely to be over in a second, such as that of a database that restarts."""


def init_app(app: Flask) -> None:
    """Register the handlers that turn each exception into a problem response.

    Flask calls the handler of the most specific class, whatever the order of registration.
    """
    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(DatabaseUnavailable, _database_unavailable)
    app.register_error_handler(HTTPException, http_exception)
    app.register_error_handler(Exception, _unexpected)


def problem_response(problem: Problem) -> Response:
    """Return the application/problem+json response of a problem (RFC 9457), with its headers.

    The body has the request id.
    """
    body = {
        "type": f"{request.root_path}/problems/{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id(),
        **problem.members,
    }
    response = Response(orjson.dumps(body), problem.status, content_type=MEDIA_TYPE)
    response.headers.extend(problem.headers)
    PROBLEMS.add(problem.code)
    return response


def _database_unavailable(error: DatabaseUnavailable) -> Response:
    """Log the error and return 503 with `Retry-After`.

    The detail says that nothing was changed, or, if `error.uncertain`, that the write may have been committed.
    """
    DATABASE_UNAVAILABLE.add()
    message = f"database unavailable: {_first_line(error)}"
    limited_log(current_app, log).write(logging.ERROR, message, message)
    if error.uncertain:
        detail = "The database was lost while the change was being saved. Read the task again before you repeat it."
    else:
        detail = "The database cannot be reached. Nothing was changed; try again shortly."
    return problem_response(ServiceUnavailable(detail, headers=RETRY_AFTER))


def _first_line(error: DatabaseUnavailable) -> str:
    """Return the first line of a message: PostgreSQL's DETAIL and CONTEXT, which follow it, may quote values."""
    return str(error).partition("\n")[0]


def http_exception(error: HTTPException) -> Response:
    """Return the problem response for an exception that Flask or Werkzeug raised: 404, 405 with `Allow`, or 413.

    Any other status below 500 becomes 400. An error without a status, or of 500 and above, is logged and becomes 500.
    """
    if isinstance(error, MethodNotAllowed):
        allow = ", ".join(sorted(error.valid_methods or ()))
        return problem_response(MethodNotAllowedProblem(f"Use one of: {allow}.", headers={"Allow": allow}))
    if error.code == HTTPStatus.NOT_FOUND:
        document = f"{request.root_path}/openapi.json"
        return problem_response(NotFound(f"Nothing is served at this address; {document} lists what is."))
    if error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return problem_response(TooLarge("The body is larger than this service accepts."))
    if error.code is not None and error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return problem_response(BadRequest("The request cannot be understood."))
    return _unexpected(error)


def _unexpected(error: Exception) -> Response:
    """Log an exception that no other handler accepts, without its message (`stack_trace`), and return 500.

    The stack trace is logged once a minute; for each request there is a line, because the response quotes its id.
    """
    trace = stack_trace(error)
    message = f"unhandled {type(error).__name__} in request {request_id()}"
    if not limited_log(current_app, log).write(logging.ERROR, trace, f"{message}\n{trace}"):
        log.error("%s: the same stack trace as before", message)
    return problem_response(InternalError("Something failed on our side. Quote the request_id when you report it."))
