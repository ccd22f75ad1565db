"""Row-level security on PostgreSQL: a statement sees and writes the rows of the user whom its transaction names."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

# A setting that was made for an earlier transaction of the connection is the empty string and not NULL. In a subquery,
# so that it is asked once for a statement and not for each row.
MINE = "user_id = (SELECT nullif(current_setting('taskapi.user_id', true), ''))"

# Which jobs look across users, to read and no more: what they do is then done user by user.
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
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")  # for its owner as well
        op.execute(f"CREATE POLICY shown ON {table} FOR SELECT USING ({shown(jobs)})")
        op.execute(f"CREATE POLICY added ON {table} FOR INSERT WITH CHECK ({MINE})")
        op.execute(f"CREATE POLICY changed ON {table} FOR UPDATE USING ({MINE}) WITH CHECK ({MINE})")
        op.execute(f"CREATE POLICY removed ON {table} FOR DELETE USING ({MINE})")


def shown(jobs: tuple[str, ...]) -> str:
    if not jobs:
        return MINE
    # Not with OR: the planner would multiply its odds with those of the same condition in the WHERE, expect next to no
    # rows, and sort them rather than read a page off an index. Of a CASE it expects that half of the rows pass.
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
