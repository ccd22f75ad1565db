"""A long loop yields to the other requests of its worker."""

from __future__ import annotations

import subprocess
import sys

import pytest

from taskapi.concurrency.cooperative import LET_OTHERS_RUN, yielding, yielding_by_size

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
    assert slept == [LET_OTHERS_RUN] * yields


def test_a_loop_over_items_of_different_sizes_yields_when_their_sum_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    done_at_yields: list[int] = []
    monkeypatch.setattr("taskapi.concurrency.cooperative.time.sleep", lambda _: done_at_yields.append(len(done)))
    assert [*map(done.append, yielding_by_size([1, 1, 3, 9, 1, 4, 4], every=5, size=lambda item: item))]
    assert (done_at_yields, len(done)) == ([3, 4, 6], 7)


def test_two_loops_of_a_gevent_worker_run_in_turns() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["a0", "a1", "b0", "b1", "a2", "a3", "b2", "b3"]


POLLS = """
from gevent import monkey; monkey.patch_all()
import gevent, os, socket
from taskapi.concurrency.cooperative import yielding
order = []
def compute(name):
    for number in yielding(range(10), every=1):
        order.append(name)
def serve():
    for number in range(3):
        inbound.recv(1)
        order.append("served")
inbound, outbound = socket.socketpair()
serving = gevent.spawn(serve)
gevent.sleep(0)  # it waits for its socket
computing = [gevent.spawn(compute, name) for name in "abcd"]
gevent.sleep(0)  # each has computed its first slice
order.clear()
for _ in range(3):
    os.write(outbound.fileno(), b"x")  # without a switch, as another process does
    seen = order.count("served")
    while order.count("served") == seen:
        gevent.sleep(1e-9)
gevent.joinall([serving, *computing], raise_error=True)
print(*order)
"""


def test_a_small_request_waits_for_one_slice_however_many_computations_are_in_progress() -> None:
    done = subprocess.run([sys.executable, "-c", POLLS], capture_output=True, text=True, check=True)
    slices = [len(part.split()) for part in done.stdout.split("served")[:3]]
    assert max(slices) <= 2, done.stdout


def test_nothing_is_held_between_two_turns() -> None:
    first, second = yielding(range(3), every=1), yielding(range(3), every=1)
    assert [next(first), next(second), next(second), next(first), next(second)] == [0, 0, 1, 1, 2]
