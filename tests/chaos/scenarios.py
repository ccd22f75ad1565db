"""What is done to the service while clients write: for a moment in `tests/faults`, for minutes in `tests/chaos`."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from tests.chaos.ledger import DOUBT, Ledger, assert_nothing_lost, reading, writing
from tests.chaos.postgres import PostgreSQL
from tests.chaos.service import Service, service
from tests.conftest import token
from tests.waiting import until

SOON = 2.0
"""Seconds within which a service without a database says so, and within which it serves when that is back."""

SLACK = 4.0
"""Seconds that a machine which is busy with other tests may add to that."""


def kill_workers(url: str, *, kills: int, every: float, keyed: bool, writers: int = 8) -> dict[str, Any]:
    """`kill -9` of one worker, of two, of all, and so on, while clients write."""
    with service(url, workers=2) as running:
        with writing(running, writers, keyed=keyed) as ledger:
            for _, count in zip(range(kills), itertools.cycle((1, 2)), strict=False):
                grow(ledger, writers)
                time.sleep(every)
                running.kill_workers(count)
            grow(ledger, writers)
        figures = {"kills": kills, **ledger.audit()}
    assert_nothing_lost(figures)
    assert ledger.outcomes[500] == 0, figures
    if keyed:
        assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    return figures


def kill_database(postgresql: PostgreSQL, *, kills: int, away: float, writers: int = 8) -> dict[str, Any]:
    """`kill -9` of every process of PostgreSQL while clients write; it comes back through its recovery."""
    with service(postgresql.url, workers=2) as running:
        workers = running.workers()
        with writing(running, writers) as ledger:
            for _ in range(kills):
                grow(ledger, writers * 3)
                postgresql.kill()
                time.sleep(away)
                postgresql.start()
            grow(ledger, writers * 3)
        figures = {"kills": kills, **ledger.audit()}
        assert running.workers() == workers, "a worker was replaced"
    assert_nothing_lost(figures)
    assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    assert set(ledger.outcomes) <= {201, 409, 503, DOUBT}, figures
    assert not any(writer.unspecific for writer in ledger.writers), "a refusal without Retry-After"
    return figures


def stop_database(postgresql: PostgreSQL, *, stops: int, away: float, clients: int = 6) -> dict[str, Any]:
    """Stop PostgreSQL as an operator does and start it again, while clients read and write."""
    with service(postgresql.url, workers=2) as running:
        workers = running.workers()
        refused, healed = [], []
        health: list[tuple[int, int, float]] = []
        with writing(running, clients) as ledger, reading(running, clients) as diary:
            for _ in range(stops):
                grow(ledger, clients)
                postgresql.stop()
                gone = time.monotonic()
                health += _health(running, end=gone + away)
                refused += diary.during(gone, time.monotonic())
                postgresql.start()
                healed.append(diary.healed_after(time.monotonic()))
                grow(ledger, clients)
        figures = {
            "stops": stops,
            "refused": len(refused),
            "slowest_refusal_s": round(max(one.took for one in refused), 2),
            "slowest_healthz_s": round(max(took for _, _, took in health), 2),
            "healed_after_s": round(max(healed), 2),
            **ledger.audit(),
        }
        assert running.workers() == workers, "a worker was replaced"
    assert_nothing_lost(figures)
    assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    assert {(one.status, one.retry_after) for one in refused} == {(503, True)}, figures
    assert {(alive, ready) for alive, ready, _ in health} == {(200, 503)}, figures
    assert figures["slowest_refusal_s"] < SOON + SLACK, figures
    assert figures["slowest_healthz_s"] < SOON + SLACK, figures
    assert figures["healed_after_s"] < SOON + SLACK, figures
    assert set(ledger.outcomes) <= {201, 409, 503, DOUBT}, figures
    return figures


HELD = 11.0
"""Seconds that a request may be held by a database that has its connection and says nothing."""


def freeze_database(postgresql: PostgreSQL, *, frozen: float, clients: int = 4) -> dict[str, Any]:
    """SIGSTOP to every process of PostgreSQL, as a host that is suspended, while clients read and write."""
    with service(postgresql.url, workers=2) as running:
        workers = running.workers()
        with writing(running, clients) as ledger, reading(running, clients) as diary:
            grow(ledger, clients * 3)
            postgresql.signal(signal.SIGSTOP)
            stopped = time.monotonic()
            try:
                health = _health(running, end=stopped + frozen, ready=False)
                refused = diary.during(stopped, time.monotonic())
            finally:
                postgresql.signal(signal.SIGCONT)
            woken = time.monotonic()
            healed = diary.healed_after(woken)
            grow(ledger, clients)
        held = diary.over(woken - HELD, woken)
        figures = {
            "frozen_s": frozen,
            "refused": len(refused),
            "held_until_the_end": len(held),
            "longest_held_s": round(diary.slowest(), 2),
            "slowest_healthz_s": round(max(took for _, _, took in health), 2),
            "healed_after_s": round(healed, 2),
            **ledger.audit(),
        }
        assert running.workers() == workers, "a worker was replaced"
    assert_nothing_lost(figures)
    assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    assert refused, f"nothing was answered in {frozen} s: {figures}"
    assert {(one.status, one.retry_after) for one in refused} == {(503, True)}, figures
    assert not held, figures
    assert max(diary.slowest(), figures["slowest_request_s"]) < HELD + SLACK, figures
    assert figures["slowest_healthz_s"] < SOON + SLACK, figures
    assert figures["healed_after_s"] < SOON + SLACK, figures
    return figures


def _health(running: Service, *, end: float, ready: bool = True) -> list[tuple[int, int, float]]:
    """What /healthz and /readyz answer meanwhile, and how long the former took."""
    found = []
    while time.monotonic() < end:
        began = time.monotonic()
        alive = running.ask("/healthz").status
        took = time.monotonic() - began
        found.append((alive, running.ask("/readyz").status if ready else 0, took))
        time.sleep(0.1)
    return found


def grow(ledger: Ledger, by: int) -> None:
    """Wait until that many more writes are acknowledged."""
    before = ledger.acknowledged
    until(lambda: ledger.acknowledged >= before + by, 60)


def write_together(url: str, *, writes: int, workers: int = 4, writers: int = 12) -> dict[str, Any]:
    """Processes and clients that all write into one file of SQLite."""
    with service(url, workers=workers) as running:
        began = time.monotonic()
        with writing(running, writers, keyed=False) as ledger:
            grow(ledger, writes)
        figures = {"writes_per_s": round(ledger.acknowledged / (time.monotonic() - began), 1), **ledger.audit()}
    assert_nothing_lost(figures)
    assert set(ledger.outcomes) == {201, DOUBT}, figures
    assert ledger.outcomes[DOUBT] == ledger.hung_up, figures
    return figures


def fill_disk(url: str, *, writers: int = 6) -> dict[str, Any]:
    """Let no file of the workers grow any more while clients write, and then grow again.

    By a limit of the processes (RLIMIT_FSIZE), which needs no privilege: a write beyond it fails as on a full disk.
    """
    written = Path(f"{make_url(url).database}-wal")
    with service(url, workers=2) as running:
        workers = running.workers()
        with writing(running, writers) as ledger:
            grow(ledger, writers)
            room = written.stat().st_size
            for worker in workers:
                resource.prlimit(worker, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            # A restart of the log may find room for a while; then there is none.
            until(lambda: all(writer.outcomes[503] >= 5 for writer in ledger.writers), 60)
            full = ledger.acknowledged
            read = running.ask(f"/api/{ledger.writers[0].user}/tasks", token(ledger.writers[0].user)).status
            for worker in workers:
                resource.prlimit(worker, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            grow(ledger, writers * 3)
        figures = {"acknowledged_when_full": full, **ledger.audit()}
        assert running.workers() == workers, "a worker was replaced"
    assert_nothing_lost(figures)
    assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    assert read == 200, "reading needs no room"
    assert figures["uncertain"] == 0, "SQLite has rolled back, and nothing was saved"
    assert set(ledger.outcomes) <= {201, 409, 503, DOUBT}, figures
    assert ledger.outcomes[DOUBT] == ledger.hung_up, figures
    assert not any(writer.unspecific for writer in ledger.writers), "a refusal without Retry-After"
    return figures


def signal_under_writes(url: str, kind: signal.Signals, *, times: int, writers: int = 8) -> dict[str, Any]:
    """Reload the master (SIGHUP), or end its workers one after the other (SIGTERM), while clients write on kept connections.

    No request fails: a worker that is to go answers what it has accepted, and says with the answer that it hangs up.
    """
    with service(url, workers=2) as running:
        with writing(running, writers) as ledger:
            for _ in range(times):
                grow(ledger, writers)
                before = set(running.workers())
                for pid in [running.process.pid] if kind == signal.SIGHUP else before:
                    os.kill(pid, kind)
                until(lambda before=before: not before & set(running.workers()), 60)
                until(lambda: len(running.workers()) >= 2, 60)
            grow(ledger, writers)
        figures = {"times": times, **ledger.audit()}
    assert_nothing_lost(figures)
    assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    assert set(ledger.outcomes) <= {201, 409, DOUBT}, figures
    assert ledger.outcomes[DOUBT] == ledger.hung_up, figures
    return figures
