"""The frontend as production runs it: `next build` once, `next start` for each configuration."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FRONTEND = Path(__file__).resolve().parents[2] / "frontend"
INSTALLED = FRONTEND / "node_modules" / ".package-lock.json"
BUILT = FRONTEND / ".next" / "built-from"

STARTING = 60
"""Seconds that Next.js may take to answer first."""


def missing() -> list[str]:
    """What this machine lacks for a test in a browser."""
    return [name for name in ("node", "npm", "chromium") if shutil.which(name) is None]


def build() -> None:
    """Install and build, unless that was done from exactly these files."""
    lock = FRONTEND / "package-lock.json"
    if not INSTALLED.exists() or INSTALLED.stat().st_mtime < lock.stat().st_mtime:
        _run("npm", "ci", "--no-audit", "--no-fund")
    sources = _digest()
    if not BUILT.exists() or BUILT.read_text() != sources:
        _run("npm", "run", "build")
        BUILT.write_text(sources)


def _digest() -> str:
    digest = hashlib.sha256()
    files = [path for path in FRONTEND.iterdir() if path.is_file() and path.name != "next-env.d.ts"]
    files += [path for name in ("src", "public") for path in (FRONTEND / name).rglob("*") if path.is_file()]
    for path in sorted(files):
        digest.update(f"{path.relative_to(FRONTEND)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _run(*command: str) -> None:
    environ = {**os.environ, "NEXT_TELEMETRY_DISABLED": "1"}
    done = subprocess.run(command, cwd=FRONTEND, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


@contextmanager
def serve(port: int, **settings: str) -> Iterator[Path]:
    """`next start` with these settings; gives the file that its log goes to."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "NEXT_TELEMETRY_DISABLED": "1",
        "NODE_ENV": "production",
        **settings,
    }
    command = ["node", "node_modules/next/dist/bin/next", "start", "-H", "127.0.0.1", "-p", str(port)]
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=FRONTEND, env=environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _wait_until_up(process, port, Path(log.name))
            yield Path(log.name)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"the frontend did not come up:\n{log.read_text()}")
