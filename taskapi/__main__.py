"""`python -m taskapi`: check all settings, then become `gunicorn wsgi:app` with the given arguments.

gunicorn reads WEB_CONCURRENCY before its configuration file, and prints a traceback if it is empty or not a number.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .config.settings import ConfigError
from .server.settings import setting_problems
from .telemetry.log_format import start_error

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> None:
    """Replace this process by gunicorn with these arguments, which does not return.

    If a setting is invalid, exit with one message that lists the problems of all settings.
    """
    if problems := setting_problems(os.environ):
        sys.exit(start_error(ConfigError(problems), os.environ))
    if not os.environ.get("WEB_CONCURRENCY", "").strip():
        os.environ.pop("WEB_CONCURRENCY", None)
    os.chdir(ROOT)  # where gunicorn looks for gunicorn.conf.py and wsgi.py
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments, "wsgi:app"])  # noqa: S606  no shell is needed


if __name__ == "__main__":
    main(sys.argv[1:])
