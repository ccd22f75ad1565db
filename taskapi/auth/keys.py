"""Where verification keys come from: a shared secret, or a key set published by the issuer (JWKS).

A family of algorithms only ever sees its own keys: nothing here can turn a public key into an HMAC secret.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPSConnection
from typing import Protocol
from urllib.parse import urlsplit

from .key_set import Key, parse_jwks

log = logging.getLogger(__name__)

HMAC_ALGORITHMS = frozenset({"HS256"})
KEY_PAIR_ALGORITHMS = frozenset({"EdDSA", "ES256", "ES512", "RS256", "PS256"})

MAX_JWKS_BYTES = 256 * 1024

REFRESH_AFTER = 150.0
"""Seconds after which a request starts a refresh in the background."""

CACHE_TIME = 300.0
"""Seconds after which a request waits a moment for that refresh, so that a withdrawn key is refused."""

LATE_WAIT = 0.05
"""That moment, in seconds. A key server that takes longer gets no say: the cached keys serve on."""

COOL_DOWN = 1.0
"""Seconds between two fetches, whoever asks: what a flood of invented key ids can cost the issuer."""

FETCH_TIMEOUT = 2.0
"""Seconds a fetch may take from first byte to last."""


class KeysUnavailable(Exception):
    """The key set was never fetched and cannot be now: whether the token is good, nobody here knows."""


class KeySource(Protocol):
    """Answers which keys could have signed a token, by the two header members that say so."""

    algorithms: frozenset[str]

    def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """The keys to try, none if it has none; raises `KeysUnavailable` if it cannot know."""
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

    A known key is answered from memory at once, however the key server fares. An unknown `kid` waits for one
    fetch, shared by all that wait, unless one has just been made.
    """

    algorithms = KEY_PAIR_ALGORITHMS

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str, Key] | None = None
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetching: threading.Event | None = None

    def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """The key of that id, if it is for that algorithm; a token that names no `kid` matches none."""
        if kid is None:
            return ()
        self._keep_fresh()
        key = (self._keys or {}).get(kid)
        if key is None:
            _, fetch = self._fetch()
            if fetch:
                fetch.wait(FETCH_TIMEOUT)
            if self._keys is None:
                raise KeysUnavailable
            key = self._keys.get(kid)
        return (key,) if key is not None and key.algorithm == algorithm else ()

    def _keep_fresh(self) -> None:
        age = self._clock() - self._fetched_at
        if self._keys is None or age <= REFRESH_AFTER:
            return
        started, fetch = self._fetch()
        # Only the request that started it waits: a key server that hangs must not slow all the others down.
        if started and fetch and age > CACHE_TIME:
            fetch.wait(LATE_WAIT)

    def _fetch(self) -> tuple[bool, threading.Event | None]:
        """Whether this call started a fetch, and the one under way, if any; none is started in the cool-down."""
        with self._lock:
            started = self._fetching is None and self._clock() - self._tried_at >= COOL_DOWN
            if started:
                self._fetching = threading.Event()
                threading.Thread(target=self._run, args=(self._fetching,), name="jwks", daemon=True).start()
            return started, self._fetching

    def _run(self, done: threading.Event) -> None:
        keys: dict[str, Key] | None = None
        try:
            keys = parse_jwks(self._download())
        except Exception as error:  # noqa: BLE001  whatever a key server answers, the keys we have serve on
            log.warning("the key set at %s cannot be fetched: %s", self._url, type(error).__name__)
        with self._lock:
            self._tried_at = self._clock()
            if keys is not None:
                self._keys, self._fetched_at = keys, self._tried_at
            self._fetching = None
        done.set()

    def _download(self) -> bytes:
        """The body, within its bounds; redirects are not followed, a bearer of keys has one address."""
        address = urlsplit(self._url)
        scheme = HTTPSConnection if address.scheme == "https" else HTTPConnection
        connection = scheme(address.hostname or "", address.port, timeout=FETCH_TIMEOUT)
        connection.connect()
        # That timeout is for each receive: an answer that comes in drips would hold this thread, and the place of
        # the one fetch, for as long as it likes.
        cut = threading.Timer(FETCH_TIMEOUT, _cut, (connection.sock,))
        cut.daemon = True
        cut.start()
        try:
            connection.request("GET", address.path or "/", headers={"Accept": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            body = response.read(MAX_JWKS_BYTES + 1)
            if len(body) > MAX_JWKS_BYTES:
                raise ValueError("the answer is too large")
            return body
        finally:
            cut.cancel()
            connection.close()


def _cut(connected: socket.socket) -> None:
    """End a connection that another thread reads from."""
    with suppress(OSError):  # it has just ended by itself
        # Not `connected.shutdown`: a TLS socket's forgets the encryption first, and the reader would believe what
        # still comes in unencrypted.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
