"""Decorator that adds `Idempotency-Key` to a view with side effects (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

from flask import Response, g, request

from ..auth.tokens import User
from ..http.errors import BadRequest, InFlight, KeyReused, TooManyKeys
from ..http.routing import current_request
from ..telemetry.metrics import IDEMPOTENT_REPLAYS, TOO_MANY_REQUESTS
from . import claims, queries

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

_ENVIRON_KEY = "HTTP_IDEMPOTENCY_KEY"
"""Name of the header in a WSGI environ."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_STORED_HEADERS = ("Content-Type", "ETag", "Location")

P = ParamSpec("P")

RecordedResponse = queries.RecordedResponse


@dataclass(frozen=True)
class Idempotent:
    """Decorator for a view: execute a request with an `Idempotency-Key` once; a repetition gets the stored response.

    The response is stored for 24 hours, in the same transaction as the view's writes, so that both are committed or
    neither is. Only successful responses are stored. `reduce` removes what `rebuild` can read again from the tasks, so
    that it need not be stored.
    """

    reduce: Callable[[RecordedResponse], RecordedResponse]
    rebuild: queries.Rebuild

    def __call__(self, view: Callable[P, Response]) -> Callable[P, Response]:
        """Return the view with support for `Idempotency-Key`; requests without the header are not affected.

        The result raises `BadRequest` for an invalid key, and the problems of `_run_once`.
        """

        @wraps(view)
        def run(*args: P.args, **kwargs: P.kwargs) -> Response:
            """Call the view, at most once for each `Idempotency-Key`; without the header just call it.

            Returns the stored response for a key that was used before. Raises `BadRequest` for an invalid key.
            """
            key = current_request().environ.get(_ENVIRON_KEY)
            if key is None:
                return view(*args, **kwargs)
            if not _KEY.fullmatch(key):
                raise BadRequest(f"`{HEADER}` must be 1 to 255 visible ASCII characters.")

            def work() -> RecordedResponse:
                """Call the view; return what to store of its response, with a `Location` without path prefix."""
                response = view(*args, **kwargs)
                headers = {name: response.headers[name] for name in _STORED_HEADERS if name in response.headers}
                if location := headers.get("Location"):
                    # Without the path prefix: a replay may arrive through another proxy than the first request.
                    headers["Location"] = location.removeprefix(request.root_path)
                return self.reduce(RecordedResponse(response.status_code, headers, response.get_data()))

            return self._run_once(key, work)

        return run

    def _run_once(self, key: str, work: Callable[[], RecordedResponse]) -> Response:
        """Return the response of `work`, which calls the view, or the response that is stored for `key`.

        Raises the problems `InFlight`, `KeyReused` and `TooManyKeys`, and the exceptions of the view and of `rebuild`.
        """
        try:
            return _response(queries.run_once(g.user, key, _fingerprint(), work, self.rebuild))
        except claims.InFlight:
            raise InFlight(
                "The first request with this key is still under way.", headers={"Retry-After": "1"}
            ) from None
        except queries.KeyReused:
            raise KeyReused(f"This `{HEADER}` was used for another request. Make a new one for each request.") from None
        except queries.TooManyKeys as refusal:
            TOO_MANY_REQUESTS.add("idempotency_keys")
            raise TooManyKeys(
                "Nothing was changed: too many responses of the last 24 hours are stored for you.",
                headers={"Retry-After": str(max(1, refusal.retry_after))},
            ) from None


def is_replay(user: User) -> bool:
    """Return True if a response is stored for the key of the current request, so that its view has nothing to prepare.

    False without a valid key. True also for a request that differs from the first one, which `run_once` refuses later.
    """
    key = request.headers.get(HEADER)
    return key is not None and bool(_KEY.fullmatch(key)) and queries.is_stored(user, key)


def _fingerprint() -> str:
    """Return the SHA-256 of the current request's method, path, query string and body, in hex.

    It identifies the request: a key is accepted again only with the same digest.
    """
    digest = hashlib.sha256()
    for part in (request.method.encode(), request.full_path.encode(), request.get_data()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _response(recorded: RecordedResponse) -> Response:
    """Convert a recorded response to a Flask response, with the path prefix of this request in `Location`.

    A replayed one gets the header `Idempotency-Replayed: true`.
    """
    response = Response(recorded.body, recorded.status, headers=dict(recorded.headers))
    if "Content-Type" not in recorded.headers:
        del response.headers["Content-Type"]
    if location := recorded.headers.get("Location"):
        response.headers["Location"] = request.root_path + location
    if recorded.replayed:
        IDEMPOTENT_REPLAYS.add()
        response.headers[REPLAYED] = "true"
    return response
