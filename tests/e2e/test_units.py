"""The frontend's own tests, module by module, with a PostgreSQL beside their SQLite."""

from __future__ import annotations

from tests.e2e.conftest import ModuleTests


def test_every_module_of_the_frontend_keeps_its_promises(module_tests: ModuleTests):
    run, printed = module_tests

    assert run.wait(600) == 0, printed.read_text()
