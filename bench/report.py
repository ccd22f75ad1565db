"""The figures as ratios to the floor, and whether each target is met."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from .contestants import EVERYONE
from .measure import Measured, Series, Slice
from .workloads import WORKLOADS

TITLES = {contestant.name: contestant.title for contestant in EVERYONE}


_NAMES = {workload.name: workload.title for workload in WORKLOADS}


@dataclass(frozen=True)
class Ratio:
    """Of paired slices, or of the seconds of several starts: least, median and most."""

    low: float
    middle: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.2f}–**{self.middle:.2f}**–{self.high:.2f}"


@dataclass
class Report:
    """One run."""

    machine: Sequence[str]
    measured: Measured
    memory: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Of a worker: megabytes of its own and its share (PSS), and all that it maps (RSS)."""
    start: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Seconds from each start to the first answer."""
    polls: Measured = field(default_factory=dict)
    """By poll: it, and the list that it spares."""
    scaling: Measured = field(default_factory=dict)
    """With one worker and with two."""
    size: Measured = field(default_factory=dict)
    """By workload: `small` and `large`."""


def _service(taken: Slice) -> float:
    return taken.service


def _database(taken: Slice) -> float:
    return taken.database


def spread(values: Sequence[float]) -> Ratio:
    """How far they lie apart."""
    return Ratio(min(values), statistics.median(values), max(values))


def ratio(over: Series, under: Series, of: Callable[[Slice], float] = _service) -> Ratio:
    """Slices of the same round, one by the other."""
    return spread([of(a) / of(b) for a, b in zip(over.slices, under.slices, strict=True) if of(b)])


def median(series: Series, of: Callable[[Slice], float]) -> float:
    """The middle of the slices."""
    return statistics.median(map(of, series.slices))


@dataclass(frozen=True)
class Verdict:
    """A target and what became of it."""

    target: str
    goal: str
    found: str
    met: bool


RATIOS = (
    # Workload, who, at most so many times, whom.
    ("list20", "taskapi", 1.7, "floor"),
    ("list1000", "taskapi", 1.5, "floor"),
    ("get", "taskapi", 2, "floor"),
    ("toggle", "taskapi", 2, "floor"),
    ("create", "taskapi", 2, "floor"),
    # Workload, who, at least so many times, whom.
    ("list20", "fastapi", 2.5, "taskapi"),
    ("list20", "express", 1, "taskapi"),
    ("get", "fastapi", 2, "taskapi"),
    ("toggle", "fastapi", 2, "taskapi"),
    ("create", "fastapi", 2, "taskapi"),
)


def _of_workloads(measured: Measured) -> Iterator[Verdict]:
    for name, who, limit, whom in RATIOS:
        by_name = measured.get(name, {})
        if who in by_name and whom in by_name:
            found = ratio(by_name[who], by_name[whom])
            goal = f"≤ {limit} × {TITLES[whom]}" if whom == "floor" else f"≥ {limit} × better than {TITLES[who]}"
            met = found.middle <= limit if whom == "floor" else found.middle >= limit
            yield Verdict(_NAMES[name], goal, str(found), met)


def verdicts(report: Report) -> Iterator[Verdict]:
    """Every target, in the order of the page."""
    yield from _of_workloads(report.measured)
    for name, by_name in report.polls.items():
        poll, listed = by_name.values()
        found = ratio(poll, listed)
        yield Verdict(_NAMES[name], "≤ 0.6 × the list", str(found), found.middle <= 0.6)
    for name, by_size in report.size.items():
        found = ratio(by_size["large"], by_size["small"])
        yield Verdict(f"depth and size, {name}", "≤ 1.2 ×", str(found), found.middle <= 1.2)
    for name, by_count in report.scaling.items():
        found = ratio(by_count["taskapi"], by_count["alone"])
        yield Verdict(f"scaling, {name}: two workers to one", "≤ 1.1 ×", str(found), found.middle <= 1.1)
    if "taskapi" in report.memory:
        pss, rss = report.memory["taskapi"]
        yield Verdict("memory of a worker", "≤ 90 MB", f"**{pss:.0f}** MB PSS, {rss:.0f} MB RSS", pss <= 90)
    if "taskapi" in report.start:
        seconds = spread(report.start["taskapi"])
        yield Verdict("first answer after exec", "≤ 1.5 s", f"{seconds} s", seconds.middle <= 1.5)


def markdown(report: Report) -> str:
    """The run as a part of a page."""
    lines = ["### Machine", "", *(f"- {line}" for line in report.machine), ""]
    lines += ["### Targets", "", "Ratios of CPU, least–**median**–most of the paired slices.", ""]
    lines += ["| Target | Goal | Found | Met |", "| --- | --- | --- | --- |"]
    for verdict in verdicts(report):
        met = "yes" if verdict.met else "**no**"
        lines.append(f"| {verdict.target} | {verdict.goal} | {verdict.found} | {met} |")
    for workload in WORKLOADS:
        if workload.name in report.measured:
            lines += ["", f"### {workload.title[0].upper()}{workload.title[1:]}", ""]
            lines += list(_table(report.measured[workload.name]))
    if report.size:
        lines += ["", "### Depth and size", "", "Large to small.", ""]
        lines += ["| | CPU of the service | CPU of PostgreSQL |", "| --- | --- | --- |"]
    for name, by_size in report.size.items():
        service, database = (ratio(by_size["large"], by_size["small"], of) for of in (_service, _database))
        lines.append(f"| {name} | {service} | {database} |")
    lines += ["", "### Memory and start", "", "| | PSS of a worker | RSS of a worker | first answer |"]
    lines.append("| --- | --: | --: | --: |")
    for name, (pss, rss) in report.memory.items():
        lines.append(f"| {TITLES[name]} | {pss:.0f} MB | {rss:.0f} MB | {spread(report.start[name])} s |")
    return "\n".join(lines) + "\n"


def _table(by_name: Mapping[str, Series]) -> Iterator[str]:
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
            f"{median(series, lambda taken: taken.requests / taken.seconds):,.0f}",
            f"{median(series, lambda taken: taken.p50):.1f}",
            f"{median(series, lambda taken: taken.p99):.1f}",
            "" if name == "sqlite" else f"{series.statements:.3g}",
            "" if name == "sqlite" else f"{series.round_trips:.3g}",
            f"{median(series, lambda taken: taken.bytes):,.0f}",
        ]
        yield "| " + " | ".join(cells) + " |"


WIDTH, BAR, GAP, LEFT = 860, 15, 26, 250
COLOURS = {"floor": "#8a8a8a", "taskapi": "#0b6e4f", "sqlite": "#5aa786"}


def plot(report: Report) -> str:
    """An SVG: CPU of the service per request, a bar for each contestant, with its least and most slice."""
    rows: list[str] = []
    y = 30
    for workload in WORKLOADS:
        by_name = report.measured.get(workload.name)
        if not by_name:
            continue
        spans = {
            name: (min(values), statistics.median(values), max(values))
            for name, series in by_name.items()
            if (values := [taken.service / 1000 for taken in series.slices])
        }
        scale = (WIDTH - LEFT - 110) / max(high for _, _, high in spans.values())
        rows.append(f'<text x="10" y="{y}" class="head">{escape(workload.title)}</text>')
        y += 10
        for name, (low, middle, high) in spans.items():
            colour, centre = COLOURS.get(name, "#b9770e"), y + BAR / 2
            rows.append(f'<text x="{LEFT - 8}" y="{y + BAR - 3}" text-anchor="end">{escape(TITLES[name])}</text>')
            rows.append(f'<rect x="{LEFT}" y="{y}" width="{middle * scale:.1f}" height="{BAR}" fill="{colour}"/>')
            rows.append(
                f'<path d="M{LEFT + low * scale:.1f} {centre}H{LEFT + high * scale:.1f}" class="span"/>'
                f'<text x="{LEFT + high * scale + 6:.1f}" y="{y + BAR - 3}">{middle:.2f} ms</text>'
            )
            y += BAR + 3
        y += GAP
    style = "text{font:12px system-ui,sans-serif;fill:#222}.head{font-weight:bold}.span{stroke:#222;stroke-width:1.5}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">'
        f"<title>CPU of the service per request</title><style>{style}</style>"
        f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>' + "".join(rows) + "</svg>\n"
    )
