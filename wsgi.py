"""What gunicorn serves and the `flask` command finds: `app`."""

from __future__ import annotations

import sys

from taskapi import create_app
from taskapi.config import ConfigError

try:
    app = create_app()
except ConfigError as error:
    # The message names every problem; a traceback would only bury it.
    sys.exit(str(error))
