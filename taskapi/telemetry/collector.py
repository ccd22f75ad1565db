"""prometheus-client collector that adds up the numbers of all workers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ..config.settings import VERSION
from .families import BUCKETS, OTHER, Counter, Gauge
from .memory import Cells, SharedMemory
from .metrics import COUNTERS, GAUGES, REQUESTS, WORKERS

LIVE = 5.0
"""Seconds without a sample after which the gauges of a worker are not reported: it has ended, or is frozen."""

_BOUNDS = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")


class WorkerCollector(Collector):
    """Reads the numbers of all workers at each scrape; calls `pause` between two metrics, so that others may run."""

    def __init__(self, memory: SharedMemory, pause: Callable[[], object]) -> None:
        self._memory, self._pause = memory, pause

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics. Of requests, only the routes, methods and statuses that occurred are reported."""
        used = [cells for cells in self._memory.slots if cells[WORKERS.first]]
        yield InfoMetricFamily("taskapi", "The version of the service.", {"version": VERSION})
        yield from _requests(used, self._pause)
        for counter in COUNTERS:
            yield _counter(counter, used)
        self._pause()
        live = [cells for cells in used if time.time() - cells[WORKERS.first] < LIVE]
        for gauge in GAUGES:
            yield _gauge(gauge, [self._memory.common] if gauge.common else live)


def registry(memory: SharedMemory, pause: Callable[[], object]) -> CollectorRegistry:
    """Return a registry with the metrics of all workers only."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(WorkerCollector(memory, pause))
    return registry


def _totals(workers: Sequence[Cells], first: int, size: int) -> list[float]:
    """Return the sums over all workers of `size` numbers from the index `first`."""
    return [math.fsum(column) for column in zip(*(cells[first : first + size] for cells in workers), strict=True)]


def _requests(workers: Sequence[Cells], pause: Callable[[], object]) -> Iterator[Metric]:
    """Yield the number of requests, and the histograms of their durations."""
    count, durations = REQUESTS.count, REQUESTS.durations
    requests = CounterMetricFamily(count.name, count.text, labels=count.labels)
    histograms = HistogramMetricFamily(durations.name, durations.text, labels=durations.labels)
    for number, (pair, first) in enumerate(REQUESTS.pairs.items()):
        statuses, seconds, buckets = REQUESTS.read(_totals(workers, first, REQUESTS.WIDTH) or [0.0] * REQUESTS.WIDTH)
        for status, total in statuses.items():
            requests.add_metric([*pair, status], total)
        if statuses:
            histograms.add_metric([*pair], [*zip(_BOUNDS, accumulate(buckets), strict=True)], seconds)
        if number % 20 == 19:
            pause()
    yield requests
    pause()
    yield histograms


def _counter(counter: Counter, workers: Sequence[Cells]) -> Metric:
    """Return a counter, with 0 for what has not occurred; `OTHER` only if it has."""
    about = counter.description
    metric = CounterMetricFamily(about.name, about.text, labels=about.labels)
    totals = _totals(workers, counter.first, len(counter.values)) or [0.0] * len(counter.values)
    for value, total in zip(counter.values, totals, strict=True):
        if value == OTHER and not total:
            continue
        metric.add_metric([value] if about.labels else [], total)
    return metric


def _gauge(gauge: Gauge, workers: Sequence[Cells]) -> Metric:
    """Return a gauge; without a sample if no worker knows its value."""
    metric = GaugeMetricFamily(gauge.description.name, gauge.description.text)
    value = gauge.read(workers)
    if value is not None:
        metric.add_metric([], value)
    return metric
