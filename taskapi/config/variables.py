"""Parsers of environment variables of common kinds, which collect every problem instead of raising at the first."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import datetime

QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019"}
"""Quotation marks that values are found in, each with its other end."""


class Variables:
    """Parsers of environment variables of common kinds; each adds its errors to `problems`, without the values.

    Unless a docstring says otherwise, an invalid value is returned as it is: `Config.from_env` raises if there is a
    problem.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []
        # Set by the `flask` command itself (flask.cli), and not by gunicorn.
        self._from_flask_command = environ.get("FLASK_RUN_FROM_CLI") == "true"

    def text(self, name: str) -> str | None:
        """Return a stripped variable; None if absent or blank, because deployments pass unset variables as empty.

        Quotes around it, which `docker --env-file` and systemd keep, are removed, and reported in `problems`.
        """
        value = self._environ.get(name, "").strip()
        return self._without_quotes(name, value).strip() or None

    def _without_quotes(self, name: str, value: str) -> str:
        """Return a value without quotes around it; add a problem, once for each variable, if it has any."""
        if len(value) < 2 or QUOTES.get(value[0]) != value[-1]:
            return value
        problem = f"{name} is in quotes, which are a part of the value: remove them"
        if problem not in self.problems:
            self.problems.append(problem)
        return value[1:-1]

    def seconds(self, name: str) -> int | None:
        """Return a duration such as `900`, `15m`, `12h` or `7d` in seconds; None if absent.

        An invalid one is None, too, and added to `problems`.
        """
        value = self.text(name)
        if value is None:
            return None
        match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd]?)", value)
        if match is None:
            self.problems.append(f"{name} is not a duration such as 900, 15m, 12h or 7d")
            return None
        return int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]

    def time(self, name: str) -> float | None:
        """Return a time with its offset, such as `2026-12-01T08:00:00Z`, in seconds since 1970; None if absent.

        An invalid one, or one without an offset, is None, too, and added to `problems`.
        """
        value = self.text(name)
        if value is None:
            return None
        try:
            time = datetime.fromisoformat(value)
            if time.tzinfo is not None:
                return time.timestamp()
        except (ValueError, OverflowError):
            pass
        self.problems.append(f"{name} is not a time with an offset such as 2026-12-01T08:00:00Z")
        return None

    def number(self, name: str, default: int, *, minimum: int = 0, maximum: int) -> int:
        """Return a whole number within the bounds; `default` if absent, or if invalid (added to `problems`)."""
        value = self.text(name)
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", value) or not minimum <= int(value) <= maximum:
            self.problems.append(f"{name} is not a whole number from {minimum} to {maximum}")
            return default
        return int(value)

    def ip_address(self, name: str, default: str) -> str:
        """Return an IPv4 or IPv6 address, `default` if absent.

        Anything else, such as a name, is added to `problems`, and returned nevertheless.
        """
        value = self.text(name) or default
        try:
            ipaddress.ip_address(value)
        except ValueError:
            self.problems.append(f"{name} is not an IP address such as 127.0.0.1 or 0.0.0.0")
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean setting: true, false, 1 or 0, in any case; False if absent.

        Anything else is False, too, and added to `problems`.
        """
        value = (self.text(name) or "false").lower()
        if value not in ("true", "false", "1", "0"):
            self.problems.append(f"{name} is neither true nor false")
        return value in ("true", "1")
