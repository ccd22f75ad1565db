"""A PostgreSQL primary ends and a synchronous standby is promoted: no acknowledged write is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.chaos.cluster import Cluster
from tests.chaos.failover import fail_over


def test_after_the_promotion_of_a_standby_writes_succeed_and_no_acknowledged_write_is_lost(
    postgresql_cluster: Cluster, figures: Callable[..., None]
):
    """`make chaos` also stops and freezes the primary, and ends the standbys."""
    figures(**fail_over(postgresql_cluster, signal.SIGKILL, detection=0.2))
