"""compose.yaml: each service is restricted, has a health check and its own secrets, and nothing but nginx is reachable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.files import ROOT, compose, services

every_service = pytest.mark.parametrize("name", services())


@every_service
def test_a_service_runs_without_root_capabilities_and_a_writable_file_system(name: str):
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & service.keys()
    user = service["user"] if "build" not in service else dockerfile_user(service["build"]["context"])
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


@every_service
def test_a_service_that_keeps_running_has_a_health_check(name: str):
    service = services()[name]
    if name in {"migrate", "purge"}:
        assert service["healthcheck"] == {"disable": True}
    else:
        assert "test" in service.get("healthcheck", {}) or "HEALTHCHECK" in dockerfile(service["build"]["context"])


@every_service
def test_a_service_waits_for_what_it_needs(name: str):
    needed = {"api": {"migrate", "redis"}, "migrate": {"postgresql"}, "frontend": {"postgresql"}}
    needed |= {"purge": {"migrate"}, "nginx": {"api", "frontend"}}
    waits = services()[name].get("depends_on", {})
    assert set(waits) == needed.get(name, set())
    for other, condition in waits.items():
        expected = "service_completed_successfully" if other == "migrate" else "service_healthy"
        assert condition == {"condition": expected}


@every_service
def test_secrets_come_from_generated_files_and_no_value_is_a_default_password(name: str, secrets_folder: Path):
    service = services()[name]
    for file in service.get("env_file", []):
        folder, _, generated = file.rpartition("/")
        assert folder == "deploy/secrets"
        assert (secrets_folder / generated).exists()
    secret = re.compile(r"SECRET|PASSWORD|DATABASE_URL|REDIS_URL")
    assert [key for key in service.get("environment", {}) if secret.search(key)] == []


def test_every_generated_file_is_used(secrets_folder: Path):
    used = {file.rpartition("/")[2] for service in services().values() for file in service.get("env_file", [])}
    assert used == {path.name for path in secrets_folder.glob("*.env")}


def test_only_nginx_has_a_port_on_the_host():
    assert [name for name, service in services().items() if "ports" in service] == ["nginx"]


def test_the_databases_are_on_a_network_without_a_way_out():
    assert compose()["networks"]["data"] == {"internal": True}
    assert [services()[name]["networks"] for name in ("postgresql", "redis", "migrate", "purge")] == [["data"]] * 4


def test_own_images_are_built_and_never_looked_up_in_a_registry():
    own = {name for name, service in services().items() if service["image"].startswith("taskapi")}
    assert own == {"api", "migrate", "purge", "frontend"}
    assert {services()[name]["pull_policy"] for name in own} == {"build"}


def test_base_images_are_those_of_the_dockerfiles():
    for name in ("api", "frontend"):
        build = services()[name]["build"]
        argument = "PYTHON_IMAGE" if name == "api" else "NODE_IMAGE"
        default = re.search(rf"^ARG {argument}=(\S+)$", dockerfile(build["context"]), re.MULTILINE)
        assert default is not None
        assert build["args"][argument] == f"${{{argument}:-{default[1]}}}"


def dockerfile(context: str) -> str:
    return (ROOT / context / "Dockerfile").read_text()


def dockerfile_user(context: str) -> str:
    return re.findall(r"^USER (\S+)$", dockerfile(context), re.MULTILINE)[-1]
