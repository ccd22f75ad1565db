"""`VERSION` in taskapi/config/settings.py is the one source of the version: every other file agrees with it."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from taskapi.config.settings import VERSION
from tests.deploy.files import ROOT, kustomization, manifests, services


def test_the_version_is_a_semantic_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_make_version_prints_the_version_for_tags_and_image_labels():
    printed = subprocess.run(["make", "-s", "version"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed == f"{VERSION}\n"


def test_the_frontend_has_the_version():
    package = json.loads((ROOT / "frontend/package.json").read_text())
    lock = json.loads((ROOT / "frontend/package-lock.json").read_text())
    assert [package["version"], lock["version"], lock["packages"][""]["version"]] == [VERSION] * 3


@pytest.mark.parametrize("name", [name for name, service in services().items() if "build" in service])
def test_compose_builds_images_of_the_version(name: str):
    service = services()[name]
    assert service["image"].endswith(f":${{VERSION:-{VERSION}}}")
    assert service["build"]["args"]["VERSION"] == f"${{VERSION:-{VERSION}}}"


def test_kubernetes_runs_images_of_the_version_and_migrates_once_for_it():
    assert [image["newTag"] for image in kustomization("base")["images"]] == [VERSION, VERSION]
    (job,) = (document for document in manifests("base") if document["kind"] == "Job")
    assert job["metadata"]["name"] == f"migrate-{VERSION}"


def test_every_section_of_the_changelog_says_how_to_upgrade():
    sections = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    assert sections
    assert [section.splitlines()[0] for section in sections if "### Upgrading" not in section] == []
