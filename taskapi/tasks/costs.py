"""What a request costs in the rate limit beyond the unit that every request costs: it grows with the work it causes.

docs/api.md has the table. 600 units a minute, the default, are for example 54 lists of 1,000 tasks.
"""

from __future__ import annotations

TASKS_PER_UNIT = 100
"""Tasks that are read, imported, exported or erased for one unit more."""

WRITTEN_PER_UNIT = 50
"""Tasks that an import creates or changes for one unit more, besides those of `TASKS_PER_UNIT`: a write of a task takes
five times the processor time of reading one."""

COUNTED_PER_UNIT = 1000
"""Tasks that the statistics count for one unit more."""

OPERATIONS_PER_UNIT = 10
"""Operations of a batch for one unit more."""

SEARCH = MOVE = 4
"""Units more for a search, which compares the texts of all tasks, and for a move, which looks for the next position."""
