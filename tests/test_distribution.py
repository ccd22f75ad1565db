"""Distribution of the tests over the processes of pytest-xdist (conftest.py)."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.conftest import distribution_group


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/e2e/test_tasks.py::test_a[x]", "e2e"),
        ("tests/e2e/test_pages.py::test_b", "e2e"),
        ("tests/tasks/sync/test_sync.py::TestFeed::test_c", "tests/tasks/sync/test_sync.py"),
        ("tests/test_schemathesis.py::test_d[sqlite]", "test_d[sqlite]"),
    ],
)
def test_the_tests_of_a_file_or_of_a_shared_server_are_one_group(nodeid: str, group: str):
    assert distribution_group(nodeid) == group


def test_pytest_xdist_asks_for_the_group_of_a_test():
    """Another name in pytest-xdist would distribute the tests of a shared server over all processes, silently."""
    assert "_split_scope" in vars(LoadScopeScheduling)
