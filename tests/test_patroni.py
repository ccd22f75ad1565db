"""The Patroni configuration in deploy/patroni: durable settings, and valid for Patroni where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

FILE = Path(__file__).resolve().parent.parent / "deploy/patroni/patroni.yml"


def test_a_commit_needs_a_standby_and_is_never_acknowledged_without():
    settings = yaml.safe_load(FILE.read_text())["bootstrap"]["dcs"]
    assert settings["synchronous_mode"] in (True, "quorum")
    assert settings["synchronous_mode_strict"] is True
    assert settings["synchronous_node_count"] == 1


def test_a_primary_gives_up_before_its_lease_ends():
    """Patroni's rule: ttl is at least loop_wait + 2 retry_timeout."""
    settings = yaml.safe_load(FILE.read_text())["bootstrap"]["dcs"]
    assert settings["ttl"] >= settings["loop_wait"] + 2 * settings["retry_timeout"]


def test_the_configuration_has_no_password():
    assert "password:" not in FILE.read_text()


def test_patroni_accepts_the_configuration(tmp_path: Path):
    """All but what only a host of the cluster has: etcd, the programs of PostgreSQL and the network."""
    patroni = shutil.which("patroni")
    if patroni is None:
        pytest.skip("patroni is not installed: its configuration was not validated")
    for name in ("postgres", "pg_controldata", "pg_ctl", "pg_isready", "initdb", "pg_rewind", "pg_basebackup"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.0'\n")
        (tmp_path / name).chmod(0o755)
    environ = {"PATH": os.environ["PATH"], "PATRONI_POSTGRESQL_BIN_DIR": str(tmp_path)}
    done = subprocess.run(
        [patroni, "--validate-config", FILE], env=environ, capture_output=True, text=True, check=False
    )
    problems = [line for line in (done.stdout + done.stderr).splitlines() if "is not reachable" not in line]
    assert problems == []
