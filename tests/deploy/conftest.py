"""The secrets that deploy/generate-secrets.sh writes, once for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.files import generate_secrets


@pytest.fixture(scope="session")
def secrets_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    result = generate_secrets(folder)
    assert result.returncode == 0, result.stderr
    return folder
