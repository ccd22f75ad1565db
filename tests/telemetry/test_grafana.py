"""Dashboard, alert rules and documentation: every query parses, and everything that it names exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from taskapi.telemetry import metrics
from taskapi.telemetry.families import METHODS, OTHER, STATUSES, UNMATCHED
from tests.conftest import build
from tests.test_pages import anchors, section

ROOT = Path(__file__).resolve().parents[2]
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/grafana/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
DESCRIPTIONS = [metrics.REQUESTS.count, metrics.REQUESTS.durations, *(metric.description for metric in metrics.ALL)]

INFORMATIONAL, SCRAPE = {"taskapi_info": {"version"}}, {"up": {"job"}}
"""Labels of the metrics that have no numbers of ours: of the collector, and of Prometheus itself."""

TARGET = {"instance", "job"}
"""Labels that Prometheus adds to every metric."""


def labels() -> dict[str, set[str]]:
    """Return the labels of each time series that a query can name."""
    names = {about.name: set(about.labels) for about in DESCRIPTIONS if about.kind != "histogram"}
    for about in DESCRIPTIONS:
        if about.kind == "histogram":
            names[f"{about.name}_bucket"] = {*about.labels, "le"}
            names[f"{about.name}_count"] = names[f"{about.name}_sum"] = set(about.labels)
    return {**names, **INFORMATIONAL, **SCRAPE}


def values(label: str) -> set[str]:
    """Return the values that a label of a metric can have."""
    if label == "route":
        rules = build("postgresql://nobody@127.0.0.1:1/nothing").url_map.iter_rules()
        return {UNMATCHED, *(rule.endpoint for rule in rules)}
    declared = {"method": {*METHODS}, "status": {*map(str, STATUSES), OTHER}, "job": {"taskapi"}}
    of_counters = {
        value for counter in metrics.COUNTERS if label in counter.description.labels for value in counter.values
    }
    return declared.get(label, of_counters)


def queries() -> Iterator[tuple[str, str]]:
    """Yield the name and the query of each alert, and of each graph of the dashboard without Grafana's variables."""
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")


def selectors(expression: Any) -> Iterator[Any]:
    """Yield all vector selectors of a parsed query."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    for name in ("expr", "lhs", "rhs", "args", "vector_selector"):
        child = getattr(expression, name, None)
        for each in child if isinstance(child, list) else [child]:
            if each is not None:
                yield from selectors(each)


@pytest.mark.parametrize(("name", "query"), [*queries()])
def test_every_query_parses_and_names_metrics_labels_and_values_that_exist(name: str, query: str) -> None:
    found = [*selectors(promql_parser.parse(query))]
    assert found
    for selector in found:
        known = labels()[selector.name]
        for matcher in selector.matchers.matchers:
            assert matcher.name in known | TARGET, query
            if matcher.name in known and matcher.name != "le":
                assert any(re.fullmatch(matcher.value, value) for value in values(matcher.name)), query
    for grouped in re.findall(r"by \(([^)]*)\)", query):
        assert {*grouped.split(", ")} <= {label for selector in found for label in labels()[selector.name]}, query


def test_a_query_with_an_unknown_metric_or_label_would_be_noticed() -> None:
    check = test_every_query_parses_and_names_metrics_labels_and_values_that_exist
    for query in ("taskapi_unknown", 'taskapi_workers{code="x"}', 'taskapi_problems_total{code="nope"}', "sum("):
        with pytest.raises((AssertionError, KeyError, ValueError)):
            check("", query)


def test_every_metric_is_in_the_dashboard() -> None:
    shown = {selector.name for _, query in queries() for selector in selectors(promql_parser.parse(query))}
    assert {about.name for about in DESCRIPTIONS if about.kind != "histogram"} <= shown


def test_every_alert_says_how_urgent_it_is_and_has_a_section_with_steps_in_the_runbook() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert len(names) == len({*names}) >= 10
    runbook = (ROOT / "docs/operations.md").read_text()
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        file, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert anchor == alert["alert"].lower()
        assert anchor in anchors(ROOT / file)
        text = runbook.partition(f"\n### {alert['alert']}\n")[2].partition("\n#")[0]
        assert re.search(r"^1\. ", text, re.MULTILINE), alert["alert"]
    sections = re.findall(r"^### (Taskapi\w+)$", runbook, re.MULTILINE)
    assert sections == names


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    def row(name: str, kind: str, labels: tuple[str, ...], text: str) -> str:
        names = ", ".join(f"`{label}`" for label in labels)
        return f"| `{name}` | {kind} | {names} | {text} |".replace("|  |", "| |")

    documented = [line for line in section("docs/operations.md", "Metrics").splitlines() if line.startswith("| `")]
    assert documented == [row(about.name, about.kind, about.labels, about.text) for about in DESCRIPTIONS]
