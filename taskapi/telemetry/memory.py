"""The numbers of the metrics: a list in each process, or memory that the workers of a gunicorn master share.

A number is a double at the same index in every process. A worker has a slot of the shared memory for itself, so it
counts without a lock, and any worker can add up the slots of all. The memory is anonymous (no file, no directory) and
belongs to the master: it outlives a worker that is killed, and a reload. A slot is not reset when another worker gets
it, so the sum of all slots never falls and nothing is lost with a worker. A master that executes itself again
(server/reexec.py) maps the same memory again, by its descriptor.
"""

from __future__ import annotations

import os
from mmap import mmap
from typing import Any, TypeAlias

DOUBLE = 8
"""Bytes of a number. An aligned double is stored by one instruction, so no reader sees half of it."""

Cells: TypeAlias = "memoryview[float]"
"""The numbers of one process in a slot of shared memory."""


class _Process:
    """The numbers of this process; `cells` is the list of `allocate`, or a slot of a `SharedMemory`."""

    def __init__(self) -> None:
        self.cells: Any = []


process = _Process()


def allocate(size: int) -> int:
    """Return the index of the first of `size` new numbers of a metric; call it while modules are imported only."""
    local: list[float] = process.cells
    local += [0.0] * size
    return len(local) - size


class SharedMemory:
    """Memory with a slot for each worker, and one, `common`, for numbers that one worker computes for all.

    It is created by the master before it forks, and as large as the numbers that are allocated then. A page of the
    memory is used when a number in it is written for the first time.
    """

    def __init__(self, slots: int, descriptor: int | None = None) -> None:
        """Map the memory of a descriptor if it has the size for this number of slots; otherwise new memory of zeros."""
        size = len(process.cells)
        length = (slots + 1) * size * DOUBLE
        self.is_inherited = descriptor is not None and os.fstat(descriptor).st_size == length
        self.descriptor = descriptor if descriptor is not None and self.is_inherited else _new_memory(length)
        """Descriptor of the memory; -1 where the kernel has no such files, so that it cannot be inherited."""
        numbers = memoryview(mmap(self.descriptor, length)).cast("d")
        self.common, *self.slots = (numbers[start : start + size] for start in range(0, len(numbers), size))

    def attach(self, slot: int) -> None:
        """Let this process count in a slot from now on."""
        process.cells = self.slots[slot]


def _new_memory(length: int) -> int:
    """Return the descriptor of a file of zeros in memory; -1 elsewhere, which `mmap` takes for anonymous memory."""
    if not hasattr(os, "memfd_create"):
        return -1
    descriptor = os.memfd_create("taskapi-metrics")
    os.ftruncate(descriptor, length)
    return descriptor
