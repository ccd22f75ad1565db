"""Measure latencies: at full load, and with requests that are due at fixed times at half of the capacity."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .contestants import Running
from .measure import Job, Pace, calibrate, load, prepare
from .workloads import CONNECTIONS, Workload

WORKLOADS = ("list20", "get", "create", "toggle", "session")
CONTESTANTS = ("floor", "taskapi", "sqlite", "fastify")

SLICE_LENGTH = 3
"""How many times as long as a slice of the CPU measurement one of latencies is."""

MAX_ROUNDS = 5
"""Maximum number of rounds: five workloads of four contestants, 4.5 s each, make 90 s a round."""

MAX_RATIO = 1.5
"""Target: the 99th percentile at full load is at most so many times the floor's in the same round."""


@dataclass
class Latencies:
    """Milliseconds of each request of one contestant at one workload, by round."""

    closed: list[list[float]] = field(default_factory=list)
    """At full load: each connection sends its next request when the response has arrived (closed loop)."""
    open: list[list[float]] = field(default_factory=list)
    """At half of the closed loop's rate, from when a request was due (open loop, no coordinated omission)."""
    rates: list[float] = field(default_factory=list)
    """Requests per second of the open loop, by round."""


Measured = dict[str, dict[str, Latencies]]
"""Latencies by name of the workload and name of the contestant."""


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value that this part (0 to 1) of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def measure(
    servers: Sequence[Running], workloads: Sequence[Workload], pace: Pace, log: Callable[[str], object]
) -> Measured:
    """Measure the contestants in alternating slices."""
    measured: Measured = {}
    chosen = [each for each in servers if each.contestant.name in CONTESTANTS]
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
        for workload in workloads:
            if workload.name in WORKLOADS:
                log(f"latency: {workload.title}")
                jobs = {each.contestant.name: prepare(each, workload, Path(folder)) for each in chosen}
                measured[workload.name] = _alternate(jobs, _pace(pace))
    return measured


def _pace(pace: Pace) -> Pace:
    """Return the pace of the CPU measurement with longer slices and fewer rounds."""
    return replace(pace, seconds=SLICE_LENGTH * pace.seconds, rounds=min(pace.rounds, MAX_ROUNDS))


def _alternate(jobs: Mapping[str, Job], pace: Pace) -> dict[str, Latencies]:
    """Measure one slice of each kind per round and job; each round has another order."""
    found = {name: Latencies() for name in jobs}
    for job in jobs.values():
        calibrate(job, pace)
    order = list(jobs)
    for _ in range(pace.rounds):
        order.append(order.pop(0))
        for name in order:
            job, latencies = jobs[name], found[name]
            closed, seconds = _slice(job, interval=0)
            latencies.closed.append(closed)
            latencies.rates.append(len(closed) / seconds / 2)
            latencies.open.append(_slice(job, interval=1000 * CONNECTIONS / latencies.rates[-1])[0])
    return found


def _slice(job: Job, interval: float) -> tuple[list[float], float]:
    """Send the requests of a slice, with milliseconds between two of a connection; return the latencies and seconds."""
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
        _, seconds = load(job, str(interval), folder)
        return [float(line) for file in Path(folder).iterdir() for line in file.read_text().splitlines()], seconds


def ratios(numerator: Latencies, denominator: Latencies) -> list[float]:
    """Return the ratios of the 99th percentiles at full load in the same rounds."""
    pairs = zip(numerator.closed, denominator.closed, strict=True)
    return [percentile(a, 0.99) / percentile(b, 0.99) for a, b in pairs]


def table(by_name: Mapping[str, Latencies], titles: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of the Markdown table of one workload, a row for each contestant."""
    yield (
        "| | p50 / p99 / p99.9 at full load, ms | p99 to the floor's | requests/s at half of it "
        "| p50 / p99 / p99.9 at half load, ms |"
    )
    yield "| --- | --: | --: | --: | --: |"
    for name, latencies in by_name.items():
        to_floor = f"{statistics.median(ratios(latencies, by_name['floor'])):.2f}" if "floor" in by_name else ""
        cells = (titles[name], _percentiles(latencies.closed), to_floor, f"{statistics.median(latencies.rates):,.0f}")
        yield f"| {' | '.join(cells)} | {_percentiles(latencies.open)} |"


def _percentiles(rounds: Sequence[Sequence[float]]) -> str:
    """Format the medians over the rounds of p50 and p99, and p99.9 of all rounds together."""
    middle = (statistics.median(percentile(each, part) for each in rounds) for part in (0.5, 0.99))
    together = percentile([value for each in rounds for value in each], 0.999)
    return " / ".join(f"{value:.1f}" for value in (*middle, together))
