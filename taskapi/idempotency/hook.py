"""`Idempotency-Key` on a view that changes something (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

from flask import Response, g, request

from ..http.errors import BadRequest, InFlight, KeyReused, TooManyKeys
from . import queries

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_STORED_HEADERS = ("Content-Type", "ETag", "Location")

P = ParamSpec("P")

Answer = queries.RecordedResponse


@dataclass(frozen=True)
class Idempotent:
    """Carry a request with a key out once: a repetition within a day gets the stored response.

    The response is stored in the transaction of the work: either both are on disk or neither is. Only success is
    stored. `reduce` says what of a response need not be stored, because `rebuild` can make it again.
    """

    reduce: Callable[[Answer], Answer]
    rebuild: queries.Rebuild

    def __call__(self, view: Callable[P, Response]) -> Callable[P, Response]:
        """Decorate a view."""

        @wraps(view)
        def run(*args: P.args, **kwargs: P.kwargs) -> Response:
            key = request.headers.get(HEADER)
            if key is None:
                return view(*args, **kwargs)
            if not _KEY.fullmatch(key):
                raise BadRequest(f"`{HEADER}` must be 1 to 255 visible ASCII characters.")

            def work() -> Answer:
                response = view(*args, **kwargs)
                kept = {name: response.headers[name] for name in _STORED_HEADERS if name in response.headers}
                return self.reduce(Answer(response.status_code, kept, response.get_data()))

            return self._answer(key, work)

        return run

    def _answer(self, key: str, work: Callable[[], Answer]) -> Response:
        try:
            return _response(queries.run_once(g.user, key, _fingerprint(), work, self.rebuild))
        except queries.InFlight:
            raise InFlight(
                "The first request with this key is still under way.", headers={"Retry-After": "1"}
            ) from None
        except queries.KeyReused:
            raise KeyReused(f"This `{HEADER}` was used for another request. Make a new one for each request.") from None
        except queries.TooManyKeys as refusal:
            raise TooManyKeys(
                "Nothing was changed: too many responses of the last 24 hours are stored for you.",
                headers={"Retry-After": str(max(1, refusal.retry_after))},
            ) from None


def _fingerprint() -> str:
    """What makes two requests the same: method, address and body, to the byte."""
    digest = hashlib.sha256()
    for part in (request.method.encode(), request.full_path.encode(), request.get_data()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status, headers=dict(answer.headers))
    if "Content-Type" not in answer.headers:
        del response.headers["Content-Type"]
    if answer.replayed:
        response.headers[REPLAYED] = "true"
    return response
