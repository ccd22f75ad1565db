"""The Flask app of docs/better-auth.md, which verifies tokens with `taskapi.auth`."""

from __future__ import annotations

import re

from tests.gunicorn_server import ROOT

MAX_LINES = 20


def source() -> str:
    """Return the code of the app, the only Python block of the page."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/better-auth.md").read_text(), re.DOTALL)
    assert code.count("\n") <= MAX_LINES
    return str(code)
