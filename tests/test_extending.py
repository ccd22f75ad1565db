"""The examples of docs/extending.md: their diffs apply to a copy of this checkout, and the tests of the result pass."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/extending.md"

NOT_COPIED = shutil.ignore_patterns(".*", "node_modules", "instance", "screenshots", "__pycache__", "peers")

OUTER_RUN = ("PYTEST_XDIST", "TEST_DATABASE_URL")
"""Prefixes of the variables of this run that the run on the copy must not share: its databases have the same names."""

MIGRATIONS = "database/test_migrations.py"

INVARIANTS = (
    "test_every_route_is_in_the_table_of_these_tests",
    "test_every_statement_names_the_owner",
    "test_only_modules_with_statements_import_the_models",
    "test_imports_follow_the_contracts_of_setup_cfg",
    "test_every_described_operation_exists",
    "test_the_migrated_schema_equals_the_models",
)
"""Tests of the whole suite that guard new statements, modules, operations and tables."""

EXAMPLES = {
    "Add a resource": (
        ("notes", *INVARIANTS),
        (
            "notes",
            "test_invariants.py",
            "test_modules.py",
            "docs/test_openapi.py",
            "database/test_row_security.py",
            "tasks/test_long_requests.py",
            MIGRATIONS,
        ),
    ),
    "Add a member to tasks": (
        ("location", "has_defaults", "test_a_task_goes_out", "api.md", INVARIANTS[-1]),
        ("tasks/test_location.py", "tasks/test_routes.py", "http/test_serialization.py", "test_pages.py", MIGRATIONS),
    ),
}
"""By heading of the page: the tests that run on the changed copy, by name and by path."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT, tmp_path / "checkout", ignore=NOT_COPIED, symlinks=True))


def diffs(heading: str) -> str:
    """All diffs of one section of the page, as one patch."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return "".join(re.findall(r"^```diff\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))


def apply(patch: str, checkout: Path) -> None:
    """Apply a patch with `git apply`, or fail with what to do about it."""
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(checkout.parent)}
    command = ["git", "apply", "--whitespace=nowarn", "-"]
    done = subprocess.run(
        command, cwd=checkout, input=patch, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (
        f"A diff of {PAGE.name} no longer applies to the code:\n{done.stderr}"
        "Apply the example with `git apply --reject`, make the rejected changes by hand, "
        "and replace its diffs by those that `git diff -U1` prints."
    )


@pytest.mark.skipif(not shutil.which("git") and not os.environ.get("CI"), reason="git is not installed")
@pytest.mark.parametrize("heading", EXAMPLES)
def test_an_example_applies_to_the_checkout_and_its_tests_pass(heading: str, checkout: Path) -> None:
    apply(diffs(heading), checkout)
    names, paths = EXAMPLES[heading]
    command = [sys.executable, "-m", "pytest", "-q", "--basetemp", str(checkout.parent / "pytest")]
    command += ["-k", " or ".join(names), *(f"tests/{path}" for path in paths)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OUTER_RUN)}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"The example is no longer true for the code:\n{done.stdout[-5000:]}{done.stderr}"


def test_the_invariants_that_run_on_an_example_exist() -> None:
    """pytest selects by name, and is silent about a name that no test has any more."""
    source = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in INVARIANTS if f"def {name}(" not in source] == []


def test_the_example_of_a_resource_is_less_than_60_lines_of_code() -> None:
    """Without the migration, tests, the README, imports, docstrings and blank lines."""
    added: list[str] = []
    for part in re.split(r"^--- .*\n", diffs("Add a resource"), flags=re.MULTILINE)[1:]:
        if not part.startswith(("+++ b/migrations", "+++ b/tests", "+++ b/README")):
            added += re.findall(r"^\+(?!\+\+ )(.*)", part, re.MULTILINE)
    code = [line for line in added if line.strip() and not re.match(r'\s*("""|from |import )', line)]
    assert 30 < len(code) < 60
