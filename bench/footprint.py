"""Measure what tasks, users, keys and sign-outs take in PostgreSQL, and what rate limits take in Redis.

`python -m bench.capacity --measure-storage` prints the figures, named after the constants of bench/costs.py.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import redis
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from taskapi import create_app
from taskapi.auth import queries
from taskapi.auth.sessions import MAX_IN_MEMORY
from taskapi.auth.tokens import User
from taskapi.config.settings import Config
from taskapi.database.base import now
from taskapi.idempotency import queries as idempotency
from tests.pgbouncer import pgbouncer
from tests.ports import reserved_port
from tests.waiting import until

from .contestants import AS_SHIPPED, cpu, descendants, spent_since
from .database import EPOCH, WRITERS, postmaster, server, superuser_engine, taskapi_database, user
from .workloads import NEW_TASK, SECRET, headers

REQUESTS = 2_000
PURGED_USERS, PURGED_KEYS = 300, 25
USERS = 20_000
"""Users without tasks that are added, so that a page of the table does not weigh much."""
LOG_POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
Backends = Callable[[], dict[str, float]]
"""Returns the processor time of each process of PostgreSQL."""
PUBLIC_ADDRESS = "203.0.114.9"
"""A client address that the rate limit counts."""


def measure() -> dict[str, float]:
    """Return the figures by name, from a new PostgreSQL and a new Redis server."""
    with server() as superuser, taskapi_database(superuser) as url:
        engine, server_pid = superuser_engine(url, superuser), postmaster(superuser)

        def backends() -> dict[str, float]:
            return cpu(descendants(server_pid))

        app = _application(url)
        found = {"bytes_per_task": _table(engine, "tasks")}
        found |= _writes(app, engine, backends)
        found |= _sign_outs(app, engine, backends)
        found["mb_per_connection"] = max(map(_private_memory, descendants(server_pid)))
        _add_users(engine)
        found["bytes_per_user"] = _table(engine, "users")
        found["purge"] = _purge(app, engine)
        found["pooler"] = _pooler(url)
        found |= _rate_limits(url)
        engine.dispose()
        return found


def _application(url: str, **settings: str) -> Flask:
    environ = {**AS_SHIPPED, "BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": url, "LOG_LEVEL": "ERROR"}
    return create_app(Config.from_env({**environ, **settings}))


def _private_memory(pid: int) -> float:
    """Return the megabytes of a process that no other process shares: of a backend, without the shared buffers."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon")) / 1024


def _value(engine: Engine, statement: str) -> float:
    """Return the number that a statement selects."""
    with engine.connect() as connection:
        return float(connection.execute(text(statement)).scalar_one())


def _table(engine: Engine, name: str) -> float:
    """Return the bytes per row of a table after VACUUM: with its indexes, its visibility map and its TOAST table."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"VACUUM ANALYZE {name}"))
    return _value(engine, f"SELECT pg_total_relation_size('{name}')::float / (SELECT count(*) FROM {name})")


def _writes(app: Flask, engine: Engine, backends: Backends) -> dict[str, float]:
    """Return what creations and toggles take, and what an idempotency key adds to a creation."""
    client, number = app.test_client(), WRITERS[0]
    path = f"/api/{user(number)}/tasks"

    def create(extra: dict[str, str]) -> None:
        response = client.post(path, json=NEW_TASK, headers=headers(number) | extra)
        assert response.status_code == 201, response.status_code

    def toggle() -> None:
        response = client.patch(f"{path}/1/complete", headers=headers(number))
        assert response.status_code == 200, response.status_code

    created = _write_cost(engine, backends, lambda _: create({}))
    toggled = _write_cost(engine, backends, lambda _: toggle())
    with_key = _write_cost(engine, backends, lambda key: create({"Idempotency-Key": f"{key:036}"}))
    return {
        "log_bytes_per_create": created[0],
        "log_bytes_per_toggle": toggled[0],
        "log_bytes_per_key": with_key[0] - created[0],
        "key_database": with_key[1] - created[1],
        "key_service": with_key[2] - created[2],
        "bytes_per_key": _table(engine, "idempotency_keys"),
    }


def _write_cost(engine: Engine, backends: Backends, send: Callable[[int], object]) -> tuple[float, float, float]:
    """Return bytes of write-ahead log, and microseconds of PostgreSQL and of this process, per call.

    The first call, after a checkpoint, is not counted: so the pages that the calls change are in the log completely
    once at most, as between the checkpoints of a server.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))
    send(0)
    before, service, database = _value(engine, LOG_POSITION), time.process_time(), backends()
    for number in range(1, REQUESTS + 1):
        send(number)
    spent = spent_since(database, backends()), (time.process_time() - service) * 1e6
    return (_value(engine, LOG_POSITION) - before) / REQUESTS, spent[0] / REQUESTS, spent[1] / REQUESTS


def _sign_outs(app: Flask, engine: Engine, backends: Backends) -> dict[str, float]:
    """Return what writing, storing and reading the log of sign-outs takes."""

    def end(number: int) -> None:
        expires_at = now() + timedelta(hours=1)
        owner = User(user(number), f"session-{number:024}")
        queries.record_logout(owner, f"{number:036}", session_expires_at=expires_at, token_expires_at=expires_at)

    def cost(count: int, read: Callable[[], object]) -> float:
        before = backends()
        for _ in range(count):
            read()
        return spent_since(before, backends()) / count

    with app.app_context():
        started = time.perf_counter()
        for number in range(REQUESTS):
            end(number)
        seconds = time.perf_counter() - started
        _fill_log(engine)
        last = int(_value(engine, "SELECT max(number) FROM ended_sessions"))
        return {
            "sign_outs_per_second": REQUESTS / seconds,
            "bytes_per_sign_out": _table(engine, "ended_sessions") + _table(engine, "seen_notices"),
            "sign_out_read": cost(REQUESTS, lambda: queries.ended_sessions_since(last, MAX_IN_MEMORY + 1)),
            "sign_out_reload": cost(10, lambda: queries.ended_sessions_since(0, MAX_IN_MEMORY + 1)),
            "sign_out_lookup": cost(REQUESTS, lambda: queries.has_ended(User(user(1), "session"))),
        }


def _fill_log(engine: Engine) -> None:
    """Add ended sessions until a worker keeps as many in memory as it may."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ended_sessions (user_id, session_id, number, forget_at)"
                " SELECT 'user' || lpad(n::text, 28, '0'), 'session-' || lpad(n::text, 24, '0'), n, now()"
                " + interval '1 hour' FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n"
            ),
            {"first": REQUESTS + 1, "last": MAX_IN_MEMORY},
        )


def _add_users(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO users (user_id, revision, last_task_id, live_tasks, epoch)"
                " SELECT 'user' || lpad(n::text, 28, 'x'), n, n, n, :epoch"
                f" FROM generate_series(1, {USERS}) AS n"
            ),
            {"epoch": EPOCH},
        )


def _purge(app: Flask, engine: Engine) -> float:
    """Return the seconds that a purge takes for each user with expired idempotency keys."""
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE idempotency_keys, idempotency_usage"))
        connection.execute(
            text(
                "INSERT INTO idempotency_keys (user_id, key, fingerprint, status, headers, body, created_at)"
                " SELECT 'user' || lpad(u::text, 28, '0'), lpad(n::text, 36, '0'), repeat('0', 64), 201, '{}', 'body',"
                " now() - interval '25 hours'"
                f" FROM generate_series(1, {PURGED_USERS}) AS u, generate_series(1, {PURGED_KEYS}) AS n"
            )
        )
    with app.app_context():
        started = time.perf_counter()
        users = idempotency.users_due()
        for each in users:
            idempotency.purge(each)
        assert len(users) == PURGED_USERS
        return (time.perf_counter() - started) / len(users)


def _pooler(url: str) -> float:
    """Return the microseconds of processor time of PgBouncer in transaction mode per list of 20: one round trip."""
    with pgbouncer(url, "transaction") as pooler:
        client = _application(pooler.url).test_client()
        for number in range(REQUESTS):  # PgBouncer 1.18 loses prepared statements; the process gives them up meanwhile
            _list(client, number)
        before = cpu([pooler.pid])
        for number in range(REQUESTS):
            _list(client, number)
        return spent_since(before, cpu([pooler.pid])) / REQUESTS


def _rate_limits(database_url: str) -> dict[str, float]:
    """Return the round trips to Redis per request, processor time of Redis and the service, and bytes of a counter."""
    with _redis() as (url, pid), redis.Redis.from_url(url) as direct:
        in_memory = _application(database_url).test_client()
        in_redis = _application(database_url, REDIS_URL=url, RATE_LIMIT="600/minute").test_client()
        for client in (in_memory, in_redis):
            _list(client, 0)
        direct.config_resetstat()
        before, service = cpu([pid]), 0.0
        for number in range(REQUESTS):
            service += _service_time(in_redis, number) - _service_time(in_memory, number)
        spent = spent_since(before, cpu([pid]))
        round_trips = _command_count(direct, "evalsha")
        used, keys = int(direct.info()["used_memory"]), direct.dbsize()
        direct.flushall()
        assert isinstance(keys, int)
        return {
            "redis_round_trips": round_trips / REQUESTS,
            "redis": spent / REQUESTS,
            "redis_client": service / REQUESTS * 1e6,
            "redis_bytes_per_counter": (used - int(direct.info()["used_memory"])) / keys,
        }


def _command_count(direct: redis.Redis, command: str) -> int:
    """Return how often Redis has executed a command since its statistics were reset."""
    return int(direct.info("commandstats")[f"cmdstat_{command}"]["calls"])


def _service_time(client: FlaskClient, number: int) -> float:
    """Return the seconds of processor time of this process for a request."""
    before = time.process_time()
    _list(client, number)
    return time.process_time() - before


def _list(client: FlaskClient, number: int) -> None:
    response = client.get(
        f"/api/{user(number)}/tasks?limit=20", headers=headers(number), environ_base={"REMOTE_ADDR": PUBLIC_ADDRESS}
    )
    assert response.status_code == 200, response.status_code


@contextmanager
def _redis() -> Iterator[tuple[str, int]]:
    """Context manager: start a Redis server without persistence; return its URL and its process id."""
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as folder, reserved_port() as port:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                url = f"redis://127.0.0.1:{port}/0"
                with redis.Redis.from_url(url) as client:
                    until(lambda: _answers(client), otherwise="redis-server did not start")
                yield url, process.pid
            finally:
                process.terminate()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def main() -> None:
    """Print the figures, one on each line."""
    for name, figure in measure().items():
        print(f"{name:30} {figure:14,.3f}")


if __name__ == "__main__":
    main()
