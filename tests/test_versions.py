"""Installed and locked versions lie within the ranges of requirements.in: overrides of frameworks were tested there."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def ranges() -> dict[str, Requirement]:
    """Return the lines of requirements.in, by package."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.in").read_text().splitlines())
    return {requirement.name: requirement for requirement in map(Requirement, filter(None, lines))}


def check_version(requirement: Requirement, installed: str, where: str) -> None:
    """Raise AssertionError if a version is outside of the range of its line in requirements.in."""
    assert requirement.specifier.contains(installed, prereleases=True), (
        f"{requirement.name} {installed} ({where}) is outside of the tested range {requirement.specifier} of"
        " requirements.in. taskapi may override non-public parts of it: docs/overrides.md"
        " lists them, and the tests that compare each with stock behavior. Run those, then change requirements.in and"
        " the table."
    )


every_package = pytest.mark.parametrize("requirement", ranges().values(), ids=lambda requirement: requirement.name)


@every_package
def test_the_installed_version_is_within_the_tested_range(requirement: Requirement) -> None:
    check_version(requirement, version(requirement.name), "installed")


@every_package
def test_the_locked_version_is_within_the_tested_range(requirement: Requirement) -> None:
    pinned = re.search(
        rf"^{requirement.name}(?:\[\w+\])?==([^ ]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE
    )
    assert pinned, f"{requirement.name} is not in requirements.txt: run `make lock`"
    check_version(requirement, pinned[1], "requirements.txt")


def pins(name: str) -> dict[str, str]:
    """Return the pinned versions of a list, by package."""
    return dict(re.findall(r"^([\w.-]+)(?:\[\w+\])?==([^ ;]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_the_lists_of_packages_that_are_installed_together_pin_the_same_versions() -> None:
    service, traces, development = map(pins, ("requirements.txt", "requirements-otel.txt", "requirements-dev.txt"))
    assert {name: version for name, version in traces.items() if service.get(name, version) != version} == {}
    assert {**service, **traces}.items() <= development.items()


def test_packages_with_overridden_parts_have_an_upper_bound() -> None:
    capped = {name for name, requirement in ranges().items() if any(s.operator == "<" for s in requirement.specifier)}
    overridden = {"flask", "werkzeug", "flask-sqlalchemy", "sqlalchemy", "psycopg", "gunicorn", "gevent", "marshmallow"}
    assert overridden <= capped


@pytest.mark.parametrize("installed", ["3.1.2", "3.2.0", "3.2.0rc1", "4.0"])
def test_an_untested_version_fails_and_names_package_version_range_and_page(installed: str) -> None:
    with pytest.raises(AssertionError) as failure:
        check_version(ranges()["flask"], installed, "installed")
    message = str(failure.value)
    assert all(part in message for part in ("flask", installed, "<3.2,>=3.1.3", "docs/overrides.md"))
