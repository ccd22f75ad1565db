"""WSGI entry point: `app`, for gunicorn (`wsgi:app`) and the `flask` command."""

from __future__ import annotations

import os
import sys

from taskapi import create_app
from taskapi.config.settings import ConfigError
from taskapi.telemetry.log_format import start_error

try:
    app = create_app()
except ConfigError as error:
    # The message lists every configuration problem; a traceback would hide it.
    sys.exit(start_error(error, os.environ))
