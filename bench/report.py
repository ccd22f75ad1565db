"""The report of a run: tables and a plot, ratios to the floor, and a verdict for each target."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from . import latency
from .contestants import EVERYONE
from .measure import Measured, Series, Slice
from .workloads import WORKLOADS

TITLES = {contestant.name: contestant.title for contestant in EVERYONE}


_NAMES = {workload.name: workload.title for workload in WORKLOADS}


@dataclass(frozen=True)
class Ratio:
    """Minimum, median and maximum of ratios of paired slices, or of the seconds of several starts."""

    low: float
    median_: float
    high: float

    def __str__(self) -> str:
        """Format as Markdown with the median in bold."""
        return f"{self.low:.2f}–**{self.median_:.2f}**–{self.high:.2f}"


@dataclass
class Report:
    """All measurements of one run."""

    machine: Sequence[str]
    measured: Measured
    memory: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Memory of a worker in megabytes by contestant: (PSS, RSS)."""
    start: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Seconds from each start to the first response, by contestant."""
    latencies: latency.Measured = field(default_factory=dict)
    polls: Measured = field(default_factory=dict)
    """By name of the poll: its series and that of the list that a 304 replaces."""
    scaling: Measured = field(default_factory=dict)
    """By workload: the series with one worker (`alone`) and with two (`taskapi`)."""
    size: Measured = field(default_factory=dict)
    """By workload: the series with the `small` and with the `large` table."""


def _service(slice_: Slice) -> float:
    """Return the CPU time of the service per request in microseconds."""
    return slice_.service


def _database(slice_: Slice) -> float:
    """Return the CPU time of PostgreSQL per request in microseconds."""
    return slice_.database


def spread(values: Sequence[float]) -> Ratio:
    """Return minimum, median and maximum of the values."""
    return Ratio(min(values), statistics.median(values), max(values))


def ratio(numerator: Series, denominator: Series, metric: Callable[[Slice], float] = _service) -> Ratio:
    """Return the spread of the ratios between two series in the slices of the same round."""
    return spread(
        [metric(a) / metric(b) for a, b in zip(numerator.slices, denominator.slices, strict=True) if metric(b)]
    )


def median(series: Series, metric: Callable[[Slice], float]) -> float:
    """Return the median of a metric over the slices of a series."""
    return statistics.median(map(metric, series.slices))


@dataclass(frozen=True)
class Verdict:
    """A target, the measured value, and whether the target is met."""

    target: str
    goal: str
    result: str
    met: bool


RATIOS = (
    # Workload, contestant, maximum ratio of its CPU time to that of the reference, reference.
    ("list20", "taskapi", 1.7, "floor"),
    ("list1000", "taskapi", 1.5, "floor"),
    ("get", "taskapi", 2, "floor"),
    ("toggle", "taskapi", 1.2, "floor"),
    ("create", "taskapi", 1.5, "floor"),
    ("session", "taskapi", 1.2, "floor"),
    # Workload, contestant, minimum ratio of its CPU time to that of the reference, reference.
    ("list20", "fastapi", 2.5, "taskapi"),
    ("list20", "express", 1, "taskapi"),
    ("get", "fastapi", 2, "taskapi"),
    ("toggle", "fastapi", 2, "taskapi"),
    ("create", "fastapi", 2, "taskapi"),
)


def _ratio_verdicts(measured: Measured) -> Iterator[Verdict]:
    """Yield the verdicts of `RATIOS` for the contestants that were measured."""
    for name, contestant, limit, reference in RATIOS:
        by_name = measured.get(name, {})
        if contestant in by_name and reference in by_name:
            result = ratio(by_name[contestant], by_name[reference])
            goal = (
                f"≤ {limit} × {TITLES[reference]}"
                if reference == "floor"
                else f"≥ {limit} × better than {TITLES[contestant]}"
            )
            met = result.median_ <= limit if reference == "floor" else result.median_ >= limit
            yield Verdict(_NAMES[name], goal, str(result), met)


def verdicts(report: Report) -> Iterator[Verdict]:
    """Yield the verdict of each target in the order of docs/performance.md."""
    yield from _ratio_verdicts(report.measured)
    for name, by_name in report.polls.items():
        poll, list_series = by_name.values()
        result = ratio(poll, list_series)
        yield Verdict(_NAMES[name], "≤ 0.6 × the list", str(result), result.median_ <= 0.6)
    for name, latencies in report.latencies.items():
        if {"taskapi", "floor"} <= latencies.keys():
            result = spread(latency.ratios(latencies["taskapi"], latencies["floor"]))
            limit = latency.MAX_RATIO
            yield Verdict(f"{_NAMES[name]}, p99", f"≤ {limit} × the floor's", str(result), result.median_ <= limit)
    for name, by_size in report.size.items():
        result = ratio(by_size["large"], by_size["small"])
        yield Verdict(f"depth and size, {name}", "≤ 1.2 ×", str(result), result.median_ <= 1.2)
    for name, by_count in report.scaling.items():
        result = ratio(by_count["taskapi"], by_count["alone"])
        yield Verdict(f"scaling, {name}: two workers to one", "≤ 1.1 ×", str(result), result.median_ <= 1.1)
    if "taskapi" in report.memory:
        pss, rss = report.memory["taskapi"]
        yield Verdict("memory of a worker", "≤ 90 MB", f"**{pss:.0f}** MB PSS, {rss:.0f} MB RSS", pss <= 90)
    if "taskapi" in report.start:
        seconds = spread(report.start["taskapi"])
        yield Verdict("first answer after exec", "≤ 1.5 s", f"{seconds} s", seconds.median_ <= 1.5)


def markdown(report: Report) -> str:
    """Return the report as Markdown for docs/performance.md."""
    lines = ["### Machine", "", *(f"- {line}" for line in report.machine), ""]
    lines += ["### Targets", "", "Ratios of CPU, least–**median**–most of the paired slices.", ""]
    lines += ["| Target | Goal | Found | Met |", "| --- | --- | --- | --- |"]
    for verdict in verdicts(report):
        met = "yes" if verdict.met else "**no**"
        lines.append(f"| {verdict.target} | {verdict.goal} | {verdict.result} | {met} |")
    for workload in WORKLOADS:
        if workload.name in report.measured:
            lines += ["", f"### {workload.title[0].upper()}{workload.title[1:]}", ""]
            lines += list(_table(report.measured[workload.name]))
        if workload.name in report.latencies:
            lines += ["", *latency.table(report.latencies[workload.name], TITLES)]
    if report.size:
        lines += ["", "### Depth and size", "", "Large to small.", ""]
        lines += ["| | CPU of the service | CPU of PostgreSQL |", "| --- | --- | --- |"]
    for name, by_size in report.size.items():
        service, database = (ratio(by_size["large"], by_size["small"], metric) for metric in (_service, _database))
        lines.append(f"| {name} | {service} | {database} |")
    lines += ["", "### Memory and start", "", "| | PSS of a worker | RSS of a worker | first answer |"]
    lines.append("| --- | --: | --: | --: |")
    for name, (pss, rss) in report.memory.items():
        lines.append(f"| {TITLES[name]} | {pss:.0f} MB | {rss:.0f} MB | {spread(report.start[name])} s |")
    return "\n".join(lines) + "\n"


def _table(by_name: Mapping[str, Series]) -> Iterator[str]:
    """Yield the lines of the Markdown table of one workload, a row for each contestant."""
    yield (
        "| | CPU of the service to the floor's | service CPU, µs | PostgreSQL CPU, µs | requests/s | p50, ms | p99, ms "
        "| statements | round trips | bytes |"
    )
    yield "| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |"
    for name, series in by_name.items():
        cells = [
            TITLES[name],
            str(ratio(series, by_name["floor"])) if "floor" in by_name else "",
            f"{median(series, _service):,.0f}",
            "" if name == "sqlite" else f"{median(series, _database):,.0f}",
            f"{median(series, lambda slice_: slice_.requests / slice_.seconds):,.0f}",
            f"{median(series, lambda slice_: slice_.p50):.1f}",
            f"{median(series, lambda slice_: slice_.p99):.1f}",
            "" if name == "sqlite" else f"{series.statements:.3g}",
            "" if name == "sqlite" else f"{series.round_trips:.3g}",
            f"{median(series, lambda slice_: slice_.bytes):,.0f}",
        ]
        yield "| " + " | ".join(cells) + " |"


WIDTH, BAR, GAP, LABEL_WIDTH = 860, 15, 26, 250
COLORS = {"floor": "#8a8a8a", "taskapi": "#0b6e4f", "sqlite": "#5aa786"}


def plot(report: Report) -> str:
    """Return an SVG bar chart of the service's CPU time per request; lines show the minimum and the maximum."""
    rows: list[str] = []
    y = 30
    for workload in WORKLOADS:
        by_name = report.measured.get(workload.name)
        if not by_name:
            continue
        spans = {
            name: (min(values), statistics.median(values), max(values))
            for name, series in by_name.items()
            if (values := [slice_.service / 1000 for slice_ in series.slices])
        }
        scale = (WIDTH - LABEL_WIDTH - 110) / max(high for _, _, high in spans.values())
        rows.append(f'<text x="10" y="{y}" class="head">{escape(workload.title)}</text>')
        y += 10
        for name, (low, median_, high) in spans.items():
            color, center = COLORS.get(name, "#b9770e"), y + BAR / 2
            rows.append(
                f'<text x="{LABEL_WIDTH - 8}" y="{y + BAR - 3}" text-anchor="end">{escape(TITLES[name])}</text>'
            )
            rows.append(
                f'<rect x="{LABEL_WIDTH}" y="{y}" width="{median_ * scale:.1f}" height="{BAR}" fill="{color}"/>'
            )
            rows.append(
                f'<path d="M{LABEL_WIDTH + low * scale:.1f} {center}H{LABEL_WIDTH + high * scale:.1f}" class="span"/>'
                f'<text x="{LABEL_WIDTH + high * scale + 6:.1f}" y="{y + BAR - 3}">{median_:.2f} ms</text>'
            )
            y += BAR + 3
        y += GAP
    style = "text{font:12px system-ui,sans-serif;fill:#222}.head{font-weight:bold}.span{stroke:#222;stroke-width:1.5}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">'
        f"<title>CPU of the service per request</title><style>{style}</style>"
        f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>' + "".join(rows) + "</svg>\n"
    )
