"""The Dockerfiles: pinned packages, no compiler, and nothing in the build context that no instruction copies."""

from __future__ import annotations

import re

import pytest

from tests.deploy.files import ROOT

CONTEXTS = (".", "frontend")

every_image = pytest.mark.parametrize("context", CONTEXTS)


def text(context: str) -> str:
    return (ROOT / context / "Dockerfile").read_text()


def copied(context: str) -> set[str]:
    """Return the files and folders that are copied from the build context."""
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", text(context), re.MULTILINE)
    return {name for line in lines for name in line.split()}


@every_image
def test_the_build_context_has_what_is_copied_and_nothing_else(context: str):
    rules = (ROOT / context / ".dockerignore").read_text().splitlines()
    assert "*" in rules
    assert {rule[1:].rstrip("/") for rule in rules if rule.startswith("!")} == copied(context)
    assert all((ROOT / context / name).exists() for name in copied(context))


@every_image
def test_the_final_stage_installs_and_builds_nothing(context: str):
    final = text(context).rpartition("\nFROM ")[2]
    assert "\nRUN " not in final
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*$", final, re.MULTILINE)


def test_packages_are_installed_by_the_hashes_of_the_lock_files():
    assert "--only-binary :all: --require-hashes -r /build/requirements.txt" in text(".")
    assert "npm ci --ignore-scripts" in text("frontend")


@every_image
def test_every_stage_is_built_on_one_base_that_can_be_replaced(context: str):
    (argument,) = re.findall(r"^ARG (\w+_IMAGE)=", text(context), re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", text(context), re.MULTILINE)) == {f"${{{argument}}}"}


def test_no_file_names_the_host_of_a_registry():
    """The first part of an image's name is a host if it has a dot or a port."""
    files = [ROOT / "compose.yaml", *(ROOT / context / "Dockerfile" for context in CONTEXTS)]
    files += [*(ROOT / "deploy").rglob("*.yaml"), *(ROOT / ".github").rglob("*.yml")]
    for file in files:
        for image in re.findall(r"(?:image|newName|_IMAGE)(?::|=|:-)\s*([\w./:@-]+)", file.read_text()):
            host, slash, _ = image.partition("/")
            assert not (slash and re.search(r"[.:]", host)), (file, image)
