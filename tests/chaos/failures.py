"""Failures of workers, databases and disks while clients write: seconds of them in `tests/faults`, minutes in `make chaos`.

Each function runs one failure, asserts what the service promises and returns the figures that it measured.
"""

from __future__ import annotations

import itertools
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from tests.chaos.postgres import PostgreSQL
from tests.chaos.readers import reading
from tests.chaos.service import NO_RESPONSE, Service, run_service
from tests.chaos.writers import WriteLog, assert_no_write_lost, writing
from tests.conftest import token
from tests.waiting import until

RESPONSE_LIMIT = 2.0
"""Seconds: without a database the service returns 503 within this time, and serves again this soon once it is back."""

LOAD_ALLOWANCE = 10.0
"""Seconds that other tests on the same processors may add to each limit."""

FREEZE_LIMIT = 11.0
"""Seconds after which a request ends whose database connection is open and silent."""


def kill_workers(url: str, *, kills: int, every: float, keyed: bool, writers: int = 8) -> dict[str, Any]:
    """Send SIGKILL to one worker, to both, to one, and so on while clients write."""
    with run_service(url, workers=2) as running:
        with writing(running, writers, keyed=keyed) as log:
            for _, count in zip(range(kills), itertools.cycle((1, 2)), strict=False):
                await_writes(log, writers)
                time.sleep(every)
                running.kill_workers(count)
            await_writes(log, writers)
        figures = {"kills": kills, **log.audit()}
    assert_no_write_lost(figures)
    assert log.outcomes[500] == 0, figures
    if keyed:
        assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    return figures


def kill_database(
    postgresql: PostgreSQL, *, kills: int, downtime: float, keyed: bool = True, writers: int = 8
) -> dict[str, Any]:
    """Send SIGKILL to every process of PostgreSQL while clients write; start it again after `downtime` seconds."""
    with run_service(postgresql.url, workers=2) as running:
        workers = running.workers()
        with writing(running, writers, keyed=keyed) as log:
            for _ in range(kills):
                await_writes(log, writers * 3)
                postgresql.kill()
                time.sleep(downtime)
                postgresql.start()
            await_writes(log, writers * 3)
        figures = {"kills": kills, **log.audit()}
        assert running.workers() == workers, "a worker was replaced"
    assert_no_write_lost(figures)
    if keyed:
        assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    assert set(log.outcomes) <= {201, 409, 503, NO_RESPONSE}, figures
    assert not any(writer.without_retry_after for writer in log.writers), "a failure without Retry-After"
    return figures


def stop_database(postgresql: PostgreSQL, *, stops: int, downtime: float, clients: int = 6) -> dict[str, Any]:
    """Stop PostgreSQL with `pg_ctl stop -m fast` and start it again, while clients read and write."""
    with run_service(postgresql.url, workers=2) as running:
        workers = running.workers()
        refused, recovery = [], []
        health: list[tuple[int, int, float]] = []
        with writing(running, clients) as writes, reading(running, clients) as reads:
            for _ in range(stops):
                await_writes(writes, clients)
                postgresql.stop()
                stopped = time.monotonic()
                health += _poll_health(running, until_time=stopped + downtime)
                refused += reads.between(stopped, time.monotonic())
                postgresql.start()
                recovery.append(reads.recovery_time(time.monotonic()))
                await_writes(writes, clients)
        figures = {
            "stops": stops,
            "refused": len(refused),
            "slowest_refusal_s": round(max(request.duration for request in refused), 2),
            "slowest_healthz_s": round(max(duration for _, _, duration in health), 2),
            "healed_after_s": round(max(recovery), 2),
            **writes.audit(),
        }
        assert running.workers() == workers, "a worker was replaced"
    assert_no_write_lost(figures)
    assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    assert {(request.status, request.retry_after) for request in refused} == {(503, True)}, figures
    assert {(healthz, readyz) for healthz, readyz, _ in health} == {(200, 503)}, figures
    for name in ("slowest_refusal_s", "slowest_healthz_s", "healed_after_s"):
        assert figures[name] < RESPONSE_LIMIT + LOAD_ALLOWANCE, figures
    assert set(writes.outcomes) <= {201, 409, 503, NO_RESPONSE}, figures
    return figures


def freeze_database(postgresql: PostgreSQL, *, frozen: float, clients: int = 4) -> dict[str, Any]:
    """Send SIGSTOP to every process of PostgreSQL, like a suspended host, while clients read and write."""
    with run_service(postgresql.url, workers=2) as running:
        workers = running.workers()
        with writing(running, clients) as writes, reading(running, clients) as reads:
            await_writes(writes, clients * 3)
            postgresql.signal(signal.SIGSTOP)
            stopped = time.monotonic()
            try:
                health = _poll_health(running, until_time=stopped + frozen, readyz=False)
                refused = reads.between(stopped, time.monotonic())
            finally:
                postgresql.signal(signal.SIGCONT)
            resumed = time.monotonic()
            recovery = reads.recovery_time(resumed)
            await_writes(writes, clients)
        held = reads.in_progress(resumed - FREEZE_LIMIT, resumed)
        figures = {
            "frozen_s": frozen,
            "refused": len(refused),
            "held_until_the_end": len(held),
            "longest_held_s": round(reads.slowest(), 2),
            "slowest_healthz_s": round(max(duration for _, _, duration in health), 2),
            "healed_after_s": round(recovery, 2),
            **writes.audit(),
        }
        assert running.workers() == workers, "a worker was replaced"
    assert_no_write_lost(figures)
    assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    assert refused, f"no response in {frozen} s: {figures}"
    assert {(request.status, request.retry_after) for request in refused} == {(503, True)}, figures
    assert not held, figures
    assert max(reads.slowest(), figures["slowest_request_s"]) < FREEZE_LIMIT + LOAD_ALLOWANCE, figures
    assert figures["slowest_healthz_s"] < RESPONSE_LIMIT + LOAD_ALLOWANCE, figures
    assert figures["healed_after_s"] < RESPONSE_LIMIT + LOAD_ALLOWANCE, figures
    return figures


def _poll_health(running: Service, *, until_time: float, readyz: bool = True) -> list[tuple[int, int, float]]:
    """Request `/healthz` and `/readyz` until a time; return both statuses and the seconds that `/healthz` took."""
    polls = []
    while time.monotonic() < until_time:
        began = time.monotonic()
        healthz_status = running.get("/healthz").status
        duration = time.monotonic() - began
        polls.append((healthz_status, running.get("/readyz").status if readyz else 0, duration))
        time.sleep(0.1)
    return polls


def await_writes(log: WriteLog, count: int) -> None:
    """Wait until `count` more writes are acknowledged."""
    before = log.acknowledged
    until(lambda: log.acknowledged >= before + count, 60)


def write_together(url: str, *, writes: int, workers: int = 4, writers: int = 12) -> dict[str, Any]:
    """Let several worker processes and clients write to one SQLite file."""
    with run_service(url, workers=workers) as running:
        began = time.monotonic()
        with writing(running, writers, keyed=False) as log:
            await_writes(log, writes)
        figures = {"writes_per_s": round(log.acknowledged / (time.monotonic() - began), 1), **log.audit()}
    assert_no_write_lost(figures)
    assert set(log.outcomes) == {201, NO_RESPONSE}, figures
    assert log.outcomes[NO_RESPONSE] == log.disconnects, figures
    return figures


def fill_disk(url: str, *, writers: int = 6) -> dict[str, Any]:
    """Prevent all files of the workers from growing while clients write, and then allow it again.

    RLIMIT_FSIZE does this without privileges: a write beyond the limit fails as on a full disk.
    """
    log_file = Path(f"{make_url(url).database}-wal")
    with run_service(url, workers=2) as running:
        workers = running.workers()
        with writing(running, writers) as log:
            await_writes(log, writers)
            size = log_file.stat().st_size
            for worker in workers:
                resource.prlimit(worker, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            # SQLite may restart its write-ahead log once and so find some space; then there is none.
            until(lambda: all(writer.outcomes[503] >= 5 for writer in log.writers), 60)
            acknowledged = log.acknowledged
            read_status = running.get(f"/api/{log.writers[0].user}/tasks", token(log.writers[0].user)).status
            for worker in workers:
                resource.prlimit(worker, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await_writes(log, writers * 3)
        figures = {"acknowledged_when_full": acknowledged, **log.audit()}
        assert running.workers() == workers, "a worker was replaced"
    assert_no_write_lost(figures)
    assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    assert read_status == 200, "a read needs no disk space"
    assert figures["uncertain"] == 0, "SQLite rolled back: the response must say that nothing was saved"
    assert set(log.outcomes) <= {201, 409, 503, NO_RESPONSE}, figures
    assert log.outcomes[NO_RESPONSE] == log.disconnects, figures
    assert not any(writer.without_retry_after for writer in log.writers), "a failure without Retry-After"
    return figures


def signal_under_writes(url: str, kind: signal.Signals, *, times: int, writers: int = 8) -> dict[str, Any]:
    """Reload the master (SIGHUP) or stop its workers one after the other (SIGTERM) while clients write.

    No request fails although the clients keep their connections: a worker that stops answers every request that it
    accepted, with `Connection: close`.
    """
    with run_service(url, workers=2) as running:
        with writing(running, writers) as log:
            for _ in range(times):
                await_writes(log, writers)
                before = set(running.workers())
                for pid in [running.process.pid] if kind == signal.SIGHUP else before:
                    os.kill(pid, kind)
                until(lambda before=before: not before & set(running.workers()), 60)
                until(lambda: len(running.workers()) >= 2, 60)
            await_writes(log, writers)
        figures = {"times": times, **log.audit()}
    assert_no_write_lost(figures)
    assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    assert set(log.outcomes) <= {201, 409, NO_RESPONSE}, figures
    assert log.outcomes[NO_RESPONSE] == log.disconnects, figures
    return figures
