"""The OpenAPI document is valid, complete and true."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain, combinations
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from taskapi.http.errors import CATALOGUE, MEDIA_TYPE
from taskapi.tasks.batch import schemas
from tests.auth.issuer import logout_token
from tests.conftest import Person, migrate
from tests.every_request import API

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SQLite only: nothing here depends on the database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/taskapi.db"
    migrate(url)
    return url


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    response = client.get("/openapi.json")
    assert response.content_type == "application/json"
    made: dict[str, Any] = response.get_json()
    return made


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nodes(inner)


def resolve(document: dict[str, Any], reference: str) -> Any:
    assert reference.startswith("#/"), f"{reference} is not in the document"
    found: Any = document
    for part in reference[2:].split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]):
    assert document["openapi"].startswith("3.1.")
    validate(document, cls=OpenAPIV31SpecValidator)


def test_every_schema_of_the_document_is_valid_json_schema(document: dict[str, Any]):
    schemas = [node["schema"] for node in nodes(document) if isinstance(node.get("schema"), dict)]
    for schema in [*schemas, *document["components"]["schemas"].values()]:
        Draft202012Validator.check_schema(schema)


def test_every_route_of_the_api_is_described(document: dict[str, Any]):
    described = {(method, path) for method, path, _ in operations(document)}
    # HEAD is left out: every GET route supports it (RFC 9110, section 9.3.2).
    assert {(method, path) for method, path in API if method != "HEAD"} <= described


BODIES = {
    "tasks_create": {"title": "x"},
    "tasks_update": {"title": "y"},
    "tasks_patch": {"title": "z"},
    "tasks_move": {"before": None},
    "data_batch": {"operations": [{"op": "create", "task": {"title": "x"}}]},
    "data_import_": {"tasks": [{"title": "x"}]},
}
FORMS = {"backchannel_logout": lambda: {"logout_token": logout_token("alice", "of-the-description")}}


def test_every_described_operation_exists(client: FlaskClient, alice: Person, document: dict[str, Any]):
    headers = {"Authorization": f"Bearer {alice.token}"}
    required = {
        each["operationId"] for _, _, each in operations(document) if each.get("requestBody", {}).get("required")
    }
    assert {*BODIES, *FORMS} == required
    for method, path, operation in operations(document):
        task = alice.add()
        url = path.format(user_id="alice", id=task["id"])
        body = {"json": BODIES.get(operation["operationId"])}
        if operation["operationId"] in FORMS:
            body = {"data": FORMS[operation["operationId"]]()}
        response = client.open(url, method=method, headers=headers, **body)
        assert response.status_code in (200, 201, 204), f"{method} {url}: {response.status_code}"


def test_every_kind_of_operation_in_a_batch_has_its_own_shape(document: dict[str, Any]):
    """The schema accepts exactly the operations that the service accepts."""
    shapes = document["components"]["schemas"]["Operation"]["oneOf"]
    assert {shape["properties"]["op"]["const"] for shape in shapes} == set(schemas.MEMBERS_OF_OPERATION)
    described = Draft202012Validator({"$ref": "#/components/schemas/Operation", "components": document["components"]})
    task = {"title": "x"}
    values = {"id": 1, "version": 1, "task": task, "completed": True, "before": 1, "after": None}
    for op in schemas.MEMBERS_OF_OPERATION:
        for names in chain.from_iterable(combinations(values, n) for n in range(len(values) + 1)):
            operation = {"op": op, **{name: values[name] for name in names}}
            assert described.is_valid(operation) == (not schemas.OperationIn().validate(operation)), operation


def test_the_enum_of_a_nullable_member_contains_null(document: dict[str, Any]):
    for name in ("TaskCreate", "TaskUpdate", "ImportedTask"):
        for member, shape in document["components"]["schemas"][name]["properties"].items():
            if "enum" in shape:
                assert (None in shape["enum"]) == ("null" in shape["type"]), f"{name}.{member}"


def test_every_status_is_a_success_or_that_of_a_problem_type(document: dict[str, Any]):
    problems = {str(problem.status) for problem in CATALOGUE.values()}
    for method, path, operation in operations(document):
        for status, response in operation["responses"].items():
            where = f"{method} {path} {status}"
            if status in ("200", "201", "204", "304"):
                assert MEDIA_TYPE not in response.get("content", {}), where
                continue
            assert status in problems, where
            assert set(response["content"]) == {MEDIA_TYPE}, where
            codes = re.findall(r"\(`([a-z-]+)`\)", response["description"])
            assert codes, where
            assert all(CATALOGUE[code].status == int(status) for code in codes), where
        assert "500" in operation["responses"]


def test_every_operation_on_a_user_path_describes_401_403_and_503(document: dict[str, Any]):
    for method, path, operation in operations(document):
        if "{user_id}" in path:
            assert {"401", "403", "503"} <= set(operation["responses"]), f"{method} {path}"
            assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]
            assert "security" not in operation  # that of the document applies: a bearer token
        else:
            assert operation["security"] == []
    assert document["security"] == [{"bearer": []}]
    assert document["components"]["securitySchemes"]["bearer"] == {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    }


def test_every_problem_type_occurs_in_an_operation(document: dict[str, Any]):
    text = json.dumps(document["paths"])
    assert {code for code in CATALOGUE if f"(`{code}`)" not in text} == {
        "method-not-allowed"
    }  # a path's, not a method's
    assert set(document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]) == set(CATALOGUE)


def test_every_reference_resolves_inside_the_document(document: dict[str, Any]):
    references = {node["$ref"] for node in nodes(document) if isinstance(node.get("$ref"), str)}
    assert "#/components/schemas/Task" in references
    for reference in references:
        assert resolve(document, reference), reference


def test_every_component_is_used(document: dict[str, Any]):
    used = {node["$ref"] for node in nodes(document) if isinstance(node.get("$ref"), str)}
    for kind in set(document["components"]) - {"securitySchemes"}:
        for name in document["components"][kind]:
            assert f"#/components/{kind}/{name}" in used, f"{kind}/{name}"


def test_every_parameter_of_a_path_is_described(document: dict[str, Any]):
    for path, item in document["paths"].items():
        in_path = {parameter["name"] for parameter in item.get("parameters", []) if parameter["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path)), path


def test_operation_ids_are_unique_and_every_operation_has_a_summary(document: dict[str, Any]):
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert all(operation["summary"].endswith(".") for _, _, operation in operations(document))


def test_every_member_of_a_task_is_described_and_required(alice: Person, document: dict[str, Any]):
    task = document["components"]["schemas"]["Task"]
    assert set(task["properties"]) == set(task["required"]) == set(alice.add())


def test_the_examples_are_valid_against_their_schemas(document: dict[str, Any]):
    with_examples = [node for node in nodes(document) if isinstance(node.get("examples"), list)]
    assert with_examples
    for schema in with_examples:
        checker = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        for example in schema["examples"]:
            checker.validate(example)


def test_the_document_contains_no_host(document: dict[str, Any]):
    """The document does not depend on the host name of the request."""
    assert "servers" not in document
    assert not re.search(r"https?://|localhost|127\.0\.0\.1", json.dumps(document))


def test_the_document_needs_no_token_and_is_the_same_for_all_users(client: FlaskClient, alice: Person):
    anonymous = client.get("/openapi.json")
    signed_in = client.get("/openapi.json", headers={"Authorization": f"Bearer {alice.token}"})
    assert anonymous.status_code == 200
    assert anonymous.data == signed_in.data
