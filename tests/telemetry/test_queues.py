"""Waits for a slot and for a database connection are counted; what need not wait is not."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import gevent
from sqlalchemy import create_engine

from taskapi.database.pool import Pool
from taskapi.server.measured_worker import MeasuredSlots
from tests.telemetry.conftest import Scrape
from tests.waiting import until


def test_a_request_that_waits_for_a_slot_is_counted_with_its_time(scrape: Scrape) -> None:
    slots = MeasuredSlots(1)
    slots.acquire()
    assert scrape.value("taskapi_slot_waits_total") == 0

    waiting = gevent.spawn(slots.acquire)
    gevent.sleep(0)
    assert slots.waiting == 1
    slots.release()
    waiting.join()

    assert slots.waiting == 0
    assert scrape.value("taskapi_slot_waits_total") == 1
    assert scrape.value("taskapi_slot_wait_seconds_total") > 0


def test_a_request_that_waits_for_a_connection_is_counted_with_its_time(scrape: Scrape, tmp_path: Path) -> None:
    options: dict[str, Any] = {"poolclass": Pool, "pool_size": 1, "max_overflow": 0, "pool_reset_on_return": None}
    engine = create_engine(
        f"sqlite:///{tmp_path}/x.db", connect_args={"check_same_thread": False}, pool_timeout=60, **options
    )
    pool: Any = engine.pool
    first = engine.raw_connection()
    first.close()
    first = engine.raw_connection()
    assert scrape.value("taskapi_pool_waits_total") == 0, "a new or a free connection is no wait"

    waiting = threading.Thread(target=lambda: engine.raw_connection().close())
    waiting.start()
    until(lambda: pool.waiting == 1)
    first.close()
    waiting.join()

    assert pool.waiting == 0
    assert scrape.value("taskapi_pool_waits_total") == 1
    assert scrape.value("taskapi_pool_wait_seconds_total") > 0
    engine.dispose()
