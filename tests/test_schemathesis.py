"""Schemathesis against the service as production runs it: whatever OpenAPI allows or forbids is tried."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from tests.conftest import SECRET, token
from tests.gunicorn_server import serve

SECONDS = 400
PHASES = {"sqlite": "examples,coverage,fuzzing,stateful", "postgresql": "examples,fuzzing,stateful"}
"""The systematic phase is the slowest, and the same cases again: once is enough."""
EXAMPLES = {"sqlite": 5, "postgresql": 3}
"""Random cases for each operation and phase; the systematic ones come on top, several hundred of them."""
CASES = {"sqlite": 400, "postgresql": 30}
"""At least as many must have been sent: a run that tries nothing proves nothing."""

SETTINGS = """
continue-on-failure = true
# Nothing about the service itself depends on these; a warning here is a hint about coverage, not a failure.
warnings = false

[generation]
deterministic = true
database = "none"
max-examples = {examples}
# All checks run. What the two about data expect by default is widened by one status, for a reason each.
[checks.positive_data_acceptance]
# 412: `If-Match: "x"` is a well-formed condition that is not met. No schema can say which version is current.
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 412, 429]
[checks.negative_data_rejection]
# 412: a stale condition is told before the body's faults (CONDITION first; see docs/api.md), so bad data that comes
# with one is refused as stale.
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 415, 422, 428, 429]

[auth.openapi]
bearer = {{ bearer = "{token}" }}
"""

HOOKS = '''
import itertools
import time
from zoneinfo import available_timezones

import jwt
import schemathesis

KEYS = itertools.count()
EVENT = "http://schemas.openid.net/event/backchannel-logout"

@schemathesis.hook
def before_call(context, case, kwargs):
    """JSON Schema has no words for some rules. What breaks these alone is no "valid" request, so it is mended.

    That each of them is held, with 400 or 422, stands in tests/tasks.
    """
    if not (case.meta and case.meta.generation.mode.is_positive):
        return
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"key-{next(KEYS)}"  # the same for another request is refused
    if case.path == "/backchannel-logout":
        case.body = {"logout_token": notice()}
        return
    mend_query(case.query or {}, listing=case.path.endswith("/tasks"))
    if isinstance(case.body, dict):
        case.body = mend(case.body)

def notice():
    """Nobody but the issuer can make one."""
    now = int(time.time())
    claims = {"sub": "alice", "sid": "s", "iat": now, "exp": now + 60, "jti": f"notice-{next(KEYS)}", "events": {EVENT: {}}}
    return jwt.encode(claims, "SECRET", "HS256", {"typ": "logout+jwt"})

def mend_query(query, *, listing):
    query.pop("cursor", None)  # only the service can make one
    query.pop("since", None)
    if "status" in query:
        query.pop("completed", None)
    if "no_due" in query:
        for name in ("due_from", "due_to", "overdue"):
            query.pop(name, None)
    if "tz" in query:
        query["tz"] = zone(query["tz"])
        if listing and "overdue" not in query:
            query.pop("tz")
    for name in ("due_from", "due_to"):
        if name in query:
            query[name] = day(query[name])

def mend(value):
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 5.0 is an integer to JSON Schema
    if isinstance(value, list):
        return numbered([mend(item) for item in value])
    if isinstance(value, dict):
        return timed({name: mend(item) for name, item in value.items()})
    return value

def numbered(items):
    """Tags differ by more than case, and tasks of an import in their ids and places in a series."""
    seen, kept = set(), []
    for item in items:
        key = item.strip().casefold() if isinstance(item, str) else item.get("id") if isinstance(item, dict) and "op" not in item else None
        if key is None or key not in seen:
            kept.append(item)
        seen.add(key)
    return kept

def timed(members):
    """Dates of a few centuries; a time needs a date, a zone a time, and a rule both."""
    members = {name: instant(value) if name.endswith("_at") else value for name, value in members.items()}
    if "series_id" in members:
        members |= {"series_id": None, "occurrence": None}
    if not members.keys() & {"due_date", "due_time", "time_zone", "recurrence"}:
        return members
    clock, place, rule = (members.get(name) for name in ("due_time", "time_zone", "recurrence"))
    place = place and zone(place)
    if place and not clock:
        clock = "09:30"
    date = members.get("due_date") and day(members["due_date"])
    if (clock or rule is not None) and not date:
        date = "2030-01-31"
    return members | {"due_date": date, "due_time": clock, "time_zone": place, "recurrence": None if rule is None else "FREQ=WEEKLY"}

def zone(name):
    return name if name in available_timezones() - {"localtime", "Factory"} else "Europe/Berlin"

def day(text):
    return text if "1900" <= text[:4] <= "2999" else "2030-01-31"

def instant(text):
    return text if not isinstance(text, str) or "1900" <= text[:4] <= "2999" else "2030-01-31T09:30:00Z"
'''


def describe(address: str) -> dict[str, Any]:
    """The service's own description, with alice for the path's user: cases that break that rule are other users'."""
    with urllib.request.urlopen(f"{address}/openapi.json") as response:
        document: dict[str, Any] = json.load(response)
    # An import of 10,001 tasks takes seconds to make up; tests/tasks/transfer/test_transfer.py sends it.
    del document["components"]["schemas"]["Import"]["properties"]["tasks"]["maxItems"]
    for path in document["paths"].values():
        for parameter in path.get("parameters", []):
            if parameter["name"] == "user_id":
                parameter["schema"] = {"enum": ["alice"]}
    return document


def test_nothing_that_is_sent_makes_the_service_break_its_word(emptied: str, tmp_path: Path):
    dialect = make_url(emptied).get_backend_name()
    (tmp_path / "hooks.py").write_text(HOOKS.replace("SECRET", SECRET))
    settings = SETTINGS.format(examples=EXAMPLES[dialect], token=token("alice"))
    (tmp_path / "schemathesis.toml").write_text(settings)
    with serve(emptied, RATE_LIMIT="off") as server:
        address = f"http://127.0.0.1:{server.port}"
        (tmp_path / "openapi.json").write_text(json.dumps(describe(address)))
        done = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                *("--config-file", "schemathesis.toml", "run", "openapi.json", "--url", address),
                *("--checks", "all", "--phases", PHASES[dialect], "--no-color"),
            ],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert re.search(r"Operations: +18 selected / 18 total", done.stdout), done.stdout
    for phase in PHASES[dialect].split(","):
        assert re.search(rf"✅ +{phase.title()}", done.stdout), done.stdout
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated
    assert int(generated[1]) >= CASES[dialect]
