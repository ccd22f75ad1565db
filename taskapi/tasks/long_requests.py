"""Limit long requests: those whose statements read or write all tasks of a user.

With 10,000 tasks, such a statement takes 4 to 210 ms of PostgreSQL's processor time: a sort or a filter 4 to 19 ms, a
search in long texts 210, a move that renumbers all tasks 134, an erasure 42. Those of other requests take up to 1 ms,
except long pages, which hold a permit as large responses. Without a limit, one user with a few connections would take
all concurrency slots of a worker.
"""

from __future__ import annotations

from ..http.permits import Permits

long_reads = Permits("long reads", per_user=2, per_worker=4)
"""Lists that have no index, and the statistics. Half of a worker's slots stay free for other requests."""

long_writes = Permits("long writes", per_user=1, per_worker=2)
"""Moves and erasures. A second one of a user could only wait for the lock of the user's row, with a slot. They are
limited apart from reads, which must not wait while another process holds SQLite's write lock."""
