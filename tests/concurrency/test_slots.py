"""Concurrency slots are taken, released while a request waits, and taken again."""

from __future__ import annotations

from threading import BoundedSemaphore

import pytest

from taskapi.concurrency import slots


def free(semaphore: BoundedSemaphore) -> bool:
    """Return True if a slot is free."""
    if not semaphore.acquire(blocking=False):
        return False
    semaphore.release()
    return True


def test_a_held_slot_is_free_only_while_it_is_released():
    semaphore = BoundedSemaphore(1)
    with slots.held(semaphore):
        assert not free(semaphore)
        with slots.released():
            assert free(semaphore)
            with slots.released():  # releases nothing twice, which BoundedSemaphore would refuse
                assert free(semaphore)
        assert not free(semaphore)
    assert free(semaphore)


def test_an_error_while_the_slot_is_released_leaves_the_slots_as_they_were():
    semaphore = BoundedSemaphore(1)
    with pytest.raises(OSError, match="hung up"), slots.held(semaphore), slots.released():
        raise OSError("hung up")
    assert free(semaphore)


def test_without_slots_released_does_nothing():
    with slots.released():
        pass


def test_work_while_the_response_is_sent_holds_a_slot_again_and_work_before_that_no_second_one():
    semaphore = BoundedSemaphore(1)
    with slots.held(semaphore):
        slot = slots.later()
        with slot():
            assert not free(semaphore)
    assert free(semaphore)
    with slot():
        assert not free(semaphore)
    assert free(semaphore)
    with slots.later()():
        assert free(semaphore)
