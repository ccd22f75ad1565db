"""The computed plans of `python -m bench.capacity`, and the tables of docs/scale.md."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench import capacity, costs, limits, plan
from bench.plan import Load, compute

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/scale.md").read_text()
SMALL = Load(10_000)

OUTPUTS = re.findall(
    r"```console\n\$ python -m bench\.capacity([^\n]*)\n```\n\n(.*?)\n<!-- end of the output -->",
    PAGE,
    re.DOTALL,
)


@pytest.mark.parametrize(("arguments", "printed"), OUTPUTS, ids=[arguments.strip() for arguments, _ in OUTPUTS])
def test_a_table_of_the_page_is_the_output_of_its_command(
    arguments: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capacity.main(shlex.split(arguments))
    assert capsys.readouterr().out.strip() == printed.strip()


def test_the_page_has_the_tables_of_users_and_of_workers() -> None:
    assert len(OUTPUTS) == 2


def test_rates_storage_and_cores_grow_with_the_users() -> None:
    small, large = compute(Load(20_000_000)), compute(Load(40_000_000))
    for name in ("requests", "writes", "api_cores", "storage_tb", "redis_cores", "sign_out_rows", "purge_hours"):
        assert getattr(large, name) == pytest.approx(2 * getattr(small, name)), name
    assert large.database_cores == pytest.approx(2 * small.database_cores)
    assert large.pods > small.pods >= plan.MIN_PODS


def test_the_peak_is_the_average_times_its_factor() -> None:
    computed = compute(Load(864_000, active=0.5, requests=20.0, peak=4.0))
    assert computed.requests == pytest.approx(864_000 * 0.5 * 20 / 86_400 * 4)
    assert computed.writes == pytest.approx(computed.requests * 5 / 11)  # 3 creations and 2 toggles of 11 requests


def test_a_mix_weights_the_costs_of_its_workloads() -> None:
    mixed = Load(1, mix={"list20": 3.0, "create": 1.0})
    assert mixed.write_share == 0.25
    names = {name: cost.service for name, cost in costs.REQUESTS.items()}
    assert mixed.mean(names) == pytest.approx((3 * names["list20"] + names["create"]) / 4)


def test_a_small_deployment_exceeds_no_limit() -> None:
    assert list(limits.warnings(compute(SMALL))) == []


def exceeded(load: Load) -> set[int]:
    """The numbers of the limits that a load exceeds."""
    computed = compute(load)
    return {number for number, limit in enumerate(limits.LIMITS) if limit.is_exceeded(computed)}


REACHES = {
    "pods": (0, Load(10_000_000), Load(200_000_000)),
    "connections": (1, Load(5_000_000), Load(200_000_000)),
    "poolers": (2, Load(1_000_000), Load(200_000_000)),
    "redis": (3, Load(1_000_000), Load(100_000_000)),
    "sign-outs": (4, Load(1_000_000), Load(10_000_000)),
    "sign-outs with long tokens": (4, Load(1_000_000), Load(1_000_000, token_lifetime=7 * 86_400)),
    "sign-outs per second": (5, Load(100_000_000), Load(100_000_000, sign_outs=5.0)),
    "purge": (6, Load(1_000_000), Load(200_000_000)),
    "database cores": (7, Load(10_000_000), Load(10_000_000, server_cores=1)),
    "storage": (8, Load(1_000_000), Load(100_000_000)),
    "coordinator": (9, Load(40_000_000, server_cores=1000), Load(40_000_000, server_cores=1)),
    "shards": (10, Load(100_000_000), Load(1_000_000_000)),
}
"""The number of each limit, a load below it and one above, with a margin for costs that are measured again."""


@pytest.mark.parametrize(("number", "below", "above"), REACHES.values(), ids=REACHES.keys())
def test_a_limit_warns_only_beyond_it(number: int, below: Load, above: Load) -> None:
    assert number not in exceeded(below)
    assert number in exceeded(above)


def test_each_limit_has_a_load_below_and_above_it() -> None:
    assert {number for number, _, _ in REACHES.values()} == set(range(len(limits.LIMITS)))


def test_each_alert_of_a_limit_and_of_the_page_is_an_alert_rule() -> None:
    rules = yaml.safe_load((ROOT / "deploy/grafana/alerts.yaml").read_text())["groups"][0]["rules"]
    known = {rule["alert"] for rule in rules}
    assert {limit.alert for limit in limits.LIMITS if limit.alert} <= known
    assert set(re.findall(r"`(Taskapi\w+)`", PAGE)) <= known


def test_each_metric_of_the_page_is_a_metric_of_the_service() -> None:
    operations = (ROOT / "docs/operations.md").read_text()
    known = set(re.findall(r"^\| `(taskapi_\w+)` \|", operations, re.MULTILINE))
    named = set(re.findall(r"`(taskapi_\w+)", PAGE))
    assert named
    assert named <= known


def test_more_sign_outs_than_fit_into_memory_cost_each_request_a_statement() -> None:
    few, many = (plan.sign_out_read_cores(1000, 50_000, rows) for rows in (20_000, 20_001))
    assert few == pytest.approx((2_000 * costs.SIGN_OUT_READ + 1000 / 3600 * costs.SIGN_OUT_RELOAD) / 1e6 / plan.BUSY)
    assert many == pytest.approx(50_000 * costs.SIGN_OUT_LOOKUP / 1e6 / plan.BUSY)


def test_a_worker_reads_sign_outs_no_more_often_than_it_gets_requests() -> None:
    idle = plan.sign_out_read_cores(1000, 10, 0)
    assert idle == pytest.approx(10 * costs.SIGN_OUT_READ / 1e6 / plan.BUSY)


def test_measured_costs_replace_those_of_the_source(tmp_path: Path) -> None:
    slices = [{"service": service, "database": 1.0} for service in (10.0, 30.0, 20.0)]
    file = tmp_path / "costs.json"
    file.write_text(json.dumps({"create": {"taskapi": {"slices": slices}, "floor": {"slices": []}}, "other": {}}))
    assert costs.read(file) == costs.REQUESTS | {"create": costs.Cost(20.0, 1.0)}


def test_an_option_reaches_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    capacity.main(["10000", "--requests", "110", "--mix", "poll20=1"])
    load = replace(SMALL, requests=110.0, mix={"poll20": 1.0})
    assert capsys.readouterr().out.strip() == capacity.of_plans([compute(load)])


def test_an_unknown_workload_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        capacity.main(["--mix", "unknown=1"])
    assert "'unknown' is not one of list20, " in capsys.readouterr().err


def test_figures_of_the_manifests_are_those_of_the_plan() -> None:
    manifests = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/base/api.yaml").read_text()))
    by_kind = {manifest["kind"]: manifest["spec"] for manifest in manifests}
    autoscaler = by_kind["HorizontalPodAutoscaler"]
    container = by_kind["Deployment"]["template"]["spec"]["containers"][0]
    assert autoscaler["maxReplicas"] == limits.MAX_REPLICAS
    assert autoscaler["minReplicas"] == plan.MIN_PODS
    assert autoscaler["metrics"][0]["resource"]["target"]["averageUtilization"] == plan.BUSY * 100
    assert container["resources"]["requests"]["memory"] == f"{costs.POD_MIB}Mi"
