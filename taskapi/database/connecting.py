"""Open PostgreSQL connections with the operator's parameters and ours, also through a pooler that refuses some."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from psycopg.errors import OperationalError
from sqlalchemy import URL, Connection, Engine, event, func, select

from ..concurrency.resolver import resolve
from ..config.database_url import parse_options
from .citus import SET_CONFIG
from .pipeline import TimeoutConnection
from .pooling import Pooling

REQUIRED = {"TimeZone": "UTC", "DateStyle": "ISO"}
"""Session settings that times are read by, and that the operator cannot change; named as the server reports them."""

_REFUSED = re.compile("startup parameter|command-line options")
"""PgBouncer: `unsupported startup parameter: options`; RDS Proxy: `doesn't support command-line options`."""

_APPLIED = (
    "SELECT count(*) FILTER (WHERE source IN ('client', 'session')) = count(*)"
    " FROM pg_settings WHERE lower(name) = ANY (%s)"
)
"""The view does not have all settings, such as those of extensions that are not loaded."""

_DATABASE = "SELECT to_regprocedure(%s) IS NOT NULL, current_setting('lock_timeout')"
"""Whether the database is distributed with Citus (citus.py), and the longest wait for a lock in a session."""


def connect_arguments(url: URL, application_name: str, timeouts: Mapping[str, int]) -> dict[str, Any]:
    """Return the arguments of psycopg in addition to the URL: timeouts, encoding, application name, empty `options`.

    The parameters of the URL have precedence over `timeouts` and `application_name`, and so have `PGCONNECT_TIMEOUT`
    and `PGAPPNAME`.
    """
    absent = {name: value for name, value in timeouts.items() if name not in url.query}
    if "PGCONNECT_TIMEOUT" in os.environ:
        absent.pop("connect_timeout", None)
    return {
        **absent,
        "fallback_application_name": application_name,
        "client_encoding": "utf8",
        "options": "",  # not those of PGOPTIONS, which are among the settings of the URL
    }


def session_settings(url: URL, defaults: Mapping[str, str]) -> dict[str, str]:
    """Return the session settings: `defaults`, replaced by those of the URL's `options`, replaced by `REQUIRED`."""
    chosen = {**defaults, **parse_options(str(url.query.get("options", "")))}
    required = {name.lower() for name in REQUIRED}
    return {**{name: value for name, value in chosen.items() if name not in required}, **REQUIRED}


class Connector:
    """Opens the connections of an engine, of a kind of `TimeoutConnection`, with session settings."""

    def __init__(self, settings: Mapping[str, str], kind: type[TimeoutConnection] = TimeoutConnection) -> None:
        self._settings, self._kind = settings, kind
        self.pooling = Pooling()

    def listen(self, engine: Engine) -> None:
        """Make an engine open its connections with this connector (SQLAlchemy's do_connect event)."""
        event.listen(engine, "do_connect", lambda _dialect, _record, args, parameters: self._connect(args, parameters))

    def _connect(self, args: Sequence[str], parameters: Mapping[str, Any]) -> TimeoutConnection:
        """Open a connection with the session settings; if a pooler loses them, each transaction sets them instead.

        `REQUIRED` is set for the session in any case: PgBouncer keeps these two settings for each client. In the modes
        in which it gives a transaction any server connection, other settings would stay set for the next client.
        """
        connection = self._open(args, self.pooling.servers.sort(_resolve_hosts(parameters)))
        self.pooling.servers.report_connected(connection)
        found = connection.execute(_DATABASE, (SET_CONFIG,)).fetchone()
        connection.is_distributed, lock_timeout = found or (False, "0")
        connection.lock_timeout = self._settings.get("lock_timeout", lock_timeout)
        if not self.pooling.keeps_settings:
            # psycopg gives the statements of all its clients the same names: that of another one might be executed.
            connection.prepare_threshold = None
            connection.transaction_settings = [text for setting in self._settings.items() for text in setting]
        for name, value in REQUIRED.items():  # PGTZ and PGDATESTYLE would win against `options`
            reported = connection.info.parameter_status(name) or ""
            if not reported.startswith(value):
                connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        return connection

    def _open(self, args: Sequence[str], parameters: Mapping[str, Any]) -> TimeoutConnection:
        """Open a connection, with the settings as `options` unless a pooler is known to lose them.

        If one now refuses or ignores them, reports that to `pooling`, and returns a connection without them all the
        same.
        """
        if self.pooling.keeps_settings:
            try:
                connection = self._open_with(args, parameters, _options(self._settings))
            except OperationalError as error:
                if not _REFUSED.search(str(error)):
                    raise
                self.pooling.report_lost_settings("refuses startup options")
            else:
                if not self._are_applied(connection):
                    self.pooling.report_lost_settings("ignores startup options")
                return connection
        return self._open_with(args, parameters, "")

    def _open_with(self, args: Sequence[str], parameters: Mapping[str, Any], options: str) -> TimeoutConnection:
        """Open a connection with these `options` that shares what is known about the pooler (`pooling`)."""
        connection: TimeoutConnection = self._kind.connect(*args, **{**parameters, "options": options}, autocommit=True)
        connection.pooling = self.pooling
        connection.add_notice_handler(connection.note_canceled_replication)
        return connection

    def _are_applied(self, connection: TimeoutConnection) -> bool:
        """Return True if the server reports that the session has this connector's settings.

        A pooler may ignore `options` silently.
        """
        names = [name.lower() for name in self._settings]
        (applied,) = connection.execute(_APPLIED, (names,)).fetchone() or (False,)
        return bool(applied)


def set_in_transactions(engine: Engine, settings: Mapping[str, str]) -> None:
    """Apply session settings in each transaction of an engine, which also works through a pooler (begin event)."""

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        """Set `settings` for the transaction that begins, in one round trip (set_config, local to the transaction)."""
        connection.execute(select(*(func.set_config(name, value, True) for name, value in settings.items())))


def _options(settings: Mapping[str, str]) -> str:
    """Return settings as libpq's parameter `options`, with a backslash before white space and backslashes."""
    return " ".join(f"-c {name}=" + re.sub(r"([\s\\])", r"\\\1", value) for name, value in settings.items())


def _resolve_hosts(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters with an entry for each address of the hosts, looked up within the connect timeout.

    libpq and psycopg would look them up without a limit. A host without an address is left out, unless no host has one
    (OperationalError). Without `host`, or with `hostaddr`, the parameters are returned unchanged.
    """
    if not parameters.get("host") or parameters.get("hostaddr"):
        return parameters
    hosts = str(parameters["host"]).split(",")
    ports = str(parameters["port"]).split(",") if parameters.get("port") else [""] * len(hosts)
    found: list[tuple[str, str, str]] = []
    failure = ""
    for host, port in zip(hosts, ports, strict=True):
        try:
            found += [(host, address, port) for address in _addresses(host, parameters.get("connect_timeout"))]
        except OSError as error:
            failure = str(error)
    if not found:
        raise OperationalError(f"no address of the database's host: {failure}")
    names, addresses, numbers = (",".join(column) for column in zip(*found, strict=True))
    return {**parameters, "host": names, "hostaddr": addresses, "port": numbers}


def _addresses(host: str, timeout: Any) -> list[str]:
    """Return the addresses of a host; [""] for the directory of a socket, and for the default, no host.

    Waits up to `timeout` seconds (2 without); raises `OSError` if the lookup fails or takes longer.
    """
    if not host or host.startswith(("/", "@")):
        return [""]
    try:
        return [str(ip_address(host))]
    except ValueError:
        return list(dict.fromkeys(str(found[4][0]) for found in resolve(host, 0, float(timeout or 2))))
