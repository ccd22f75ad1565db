"""Nothing that is secret, and nothing that was in a refused request, comes to a log: whatever is sent, however refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest

from tests.conftest import SECRET
from tests.security import test_bodies, test_framing, test_headers, test_paths, test_tokens
from tests.security.attacker import Attack, System, exchange, request, secrets_in
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


def written_during(system: System, sent: list[bytes]) -> tuple[str, set[str]]:
    """What the service writes while it is sent all this, and what of that it must not write."""
    before = len(system.log.read_bytes())
    secret = {found.decode() for one in sent for found in secrets_in(one)}
    for one in sent:
        exchange(system.port, one)
    return system.log.read_bytes()[before:].decode(errors="replace"), secret


def assert_keeps_secrets(written: str, secret: set[str]) -> None:
    assert [found for found in secret if found in written] == []
    assert SECRET not in written
    assert "Bearer" not in written
    assert not re.search(r"eyJ[A-Za-z0-9_-]{16}", written)
    assert "Traceback" not in written


@pytest.mark.parametrize("table", TABLES)
def test_no_attack_leaves_a_secret_in_the_log(system: System, table: str) -> None:
    sent = [attack.make(system) for attack in TABLES[table].values()]
    written, secret = written_during(system, sent)
    assert_keeps_secrets(written, secret)
    assert len(secret) > (len(sent) if table == "tokens" else 1)
    # It is a log, and of this: there are lines for what was refused.
    assert len(re.findall(r'^127\.0\.0\.1 "[A-Z]+ ', written, re.MULTILINE)) > len(sent) / 4
    assert not re.search(r'" 5\d\d ', written.replace('" 501 ', ""))


@pytest.mark.parametrize("name", test_framing.TOKENS_IN_WRONG_PLACES)
def test_a_token_in_a_line_that_is_refused_is_not_written_into_the_log(system: System, name: str) -> None:
    written, secret = written_during(system, [test_framing.ATTACKS[name].make(system)])
    assert_keeps_secrets(written, secret)


def test_good_requests_leave_no_secret_in_the_log_either(system: System) -> None:
    token = system.token("trudy")
    headers = [("Cookie", f"better-auth.session_token={token}"), ("Idempotency-Key", "c4n4ry")]
    sent = [
        request("/api/trudy/tasks", method="POST", bearer=token, headers=headers, body=b'{"title":"c4n4ry"}'),
        request("/api/trudy/tasks?q=c4n4ry", bearer=token, headers=headers),
        request("/api/trudy/tasks?limit=1&include=total", bearer=token, headers=headers),
        request("/api/trudy/export", bearer=token, headers=headers),
        request("/api/trudy", method="DELETE", bearer=token),
    ]
    written, secret = written_during(system, sent)
    assert_keeps_secrets(written, secret)
    assert re.findall(r'"(\w+ \S+)" (\d+) ', written) == [
        ("POST /api/trudy/tasks", "201"),
        ("GET /api/trudy/tasks", "200"),
        ("GET /api/trudy/tasks", "200"),
        ("GET /api/trudy/export", "200"),
        ("DELETE /api/trudy", "204"),
    ]


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A service with `LOG_LEVEL=DEBUG`."""
    with serving(tmp_path_factory.mktemp("talkative"), LOG_LEVEL="DEBUG") as system:
        yield system


def test_a_log_of_everything_keeps_secrets_too(talkative: System) -> None:
    """From the first line on: settings, keys and requests."""
    attacks = [attack for table in TABLES.values() for attack in table.values()]
    sent = [attack.make(talkative) for attack in attacks[::8]]
    _, secret = written_during(talkative, sent)
    written = talkative.log.read_text()
    assert "[DEBUG]" in written
    assert_keeps_secrets(written, secret)


@pytest.mark.parametrize("missing", [2, 4, 40], ids=lambda missing: f"{missing} bytes")
def test_a_request_that_was_cut_off_is_not_written_into_a_log_of_everything(talkative: System, missing: int) -> None:
    whole = request("/api/alice/tasks?q=c4n4ry", bearer=talkative.token("alice"))
    written, secret = written_during(talkative, [whole[:-missing]])
    assert_keeps_secrets(written, secret)
