"""The pages: console sessions are executed, and files, settings, tests and links that they name exist."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest
from flask import Flask

from taskapi.config.environment import LOG_LEVELS
from taskapi.config.settings import Config
from taskapi.server.settings import ServerSettings
from tests import console
from tests.auth.issuer import logout_token
from tests.conftest import token
from tests.threaded_server import serve

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture
def address(make_app: Callable[..., Flask]) -> Iterator[tuple[str, int]]:
    """The address of a server with default settings."""
    with serve(make_app()) as port:
        yield ("127.0.0.1", port)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_session_of_a_page_answers_as_printed(page: Path, address: tuple[str, int]) -> None:
    variables = {
        "AUTH": f"Authorization: Bearer {token('alice')}",
        "JSON": "Content-Type: application/json",
        "SESSION": f"Authorization: Bearer {token('alice', sid='s-1')}",
        "LOGOUT_TOKEN": logout_token("alice", "s-1"),
    }
    for step in console.steps(page):
        if step.command.startswith("curl "):
            console.run(step, variables, address)


def test_the_readme_shows_success_401_and_403_before_line_25() -> None:
    top = "\n".join(README.splitlines()[:25])
    assert all(part in top for part in ("make run", '"title":"Buy milk"', '"status":401', '"status":403'))


def test_the_settings_table_names_the_settings_of_the_code() -> None:
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE))
    files = ("config/settings.py", "config/environment.py", "config/proxies.py", "server/settings.py")
    source = "".join((ROOT / "taskapi" / file).read_text() for file in files)
    read = set(re.findall(r"""["']([A-Z]+(?:_[A-Z]+)*)["']""", source)) - set(LOG_LEVELS)
    assert documented == read - {"FLASK_RUN_FROM_CLI", "PGOPTIONS"}  # of Flask and of libpq


@pytest.mark.parametrize("value", ["", " "], ids=["empty", "blank"])
def test_every_variable_of_the_settings_table_counts_as_absent_if_it_is_empty(value: str) -> None:
    names = re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE)
    assert len(names) > 15
    key_source = {"BETTER_AUTH_JWKS_URL": "https://app.example.com/jwks"}
    for name in names:
        others = key_source if name not in key_source else {"BETTER_AUTH_URL": "https://app.example.com"}
        assert Config.from_env({**others, name: value}) == Config.from_env(others), name
        assert ServerSettings.from_env({name: value}) == ServerSettings.from_env({}), name


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
    layout = re.search(r"## Layout\n\n```\n(.*?)```", README, re.DOTALL)
    assert layout is not None
    named = set(re.findall(r"^  (\w+(?:\.py|/))", layout[1], re.MULTILINE))
    package = ROOT / "taskapi"
    existing = {path.name + "/" * path.is_dir() for path in package.iterdir() if path.name != "__pycache__"}
    assert named == existing


def section(page: str, heading: str) -> str:
    """The text of a page from a heading to the next one of level 2."""
    return (ROOT / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The rows of the Markdown tables in a text, with their header rows and without the lines below these."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| [^-]", line)]


CHECKED_TABLES = {
    "limits": ("SECURITY.md", "What a client can make the service spend", 80),
    "isolation": ("docs/architecture.md", "Isolation layers", 20),
    "overrides": ("docs/overrides.md", "Table", 50),
}
"""Page and heading of each table that names code and tests, and how many references it has at least."""

REFERENCE = re.compile(r"`[\w./-]+\.(?:py|ts|cfg)`(?:,? `[^`]+`)*")
"""A cell that is a path, or a path and symbols in that file; any other cell is prose."""


@pytest.mark.parametrize(("page", "heading", "least"), CHECKED_TABLES.values(), ids=CHECKED_TABLES.keys())
def test_every_reference_in_a_table_names_a_file_and_a_symbol_that_exist(page: str, heading: str, least: int) -> None:
    cells = [cell for row in rows(section(page, heading)) for cell in row]
    references = [re.findall("`([^`]+)`", cell) for cell in cells if REFERENCE.fullmatch(cell)]
    assert len(references) >= least
    for file, *names in references:
        text = (ROOT / file).read_text()
        assert all(re.search(rf"\b{name}\b", text) for name in names), (file, names)


def test_the_import_order_of_the_architecture_page_is_that_of_import_linter() -> None:
    rules = ConfigParser()
    rules.read(ROOT / "setup.cfg")
    layers = [set(re.findall(r"\w+", layer)) for layer in rules["importlinter:contract:layers"]["layers"].split("\n")]
    folders = [row[0] for row in rows(section("docs/architecture.md", "Import order"))[1:]]
    assert [set(re.findall(r"`(\w+)(?:/|\.py)`", folder)) for folder in folders] == [layer for layer in layers if layer]


LINKING_PAGES = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"))]


@pytest.mark.parametrize("page", LINKING_PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_or_heading_has_a_target(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text()):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_and_contributing_link_the_architecture_page_before_any_other() -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        links = re.findall(r"\]\(((?:docs/)[\w-]+\.md)", (ROOT / page).read_text())
        assert links[0] == "docs/architecture.md", page
