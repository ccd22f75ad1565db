"""What a pooler such as PgBouncer between this service and PostgreSQL does not keep: session settings, statements."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

log = logging.getLogger(__name__)


class Connected(Protocol):
    """What `Servers` reads of a psycopg connection."""

    @property
    def info(self) -> Any: ...


class Servers:
    """The order in which new connections try the servers of a URL that accepts only the primary.

    Otherwise each attempt would first wait for the connect timeout of a server that is off or frozen.
    """

    def __init__(self) -> None:
        self._last = self._silent = ("", "")

    def report_connected(self, connection: Connected) -> None:
        """Try the server of this connection first from now on."""
        self._last = _address(connection)
        if self._silent == self._last:
            self._silent = ("", "")

    def report_silence(self, connection: Connected) -> None:
        """Try the server of this connection last, until a connection to it succeeds."""
        self._silent = _address(connection)

    def sort(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return connection parameters with their hosts, addresses and ports in the order to try them."""
        if parameters.get("target_session_attrs") not in ("read-write", "primary"):
            return parameters  # the order of the URL is the operator's preference
        names = ("host", "hostaddr", "port")
        servers = list(zip(*(str(parameters.get(name) or "").split(",") for name in names), strict=False))
        if len(servers) < 2:
            return parameters
        servers.sort(key=self._rank)
        columns = [",".join(column) for column in zip(*servers, strict=True)]
        return {**parameters, **dict(zip(names, columns, strict=True))}

    def _rank(self, server: Sequence[str]) -> tuple[bool, bool]:
        """Return the sort key of a host, its address and its port."""
        address = (server[1], server[2] or "5432")
        return (address == self._silent, address != self._last)


def _address(connection: Connected) -> tuple[str, str]:
    return (connection.info.hostaddr, str(connection.info.port))


class Pooling:
    """What the connections of an engine have found out about a pooler; each finding is logged once per process."""

    def __init__(self) -> None:
        self.keeps_settings = True
        """False: the session settings are set again in each transaction (row_security.py)."""
        self.keeps_statements = True
        """False: statements are sent with their text and never prepared (pipeline.py)."""
        self.servers = Servers()
        """The order in which new connections try several servers."""

    def report_lost_settings(self, reason: str) -> None:
        """Record that a pooler refused or ignored `options`: each transaction sets the session settings from now on.

        Logged once; further calls have no effect.
        """
        if self.keeps_settings:
            self.keeps_settings = False
            log.info(
                "the database connection goes through a pooler that %s: the session settings are set in each"
                " transaction instead (docs/operations.md, Poolers)",
                reason,
            )

    def report_lost_statement(self, sqlstate: str | None) -> None:
        """Record that a pooler loses prepared statements: none is prepared from now on. Logged once.

        A prepared statement was unknown to the server (26000), or another one had its name (42P05): the pooler has
        given this client another server connection, as in transaction mode.
        """
        if self.keeps_statements:
            self.keeps_statements = False
            log.warning(
                "the database connection goes through a pooler that loses prepared statements (SQLSTATE %s): this"
                " process prepares none from now on. PgBouncer 1.21 or newer keeps them if max_prepared_statements is"
                " above 0; its session mode keeps them, too (docs/operations.md, Poolers).",
                sqlstate,
            )
