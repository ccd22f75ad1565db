"""A JWKS endpoint that hangs delays no client whose key is cached or whose token needs no JWKS."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.hanging_issuer import send_unknown_key_ids
from tests.chaos.other_clients import assert_other_clients_served


def test_tokens_with_unknown_key_ids_and_a_hanging_jwks_endpoint_delay_no_other_client(
    sqlite_url: str, figures: Callable[..., None]
):
    measured = send_unknown_key_ids(sqlite_url, seconds=4, quiet=0.5)
    figures(**measured)
    assert_other_clients_served(measured)
    assert set(measured["known_key"]["outcomes"]) == {"200"}, measured
    # If a request that waits for the JWKS kept its slot, each probe would take as long as the fetch: 2 s.
    for probed in (measured, measured["known_key"]):
        assert probed["list_response_p50_ms"] < 1500, measured
