"""The metrics of the service. docs/operations.md has a table of them, which a test compares with this module.

Counting is always on, since most of these events are rare. What happens in every request is counted only in a worker
that serves metrics: requests and slots by server/measured_worker.py, statements by database/measured.py.
"""

from __future__ import annotations

import math
import time

from .families import Counter, Description, Gauge, Requests
from .memory import SharedMemory, allocate

REQUESTS = Requests(
    Description("taskapi_requests_total", "counter", ("route", "method", "status"), "Requests that were responded to."),
    Description(
        "taskapi_request_duration_seconds",
        "histogram",
        ("route", "method"),
        "Seconds from the complete head of a request to the end of its response.",
    ),
)

MALFORMED_REQUESTS = Counter("taskapi_malformed_requests_total", "Requests that the HTTP parser refused.")

PROBLEMS = Counter(
    "taskapi_problems_total",
    "Error responses by the code of their problem type; precondition-failed is a version conflict.",
    "code",
    (
        *("bad-cursor", "bad-notice", "bad-parameter", "bad-request", "forbidden", "gone", "in-flight", "internal"),
        *("invalid", "key-reused", "length-required", "method-not-allowed", "not-found", "precondition-failed"),
        *("precondition-required", "quota-exceeded", "task-deleted", "too-large", "too-many-keys"),
        *("too-many-requests", "unauthorized", "unavailable", "unsupported-media-type"),
    ),
)

UNAUTHORIZED = Counter(
    "taskapi_unauthorized_total",
    "Requests that were refused with 401, by reason.",
    "reason",
    (
        *("missing", "expired", "session_ended", "wrong_signature", "unknown_key", "algorithm", "issuer", "audience"),
        *("lifetime", "not_yet_valid", "type", "malformed"),
    ),
)

TOO_MANY_REQUESTS = Counter(
    "taskapi_too_many_requests_total",
    "Requests that were refused with 429, by the limit that they exceeded.",
    "limit",
    ("rate", "in_progress", "idempotency_keys"),
)

REDIS_FAILURES = Counter(
    "taskapi_redis_failures_total", "Failures of Redis; after each, no request is counted against a limit for 5 s."
)

IDEMPOTENT_REPLAYS = Counter(
    "taskapi_idempotent_replays_total", "Requests with an Idempotency-Key that got a stored response."
)

STATEMENTS = Counter(
    "taskapi_database_statements_total", "Statements that were sent, also BEGIN, COMMIT and set_config of a pipeline."
)

ROUND_TRIPS = Counter("taskapi_database_round_trips_total", "Round trips to PostgreSQL; SQLite has none.")

DATABASE_SECONDS = Counter(
    "taskapi_database_seconds_total", "Seconds during which requests waited for the results of statements."
)

DATABASE_UNAVAILABLE = Counter(
    "taskapi_database_unavailable_total", "Requests that got 503 because the database could not be reached or serve."
)

RETRIES = Counter(
    "taskapi_database_retries_total",
    "Units of work that were repeated, by reason.",
    "reason",
    ("deadlock", "serialization", "lost_connection", "lost_statement"),
)

POOL_IN_USE = Gauge("taskapi_pool_connections_in_use", "Database connections that requests hold.", sum)

POOL_WAITING = Gauge("taskapi_pool_waiting", "Requests that wait for a database connection.", sum)

POOL_WAITS = Counter("taskapi_pool_waits_total", "Requests that had to wait for a database connection.")

POOL_WAIT_SECONDS = Counter("taskapi_pool_wait_seconds_total", "Seconds during which requests waited for a connection.")

SLOTS_IN_USE = Gauge("taskapi_slots_in_use", "Requests that hold a slot; each worker has 8.", sum)

SLOT_WAITING = Gauge("taskapi_slot_waiting", "Requests that wait for a slot.", sum)

SLOT_WAITS = Counter("taskapi_slot_waits_total", "Times that a request had to wait for a slot.")

SLOT_WAIT_SECONDS = Counter("taskapi_slot_wait_seconds_total", "Seconds during which requests waited for a slot.")

JWKS_FETCHES = Counter(
    "taskapi_jwks_fetches_total", "Fetches of the issuer's key set, by outcome.", "outcome", ("ok", "failed")
)

JWKS_FETCHED_AT = Gauge(
    "taskapi_jwks_fetched_timestamp_seconds",
    "Unix time of the last successful fetch of the key set, that of the worker with the oldest one.",
    min,
)

ENDED_SESSIONS = Gauge("taskapi_ended_sessions", "Ended sessions in the memory of a worker, the largest number.")

PURGE_OLDEST_DUE = Gauge(
    "taskapi_purge_oldest_due_seconds",
    "Seconds since the oldest row that the purge has to remove was due; 0 if there is none. Read once an hour.",
    common=True,
)

PURGE_CHECKED_AT = allocate(1)
"""Unix time at which a worker has read the above, in the common memory; not reported."""

EVENT_LOOP_LAG = Gauge(
    "taskapi_event_loop_lag_seconds", "How late a timer of a worker was in its last second, that of the latest worker."
)

WORKERS = Gauge("taskapi_workers", "Workers that responded to their timer in the last seconds.", len)
"""The number of each worker is the Unix time of its last sample."""

WORKERS_CONFIGURED = Gauge(
    "taskapi_workers_configured", "Workers that the service should have (WEB_CONCURRENCY).", common=True
)

GAUGES = (
    *(POOL_IN_USE, POOL_WAITING, SLOTS_IN_USE, SLOT_WAITING, JWKS_FETCHED_AT, ENDED_SESSIONS, EVENT_LOOP_LAG, WORKERS),
    *(WORKERS_CONFIGURED, PURGE_OLDEST_DUE),
)

COUNTERS = (
    *(MALFORMED_REQUESTS, PROBLEMS, UNAUTHORIZED, TOO_MANY_REQUESTS, REDIS_FAILURES, IDEMPOTENT_REPLAYS),
    *(STATEMENTS, ROUND_TRIPS, DATABASE_SECONDS, DATABASE_UNAVAILABLE, RETRIES),
    *(POOL_WAITS, POOL_WAIT_SECONDS, SLOT_WAITS, SLOT_WAIT_SECONDS, JWKS_FETCHES),
)

ALL = (*COUNTERS, *GAUGES)
"""All metrics but `REQUESTS`, whose two metrics have numbers in common."""


def attach(memory: SharedMemory, slot: int) -> None:
    """Count in a slot of shared memory from now on; the gauges of the worker that had the slot are forgotten."""
    memory.attach(slot)
    for gauge in GAUGES:
        gauge.set(math.nan)
    WORKERS.set(time.time())
