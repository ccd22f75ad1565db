"""Upgrades from each earlier release, and back, while clients read and write; as `tests/chaos/failures.py`.

A release is the code before a migration: the parent of the commit that added it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tarfile
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests import postgres
from tests.chaos.failures import await_writes
from tests.chaos.readers import reading
from tests.chaos.service import NO_RESPONSE, Service, run_service
from tests.chaos.writers import assert_no_write_lost, writing
from tests.conftest import serving
from tests.gunicorn_server import ROOT
from tests.waiting import until

VERSIONS = "migrations/versions"

ROW_LEVEL_SECURITY = "0005"
"""On PostgreSQL code from before this migration finds no rows after it: docs/operations.md, Upgrade."""


@dataclass(frozen=True)
class Release:
    """The code of a commit, and the newest migration that it has."""

    commit: str
    head: str


def _git(*words: str) -> bytes:
    # Without the variables that git sets in its hooks, which would name another repository.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, check=True, env=environ).stdout


def releases() -> list[Release]:
    """Return the releases in the order of their migrations; skip the test without the history (a shallow checkout)."""
    try:
        shallow = _git("rev-parse", "--is-shallow-repository").strip() == b"true"
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout: the code of earlier releases is missing")
    if shallow:
        pytest.skip("a shallow checkout: the code of earlier releases is missing (git fetch --unshallow)")
    found: dict[str, Release] = {}
    for script in sorted((ROOT / VERSIONS).glob("[0-9]*.py"))[1:]:
        added = _git("log", "--diff-filter=A", "--format=%H", "--", f"{VERSIONS}/{script.name}").decode().split()
        if added:  # not yet committed
            commit = f"{added[-1]}^"
            names = _git("ls-tree", "--name-only", commit, f"{VERSIONS}/").decode().split()
            head = max(Path(name).name[:4] for name in names if Path(name).name[:4].isdigit())
            found[head] = Release(commit, head)
    return [found[head] for head in sorted(found)]


def extract(release: Release, folder: Path) -> Path:
    """Write the code of a release into a new folder, and return it."""
    code = folder / release.head
    with tarfile.open(fileobj=BytesIO(_git("archive", release.commit))) as archive:
        archive.extractall(code, filter="data")
    return code


def _flask(url: str, *words: str) -> None:
    settings = {} if url.startswith("sqlite") else {"MIGRATION_DATABASE_URL": postgres.as_owner(url)}
    with serving(url, **settings) as app:
        result = app.test_cli_runner().invoke(args=[*words])
    assert result.exit_code == 0, result.output


def _replace(services: ExitStack, old: Service, url: str, listener: socket.socket, code: Path) -> Service:
    """Start the service of another release on the same socket, then stop the old one with SIGTERM."""
    new = services.enter_context(run_service(url, workers=2, code=code, listener=listener))
    old.process.send_signal(signal.SIGTERM)
    old.process.wait(60)
    return new


def upgrade(url: str, release: Release, folder: Path, *, clients: int = 4, writes: int = 10) -> dict[str, Any]:
    """Run a release on its own schema; migrate, start this code, and go back to the release on the new schema.

    Clients write and read meanwhile, and no request fails. Then the migrations are undone under writes.
    """
    code = extract(release, folder)
    _flask(url, "db", "upgrade", release.head)
    with ExitStack() as services:
        listener = services.enter_context(socket.create_server(("127.0.0.1", 0)))
        old = services.enter_context(run_service(url, workers=2, code=code, listener=listener))
        with writing(old, clients, keyed=False) as log, reading(old, clients) as reads:
            await_writes(log, writes)
            _flask(url, "db", "upgrade")
            await_writes(log, writes)  # the release on the new schema
            new = _replace(services, old, url, listener, ROOT)
            await_writes(log, writes)
            _replace(services, new, url, listener, code)
            await_writes(log, writes)
            _flask(url, "db", "downgrade", release.head)
            await_writes(log, writes)
        failed_reads = [request.status for request in reads.requests if request.status != 200]
        figures = {"from": release.head, "reads": len(reads.requests), "failed_reads": failed_reads, **log.audit()}
    assert_no_write_lost(figures)
    assert set(log.outcomes) <= {201, NO_RESPONSE}, figures
    assert log.outcomes[NO_RESPONSE] == log.disconnects, figures
    assert not failed_reads, figures
    return figures


def reload(url: str, folder: Path, *, times: int, clients: int = 4) -> dict[str, Any]:
    """Replace the code on disk and send SIGHUP to the master, `times` times, while clients write and read.

    Then put code there that does not start: the running code stays.
    """
    code = folder / "checkout"
    for name in ("taskapi", "migrations"):
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("wsgi.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / name, code)
    with run_service(url, workers=2, code=code) as running:
        with writing(running, clients) as log, reading(running, clients) as reads:
            for number in range(times):
                await_writes(log, clients)
                _set_version(code, f'"9.{number}"')
                running.process.send_signal(signal.SIGHUP)
                until(lambda number=number: _version(running) == f"9.{number}", otherwise="the old code still runs")
                until(lambda: len(running.workers()) == 2, otherwise="old workers still run")
            _set_version(code, "1 / 0")
            running.process.send_signal(signal.SIGHUP)
            until(lambda: "does not start" in running.log.read_text())
            await_writes(log, clients)
            assert _version(running) == f"9.{times - 1}"
        failed_reads = [request.status for request in reads.requests if request.status != 200]
        figures = {"times": times, "reads": len(reads.requests), "failed_reads": failed_reads, **log.audit()}
        assert running.process.poll() is None
    assert_no_write_lost(figures)
    assert figures["abandoned"] == figures["made_unacknowledged"] == 0, figures
    assert set(log.outcomes) <= {201, 409, NO_RESPONSE}, figures
    assert log.outcomes[NO_RESPONSE] == log.disconnects, figures
    assert not failed_reads, figures
    return figures


def _set_version(code: Path, value: str) -> None:
    """Write a Python expression as the version into a new file, as git and rsync replace a file."""
    file = code / "taskapi/config/settings.py"
    changed = re.sub(r"^VERSION = .*$", f"VERSION = {value}", file.read_text(), flags=re.MULTILINE)
    replacement = file.with_suffix(".new")
    replacement.write_text(changed)
    replacement.rename(file)


def _version(running: Service) -> str:
    version: str = running.get("/openapi.json").json["info"]["version"]
    return version
