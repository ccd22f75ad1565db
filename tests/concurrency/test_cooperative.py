"""A long loop yields to the other requests of its worker."""

from __future__ import annotations

import subprocess
import sys

import pytest

from taskapi.concurrency.cooperative import yielding

SCRIPT = """
from gevent import monkey; monkey.patch_all()
import gevent
from taskapi.concurrency.cooperative import yielding
order = []
def count(name):
    for number in yielding(range(4), every=2):
        order.append(f"{name}{number}")
gevent.joinall([gevent.spawn(count, "a"), gevent.spawn(count, "b")], raise_error=True)
print(*order)
"""


@pytest.mark.parametrize(("number", "every", "yields"), [(0, 1, 0), (1, 2, 0), (2, 2, 1), (7, 2, 3), (3, 1, 3)])
def test_a_loop_yields_after_each_so_many_items(
    monkeypatch: pytest.MonkeyPatch, number: int, every: int, yields: int
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("taskapi.concurrency.cooperative.time.sleep", slept.append)
    assert [*yielding(range(number), every=every)] == [*range(number)]
    assert slept == [0] * yields


def test_two_loops_of_a_gevent_worker_run_in_turns() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["a0", "a1", "b0", "b1", "a2", "a3", "b2", "b3"]
