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

from tests.conftest import token
from tests.gunicorn_server import serve

SECONDS = 120
PHASES = {"sqlite": "coverage,fuzzing,stateful", "postgresql": "fuzzing,stateful"}
"""The systematic phase is the slowest, and the same cases again: once is enough."""
EXAMPLES = {"sqlite": 10, "postgresql": 5}
"""Random cases for each operation and phase; the systematic ones come on top, several hundred of them."""
CASES = {"sqlite": 400, "postgresql": 50}
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

HOOKS = """
import schemathesis

@schemathesis.hook
def before_call(context, case, kwargs):
    # OpenAPI 3.1 has no words for two rules of the list: `status` and `completed` exclude each other, and only the
    # service can make a cursor. What breaks these alone is no "valid" request, so it is mended before it is sent;
    # tests/tasks holds that it is refused with 400.
    if case.meta and case.meta.generation.mode.is_positive and case.query:
        case.query.pop("cursor", None)
        if "status" in case.query:
            case.query.pop("completed", None)
"""


def describe(address: str) -> dict[str, Any]:
    """The service's own description, with alice for the path's user: cases that break that rule are other users'."""
    with urllib.request.urlopen(f"{address}/openapi.json") as response:
        document: dict[str, Any] = json.load(response)
    for path in document["paths"].values():
        for parameter in path.get("parameters", []):
            if parameter["name"] == "user_id":
                parameter["schema"] = {"enum": ["alice"]}
    return document


def test_nothing_that_is_sent_makes_the_service_break_its_word(emptied: str, tmp_path: Path):
    dialect = emptied.partition(":")[0]
    (tmp_path / "hooks.py").write_text(HOOKS)
    settings = SETTINGS.format(examples=EXAMPLES[dialect], token=token("alice"))
    (tmp_path / "schemathesis.toml").write_text(settings)
    with serve(emptied) as server:
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
    assert re.search(r"Operations: +8 selected / 8 total", done.stdout), done.stdout
    for phase in PHASES[dialect].split(","):
        assert re.search(rf"✅ +{phase.title()}", done.stdout), done.stdout
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated
    assert int(generated[1]) >= CASES[dialect]
