"""Rules for the modules of the service: imports, access to tables, the authenticated user, SQL and typing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "taskapi"
MODULES = sorted(PACKAGE.rglob("*.py"))


def name(path: Path) -> str:
    """Return the path of a module relative to the package."""
    return str(path.relative_to(PACKAGE))


@cache
def nodes(path: Path) -> list[ast.AST]:
    """Return all nodes of the syntax tree of a module."""
    return list(ast.walk(ast.parse(path.read_bytes())))


def trees(paths: list[Path]) -> Iterator[tuple[str, ast.AST]]:
    """Yield the nodes of modules, each with the name of its module."""
    for path in paths:
        for node in nodes(path):
            yield name(path), node


def test_imports_follow_the_contracts_of_setup_cfg():
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout


def test_every_package_has_an_exhaustive_layers_contract():
    """`lint-imports` reports a module that an exhaustive contract omits; this test finds a package without a contract."""
    rules = ConfigParser()
    rules.read(ROOT / "setup.cfg")
    exhaustive = [rules[section] for section in rules if rules[section].get("exhaustive") == "True"]
    containers = {container for rule in exhaustive for container in rule["containers"].split()}
    packages = {path.parent for path in MODULES if path.name != "__init__.py"} | {PACKAGE}
    assert containers == {str(path.relative_to(ROOT)).replace("/", ".") for path in packages}


def test_only_modules_with_statements_import_the_models():
    importers = {
        module
        for module, node in trees(MODULES)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").rpartition(".")[2] == "models")
        or (
            isinstance(node, ast.ImportFrom | ast.Import)
            and any(a.name.rpartition(".")[2] == "models" for a in node.names)
        )
    }
    views = {
        module
        for module, node in trees(MODULES)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("Blueprint", "guarded_blueprint")
    }
    assert importers == allowed_importers_of_models()
    assert "tasks/blueprints.py" in views
    assert not importers & views


def allowed_importers_of_models() -> set[str]:
    """Return the modules that the import contracts allow to import models."""
    rules = ConfigParser()
    rules.read(ROOT / "setup.cfg")
    protecting = [rules[section] for section in rules if rules[section].get("type") == "protected"]
    guarded = {module for rule in protecting for module in rule["protected_modules"].split()}
    assert guarded == {f"taskapi.{name(path)[:-3].replace('/', '.')}" for path in PACKAGE.rglob("models.py")}
    modules = {module for rule in protecting for module in rule["allowed_importers"].split()}
    return {module.removeprefix("taskapi.").replace(".", "/") + ".py" for module in modules}


def test_only_the_authentication_hook_sets_attributes_of_g():
    writers = {
        module
        for module, node in trees(MODULES)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store | ast.Del)
        and isinstance(node.value, ast.Name)
        and node.value.id == "g"
    }
    dynamic = {
        module
        for module, node in trees(MODULES)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("setattr", "delattr", "vars")
        and any(isinstance(argument, ast.Name) and argument.id == "g" for argument in node.args)
    }
    assert writers == {"auth/hook.py"}
    assert not dynamic


def test_no_function_of_tasks_has_an_argument_user_id():
    """The owner is always `g.user`: a view with a `user_id` from the path could use another."""
    for module, node in trees(sorted((PACKAGE / "tasks").rglob("*.py"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
            assert "user_id" not in arguments, f"{module}: {node.name}"


def test_no_statement_of_tasks_is_written_as_text():
    raw = {"text", "literal_column", "exec_driver_sql", "executescript", "TextClause"}
    for module, node in trees(sorted((PACKAGE / "tasks").rglob("*.py"))):
        words = {node.id} if isinstance(node, ast.Name) else {node.attr} if isinstance(node, ast.Attribute) else set()
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy"):
            words = {alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            continue
        if isinstance(node, ast.Name) and node.id == "text":
            continue  # a variable: the function of SQLAlchemy would be imported, which the branch above finds
        assert not words & raw, f"{module} writes SQL as text"


@pytest.mark.parametrize(
    "path", [*MODULES, ROOT / "wsgi.py", ROOT / "gunicorn.conf.py", *sorted((ROOT / "migrations").rglob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)  # fmt: skip
def test_no_module_has_a_type_ignore_comment(path: Path):
    with path.open("rb") as source:
        comments = [part.string for part in tokenize.tokenize(source.readline) if part.type == tokenize.COMMENT]
    assert not [comment for comment in comments if re.search(r"type:\s*ignore|mypy:", comment)]
