"""Row-level security on PostgreSQL: a transaction reads and writes the rows of the user in taskapi.user_id only."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

# After a transaction that set it, the setting is the empty string and not NULL. In a subquery, so that it is evaluated
# once per statement and not once per row.
MINE = "user_id = (SELECT nullif(current_setting('taskapi.user_id', true), ''))"

# Jobs that may read the rows of all users. They write per user.
TABLES = {
    "users": (),
    "tasks": ("purge",),
    "idempotency_keys": ("purge",),
    "ended_sessions": ("purge", "sign-outs"),
    "seen_notices": ("purge",),
}


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, jobs in TABLES.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")  # for the owner of the table as well
        op.execute(f"CREATE POLICY shown ON {table} FOR SELECT USING ({shown(jobs)})")
        op.execute(f"CREATE POLICY added ON {table} FOR INSERT WITH CHECK ({MINE})")
        op.execute(f"CREATE POLICY changed ON {table} FOR UPDATE USING ({MINE}) WITH CHECK ({MINE})")
        op.execute(f"CREATE POLICY removed ON {table} FOR DELETE USING ({MINE})")


def shown(jobs: tuple[str, ...]) -> str:
    """Return the USING expression of the SELECT policy: the user's own rows, and all rows for these jobs."""
    if not jobs:
        return MINE
    # CASE instead of OR: with OR the planner multiplies its selectivity with that of the same condition in the WHERE,
    # expects almost no rows, and sorts them instead of reading a page from an index. For CASE it expects half of them.
    names = ", ".join(f"'{job}'" for job in jobs)
    return f"CASE WHEN {MINE} THEN true ELSE (SELECT current_setting('taskapi.job', true)) IN ({names}) END"


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in TABLES:
        for policy in ("shown", "added", "changed", "removed"):
            op.execute(f"DROP POLICY {policy} ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
