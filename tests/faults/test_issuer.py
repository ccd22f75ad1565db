"""A key server that hangs delays no client whose key is known, or who needs none."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.issuer import invent_key_ids
from tests.chaos.neighbours import assert_neighbours_answered


def test_invented_key_ids_and_a_key_server_that_hangs_delay_no_other_client(
    sqlite_url: str, figures: Callable[..., None]
):
    found = invent_key_ids(sqlite_url, seconds=4)
    figures(**found)
    assert_neighbours_answered(found)
    assert set(found["known_key"]["outcomes"]) == {"200"}, found
    # Without a released slot, each request waits as long as the fetch: 2 s.
    for probed in (found, found["known_key"]):
        assert probed["list_p99_ms"] < 1500, found
