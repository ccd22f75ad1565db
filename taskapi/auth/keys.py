"""Where verification keys come from: a shared secret, or a key set published by the issuer (JWKS).

An algorithm family only sees its own keys: no public key can be used as an HMAC secret.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Protocol

from ..concurrency import slots
from .fetch import download, tls_context
from .key_set import Key, parse_jwks

log = logging.getLogger(__name__)

HMAC_ALGORITHMS = frozenset({"HS256"})
KEY_PAIR_ALGORITHMS = frozenset({"EdDSA", "ES256", "ES512", "RS256", "PS256"})

REFRESH_AFTER = 150.0
"""Seconds after which a request starts a refresh in the background."""

CACHE_TIME = 300.0
"""Seconds after which a request waits REFRESH_WAIT for that refresh, so that a withdrawn key is refused."""

REFRESH_WAIT = 0.05
"""Seconds. If the key server takes longer, the cached keys stay in use."""

MIN_REFETCH_INTERVAL = 1.0
"""Seconds between two fetches, so that a flood of invented key ids causes at most one fetch a second."""

FETCH_TIMEOUT = 2.0
"""Seconds of wall-clock time a fetch may take, from the DNS lookup to the last byte of the body."""

MAX_WAITING = 100
"""Requests of a worker that may wait for a fetch at a time; they hold no slot, but a connection and some memory."""


class KeysUnavailable(Exception):
    """Whether the token is good cannot be decided: there is no key set, or too many requests wait for one."""


class KeySource(Protocol):
    """Finds the keys that could have signed a token, by the two header members that identify them."""

    algorithms: frozenset[str]

    def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """Return the keys to try, perhaps none; raise `KeysUnavailable` if that cannot be decided."""
        ...


class SharedSecrets:
    """`BETTER_AUTH_SECRET`, and the one before it while it is configured. HS256 only."""

    algorithms = HMAC_ALGORITHMS

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [Key("HS256", secret.encode()) for secret in secrets]

    def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:  # noqa: ARG002  the issuer names no kid here
        return self._keys


class JWKS:
    """A published key set: fetched when needed, at most once per cool-down, and kept through outages.

    A known key is returned from memory at once, whatever the key server does. A request with an unknown `kid` waits
    for one fetch, which all such requests share, and releases its slot meanwhile; within the cool-down it does not
    wait. The unknown `kid` itself is not kept.
    """

    algorithms = KEY_PAIR_ALGORITHMS

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
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
        """The key with that id, if it is for that algorithm; a token that names no `kid` matches none."""
        if kid is None:
            return ()
        self._keep_fresh()
        key = (self._keys or {}).get(kid)
        if key is None:
            self._wait_for_fetch()
            if self._keys is None:
                raise KeysUnavailable
            key = self._keys.get(kid)
        return (key,) if key is not None and key.algorithm == algorithm else ()

    def _wait_for_fetch(self) -> None:
        _, fetch = self._fetch()
        if fetch is None:
            return
        # Not a refusal of the token: perhaps the issuer has just changed its keys, and a 401 would sign the user out.
        if not self._waiting.acquire(blocking=False):
            raise KeysUnavailable
        try:
            with slots.released():
                fetch.wait(FETCH_TIMEOUT)
        finally:
            self._waiting.release()

    def _keep_fresh(self) -> None:
        age = self._clock() - self._fetched_at
        if self._keys is None or age <= REFRESH_AFTER:
            return
        started, fetch = self._fetch()
        # Only the request that started it waits: a key server that hangs must not slow all the others down.
        if started and fetch and age > CACHE_TIME:
            with slots.released():
                fetch.wait(REFRESH_WAIT)

    def _fetch(self) -> tuple[bool, threading.Event | None]:
        """Whether this call started a fetch, and the one under way, if any; none is started in the cool-down."""
        with self._lock:
            started = self._fetching is None and self._clock() - self._tried_at >= MIN_REFETCH_INTERVAL
            if started:
                fetch = threading.Event()
                threading.Thread(target=self._run, args=(fetch,), name="jwks", daemon=True).start()
                self._fetching = fetch  # not before: if no thread can be started, the next request tries again
            return started, self._fetching

    def _run(self, done: threading.Event) -> None:
        keys: dict[str, Key] | None = None
        try:
            keys = self._read(download(self._url, self._tls, FETCH_TIMEOUT))
        except Exception as error:  # noqa: BLE001  whatever a key server responds, the keys we have stay in use
            log.warning("the key set at %s cannot be fetched: %s", self._url, type(error).__name__)
        with self._lock:
            self._tried_at = self._clock()
            if keys is not None:
                self._keys, self._fetched_at = keys, self._tried_at
            self._fetching = None
        done.set()

    def _read(self, body: bytes) -> dict[str, Key]:
        """Parse the key set, unless it is the one we have.

        The token cache compares keys by identity. With new objects after each fetch, a client that invents a `kid`
        every second would make the worker verify the signatures of all users again every second.
        """
        digest = sha256(body).digest()
        if self._keys is None or digest != self._digest:
            keys, self._digest = parse_jwks(body), digest
            return keys
        return self._keys
