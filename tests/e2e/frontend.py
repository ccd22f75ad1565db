"""The frontend with its production settings: `next build` once, `next start` for each configuration."""

from __future__ import annotations

import fcntl
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
BUILD_INPUTS = ("next.config.ts", "package.json", "package-lock.json", "tsconfig.json")
"""Files that `next build` reads besides `src` and `public`."""

START_TIMEOUT = 60
"""Seconds until the first response of Next.js; a limit of the tests."""
STOP_TIMEOUT = 60


def browser() -> str | None:
    """Return the path of Chromium; its headless shell, which uses half of the CPU time, if it is installed."""
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


def missing_programs() -> list[str]:
    """Return the names of the programs that browser tests need and that are not installed."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    return missing if browser() else [*missing, "chromium-headless-shell"]


def build() -> None:
    """Install the packages and build, unless both were done with the present files.

    Tests run in several processes: one of them builds, and the others wait for it.
    """
    name = hashlib.sha256(str(FRONTEND).encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"taskapi-build-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _build()


def _build() -> None:
    lock = FRONTEND / "package-lock.json"
    # A link leads to the packages of another checkout, and `npm ci` would delete them there.
    linked = INSTALLED.parent.is_symlink()
    if not linked and (not INSTALLED.exists() or INSTALLED.stat().st_mtime < lock.stat().st_mtime):
        _run("npm", "ci", "--no-audit", "--no-fund")
    digest = _source_digest()
    if not BUILT.exists() or BUILT.read_text() != digest:
        _run("npm", "run", "build")
        BUILT.write_text(digest)


def _source_digest() -> str:
    """Return a digest of the files that the build depends on: no tests and no settings of other tools."""
    digest = hashlib.sha256()
    files = [FRONTEND / name for name in BUILD_INPUTS]
    files += [path for name in ("src", "public") for path in (FRONTEND / name).rglob("*") if path.is_file()]
    for path in sorted(files):
        if ".test." not in path.name:
            digest.update(f"{path.relative_to(FRONTEND)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _run(*command: str) -> None:
    environ = {**os.environ, "NEXT_TELEMETRY_DISABLED": "1"}
    process = subprocess.run(command, cwd=FRONTEND, env=environ, capture_output=True, text=True, check=False)
    assert process.returncode == 0, f"{' '.join(command)}\n{process.stdout}{process.stderr}"


@contextmanager
def serve(port: int, **settings: str) -> Iterator[Path]:
    """Run `next start` with these environment variables until the context ends; yield the file of its output.

    Next.js cannot inherit a socket: the caller has reserved the port.
    """
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
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=START_TIMEOUT):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"the frontend did not start:\n{log.read_text()}")
