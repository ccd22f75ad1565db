"""The unit tests of the frontend, on SQLite and PostgreSQL."""

from __future__ import annotations

from tests.e2e.conftest import ModuleTests


def test_the_unit_tests_of_the_frontend_pass(module_tests: ModuleTests):
    run, output = module_tests

    assert run.wait(600) == 0, output.read_text()
