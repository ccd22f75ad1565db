"""The output of a scrape: its format, its size and its work between two yields to other requests."""

from __future__ import annotations

import time

from prometheus_client.parser import text_string_to_metric_families

from taskapi.config.settings import VERSION
from taskapi.http.errors import CATALOGUE
from taskapi.telemetry import metrics
from taskapi.telemetry.families import MAX_ROUTES, METHODS, STATUSES
from taskapi.telemetry.memory import SharedMemory
from tests.conftest import build
from tests.telemetry.conftest import Scrape

MAX_OUTPUT = 512 * 1024
"""Bytes; with every status of every route and method."""


def test_a_scrape_before_the_first_worker_counts_is_valid_and_has_no_request() -> None:
    scrape = Scrape(SharedMemory(1))
    assert scrape.samples("taskapi_requests_total") == {}
    assert scrape.value("taskapi_idempotent_replays_total") == 0
    assert scrape.samples("taskapi_info") == {(VERSION,): 1}


def test_every_metric_is_in_the_output_with_its_type_and_help(scrape: Scrape) -> None:
    for gauge in metrics.GAUGES:
        (scrape.memory.common if gauge.common else scrape.memory.slots[0])[gauge.first] = time.time()
    found = {family.name: family for family in text_string_to_metric_families(scrape.text())}
    for about in (metrics.REQUESTS.count, metrics.REQUESTS.durations, *(m.description for m in metrics.ALL)):
        family = found[about.name.removesuffix("_total") if about.kind == "counter" else about.name]
        assert (family.type, family.documentation) == (about.kind, about.text)


def test_every_problem_type_has_a_value_of_the_label_code() -> None:
    assert {*metrics.PROBLEMS.values} == {*CATALOGUE, "other"}


def test_all_routes_of_the_service_have_numbers_of_their_own() -> None:
    rules = build("postgresql://nobody@127.0.0.1:1/nothing").url_map.iter_rules()
    pairs = {(rule.endpoint, method) for rule in rules for method in rule.methods or ()}
    assert len(pairs) + len(METHODS) < MAX_ROUTES


def test_the_output_is_bounded_and_a_scrape_yields_to_other_requests_between_its_parts(scrape: Scrape) -> None:
    metrics.REQUESTS.set_routes((f"a.typical.endpoint{number:03}", "GET") for number in range(100))
    pauses: list[None] = []
    try:
        for route, method in metrics.REQUESTS.pairs:
            for status in STATUSES:
                metrics.REQUESTS.add(route, method, status, 0.01)
        output = Scrape(scrape.memory, lambda: pauses.append(None)).text()
    finally:
        metrics.REQUESTS.set_routes(())
    assert len(output) < MAX_OUTPUT
    assert len(pauses) >= 7
