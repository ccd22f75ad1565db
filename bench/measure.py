"""Short slices, one contestant after the other and again, because a shared machine's speed changes by the second."""

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
from .wire import Wire
from .workloads import CHANGES, CONNECTIONS, WORKLOADS, Step, Workload, as_lua, encode, headers

SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Slice:
    """One contestant at one workload for a moment."""

    requests: int
    seconds: float
    bytes: int
    p50: float
    p99: float
    """Milliseconds."""
    service: float
    """CPU of the service's processes, microseconds a request."""
    database: float
    """CPU of PostgreSQL's processes, microseconds a request."""


@dataclass(frozen=True)
class Pace:
    """How often, and for how long."""

    rounds: int
    seconds: float
    """Of a slice."""
    least: int
    """Requests that a connection sends in a slice at least."""
    postmaster: int
    """The process whose children are PostgreSQL."""


@dataclass
class Series:
    """All slices of one contestant at one workload, and what was counted beside them."""

    slices: list[Slice] = field(default_factory=list)
    statements: float = 0
    round_trips: float = 0


Measured = dict[str, dict[str, Series]]
"""By workload, by contestant."""


@dataclass
class Job:
    """A contestant at a workload: its requests in a file, and how many of them make a slice."""

    running: Running
    workload: Workload
    file: Path
    each: int = 1


def applies(workload: Workload, running: Running) -> bool:
    """Whether the contestant has such a request."""
    return running.contestant.is_ours or not workload.ours


def prepare(running: Running, workload: Workload, folder: Path) -> Job:
    """Write down what is sent."""
    tags: dict[str, str] = {}
    plans = [[prepare_request(running, step, tags) for step in plan] for plan in workload.plans]
    file = folder / f"{running.contestant.name}-{workload.name}.lua"
    literal = "{" + ", ".join(map(as_lua, plans)) + (", session = true" if workload.session else "") + "}"
    file.write_text(f"return {literal}\n")
    return Job(running, workload, file)


def prepare_request(running: Running, step: Step, tags: dict[str, str]) -> dict[str, object]:
    """Its method, path, headers and body, and whether it keeps and sends tags."""
    path = below(running, step)
    sent = headers(step.number)
    if step.tagged:
        if path not in tags:
            tags[path] = running.ask("GET", step.number, path)[1].get("etag", "")
        if tags[path]:
            sent["If-None-Match"] = tags[path]
    body = encode(step.body)
    if body is not None:
        sent["Content-Type"] = "application/json"
    request: dict[str, object] = {"method": step.method, "path": f"/api/{user(step.number)}{path}"}
    return request | {"headers": sent, "body": body, "keeps": step.keeps, "poll": step.polls}


def below(running: Running, step: Step) -> str:
    """The path of a step below `/api/{user_id}`, for this contestant."""
    if step.path != CHANGES:
        task = "" if step.task is None else f"/{running.contestant.task_id(step.number, step.task)}"
        return f"/tasks{task}{step.path}"
    path, more = CHANGES, True
    while more:  # to the end of the feed
        page = json.loads(running.ask("GET", step.number, path)[2])
        path, more = f"{CHANGES}?since={page['next']}", page["has_more"]
    return path


def calibrate(job: Job, pace: Pace) -> None:
    """Find out how many requests fill a slice; this warms the contestant up as well."""
    for filled in (0.3, 1):
        seconds = take(job, pace.postmaster).seconds
        job.each = max(pace.least, round(job.each * filled * pace.seconds / seconds))
    if job.workload.session:
        length = len(job.workload.plans[0])
        job.each = max(1, round(job.each / length)) * length


def take(job: Job, postmaster: int) -> Slice:
    """One slice. Nothing is under way before or after it, so every microsecond belongs to one of its requests."""
    service, backends = job.running.workers, descendants(postmaster)
    before = cpu([job.running.master.pid, *service]), cpu(backends)
    command = ["wrk", f"-t{CONNECTIONS}", f"-c{CONNECTIONS}", "-d60s", "--timeout", "20s", "-s", str(SCRIPT)]
    address = f"http://127.0.0.1:{job.running.port}"
    told, seconds = _load([*command, address, "--", str(job.file), str(job.each)])
    # A backend that was started meanwhile has spent all of its time in this slice.
    after = cpu([job.running.master.pid, *service]), cpu(descendants(postmaster))
    if told["failed"] or told["requests"] != job.each * CONNECTIONS:
        raise RuntimeError(f"{job.running.contestant.name} failed at {job.workload.name}: {told}")
    count = job.each * CONNECTIONS
    return Slice(
        requests=count,
        seconds=seconds,
        bytes=int(told["bytes"] / count),
        p50=told["p50"] / 1000,
        p99=told["p99"] / 1000,
        service=spent_since(before[0], after[0]) / count,
        database=spent_since(before[1], after[1]) / count,
    )


def _load(command: Sequence[str]) -> tuple[dict[str, float], float]:
    """What wrk tells, and the seconds from the first request to the last answer."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as wrk:
        assert wrk.stderr
        began, lines = 0.0, []
        for line in wrk.stderr:
            began = began or time.monotonic()
            lines.append(line)
            if lines.count("end\n") == CONNECTIONS:
                break
        seconds = time.monotonic() - began
        wrk.send_signal(signal.SIGINT)
        printed, _ = wrk.communicate()
    if wrk.returncode:
        raise RuntimeError("".join(lines) + printed)
    told: dict[str, float] = json.loads(printed.splitlines()[-1])
    return told, seconds


def interleave(
    everyone: Sequence[Running], workloads: Sequence[Workload], pace: Pace, say: Callable[[str], object]
) -> Measured:
    """Measure everyone at everything."""
    measured: Measured = {}
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
        for workload in workloads:
            say(workload.title)
            jobs = {
                running.contestant.name: prepare(running, workload, Path(folder))
                for running in everyone
                if applies(workload, running)
            }
            measured[workload.name] = alternate(jobs, pace)
    return measured


def compare(
    running: Running,
    workloads: Sequence[Workload],
    pairs: Sequence[tuple[str, str]],
    pace: Pace,
    say: Callable[[str], object],
) -> Measured:
    """One contestant at two workloads in turn; by the first's name, by each name."""
    by_name = {workload.name: workload for workload in workloads}
    measured: Measured = {}
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder:
        for pair in pairs:
            if by_name.keys() >= set(pair):
                say(" beside ".join(by_name[name].title for name in pair))
                measured[pair[0]] = alternate(
                    {name: prepare(running, by_name[name], Path(folder)) for name in pair}, pace
                )
    return measured


def alternate(jobs: Mapping[str, Job], pace: Pace) -> dict[str, Series]:
    """Rounds of one slice of each job, each round in another order."""
    series = {name: Series() for name in jobs}
    for job in jobs.values():
        calibrate(job, pace)
    for round_ in range(pace.rounds):
        turn = round_ % len(jobs)
        order = list(jobs)
        for name in order[turn:] + order[:turn]:
            series[name].slices.append(take(jobs[name], pace.postmaster))
    return series


def count(running: Running, wire: Wire, measured: Measured, workloads: Sequence[Workload] = WORKLOADS) -> None:
    """What each request sends to the database, with the contestant's connections warm: exact, so a few will do."""
    for workload in workloads:
        if not applies(workload, running):
            continue
        series = measured[workload.name].setdefault(running.contestant.name, Series())
        tags: dict[str, str] = {}
        steps = (workload.plans[0] * 6)[:6] if not workload.session else workload.plans[0]
        for step in steps:  # what is prepared on a connection's first requests is not sent again
            _ask(running, step, tags)
        before = wire.statements, wire.round_trips
        for step in steps:
            _ask(running, step, tags)
        series.statements = (wire.statements - before[0]) / len(steps)
        series.round_trips = (wire.round_trips - before[1]) / len(steps)


def _ask(running: Running, step: Step, tags: dict[str, str]) -> None:
    path = below(running, step)
    extra = {"If-None-Match": tags[path]} if (step.polls or step.tagged) and path in tags else {}
    status, answered, body = running.ask(step.method, step.number, path, body=encode(step.body), extra=extra)
    if status >= 400:
        raise RuntimeError(f"{running.contestant.name} answers {status} to {step}: {body[:300]!r}")
    if (step.keeps or step.tagged) and "etag" in answered:
        tags[path] = answered["etag"]


def as_json(measured: Measured) -> dict[str, object]:
    """For a file."""
    return {
        workload: {name: asdict(series) for name, series in by_name.items()} for workload, by_name in measured.items()
    }
