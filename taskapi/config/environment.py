"""Parsers of the settings that are special to the service, in addition to those of `variables`."""

from __future__ import annotations

import re
from importlib.util import find_spec

from .database_url import DATABASE_KINDS, normalize_postgresql
from .http_urls import is_http_url, key_set_url
from .origins import parse_origin
from .path_prefixes import MAX_PREFIX_LENGTH, parse_path_prefix
from .proxies import PROXY_VARIABLES, Proxy, proxy_for
from .shared_secrets import secret_problems
from .variables import Variables

MIN_KEY_LENGTH = 16
"""Minimum characters of a key."""

TRACE_PROTOCOL = "http/protobuf"
"""The protocol of exported traces, as OTEL_EXPORTER_OTLP_PROTOCOL names it."""

LOG_FORMATS = ("text", "json")

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Environment(Variables):
    """Parsers of environment variables; each adds its errors to `problems`, without the values (secrets).

    Unless a docstring says otherwise, an invalid value is returned as it is: `Config.from_env` raises if there is a
    problem.
    """

    def has_key_source(self) -> bool:
        """Return True if the current secret, BETTER_AUTH_URL or a JWKS address is set, valid or not."""
        return any(self.text(name) for name in ("BETTER_AUTH_SECRET", "BETTER_AUTH_URL", "BETTER_AUTH_JWKS_URL"))

    def secrets(self) -> tuple[str, ...]:
        """Return the shared secrets as (), (current,) or (current, previous), also invalid ones.

        If only the previous one is set, it is returned as the first, and reported in `problems`, as are invalid
        secrets.
        """
        current, previous = self._secret("BETTER_AUTH_SECRET"), self._secret("BETTER_AUTH_SECRET_PREVIOUS")
        if previous and not current:
            self.problems.append("BETTER_AUTH_SECRET_PREVIOUS is set without BETTER_AUTH_SECRET")
        return tuple(secret for secret in (current, previous) if secret)

    def _secret(self, name: str) -> str | None:
        """Return a secret without quotes and white space around it; None if absent or blank.

        One that is too short, public, not UTF-8, in quotes or between white space is added to `problems`, and returned
        nevertheless. The development secret, which is public, is accepted from the `flask` command.
        """
        # Not stripped silently: Better Auth signs with exactly the bytes of the variable.
        secret = self._environ.get(name, "")
        if not secret.strip():
            return None
        if secret != secret.strip():
            self.problems.append(f"{name} begins or ends with white space, such as a line break: remove it")
        secret = self._without_quotes(name, secret.strip())
        problems = secret_problems(secret, in_development=self._from_flask_command)
        self.problems += [f"{name} {problem}" for problem in problems]
        return secret

    def jwks_url(self) -> str | None:
        """Return the address of the key set: `BETTER_AUTH_JWKS_URL`, or one below `BETTER_AUTH_URL`; None without both.

        The latter is that URL plus `/jwks`, or `/api/auth/jwks` if it has no path. Adds to `problems` what is not an
        http or https URL; an invalid `BETTER_AUTH_URL` counts as absent.
        """
        issuer = self._http_url("BETTER_AUTH_URL")
        jwks = self._http_url("BETTER_AUTH_JWKS_URL", query=True)
        if jwks or issuer is None or not is_http_url(issuer):
            return jwks
        return key_set_url(issuer)

    def proxy(self, url: str | None) -> Proxy | None:
        """Return the proxy for requests to an http or https `url`.

        None without a proxy or a valid URL, and for a proxy that is not http, which is added to `problems`. Reports
        quotes around any of the `PROXY_VARIABLES` there, too.
        """
        if not url or not is_http_url(url, query=True):
            return None
        try:
            return proxy_for(url, {name: self.text(name) or "" for name in PROXY_VARIABLES})
        except ValueError as error:
            self.problems.append(str(error))
            return None

    def _http_url(self, name: str, *, query: bool = False) -> str | None:
        """Return a variable, None if absent; add it to `problems`, and return it, if it is not an http or https URL.

        With `query` the URL may have a query string.
        """
        value = self.text(name)
        if value and not is_http_url(value, query=query):
            self.problems.append(f"{name} is not an http(s) URL such as https://app.example.com")
        return value

    def database_url(self, name: str) -> str | None:
        """Return the URL of a database, None if absent; one of PostgreSQL as `normalize_postgresql` returns it.

        Anything but PostgreSQL with a database name or a SQLite file without options is returned unchanged, and added
        to `problems`.
        """
        value = self.text(name)
        if value is None:
            return None
        try:
            if postgresql := normalize_postgresql(value, self._environ.get("PGOPTIONS", "")):
                return postgresql
            # Each worker process would have an in-memory database of its own, which would be lost with the process.
            if not re.fullmatch(r"sqlite:///[^?]+", value) or ":memory:" in value:
                self.problems.append(f"{name} is {DATABASE_KINDS}")
        except ValueError as error:
            self.problems.append(f"{name} is {error}")
        return value

    def origins(self, name: str) -> tuple[str, ...]:
        """Return the valid origins, such as `https://app.example.com`, of a comma-separated list; () if absent.

        Other entries, such as `*` or a URL with a path, are left out and reported in `problems`.
        """
        values = [part.strip() for part in (self.text(name) or "").split(",") if part.strip()]
        origins = tuple(origin for value in values if (origin := parse_origin(value)))
        if len(origins) < len(values):
            self.problems.append(
                f"{name} is not a comma-separated list of origins such as https://app.example.com (no path, no *)"
            )
        return origins

    def path_prefix(self, name: str) -> str:
        """Return a path prefix such as `/tasks-api`; "" if absent, or if invalid (added to `problems`)."""
        prefix = parse_path_prefix(self.text(name) or "/")
        if prefix is None:
            self.problems.append(
                f"{name} is not a path such as /tasks-api (at most {MAX_PREFIX_LENGTH} letters, digits and . _ ~ - /)"
            )
        return prefix or ""

    def redis_url(self, name: str) -> str | None:
        """Return the URL of a Redis server, None if absent.

        Anything but a redis or rediss URL with a host is added to `problems`, and returned nevertheless.
        """
        value = self.text(name)
        if value and not re.match(r"(redis|rediss)://[^/]", value):
            self.problems.append(f"{name} is not redis://HOST:PORT/NUMBER")
        return value

    def rate_limit(self, name: str, default: str) -> str | None:
        """Return a rate limit such as `600/minute`, `default` if absent; None for `off`.

        An invalid one is added to `problems`, and returned nevertheless.
        """
        value = self.text(name) or default
        if value == "off":
            return None
        if not re.fullmatch(r"[1-9][0-9]{0,8}/(second|minute|hour|day)", value):
            self.problems.append(f"{name} is neither off nor a limit such as 600/minute")
        return value

    def log_level(self, name: str, default: str) -> str:
        """Return a level of `logging` in upper case, `default` if absent.

        One that is none of `LOG_LEVELS` is added to `problems`, and returned nevertheless.
        """
        value = (self.text(name) or default).upper()
        if value not in LOG_LEVELS:
            self.problems.append(f"{name} is none of {', '.join(LOG_LEVELS)}")
        return value

    def log_format(self, name: str, default: str) -> str:
        """Return a format of the log, `default` if absent.

        One that is none of `LOG_FORMATS` is added to `problems`, and returned nevertheless.
        """
        value = self.text(name) or default
        if value not in LOG_FORMATS:
            self.problems.append(f"{name} is neither text nor json")
        return value

    def key(self, name: str) -> str | None:
        """Return a secret of at least `MIN_KEY_LENGTH` characters, None if absent.

        A shorter one is added to `problems`, and returned nevertheless.
        """
        value = self.text(name)
        if value and len(value) < MIN_KEY_LENGTH:
            self.problems.append(f"{name} has fewer than {MIN_KEY_LENGTH} characters")
        return value

    def exports_traces(self) -> bool:
        """Return True if OTEL_EXPORTER_OTLP_ENDPOINT is set, and OTEL_SDK_DISABLED is not true.

        Adds to `problems` an endpoint that is not an http or https URL, another protocol than OTLP over HTTP, and
        packages that are not installed. OpenTelemetry reads its variables itself.
        """
        name = "OTEL_EXPORTER_OTLP_ENDPOINT"
        if not self._http_url(name) or (self.text("OTEL_SDK_DISABLED") or "").lower() == "true":
            return False
        if (self.text("OTEL_EXPORTER_OTLP_PROTOCOL") or TRACE_PROTOCOL) != TRACE_PROTOCOL:
            self.problems.append(f"OTEL_EXPORTER_OTLP_PROTOCOL is not {TRACE_PROTOCOL}, the only one that is supported")
        if not _is_installed("opentelemetry.exporter.otlp.proto.http"):
            self.problems.append(
                f"{name} is set, but OpenTelemetry is not installed:"
                " pip install --require-hashes -r requirements-otel.txt"
            )
        return True


def _is_installed(module: str) -> bool:
    """Return True if a module can be imported; only the packages that contain it are."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a package that contains it is absent, or blocked
        return False
