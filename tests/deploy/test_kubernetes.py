"""The Kubernetes manifests: every pod is restricted, probed and sized, and every reference has a target."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from taskapi.config.settings import Config
from tests.conftest import build
from tests.deploy.files import KUBERNETES, ROOT, config_map, env_file, kustomization, manifests, pods

OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
FOLDERS = ["base", *(f"overlays/{name}" for name in OVERLAYS)]

PODS = {f"{folder}: {name}": pod for folder in FOLDERS for name, pod in pods(folder).items()}
every_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS.keys())


def of_kind(kind: str, folder: str = "base") -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each["spec"] for each in manifests(folder) if each["kind"] == kind}


@every_pod
def test_a_pod_runs_without_root_capabilities_a_writable_file_system_or_access_to_the_cluster(pod: dict[str, Any]):
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@every_pod
def test_a_pod_requests_processor_time_and_memory_and_has_a_limit_of_memory(pod: dict[str, Any]):
    for container in pod["containers"]:
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize("name", ["api", "frontend"])
def test_the_liveness_probe_does_not_depend_on_the_database(name: str, sqlite_database_url: str):
    (container,) = pods("base")[f"Deployment/{name}"]["containers"]
    readiness, liveness = (container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe"))
    assert readiness != liveness
    assert container["startupProbe"]["httpGet"]["path"] == liveness
    if name == "api":
        app: Flask = build(sqlite_database_url)
        assert {app.url_map.bind("").match(path)[0] for path in (readiness, liveness)} == {
            "health.readyz",
            "health.healthz",
        }
    else:
        assert (ROOT / "frontend/src/app" / liveness.lstrip("/")).exists()


@pytest.mark.parametrize("name", ["api", "frontend"])
def test_a_program_scales_by_processor_time_and_survives_the_loss_of_a_node_and_an_upgrade(name: str):
    scaler = of_kind("HorizontalPodAutoscaler")[name]
    assert scaler["scaleTargetRef"]["name"] == name
    assert scaler["minReplicas"] >= 2
    (metric,) = scaler["metrics"]
    assert metric["resource"]["name"] == "cpu"
    assert of_kind("PodDisruptionBudget")[name]["maxUnavailable"] == 1
    assert of_kind("Deployment")[name]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert "replicas" not in of_kind("Deployment")[name]  # otherwise each `kubectl apply` undoes the autoscaler


def test_running_requests_may_finish_before_a_pod_is_killed():
    graceful = int(re.findall(r"^graceful_timeout = (\d+)$", (ROOT / "gunicorn.conf.py").read_text(), re.MULTILINE)[0])
    pod = pods("base")["Deployment/api"]
    (container,) = pod["containers"]
    (_, delay) = container["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] >= graceful + int(delay) + 5


def test_traffic_is_denied_unless_a_policy_allows_it_and_policies_name_existing_pods():
    assert of_kind("NetworkPolicy")["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for folder in FOLDERS:
        names = {label["app.kubernetes.io/name"] for each in {"base", folder} for label in pod_labels(each)}
        text = [str(policy) for policy in of_kind("NetworkPolicy", folder).values()]
        named = {name for policy in text for name in re.findall(r"app.kubernetes.io/name': '(\w+)'", policy)}
        assert named <= names, folder


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_service_and_budget_selects_pods(folder: str):
    labels = [*pod_labels("base"), *pod_labels(folder)]
    selectors = [service["selector"] for service in of_kind("Service", folder).values()]
    selectors += [budget["selector"]["matchLabels"] for budget in of_kind("PodDisruptionBudget", folder).values()]
    for selector in selectors:
        assert any(selector.items() <= each.items() for each in labels), selector


def test_every_secret_that_a_pod_reads_is_generated(secrets_folder: Path):
    for name, pod in PODS.items():
        for container in pod["containers"]:
            for source in container["envFrom"]:
                if "secretRef" in source:
                    file = source["secretRef"]["name"].removeprefix("taskapi-") + ".env"
                    assert (secrets_folder / file).exists(), name
                else:
                    assert config_map(source["configMapRef"]["name"]), name


def test_only_the_migration_gets_the_role_that_owns_the_tables():
    reading = {name.rpartition("/")[2] for name, pod in PODS.items() if "taskapi-migrate" in str(pod["containers"])}
    assert reading == {"migrate-" + kustomization("base")["images"][0]["newTag"]}


def test_the_settings_of_the_frontend_are_documented_and_agree_with_those_of_the_api(secrets_folder: Path):
    frontend, api = config_map("taskapi-frontend"), config_map("taskapi-api")
    page = (ROOT / "docs/frontend.md").read_text()
    names = frontend.keys() | env_file(secrets_folder / "frontend.env").keys()
    assert [name for name in names - {"HOSTNAME"} if f"`{name}`" not in page] == []
    assert frontend["BETTER_AUTH_URL"] == api["JWT_ISSUER"] == api["JWT_AUDIENCE"] == api["CORS_ORIGINS"]
    assert frontend["API_URL"] == frontend["BETTER_AUTH_URL"] + api["URL_PREFIX"]


def test_the_ingress_exposes_the_api_without_readyz_and_the_receiver_of_logout_tokens(sqlite_database_url: str):
    (rule,) = of_kind("Ingress")["taskapi"]["rules"]
    paths = [path["path"] for path in rule["http"]["paths"] if path["backend"]["service"]["name"] == "api"]
    prefix = config_map("taskapi-api")["URL_PREFIX"]
    app = build(sqlite_database_url)
    private = {"/healthz", "/readyz", "/backchannel-logout"}
    for rule in app.url_map.iter_rules():
        exposed = any(f"{prefix}{rule.rule}/".startswith(f"{path}/") for path in paths)
        assert exposed is (rule.rule not in private), rule.rule


def test_the_connections_of_the_largest_deployment_are_those_of_the_comment():
    from taskapi.database.engine import POOL_SIZE

    replicas = of_kind("HorizontalPodAutoscaler")["api"]["maxReplicas"]
    connections = replicas * int(config_map("taskapi-api")["WEB_CONCURRENCY"]) * POOL_SIZE
    assert f": {connections} of the connections" in (KUBERNETES / "base/api.yaml").read_text()


def test_metrics_are_for_the_namespace_of_prometheus_only():
    port = config_map("taskapi-api")["METRICS_PORT"]
    (container,) = pods("base")["Deployment/api"]["containers"]
    assert {"name": "metrics", "containerPort": int(port)} in container["ports"]
    admitted = [rule for rule in of_kind("NetworkPolicy")["api"]["ingress"] if rule["ports"] == [{"port": "metrics"}]]
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert [rule["from"] for rule in admitted] == [[monitoring]]
    assert all(each["name"] != "metrics" for each in of_kind("Service")["api"]["ports"])


def test_the_daily_purge_runs_the_command_and_never_twice_at_a_time():
    purge = of_kind("CronJob")["purge"]
    assert purge["concurrencyPolicy"] == "Forbid"
    assert re.fullmatch(r"\d+ \d+ \* \* \*", purge["schedule"])
    (container,) = pods("base")["CronJob/purge"]["containers"]
    assert container["command"] == ["flask", "purge"]


def test_the_configuration_of_every_overlay_is_accepted_by_the_service(secrets_folder: Path):
    settings = config_map("taskapi-api") | env_file(secrets_folder / "api.env")
    assert Config.from_env(settings).trusted_proxies == 1


def pod_labels(folder: str) -> list[dict[str, str]]:
    found = []
    for document in manifests(folder):
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            found.append(spec["template"]["metadata"]["labels"])
    return found
