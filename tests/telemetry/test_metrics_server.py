"""/metrics of a running service: exact with several workers, also when they are killed, replaced and reloaded."""

from __future__ import annotations

import http.client
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from taskapi.server.metrics_endpoint import MAX_SCRAPES
from tests.chaos.service import Service, run_service
from tests.conftest import migrate, token
from tests.gunicorn_server import ROOT, STARTING, Request, Server
from tests.ports import reserved_port
from tests.server.test_settings import start
from tests.waiting import until

WORKERS = 3
CREATE = Request("POST", json={"title": "Buy milk"})


@dataclass(frozen=True)
class Measured:
    """A running service and the port of its metrics."""

    service: Service
    metrics_port: int

    def fetch(self, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
        """Send a request to the port of the metrics; return status and body."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=STARTING)) as connection:
            connection.request(method, path, headers={"Authorization": f"Bearer {token('alice')}"})
            response = connection.getresponse()
            return response.status, response.read().decode()

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the values of the samples of a name, by the values of their labels."""
        status, text = self.fetch()
        assert status == 200, text
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        }

    def created(self) -> tuple[int, int]:
        """Return the number of created tasks, from the counter and from the histogram."""
        requests = self.samples("taskapi_requests_total").get(("POST", "tasks.create", "201"), 0)
        durations = self.samples("taskapi_request_duration_seconds_count").get(("POST", "tasks.create"), 0)
        return int(requests), int(durations)

    def wait_until_created(self, total: int) -> None:
        """Wait until exactly so many tasks are counted: a request is counted just after its response was sent."""
        until(lambda: self.created() == (total, total), otherwise=f"{total} tasks were not counted")

    def create(self, number: int) -> int:
        """Create tasks over concurrent connections, so that all workers do; return how many got 201."""
        server = Server(self.service.port)
        with ThreadPoolExecutor(8) as pool:
            responses = pool.map(lambda n: server.send(f"user-{n % 8}", CREATE).status, range(number))
        return Counter(responses)[201]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    url = f"sqlite:///{tmp_path_factory.mktemp('metrics')}/x.db"
    migrate(url)
    with reserved_port() as port, run_service(url, workers=WORKERS, METRICS_PORT=str(port)) as service:
        yield Measured(service, port)


def own_settings(folder: Path, line: str) -> str:
    """Return the path of a configuration file with the settings of the service, and then a line of its own."""
    path = folder / "own.conf.py"
    path.write_text(f'exec(compile(open("{ROOT}/gunicorn.conf.py").read(), "gunicorn.conf.py", "exec"))\n{line}\n')
    return str(path)


def workers(measured: Measured) -> float:
    """Return how many workers sample; fails the wait of `until` as long as it is not `WORKERS`."""
    return measured.samples("taskapi_workers").get((), 0)


def test_sums_over_all_workers_are_exact_after_a_kill_a_termination_and_a_reload(measured: Measured) -> None:
    service, (before, _) = measured.service, measured.created()
    total = before + measured.create(60)
    assert total == before + 60
    measured.wait_until_created(total)

    service.kill_workers(2)
    assert measured.created() == (total, total), "a killed worker's numbers stay"
    total += measured.create(30)
    measured.wait_until_created(total)

    os.kill(service.workers()[0], signal.SIGTERM)
    until(lambda: len(service.workers()) == WORKERS)
    total += measured.create(30)
    measured.wait_until_created(total)

    old = {*service.workers()}
    service.process.send_signal(signal.SIGHUP)
    total += measured.create(60)
    until(lambda: len(service.workers()) == WORKERS and not old & {*service.workers()})
    total += measured.create(30)
    measured.wait_until_created(total)
    until(lambda: workers(measured) == WORKERS)


def test_a_killed_worker_is_missing_from_the_gauges_until_another_one_replaces_it(measured: Measured) -> None:
    until(lambda: workers(measured) == WORKERS)
    assert measured.samples("taskapi_slots_in_use") == {(): 0}
    assert measured.samples("taskapi_pool_connections_in_use") == {(): 0}
    assert measured.samples("taskapi_workers_configured") == {(): WORKERS}
    until(lambda: measured.samples("taskapi_purge_oldest_due_seconds") == {(): 0})


def test_a_frozen_worker_delays_no_scrape_and_is_no_longer_counted(measured: Measured) -> None:
    frozen = measured.service.workers()[0]
    os.kill(frozen, signal.SIGSTOP)
    try:
        until(lambda: workers(measured) == WORKERS - 1)
    finally:
        os.kill(frozen, signal.SIGCONT)
    until(lambda: workers(measured) == WORKERS)


def test_the_public_port_serves_no_metrics_and_the_port_of_the_metrics_nothing_else(measured: Measured) -> None:
    assert measured.service.get("/metrics", token("alice")).status == 404
    for path in ("/", "/healthz", "/api/alice/tasks", "/metrics/", "//metrics", "/openapi.json"):
        assert measured.fetch(path)[0] == 404, path
    assert measured.fetch(method="POST")[0] == 405


def test_the_port_of_the_metrics_is_bound_to_loopback_only(measured: Measured) -> None:
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    port = f":{measured.metrics_port:04X}"
    bound = [line.split()[1] for line in listening.splitlines() if line.split()[1].endswith(port) and " 0A " in line]
    assert bound == [f"0100007F{port}"]


def test_hostile_paths_methods_and_bodies_create_no_time_series_and_leave_nothing_of_them(measured: Measured) -> None:
    server = Server(measured.service.port)
    server.send("mallory-the-user", CREATE)
    series = len(measured.samples("taskapi_requests_total"))
    for number in range(20):
        for line in (f"GET /secret-{number}/x", f"BREW{number} /api/a-{number}/tasks", f"GET /api/b-{number}%0A/tasks"):
            assert server.raw(f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()).status >= 400
        assert server.raw(f"nonsense-{number}\r\n\r\n".encode()).status == 400
    assert len(measured.samples("taskapi_requests_total")) - series <= 4
    text = measured.fetch()[1]
    assert not any(word in text for word in ("secret", "BREW", "mallory", "user-1", "nonsense", "b-1"))
    assert measured.samples("taskapi_malformed_requests_total")[()] >= 20


def test_scrapers_that_hang_are_disconnected_and_others_get_their_turn(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    settings = own_settings(
        tmp_path, "from taskapi.server import metrics_endpoint; metrics_endpoint.SCRAPE_TIMEOUT = 1"
    )
    with reserved_port() as port, run_service(url, workers=1, settings=settings, METRICS_PORT=str(port)) as service:
        hanging = [socket.create_connection(("127.0.0.1", port)) for _ in range(2 * MAX_SCRAPES)]
        assert Measured(service, port).fetch()[0] == 200
        for connection in hanging:
            with connection:
                assert connection.recv(1) == b"", "the worker closes it"


# Start


def test_a_port_that_is_in_use_is_one_line_and_the_service_does_not_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as public:
        port = str(taken.getsockname()[1])
        public_port = str(public.getsockname()[1])
        public.close()
        failed = start("-m", "taskapi", METRICS_PORT=port, PORT=public_port, DATABASE_URL=f"sqlite:///{tmp_path}/x.db")
    assert failed.returncode == 1
    assert f"METRICS_PORT: cannot listen on 127.0.0.1 port {port}: Address already in use" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_gunicorns_own_workers_serve_without_metrics_and_the_log_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    settings = own_settings(tmp_path, "worker_class = 'gthread'")
    with reserved_port() as port, run_service(url, workers=1, settings=settings, METRICS_PORT=str(port)) as service:
        assert service.get("/healthz").status == 200
        assert "METRICS_PORT is ignored" in service.log.read_text()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
