"""The GitHub workflow: runs .ci/run with read access only, publishes tags only, and pins what it runs."""

from __future__ import annotations

import re

import yaml

from tests.deploy.files import ROOT

WORKFLOW = ROOT / ".github/workflows/ci.yml"
JOBS = yaml.safe_load(WORKFLOW.read_text())["jobs"]


def test_every_action_is_pinned_by_commit_with_its_version_beside_it():
    uses = re.findall(r"uses: (.*)", WORKFLOW.read_text())
    assert len(uses) >= 6
    assert [line for line in uses if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_pushes_and_pull_requests_run_what_developers_run_with_read_access():
    assert yaml.safe_load(WORKFLOW.read_text())["permissions"] == {}
    assert JOBS["check"]["permissions"] == {"contents": "read"}
    assert JOBS["check"]["steps"][-1] == {"run": "bash .ci/run"}
    assert "if" not in JOBS["check"]


def test_images_are_published_for_tags_after_the_checks_with_provenance_and_packages():
    publish = JOBS["publish"]
    assert (publish["needs"], publish["if"]) == ("check", "startsWith(github.ref, 'refs/tags/v')")
    (push,) = (step for step in publish["steps"] if "build-push-action" in step.get("uses", ""))
    assert (push["with"]["provenance"], push["with"]["sbom"]) == ("mode=max", True)
    assert {image["context"] for image in publish["strategy"]["matrix"]["include"]} == {".", "frontend"}


def test_dependency_updates_cover_every_lock_file():
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    folders = {each["package-ecosystem"]: each.get("directories", [each.get("directory")]) for each in updates}
    for ecosystem, lock in {"pip": "requirements.txt", "npm": "package-lock.json", "docker": "Dockerfile"}.items():
        found = [path for depth in ("", "*/", "*/*/") for path in ROOT.glob(depth + lock)]
        locked = {f"/{path.parent.relative_to(ROOT)}".rstrip(".") for path in found}
        assert locked <= set(folders[ecosystem]), ecosystem
    assert {"docker-compose", "github-actions"} <= folders.keys()
