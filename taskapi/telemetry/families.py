"""Kinds of metrics: counters, gauges, and requests with their durations. Adding to one costs a few bytecodes.

prometheus-client's own objects take about a hundred times as many for each observation, so it only formats what is read
here (collector.py). The values of labels are fixed when a metric is declared: a client cannot create a time series.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .memory import Cells, allocate, process

OTHER = "other"
"""The value of a label for everything that has no value of its own."""

BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the durations of requests, in seconds."""

_BOUNDS = (-math.inf, *BUCKETS)
"""The position of a duration in these is the offset of its bucket: at 0 there is the sum."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", OTHER)

STATUSES = (
    *(200, 201, 204, 302, 304, 308, 400, 401, 403, 404, 405, 408, 409, 410, 411, 412, 413, 414, 415, 417, 422),
    *(428, 429, 431, 500, 501, 503),
)
"""The statuses of the service and of gunicorn; any other is counted as `OTHER`."""

MAX_ROUTES = 200
"""Pairs of a route and a method that have numbers of their own; the others are counted as `UNMATCHED`."""

UNMATCHED = "unmatched"
"""The route of a request whose path or method is that of no route."""


@dataclass(frozen=True)
class Description:
    """A metric as scrapers see it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


class Counter:
    """A number that only grows, or one for each value of a label; the values include `OTHER` if `values` is given."""

    def __init__(self, name: str, text: str, label: str = "", values: Iterable[str] = ()) -> None:
        self.description = Description(name, "counter", (label,) if label else (), text)
        self.values = (*dict.fromkeys((*values, OTHER)),) if label else ("",)
        self.first = allocate(len(self.values))
        self._index = {value: self.first + number for number, value in enumerate(self.values)}
        self._other = self.first + len(self.values) - 1

    def add(self, value: str = "", amount: float = 1) -> None:
        """Add to the number of a value of the label; a value that was not declared is counted as `OTHER`."""
        process.cells[self._index.get(value, self._other)] += amount


class Gauge:
    """A number of each worker that may rise and fall; `combine` makes that of the service from those of the workers.

    A gauge of `common` memory is one number for all workers.
    """

    def __init__(
        self, name: str, text: str, combine: Callable[[Sequence[float]], float] = max, *, common: bool = False
    ) -> None:
        self.description = Description(name, "gauge", (), text)
        self.combine, self.common = combine, common
        self.first = allocate(1)

    def set(self, value: float) -> None:
        """Set the number of this worker; NaN is not reported."""
        process.cells[self.first] = value

    def read(self, workers: Sequence[Cells]) -> float | None:
        """Return the number for the service from the numbers of its running workers; None if no worker has set one."""
        values = [value for cells in workers if not math.isnan(value := cells[self.first])]
        return self.combine(values) if values else None


class _Places(dict[tuple[str, str, int], tuple[int, int]]):
    """Where a request of a route, a method and a status is counted; what was not declared is looked up, not stored."""

    def __missing__(self, key: tuple[str, str, int]) -> tuple[int, int]:
        """Return the place of another status of the route, or that of an unmatched request."""
        route, method, status = key
        if route != UNMATCHED and (route, method, 0) not in self:
            route = UNMATCHED
        if method not in METHODS:
            method = OTHER
        return self[route, method, status if status in STATUSES else 0]


class Requests:
    """The number of requests by route, method and status, and a histogram of their durations by route and method.

    A pair of route and method has the sum of the durations, a number for each bucket, and one for each status.
    """

    _STATUS = 1 + len(BUCKETS) + 1
    """Offset of the first status."""
    WIDTH = _STATUS + len(STATUSES) + 1

    def __init__(self, count: Description, durations: Description) -> None:
        self.count, self.durations = count, durations
        self.first = allocate(MAX_ROUTES * self.WIDTH)
        self._places = _Places()
        self.set_routes(())

    def set_routes(self, routes: Iterable[tuple[str, str]]) -> None:
        """Declare the routes, each with a method: before the workers are forked, since all must count alike."""
        unmatched = [(UNMATCHED, method) for method in METHODS]
        pairs = [*unmatched, *(pair for pair in sorted(routes) if pair[1] in METHODS)][:MAX_ROUTES]
        self.pairs = {pair: self.first + number * self.WIDTH for number, pair in enumerate(pairs)}
        self._places.clear()
        for (route, method), start in self.pairs.items():
            for number, status in enumerate((*STATUSES, 0)):  # 0 is any other status
                self._places[route, method, status] = start, start + self._STATUS + number

    def add(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request and its duration."""
        start, place = self._places[route, method, status]
        cells = process.cells
        cells[place] += 1
        cells[start] += seconds
        cells[start + bisect_left(_BOUNDS, seconds)] += 1

    def read(self, numbers: Sequence[float]) -> tuple[dict[str, float], float, Sequence[float]]:
        """Return requests by status, the sum of the durations, and the buckets of a pair's numbers."""
        total, *buckets = numbers[: self._STATUS]
        found = zip((*STATUSES, OTHER), numbers[self._STATUS :], strict=True)
        return {str(status): count for status, count in found if count}, total, buckets
