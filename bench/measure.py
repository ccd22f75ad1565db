"""Measure the contestants in short alternating slices, because the speed of a shared machine changes by the second."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .contestants import Running, cpu, descendants, spent_since
from .database import user
from .wire import Traffic
from .workloads import CHANGES, CONNECTIONS, WORKLOADS, Step, Workload, as_lua, encode_body, headers

SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Slice:
    """The measurements of one contestant at one workload during one slice."""

    requests: int
    seconds: float
    bytes: int
    p50: float
    p99: float
    """Latency percentiles in milliseconds."""
    service: float
    """CPU time of the service's processes in microseconds per request."""
    database: float
    """CPU time of PostgreSQL's processes in microseconds per request."""


@dataclass(frozen=True)
class Pace:
    """Number of rounds and length of their slices."""

    rounds: int
    seconds: float
    """Length of a slice."""
    min_requests: int
    """Minimum number of requests per connection in a slice."""
    postmaster: int
    """Process id of the PostgreSQL server, whose children are the backends."""


@dataclass
class Series:
    """All slices of one contestant at one workload, and the statements and round trips per request."""

    slices: list[Slice] = field(default_factory=list)
    statements: float = 0
    round_trips: float = 0


Measured = dict[str, dict[str, Series]]
"""Series by name of the workload and name of the contestant."""


@dataclass
class Job:
    """A contestant at a workload: the file of its requests, and their number per connection in a slice."""

    running: Running
    workload: Workload
    file: Path
    requests_per_connection: int = 1


def has_endpoint(workload: Workload, running: Running) -> bool:
    """Return True if the contestant has the endpoint of the workload."""
    return running.contestant.is_ours or not workload.taskapi_only


def prepare(running: Running, workload: Workload, folder: Path) -> Job:
    """Write the requests of a workload to a Lua file for wrk."""
    tags: dict[str, str] = {}
    plans = [[prepare_request(running, step, tags) for step in plan] for plan in workload.plans]
    file = folder / f"{running.contestant.name}-{workload.name}.lua"
    literal = "{" + ", ".join(map(as_lua, plans)) + (", session = true" if workload.session else "") + "}"
    file.write_text(f"return {literal}\n")
    return Job(running, workload, file)


def prepare_request(running: Running, step: Step, tags: dict[str, str]) -> dict[str, object]:
    """Return method, path, headers and body of a request, and whether it keeps or sends ETags.

    `tags` caches the ETags that paths have before the run.
    """
    path = step_path(running, step)
    request_headers = headers(step.number)
    if step.sends_initial_etag:
        if path not in tags:
            tags[path] = running.request("GET", step.number, path)[1].get("etag", "")
        if tags[path]:
            request_headers["If-None-Match"] = tags[path]
    body = encode_body(step.body)
    if body is not None:
        request_headers["Content-Type"] = "application/json"
    request: dict[str, object] = {"method": step.method, "path": f"/api/{user(step.number)}{path}"}
    return request | {"headers": request_headers, "body": body, "keeps": step.keeps_etag, "poll": step.sends_kept_etag}


def step_path(running: Running, step: Step) -> str:
    """Return the path of a step for this contestant, relative to `/api/{user_id}`."""
    if step.path != CHANGES:
        task = "" if step.task is None else f"/{running.contestant.task_id(step.number, step.task)}"
        return f"/tasks{task}{step.path}"
    path, more = CHANGES, True
    while more:  # read the delta feed to its end
        page = json.loads(running.request("GET", step.number, path)[2])
        path, more = f"{CHANGES}?since={page['next']}", page["has_more"]
    return path


def calibrate(job: Job, pace: Pace) -> None:
    """Set the number of requests that fill a slice, by two test runs, which also warm up the contestant."""
    for fraction in (0.3, 1):
        seconds = measure_slice(job, pace.postmaster).seconds
        job.requests_per_connection = max(
            pace.min_requests, round(job.requests_per_connection * fraction * pace.seconds / seconds)
        )
    if job.workload.session:
        length = len(job.workload.plans[0])
        job.requests_per_connection = max(1, round(job.requests_per_connection / length)) * length


def measure_slice(job: Job, postmaster: int) -> Slice:
    """Run one slice and return its measurements.

    No request is in progress before or after it, so the CPU time in between belongs to its requests only.
    """
    service, backends = job.running.workers, descendants(postmaster)
    before = cpu([job.running.master.pid, *service]), cpu(backends)
    summary, seconds = load(job)
    # Backends started during the slice count completely.
    after = cpu([job.running.master.pid, *service]), cpu(descendants(postmaster))
    count = job.requests_per_connection * CONNECTIONS
    return Slice(
        requests=count,
        seconds=seconds,
        bytes=int(summary["bytes"] / count),
        p50=summary["p50"] / 1000,
        p99=summary["p99"] / 1000,
        service=spent_since(before[0], after[0]) / count,
        database=spent_since(before[1], after[1]) / count,
    )


def load(job: Job, *arguments: str) -> tuple[dict[str, float], float]:
    """Send the requests of a slice; return wrk's summary and the seconds from the first request to the last response.

    `arguments` follow the number of requests (load.lua).
    """
    command = ["wrk", f"-t{CONNECTIONS}", f"-c{CONNECTIONS}", "-d60s", "--timeout", "20s", "-s", str(SCRIPT)]
    address = f"http://127.0.0.1:{job.running.port}"
    summary, seconds = _run([*command, address, "--", str(job.file), str(job.requests_per_connection), *arguments])
    if summary["failed"] or summary["requests"] != job.requests_per_connection * CONNECTIONS:
        raise RuntimeError(f"{job.running.contestant.name} failed at {job.workload.name}: {summary}")
    return summary, seconds


def _run(command: Sequence[str]) -> tuple[dict[str, float], float]:
    """Run wrk; return its summary and the seconds from the first request to the last response."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as wrk:
        assert wrk.stderr
        start_time, lines = 0.0, []
        for line in wrk.stderr:
            start_time = start_time or time.monotonic()
            lines.append(line)
            if lines.count("end\n") == CONNECTIONS:
                break
        seconds = time.monotonic() - start_time
        wrk.send_signal(signal.SIGINT)
        output, _ = wrk.communicate()
    if wrk.returncode:
        raise RuntimeError("".join(lines) + output)
    summary: dict[str, float] = json.loads(output.splitlines()[-1])
    return summary, seconds


def interleave(
    servers: Sequence[Running], workloads: Sequence[Workload], pace: Pace, log: Callable[[str], object]
) -> Measured:
    """Measure all running contestants at all workloads, in alternating slices."""
    measured: Measured = {}
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
        for workload in workloads:
            log(workload.title)
            jobs = {
                running.contestant.name: prepare(running, workload, Path(folder))
                for running in servers
                if has_endpoint(workload, running)
            }
            measured[workload.name] = alternate(jobs, pace)
    return measured


def compare(
    running: Running,
    workloads: Sequence[Workload],
    pairs: Sequence[tuple[str, str]],
    pace: Pace,
    log: Callable[[str], object],
) -> Measured:
    """Measure one contestant at pairs of workloads in alternating slices.

    Returns the series by name of the pair's first workload, then by name of each.
    """
    by_name = {workload.name: workload for workload in workloads}
    measured: Measured = {}
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
        for pair in pairs:
            if by_name.keys() >= set(pair):
                log(" and ".join(by_name[name].title for name in pair))
                measured[pair[0]] = alternate(
                    {name: prepare(running, by_name[name], Path(folder)) for name in pair}, pace
                )
    return measured


def alternate(jobs: Mapping[str, Job], pace: Pace) -> dict[str, Series]:
    """Measure rounds of one slice of each job; each round has another order. Returns the series by name of the job."""
    series = {name: Series() for name in jobs}
    for job in jobs.values():
        calibrate(job, pace)
    for round_ in range(pace.rounds):
        first = round_ % len(jobs)
        order = list(jobs)
        for name in order[first:] + order[:first]:
            series[name].slices.append(measure_slice(jobs[name], pace.postmaster))
    return series


def count(running: Running, traffic: Traffic, measured: Measured, workloads: Sequence[Workload] = WORKLOADS) -> None:
    """Count statements and round trips per request on warm connections; the counts are exact, so few requests do."""
    for workload in workloads:
        if not has_endpoint(workload, running):
            continue
        series = measured[workload.name].setdefault(running.contestant.name, Series())
        tags: dict[str, str] = {}
        steps = (workload.plans[0] * 6)[:6] if not workload.session else workload.plans[0]
        requests = [(step, step_path(running, step)) for step in steps]  # reads the delta feed to its end
        for step, path in requests:  # first requests, which prepare statements on the connections, are not counted
            _send(running, step, path, tags)
        before = traffic.statements, traffic.round_trips
        for step, path in requests:
            _send(running, step, path, tags)
        series.statements = (traffic.statements - before[0]) / len(steps)
        series.round_trips = (traffic.round_trips - before[1]) / len(steps)


def _send(running: Running, step: Step, path: str, tags: dict[str, str]) -> None:
    """Send the request of a step to its path, with the ETag from `tags` if it polls; store the ETag of the response."""
    extra = {"If-None-Match": tags[path]} if (step.sends_kept_etag or step.sends_initial_etag) and path in tags else {}
    status, response_headers, body = running.request(
        step.method, step.number, path, body=encode_body(step.body), extra=extra
    )
    if status >= 400:
        raise RuntimeError(f"{running.contestant.name} responds {status} to {step}: {body[:300]!r}")
    if (step.keeps_etag or step.sends_initial_etag) and "etag" in response_headers:
        tags[path] = response_headers["etag"]


def as_json(measured: Measured) -> dict[str, object]:
    """Return the measurements as dicts for JSON."""
    return {
        workload: {name: asdict(series) for name, series in by_name.items()} for workload, by_name in measured.items()
    }
