"""The only maker of error bodies: every failure leaves as application/problem+json (RFC 9457)."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from flask import Flask, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ..database.failures import DatabaseUnavailable
from .request_id import request_id

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A refusal. Subclasses fix `status`, `code`, `title` and, for the docs, a `remedy`; `detail` is about one request.

    `headers` go onto the answer, `members` into its body. Neither may hold rejected input.
    """

    status: int = 500
    code: str = "internal"
    title: str = "Internal server error"
    remedy: str = "The defect is ours. Report it with the `request_id` of the answer, which stands in our log too."

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members


class BadRequest(Problem):
    status, code, title = 400, "bad-request", "The request is malformed"
    remedy = "Send complete, strict JSON in UTF-8: no member twice, no NaN or Infinity, no thousands of brackets."


class BadParameter(Problem):
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
        "Get a fresh token from Better Auth and send it as `Authorization: Bearer <token>`; nowhere else is looked."
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
    remedy = "Wait `Retry-After` seconds and send it again with the same `Idempotency-Key`: you will get its answer."


class QuotaExceeded(Problem):
    status, code, title = 409, "quota-exceeded", "You have as many tasks as is allowed"
    remedy = "Delete some. The trash may hold twice as many beside them; then delete tasks in it permanently."


class Gone(Problem):
    status, code, title = 410, "gone", "The feed no longer reaches back so far"
    remedy = "Drop what you hold and read the feed from the start, where `Link` with `rel=start` leads."


class TaskDeleted(Problem):
    status, code, title = 410, "task-deleted", "The task of this response has been deleted"
    remedy = (
        "This repeats a request that was carried out, and whose task was deleted permanently afterwards: its content "
        "is not kept. There is nothing to repeat."
    )


class PreconditionFailed(Problem):
    status, code, title = 412, "precondition-failed", "The task has changed"
    remedy = "Somebody was faster. Look at `current`, decide again, and send its version in `If-Match`."


class TooLarge(Problem):
    status, code, title = 413, "too-large", "The body is too large"
    remedy = "Send less; `detail` says how much is accepted."


class UnsupportedMedia(Problem):
    status, code, title = 415, "unsupported-media-type", "The body is not in a supported format"
    remedy = "Send `Content-Type: application/json`, uncompressed."


class ValidationFailed(Problem):
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
    remedy = "Wait `Retry-After` seconds. `RateLimit` on every answer tells how many are left."


class TooManyKeys(Problem):
    status, code, title = 429, "too-many-keys", "Too many idempotency keys"
    remedy = (
        "Each key is remembered for 24 hours. Wait `Retry-After` seconds, until the oldest expires, or send what can "
        "be repeated without harm (`If-Match`, a state to set) without a key."
    )


class ServiceUnavailable(Problem):
    status, code, title = 503, "unavailable", "The service cannot answer right now"
    remedy = (
        "Try again after `Retry-After` seconds. Do not sign the user out: nothing is known to be wrong with the token."
    )


class InternalError(Problem):
    """A defect of ours. It carries nothing of what went wrong; the log does, under the request's id."""


CATALOGUE: dict[str, type[Problem]] = {
    problem.code: problem
    for problem in (
        *(
            BadRequest,
            BadParameter,
            BadCursor,
            InvalidLogoutToken,
            Unauthorized,
            Forbidden,
            NotFound,
            MethodNotAllowedProblem,
        ),
        *(InFlight, QuotaExceeded, Gone, TaskDeleted, PreconditionFailed, TooLarge, UnsupportedMedia, ValidationFailed),
        *(KeyReused, PreconditionRequired, TooManyRequests, TooManyKeys, ServiceUnavailable, InternalError),
    )
}
"""Every problem there is, by its code: what `/problems/<code>` and the docs are made of."""

RETRY_AFTER = {"Retry-After": "1"}
"""Seconds after which a 503 is worth another try: a restarted database is back in about that."""


def init_app(app: Flask) -> None:
    """Let nothing leave but through `problem_response`; the most specific handler wins, so the order is free."""
    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(DatabaseUnavailable, _database_unavailable)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(Exception, _unexpected)


def problem_response(problem: Problem) -> Response:
    """The answer that a problem is."""
    body = {
        "type": f"/problems/{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id(),
        **problem.members,
    }
    response = Response(orjson.dumps(body), problem.status, content_type=MEDIA_TYPE)
    response.headers.extend(problem.headers)
    return response


def stack_trace(error: BaseException) -> str:
    """Format an exception with its causes, without their messages: a message may quote the content of a task.

    PostgreSQL quotes the values of a violated key or the whole row, a parser quotes the text. What holds no value is
    kept: the types, the lines of code, and SQLSTATE, table, column and constraint.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    lines: list[str] = []
    for link in reversed(chain):
        lines += [*traceback.format_tb(link.__traceback__), f"{type(link).__module__}.{_described(link)}\n"]
    return "".join(lines)


def _described(error: BaseException) -> str:
    name, diagnostics = type(error).__qualname__, getattr(error, "diag", None)
    names = ("sqlstate", "table_name", "column_name", "constraint_name")
    known = [f"{name}={value}" for name in names if (value := getattr(diagnostics, name, None))]
    if code := getattr(error, "sqlite_errorname", None):
        known.append(code)
    return " ".join([name, *known])


def _database_unavailable(error: DatabaseUnavailable) -> Response:
    # Only the first line: PostgreSQL's DETAIL and CONTEXT, which follow, may quote values.
    log.error("database unavailable: %s", str(error).partition("\n")[0])
    if error.uncertain:
        detail = "The database was lost while the change was being saved. Read the task again before you repeat it."
    else:
        detail = "The database cannot be reached. Nothing was changed; try again shortly."
    return problem_response(ServiceUnavailable(detail, headers=RETRY_AFTER))


def _http_exception(error: HTTPException) -> Response:
    """Whatever Flask and Werkzeug raise by themselves."""
    if isinstance(error, MethodNotAllowed):
        allow = ", ".join(sorted(error.valid_methods or ()))
        return problem_response(MethodNotAllowedProblem(f"Use one of: {allow}.", headers={"Allow": allow}))
    if error.code == HTTPStatus.NOT_FOUND:
        return problem_response(NotFound("Nothing is served at this address; /openapi.json lists what is."))
    if error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return problem_response(TooLarge("The body is larger than this service accepts."))
    if error.code is not None and error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return problem_response(BadRequest("The request cannot be understood."))
    return _unexpected(error)


def _unexpected(error: Exception) -> Response:
    log.error("unhandled %s in request %s\n%s", type(error).__name__, request_id(), stack_trace(error))
    return problem_response(InternalError("Something failed on our side. Quote the request_id when you report it."))
