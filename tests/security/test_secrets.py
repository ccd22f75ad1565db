"""The log contains no secret and nothing from refused requests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest

from tests.conftest import SECRET
from tests.security import test_bodies, test_framing, test_headers, test_paths, test_tokens
from tests.security.attacker import Attack, System, request, secrets_in, send_and_receive
from tests.security.conftest import serving

TABLES: dict[str, Mapping[str, Attack]] = {
    "tokens": test_tokens.ATTACKS,
    "headers": test_headers.ATTACKS,
    "paths": test_paths.ATTACKS,
    "bodies": test_bodies.ATTACKS,
    "framing": {
        name: attack for name, attack in test_framing.ATTACKS.items() if name not in test_framing.TOKENS_IN_WRONG_PLACES
    },
}


def log_of(system: System, sent: list[bytes]) -> tuple[str, set[str]]:
    """Send requests; return what the service logged meanwhile, and the secrets in the requests."""
    before = len(system.log.read_bytes())
    secrets = {secret.decode() for request in sent for secret in secrets_in(request)}
    for each in sent:
        send_and_receive(system.port, each)
    return system.log.read_bytes()[before:].decode(errors="replace"), secrets


def assert_no_secret(written: str, secrets: set[str]) -> None:
    """Assert that a log contains no secret, token or traceback."""
    assert [secret for secret in secrets if secret in written] == []
    assert SECRET not in written
    assert "Bearer" not in written
    assert not re.search(r"eyJ[A-Za-z0-9_-]{16}", written)
    assert "Traceback" not in written


@pytest.mark.parametrize("table", TABLES)
def test_no_attack_writes_a_secret_to_the_log(system: System, table: str) -> None:
    sent = [attack.make(system) for attack in TABLES[table].values()]
    written, secret = log_of(system, sent)
    assert_no_secret(written, secret)
    assert len(secret) > (len(sent) if table == "tokens" else 1)
    # The requests were logged: there are lines for many of them.
    assert len(re.findall(r'^127\.0\.0\.1 "[A-Z]+ ', written, re.MULTILINE)) > len(sent) / 4
    assert not re.search(r'" 5\d\d ', written.replace('" 501 ', ""))


@pytest.mark.parametrize("name", test_framing.TOKENS_IN_WRONG_PLACES)
def test_a_token_in_a_refused_line_is_not_written_to_the_log(system: System, name: str) -> None:
    written, secret = log_of(system, [test_framing.ATTACKS[name].make(system)])
    assert_no_secret(written, secret)


def test_valid_requests_write_no_secret_to_the_log(system: System) -> None:
    token = system.token("trudy")
    headers = [("Cookie", f"better-auth.session_token={token}"), ("Idempotency-Key", "c4n4ry")]
    sent = [
        request("/api/trudy/tasks", method="POST", bearer=token, headers=headers, body=b'{"title":"c4n4ry"}'),
        request("/api/trudy/tasks?q=c4n4ry", bearer=token, headers=headers),
        request("/api/trudy/tasks?limit=1&include=total", bearer=token, headers=headers),
        request("/api/trudy/export", bearer=token, headers=headers),
        request("/api/trudy", method="DELETE", bearer=token),
    ]
    written, secret = log_of(system, sent)
    assert_no_secret(written, secret)
    assert re.findall(r'"(\w+ \S+)" (\d+) ', written) == [
        ("POST /api/trudy/tasks", "201"),
        ("GET /api/trudy/tasks", "200"),
        ("GET /api/trudy/tasks", "200"),
        ("GET /api/trudy/export", "200"),
        ("DELETE /api/trudy", "204"),
    ]


@pytest.fixture(scope="module")
def debug_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A service with `LOG_LEVEL=DEBUG`."""
    with serving(tmp_path_factory.mktemp("debug_system"), LOG_LEVEL="DEBUG") as system:
        yield system


def test_the_debug_log_contains_no_secret(debug_system: System) -> None:
    """The whole log is checked, including settings and keys at the start."""
    attacks = [attack for table in TABLES.values() for attack in table.values()]
    sent = [attack.make(debug_system) for attack in attacks[::8]]
    _, secret = log_of(debug_system, sent)
    written = debug_system.log.read_text()
    assert "[DEBUG]" in written
    assert_no_secret(written, secret)


@pytest.mark.parametrize("missing", [2, 4, 40], ids=lambda missing: f"{missing} bytes")
def test_an_incomplete_request_is_not_written_to_the_debug_log(debug_system: System, missing: int) -> None:
    whole = request("/api/alice/tasks?q=c4n4ry", bearer=debug_system.token("alice"))
    written, secret = log_of(debug_system, [whole[:-missing]])
    assert_no_secret(written, secret)
