"""Clients that are slow, silent or gone take nothing from the others, and are closed before long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.chaos.slow import serve_beside_lingering_clients, serve_beside_slow_clients
from tests.gunicorn_server import ROOT

IMPATIENT = f"""
exec(compile(open({str(ROOT / "gunicorn.conf.py")!r}).read(), "gunicorn.conf.py", "exec"))
import taskapi.serving  # after that file has let gevent patch what waits

taskapi.serving.ARRIVING = 5
"""


def test_slow_clients_are_closed_and_meanwhile_the_others_are_served(
    sqlite_url: str, tmp_path: Path, figures: Callable[..., None]
):
    settings = tmp_path / "impatient.conf.py"
    settings.write_text(IMPATIENT)
    figures(**serve_beside_slow_clients(sqlite_url, heads=60, bodies=40, silent=40, within=5, settings=str(settings)))


def test_clients_that_do_not_hang_up_hold_nobody_up(sqlite_url: str, figures: Callable[..., None]):
    figures(**serve_beside_lingering_clients(sqlite_url, count=20))
