"""What README and docs show is executed, and what they list exists."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import make_server

from taskapi.config import LOG_LEVELS, Config
from tests import console
from tests.auth.issuer import logout_token
from tests.conftest import token

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture
def address(make_app: Callable[..., Flask]) -> Iterator[tuple[str, int]]:
    """A server with the settings that one has who sets none."""
    server = make_server("127.0.0.1", 0, make_app(), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield ("127.0.0.1", server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_session_of_a_page_answers_as_printed(page: Path, address: tuple[str, int]) -> None:
    variables = {
        "AUTH": f"Authorization: Bearer {token('alice')}",
        "JSON": "Content-Type: application/json",
        "SESSION": f"Authorization: Bearer {token('alice', sid='s-1')}",
        "NOTICE": logout_token("alice", "s-1"),
    }
    for step in console.steps(page):
        if step.command.startswith("curl "):
            console.run(step, variables, address)


def test_the_readme_shows_success_401_and_403_before_line_25() -> None:
    top = "\n".join(README.splitlines()[:25])
    assert all(part in top for part in ("make run", '"title":"Buy milk"', '"status":401', '"status":403'))


def test_the_settings_table_names_the_settings_of_the_code() -> None:
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE))
    source = (ROOT / "taskapi/config.py").read_text() + (ROOT / "gunicorn.conf.py").read_text()
    read = set(re.findall(r"""["']([A-Z]+(?:_[A-Z]+)*)["']""", source)) - set(LOG_LEVELS)
    assert documented == read - {"FLASK_RUN_FROM_CLI"}


def test_the_settings_table_gives_the_defaults_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", README, re.MULTILINE))
    fields = {field.name.upper(): field.default for field in dataclasses.fields(Config)}
    assert rows["LOG_LEVEL"] == f"`{fields['LOG_LEVEL']}`"
    assert rows["REQUIRE_IF_MATCH"] == f"`{str(fields['REQUIRE_IF_MATCH']).lower()}`"
    assert rows["DATABASE_URL"] == "SQLite in `instance/`"
    assert fields["DATABASE_URL"] == "sqlite:///taskapi.db"


def test_the_settings_table_of_the_frontend_names_the_settings_of_its_code() -> None:
    frontend = (ROOT / "docs/frontend.md").read_text()
    rows = re.findall(r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \|", frontend, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"[A-Z_]+", row)}
    source = (ROOT / "frontend/src/server/settings.ts").read_text()
    read = set(re.findall(r"""\b(?:get|required|duration|choice|origin)\(\s*"([A-Z_]+)\"""", source))
    assert documented == read | {"BETTER_AUTH_SECRET"}


def test_the_layout_names_every_module_and_nothing_else() -> None:
    layout = re.search(r"## The house\n\n```\n(.*?)```", README, re.DOTALL)
    assert layout is not None
    named = set(re.findall(r"^  (\w+(?:\.py|/))", layout[1], re.MULTILINE))
    package = ROOT / "taskapi"
    there = {path.name + "/" * path.is_dir() for path in package.iterdir() if path.name != "__pycache__"}
    assert named == there


def test_every_limit_in_security_md_names_code_and_a_test_that_exist() -> None:
    section = (ROOT / "SECURITY.md").read_text().partition("make the service spend\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    places = [place for _cost, _limit, *places in rows for place in places if "`" in place]
    assert len(places) > 80
    for place in places:
        file, *names = re.findall("`([^`]+)`", place)
        text = (ROOT / file).read_text()
        assert all(re.search(rf"\b{name}\b", text) for name in names), place


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
