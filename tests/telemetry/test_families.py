"""Counters, gauges and requests: exact sums over processes, and labels that no client can add a value to."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator

import pytest

from taskapi.telemetry import metrics
from taskapi.telemetry.families import BUCKETS, MAX_ROUTES, METHODS, OTHER, STATUSES, UNMATCHED
from taskapi.telemetry.memory import process
from tests.telemetry.conftest import Scrape

COUNT, DURATION = "taskapi_requests_total", "taskapi_request_duration_seconds"


@pytest.fixture
def routes() -> Iterator[None]:
    """Two routes; those of a service are set by the gunicorn master."""
    metrics.REQUESTS.set_routes([("tasks.index", "GET"), ("tasks.create", "POST")])
    yield
    metrics.REQUESTS.set_routes(())


@pytest.mark.usefixtures("routes")
def test_requests_are_counted_by_route_method_and_status_with_their_durations(scrape: Scrape) -> None:
    for status, seconds in ((200, 0.001), (200, 0.004), (304, 0.3), (503, 60.0)):
        metrics.REQUESTS.add("tasks.index", "GET", status, seconds)

    assert scrape.samples(COUNT) == {
        ("GET", "tasks.index", "200"): 2,
        ("GET", "tasks.index", "304"): 1,
        ("GET", "tasks.index", "503"): 1,
    }
    buckets = scrape.samples(f"{DURATION}_bucket")
    assert [buckets[f"{bound:g}", "GET", "tasks.index"] for bound in BUCKETS] == [1, *[2] * 6, *[3] * 5]
    assert buckets["+Inf", "GET", "tasks.index"] == scrape.value(f"{DURATION}_count", "GET", "tasks.index") == 4
    assert scrape.value(f"{DURATION}_sum", "GET", "tasks.index") == pytest.approx(60.305)


@pytest.mark.usefixtures("routes")
def test_a_duration_that_equals_a_bound_is_in_the_bucket_of_that_bound(scrape: Scrape) -> None:
    metrics.REQUESTS.add("tasks.index", "GET", 200, 0.005)
    buckets = scrape.samples(f"{DURATION}_bucket")
    assert buckets["0.0025", "GET", "tasks.index"] == 0
    assert buckets["0.005", "GET", "tasks.index"] == 1


@pytest.mark.usefixtures("routes")
def test_no_client_can_create_a_time_series(scrape: Scrape) -> None:
    places = len(metrics.REQUESTS._places)
    for number in range(2000):
        metrics.REQUESTS.add(f"/{number}", f"METHOD{number}", 200 + number, number / 1000)
        metrics.REQUESTS.add("tasks.index", f"\n{number}", 200, 0)
        metrics.PROBLEMS.add(f"code{number}")

    assert len(metrics.REQUESTS._places) == places, "what a client sends is not stored"
    requests = scrape.samples(COUNT)
    assert sum(requests.values()) == 4000
    assert {route for _, route, _ in requests} == {UNMATCHED}
    assert {method for method, _, _ in requests} == {OTHER}
    assert {status for _, _, status in requests} <= {*map(str, STATUSES), OTHER}
    assert scrape.samples("taskapi_problems_total")[OTHER,] == 2000


def test_a_request_of_a_known_method_without_a_route_keeps_its_method(scrape: Scrape) -> None:
    metrics.REQUESTS.add(UNMATCHED, "DELETE", 404, 0)
    metrics.REQUESTS.add("a.route.of.another.release", "GET", 404, 0)
    assert scrape.samples(COUNT) == {("DELETE", UNMATCHED, "404"): 1, ("GET", UNMATCHED, "404"): 1}


def test_more_routes_than_there_are_numbers_for_are_counted_as_unmatched(scrape: Scrape) -> None:
    metrics.REQUESTS.set_routes((f"route{number:03}", "GET") for number in range(MAX_ROUTES))
    try:
        for number in range(MAX_ROUTES):
            metrics.REQUESTS.add(f"route{number:03}", "GET", 200, 0)
        requests = scrape.samples(COUNT)
    finally:
        metrics.REQUESTS.set_routes(())
    assert len(requests) == MAX_ROUTES - len(METHODS) + 1
    assert requests["GET", UNMATCHED, "200"] == len(METHODS)


# Python 3.12 and newer warn about a fork in a process with threads; the child only counts.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_count_in_slots_of_their_own_and_the_sum_is_exact(scrape: Scrape) -> None:
    metrics.IDEMPOTENT_REPLAYS.add()
    for slot in (1, 2):
        if not (child := os.fork()):
            try:
                metrics.attach(scrape.memory, slot)
                for _ in range(1000 * slot):
                    metrics.IDEMPOTENT_REPLAYS.add()
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
    assert scrape.value("taskapi_idempotent_replays_total") == 3001


def test_the_next_worker_in_a_slot_continues_the_counters_and_forgets_the_gauges(scrape: Scrape) -> None:
    metrics.IDEMPOTENT_REPLAYS.add()
    metrics.ENDED_SESSIONS.set(7)
    metrics.JWKS_FETCHED_AT.set(1000)

    metrics.attach(scrape.memory, 0)
    metrics.IDEMPOTENT_REPLAYS.add()

    assert scrape.value("taskapi_idempotent_replays_total") == 2
    assert scrape.samples("taskapi_ended_sessions") == {}
    assert scrape.samples("taskapi_jwks_fetched_timestamp_seconds") == {}


@pytest.mark.parametrize(
    ("gauge", "expected"),
    [(metrics.SLOTS_IN_USE, 12), (metrics.ENDED_SESSIONS, 8), (metrics.JWKS_FETCHED_AT, 4)],
    ids=["sum", "max", "min"],
)
def test_a_gauge_combines_the_values_of_the_workers_that_have_one(
    scrape: Scrape, gauge: metrics.Gauge, expected: float
) -> None:
    for slot, value in enumerate((8, 4, math.nan)):
        metrics.attach(scrape.memory, slot)
        gauge.set(value)
    assert scrape.samples(gauge.description.name) == {(): expected}
    assert scrape.value("taskapi_workers") == 3


def test_the_gauges_of_a_worker_that_no_longer_samples_are_not_reported(scrape: Scrape) -> None:
    metrics.SLOTS_IN_USE.set(8)
    metrics.attach(scrape.memory, 1)
    metrics.SLOTS_IN_USE.set(3)
    scrape.memory.slots[0][metrics.WORKERS.first] -= 60  # killed a minute ago

    assert scrape.value("taskapi_slots_in_use") == 3
    assert scrape.value("taskapi_workers") == 1


def test_without_shared_memory_a_process_counts_for_itself() -> None:
    before = process.cells[metrics.REDIS_FAILURES.first]
    metrics.REDIS_FAILURES.add()
    assert process.cells[metrics.REDIS_FAILURES.first] == before + 1
