"""The command of Redis in compose.yaml and in the Kubernetes overlay, executed: it requires the password and saves nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.deploy.files import pods, services
from tests.gunicorn_server import stopping
from tests.ports import reserved_port
from tests.waiting import until

PASSWORD = "a-password-for-tests"

# Compose replaces `$$` by `$`.
COMMANDS = {
    "compose": [part.replace("$$", "$") for part in services()["redis"]["command"]],
    "kubernetes": pods("overlays/evaluation")["Deployment/redis"]["containers"][0]["command"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_redis_requires_the_password_and_saves_nothing(command: list[str], tmp_path: Path):
    if shutil.which("redis-server") is None:
        assert not os.environ.get("CI"), "redis-server is missing: its settings were not tested"
        pytest.skip("redis-server is not installed: its settings are not tested")
    with reserved_port() as port:
        # The test's own address is the last line of the settings.
        shell, option, script = command
        script = script.replace("\nEOF", f"\nport {port}\nbind 127.0.0.1\nEOF")
        environ = {"PATH": os.environ["PATH"], "REDIS_PASSWORD": PASSWORD}
        process = subprocess.Popen([shell, option, script], env=environ, cwd=tmp_path, stdout=subprocess.DEVNULL)
        with stopping(process):
            until(lambda: refuses(port), otherwise="Redis did not start")
            with client(port, PASSWORD) as connection:
                assert connection.ping()
                assert connection.config_get("save") == {"save": ""}
                assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-ttl"}
    assert list(tmp_path.iterdir()) == []


def refuses(port: int) -> bool:
    """Return whether a server listens; AssertionError if it needs no password."""
    with client(port) as connection:
        try:
            connection.ping()
        except redis.AuthenticationError:
            return True
        except redis.ConnectionError:
            return False
        raise AssertionError("a client without the password was accepted")


def client(port: int, password: str | None = None) -> Any:
    return redis.Redis("127.0.0.1", port, password=password, decode_responses=True)
