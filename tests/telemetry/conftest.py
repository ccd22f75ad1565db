"""Fixtures: a clock, and what a scraper reads in the process of the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from taskapi.telemetry import metrics
from taskapi.telemetry.collector import registry
from taskapi.telemetry.memory import SharedMemory, process
from taskapi.telemetry.request_record import current_record
from tests.auth.conftest import Clock


@pytest.fixture(autouse=True)
def outside_of_requests() -> None:
    """No record of a request whose response another test has not closed."""
    current_record.set(None)


@dataclass(frozen=True)
class Scrape:
    """Reads the metrics of a shared memory."""

    memory: SharedMemory
    pause: Callable[[], object] = lambda: None

    def text(self) -> str:
        """Return the response to a scraper."""
        return generate_latest(registry(self.memory, self.pause)).decode()

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the values of the samples with a name, by the values of their labels in alphabetical order of the labels."""
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
            if sample.name == name
        }

    def value(self, name: str, *labels: str) -> float:
        """Return the value of a sample; 0 if there is none."""
        return self.samples(name).get(labels, 0)


@pytest.fixture
def scrape(monkeypatch: pytest.MonkeyPatch) -> Scrape:
    """The metrics of this process, as if it were a worker that has just started."""
    memory = SharedMemory(3)
    monkeypatch.setattr(process, "cells", process.cells)  # the list again, after the test
    metrics.attach(memory, 0)
    return Scrape(memory)


@pytest.fixture
def clock() -> Clock:
    return Clock()
