"""Cache of the issuer's published keys (JWKS), fetched in the background."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from hashlib import sha256

from ..concurrency import slots
from ..config.http_urls import without_query
from ..config.proxies import Proxy
from ..telemetry.limited_log import LimitedLog
from ..telemetry.metrics import JWKS_FETCHED_AT, JWKS_FETCHES
from ..telemetry.request_record import RequestRecord, call, current_record
from .fetch import DownloadError, OnHeaders, download, ignore_headers, tls_context
from .jwk_parser import Key, parse_jwks
from .keys import KEY_PAIR_ALGORITHMS, KeysUnavailable

log = logging.getLogger(__name__)

REFRESH_AFTER = 150.0
"""Seconds after which a request starts a refresh in the background."""

CACHE_TIME = 300.0
"""Seconds after which a request waits REFRESH_WAIT for that refresh, so that a withdrawn key is rejected."""

REFRESH_WAIT = 0.05
"""Seconds that a request waits for a late refresh; if the key server takes longer, the cached keys stay in use."""

MIN_REFETCH_INTERVAL = 1.0
"""Minimum seconds between two fetches, so that a flood of unknown key ids causes at most one fetch a second."""

FETCH_TIMEOUT = 2.0
"""Seconds of wall-clock time a fetch may take, from the DNS lookup to the last byte of the body."""

MAX_WAITING = 100
"""Maximum requests of a worker that wait for a fetch; they hold no slot, but a connection and some memory."""


class JWKS:
    """The key set at a URL: fetched on demand, at most once per `MIN_REFETCH_INTERVAL`, and cached during outages.

    A cached key is returned without waiting for the key server. A request with an unknown `kid` releases its slot and
    waits for one fetch, which all such requests share; within `MIN_REFETCH_INTERVAL` of the last fetch it does not
    wait. Unknown `kid`s are not stored.
    """

    algorithms = KEY_PAIR_ALGORITHMS

    def __init__(
        self,
        url: str,
        *,
        proxy: Proxy | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_headers: OnHeaders = ignore_headers,
    ) -> None:
        """Fetch nothing yet, but load the certificate authorities for an https URL.

        The headers of each response are passed to `on_headers`.
        """
        self._url, self._proxy, self._on_headers = url, proxy, on_headers
        self._log = LimitedLog(log, clock=clock)
        self._tls = tls_context() if url.lower().startswith("https:") else None
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(MAX_WAITING)
        self._keys: dict[str, Key] | None = None
        self._digest = b""
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetching: threading.Event | None = None

    def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """Return (key,) with that `kid` if it is for that algorithm, otherwise (); also () without a `kid`.

        May wait, without the slot: with an unknown `kid` (`_wait_for_fetch`) or an old key set (`_refresh_if_stale`).
        Raises `KeysUnavailable` if no key set has been fetched yet, or too many requests wait for a fetch.
        """
        if kid is None:
            return ()
        self._refresh_if_stale()
        key = (self._keys or {}).get(kid)
        if key is None:
            self._wait_for_fetch()
            if self._keys is None:
                raise KeysUnavailable
            key = self._keys.get(kid)
        return (key,) if key is not None and key.algorithm == algorithm else ()

    def prefetch(self) -> None:
        """Start a fetch in the background, unless one is in progress or has just ended; return at once."""
        self._start_fetch()

    def _wait_for_fetch(self) -> None:
        """Wait without the slot for the fetch in progress, or a new one, up to `FETCH_TIMEOUT`.

        Returns also if the fetch failed or goes on, and at once if the last one ended within `MIN_REFETCH_INTERVAL`:
        the caller looks for its key again. Raises `KeysUnavailable` if `MAX_WAITING` requests wait already.
        """
        _, fetch = self._start_fetch()
        if fetch is None:
            return
        # 503 and not 401: the issuer may have just rotated its keys, and a 401 would sign the user out.
        if not self._waiting.acquire(blocking=False):
            raise KeysUnavailable
        try:
            with slots.released():
                fetch.wait(FETCH_TIMEOUT)
        finally:
            self._waiting.release()

    def _refresh_if_stale(self) -> None:
        """Start a fetch, unless `_start_fetch` refuses, if there are cached keys that are older than `REFRESH_AFTER`.

        If they are older than `CACHE_TIME`, the request that started the fetch waits for it, up to `REFRESH_WAIT` and
        without its slot; other requests do not wait.
        """
        age = self._clock() - self._fetched_at
        if self._keys is None or age <= REFRESH_AFTER:
            return
        started, fetch = self._start_fetch()
        # Only the request that started it waits: a key server that hangs must not delay all the others.
        if started and fetch and age > CACHE_TIME:
            with slots.released():
                fetch.wait(REFRESH_WAIT)

    def _start_fetch(self) -> tuple[bool, threading.Event | None]:
        """Start a fetch in a thread, unless one is in progress or the last ended within `MIN_REFETCH_INTERVAL`.

        Returns (True if this call started one, event that is set when the fetch in progress ends; None if none is).
        """
        with self._lock:
            started = self._fetching is None and self._clock() - self._tried_at >= MIN_REFETCH_INTERVAL
            if started:
                fetch = threading.Event()
                threading.Thread(
                    target=self._fetch, args=(fetch, current_record.get()), name="jwks", daemon=True
                ).start()
                self._fetching = fetch  # after start(): if no thread can be started, the next request tries again
            return started, self._fetching

    def _fetch(self, done: threading.Event, caller: RequestRecord | None) -> None:
        """Download and store the key set, then set `done`; a failure is logged, and the cached keys stay in use.

        The span of the fetch belongs to the request that started it, the `caller`, if it has a record.
        """
        keys: dict[str, Key] | None = None
        try:
            with call(
                caller, "fetch of the key set", {"http.request.method": "GET", "url.full": without_query(self._url)}
            ):
                keys = self._parse(self._download())
        except Exception as error:  # noqa: BLE001  no response of a key server may end the use of the cached keys
            reason = _reason(error)
            through = f" through the proxy {self._proxy.host}:{self._proxy.port}" if self._proxy else ""
            message = f"the key set at {without_query(self._url)} cannot be fetched{through}: {reason}"
            self._warn(message, reason)
        JWKS_FETCHES.add("failed" if keys is None else "ok")
        with self._lock:
            self._tried_at = self._clock()
            if keys is not None:
                JWKS_FETCHED_AT.set(time.time())
                self._keys, self._fetched_at = keys, self._tried_at
            self._fetching = None
        done.set()

    def _download(self) -> bytes:
        """Return the body of the key set; raises as `download` does."""
        return download(self._url, self._tls, FETCH_TIMEOUT, self._proxy, on_headers=self._on_headers)

    def _warn(self, message: str, kind: str | None = None) -> None:
        """Log a warning, once per minute and kind; the kind is the message by default."""
        self._log.write(logging.WARNING, kind or message, message)

    def _parse(self, body: bytes) -> dict[str, Key]:
        """Return the keys of a key set by `kid`; the cached objects if the body equals the last. Raises ValueError.

        The token cache compares keys by identity. With new objects after each fetch, a client that sends an unknown
        `kid` every second would make the worker verify the signatures of all users again every second.
        """
        digest = sha256(body).digest()
        if self._keys is None or digest != self._digest:
            keys, self._digest = parse_jwks(body, self._warn), digest
            return keys
        return self._keys


def _reason(error: Exception) -> str:
    """Return the reason of a failed fetch in one line for the log, without anything that the server has sent."""
    if isinstance(error, OSError | DownloadError):
        return f"{error}" if isinstance(error, DownloadError) else f"{type(error).__name__}: {error}"
    if isinstance(error, ValueError):
        return "the body is not a JSON key set with a usable key"
    return f"{type(error).__name__}: the response is not HTTP"
