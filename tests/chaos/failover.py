"""The primary of a cluster ends or freezes and a standby is promoted, or the standbys end, while clients write.

As `tests/chaos/failures.py`: each function runs one failure, asserts the promises and returns the measured figures.
"""

from __future__ import annotations

import signal
import time
from typing import Any

from tests.chaos.cluster import Cluster
from tests.chaos.failures import LOAD_ALLOWANCE, RESPONSE_LIMIT, await_writes
from tests.chaos.readers import reading
from tests.chaos.service import NO_RESPONSE, run_service
from tests.chaos.writers import WriteLog, assert_no_write_lost, writing
from tests.waiting import until

WORKERS = 2

MAX_CONNECTIONS = 14
"""Connections that a worker holds at most, its abandoned ones included: 8, and 6 of writes that were given up."""

FROZEN_LIMIT = 7.0
"""Seconds in which the service gives up a frozen primary: its silence (6 s). Then it tries the other servers first."""


def fail_over(cluster: Cluster, kind: signal.Signals, *, detection: float, clients: int = 6) -> dict[str, Any]:
    """Kill (SIGKILL), stop (SIGINT) or freeze (SIGSTOP) the primary, and promote a standby `detection` seconds later.

    The former primary then becomes a standby again.
    """
    former = cluster.primary
    with run_service(cluster.url, workers=WORKERS) as running:
        workers = running.workers()
        with writing(running, clients) as writes, reading(running, clients) as reads:
            await_writes(writes, clients * 3)
            failed = time.monotonic()
            if kind == signal.SIGSTOP:
                former.signal(kind)
            else:
                former.end(kind)
            time.sleep(max(detection, 0.2))  # the clients have read every response of before
            before = writes.acknowledged
            promoted = cluster.promote()
            first = _first_acknowledged(writes, before) - promoted
            recovery = reads.recovery_time(promoted)
            former.end(signal.SIGKILL)
            cluster.rejoin(former)
            await_writes(writes, clients * 3)
        refused = [request for request in reads.requests if request.ended > failed and request.status != 200]
        figures = {
            "kind": kind.name,
            "detection_s": detection,
            "first_201_after_promotion_s": round(first, 2),
            "last_failed_read_after_promotion_s": round(recovery, 2),
            "refused_reads": len(refused),
            **writes.audit(),
        }
        assert running.workers() == workers, "a worker was replaced"
    assert_no_write_lost(figures)
    assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    assert set(writes.outcomes) <= {201, 409, 503, NO_RESPONSE}, figures
    assert writes.outcomes[NO_RESPONSE] == writes.disconnects, figures
    assert {(request.status, request.retry_after) for request in refused} <= {(503, True)}, figures
    assert not any(writer.without_retry_after for writer in writes.writers), "a failure without Retry-After"
    limit = FROZEN_LIMIT if kind == signal.SIGSTOP else RESPONSE_LIMIT
    assert first < limit + LOAD_ALLOWANCE, figures
    assert recovery < limit + LOAD_ALLOWANCE, figures
    return figures


def lose_standbys(cluster: Cluster, *, absent: float, writers: int = 32, readers: int = 6) -> dict[str, Any]:
    """Kill all standbys for `absent` seconds: no commit is acknowledged, reads are served, and nothing piles up.

    There are more writers than connections, and they do not repeat a request: the next one is another write.
    """
    with run_service(cluster.url, workers=WORKERS) as running:
        workers = running.workers()
        with writing(running, writers, keyed=False) as writes, reading(running, readers) as reads:
            await_writes(writes, writers)
            lost = cluster.standbys
            for standby in lost:
                standby.end(signal.SIGKILL)
            began, before = time.monotonic(), writes.acknowledged
            connections = _watch_connections(cluster, until_time=began + absent)
            acknowledged = writes.acknowledged - before
            served = reads.between(began, time.monotonic())
            for standby in lost:
                standby.start()
            cluster.await_standbys(len(lost))
            back = time.monotonic()
            first = _first_acknowledged(writes, before + acknowledged) - back
            await_writes(writes, writers)
        figures = {
            "absent_s": absent,
            "acknowledged_meanwhile": acknowledged,
            "reads_meanwhile": len(served),
            "slowest_read_s": round(max(request.duration for request in served), 2),
            "connections": connections,
            "first_201_after_return_s": round(first, 2),
            **writes.audit(),
        }
        assert running.workers() == workers, "a worker was replaced"
    assert_no_write_lost(figures)
    assert figures["made_unacknowledged"] <= figures["uncertain"] + writes.disconnects, figures
    # A commit that a standby had received when it was killed may still be acknowledged.
    assert acknowledged <= writers, figures
    assert {request.status for request in served} == {200}, figures
    assert len(served) > absent * readers, figures
    assert connections <= MAX_CONNECTIONS * WORKERS, figures
    assert figures["slowest_read_s"] < RESPONSE_LIMIT + LOAD_ALLOWANCE, figures
    assert set(writes.outcomes) <= {201, 503, NO_RESPONSE}, figures
    assert writes.outcomes[NO_RESPONSE] == writes.disconnects, figures
    return figures


def _first_acknowledged(writes: WriteLog, before: int) -> float:
    """Wait until more than `before` writes are acknowledged; return the time (monotonic)."""
    until(lambda: writes.acknowledged > before, 60, otherwise="no write was acknowledged")
    return time.monotonic()


def _watch_connections(cluster: Cluster, *, until_time: float) -> int:
    """Return the largest number of the service's connections to the primary until a time."""
    most = 0
    while time.monotonic() < until_time:
        count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'taskapi_service'"
        most = max(most, cluster.primary.query(count))
        time.sleep(0.2)
    return most
