"""What a pooler such as PgBouncer between this service and PostgreSQL does not keep: session settings, statements."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class Pooling:
    """What the connections of an engine have found out about a pooler; each finding is logged once per process."""

    def __init__(self) -> None:
        self.keeps_settings = True
        """False: the session settings are set again in each transaction (row_security.py)."""
        self.keeps_statements = True
        """False: statements are sent with their text and never prepared (pipeline.py)."""

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
