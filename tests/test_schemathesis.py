"""Schemathesis against the service with production settings: valid and invalid requests from the OpenAPI document."""

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
"""`coverage` is the slowest phase; its cases are the same on each database, so it runs once."""
EXAMPLES = {"sqlite": 5, "postgresql": 3}
"""Random cases for each operation and phase; the phase `coverage` adds over two thousand systematic ones."""
CASES = {"sqlite": 400, "postgresql": 30}
"""Minimum number of generated cases: a run that sends few requests proves nothing."""

SETTINGS = """
continue-on-failure = true
# Warnings are hints about coverage, not failures.
warnings = false

[generation]
deterministic = true
database = "none"
max-examples = {examples}
# All checks run. These two accept one more status than by default.
[checks.positive_data_acceptance]
# 412: `If-Match: "x"` is a well-formed condition that is not met. No schema can say which version is current.
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 412, 429]
[checks.negative_data_rejection]
# 412: the condition is checked before the body (docs/api.md), so invalid data with a stale condition is 412.
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 415, 422, 428, 429]

[auth.openapi]
bearer = {{ bearer = "{token}" }}
"""

HOOKS = '''
import itertools
import time
from datetime import datetime
from zoneinfo import available_timezones

import jwt
import schemathesis

KEYS = itertools.count()
EVENT = "http://schemas.openid.net/event/backchannel-logout"
FILES = ("text/csv", "text/calendar")

@schemathesis.hook
def filter_case(context, case):
    """Leave out the bodies that are files, of which JSON Schema says only that they are text; see tests/tasks/transfer."""
    return case.media_type not in FILES

@schemathesis.hook
def before_call(context, case, kwargs):
    """Change valid cases that break only a rule which JSON Schema cannot express.

    tests/tasks checks that the service refuses these with 400 or 422.
    """
    if not (case.meta and case.meta.generation.mode.is_positive):
        return
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"key-{next(KEYS)}"  # a key that was used for another request is refused
    if case.path == "/backchannel-logout":
        case.body = {"logout_token": logout_token()}
        return
    mend_query(case.query or {}, listing=case.path.endswith("/tasks"))
    if isinstance(case.body, dict):
        case.body = mend(case.body)

def logout_token():
    """Return a logout token: only the issuer can sign one."""
    now = int(time.time())
    claims = {"sub": "alice", "sid": "s", "iat": now, "exp": now + 60, "jti": f"token-{next(KEYS)}", "events": {EVENT: {}}}
    return jwt.encode(claims, "SECRET", "HS256", {"typ": "logout+jwt"})

def mend_query(query, *, listing):
    query.pop("cursor", None)  # only the service can make one
    query.pop("since", None)
    if "status" in query:
        query.pop("completed", None)
    if "no_due" in query:
        for name in ("due_from", "due_to", "overdue"):
            query.pop(name, None)
    if "q" in query:
        query.pop("search", None)
    if query.get("sort", "").startswith("-"):
        query.pop("order", None)
    for name in ("completed_from", "completed_to"):
        if name in query:
            query[name] = moment(query[name])
    if "tz" in query:
        query["tz"] = zone(query["tz"])
        days = [query.get(name, "") for name in ("completed_from", "completed_to")]
        if listing and "overdue" not in query and not any(len(each) == len("2030-01-31") for each in days):
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
    """Remove duplicate tags (ignoring case) and duplicate ids of imported tasks."""
    seen, kept = set(), []
    for item in items:
        key = item.strip().casefold() if isinstance(item, str) else item.get("id") if isinstance(item, dict) and "op" not in item else None
        if key is None or key not in seen:
            kept.append(item)
        seen.add(key)
    return kept

def timed(members):
    """Restrict years, and add the date that a time needs, the time that a zone needs, and both for a rule."""
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

def moment(text):
    """Replace a day or a time that does not exist, or is in another millennium."""
    try:
        return text if 1901 <= datetime.fromisoformat(text).year <= 2998 else "2030-01-31"
    except ValueError:
        return "2030-01-31"

def instant(text):
    return text if not isinstance(text, str) or "1900" <= text[:4] <= "2999" else "2030-01-31T09:30:00Z"
'''


def describe(address: str) -> dict[str, Any]:
    """Return the OpenAPI document of the service with alice as the only valid user of the paths."""
    with urllib.request.urlopen(f"{address}/openapi.json") as response:
        document: dict[str, Any] = json.load(response)
    # Generating an import of 10,001 tasks takes seconds; tests/tasks/transfer/test_transfer.py sends one.
    del document["components"]["schemas"]["Import"]["properties"]["tasks"]["maxItems"]
    for path in document["paths"].values():
        for parameter in path.get("parameters", []):
            if parameter["name"] == "user_id":
                parameter["schema"] = {"enum": ["alice"]}
    return document


def test_schemathesis_finds_no_response_that_contradicts_the_openapi_document(empty_database_url: str, tmp_path: Path):
    dialect = make_url(empty_database_url).get_backend_name()
    (tmp_path / "hooks.py").write_text(HOOKS.replace("SECRET", SECRET))
    settings = SETTINGS.format(examples=EXAMPLES[dialect], token=token("alice"))
    (tmp_path / "schemathesis.toml").write_text(settings)
    with serve(empty_database_url, RATE_LIMIT="off") as server:
        address = f"http://127.0.0.1:{server.port}"
        (tmp_path / "openapi.json").write_text(json.dumps(describe(address)))
        process = subprocess.run(
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
    assert process.returncode == 0, process.stdout[-20_000:] + process.stderr[-2000:]
    assert re.search(r"Operations: +18 selected / 18 total", process.stdout), process.stdout
    for phase in PHASES[dialect].split(","):
        assert re.search(rf"✅ +{phase.title()}", process.stdout), process.stdout
    generated = re.search(r"(\d+) generated", process.stdout)
    assert generated
    assert int(generated[1]) >= CASES[dialect]
