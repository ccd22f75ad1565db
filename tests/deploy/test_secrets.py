"""deploy/generate-secrets.sh: every secret is random, each program gets its own only, and none is replaced."""

from __future__ import annotations

import re
import ssl
import stat
from pathlib import Path

import pytest

from taskapi.config.settings import Config
from taskapi.server.settings import ServerSettings
from tests.deploy.files import config_map, env_file, generate_secrets, services

SECRET = re.compile(r"[0-9a-f]{48}")


def secrets(folder: Path, name: str) -> set[str]:
    """Return the secrets in the file of a program."""
    return set(SECRET.findall((folder / f"{name}.env").read_text()))


def test_every_generation_has_other_secrets_of_192_bits(secrets_folder: Path, tmp_path: Path):
    assert generate_secrets(tmp_path / "other").returncode == 0
    files = ("postgresql", "api", "migrate", "frontend", "redis")
    first, second = (
        set().union(*(secrets(folder, name) for name in files)) for folder in (secrets_folder, tmp_path / "other")
    )
    assert len(first) == len(second) == 6
    assert not first & second


def test_only_their_owner_can_read_the_secrets(secrets_folder: Path):
    assert (
        stat.S_IMODE(secrets_folder.stat().st_mode) == 0o700
    )  # tls/ is protected by it: nginx reads that folder as another user
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets_folder.glob("*.env")} == {0o600}


def test_existing_secrets_are_not_replaced(tmp_path: Path):
    folder = tmp_path / "secrets"
    assert generate_secrets(folder).returncode == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again = generate_secrets(folder)
    assert (again.returncode, "exists" in again.stderr) == (1, True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_only_the_migration_knows_the_password_of_the_role_that_owns_the_tables(secrets_folder: Path):
    passwords = env_file(secrets_folder / "postgresql.env")
    owner, service = passwords["OWNER_PASSWORD"], passwords["SERVICE_PASSWORD"]
    knowing = {
        secret: {name for name in ("api", "migrate", "frontend", "redis") if secret in secrets(secrets_folder, name)}
        for secret in passwords.values()
    }
    assert knowing[owner] == {"migrate"}
    assert knowing[service] == {"api", "migrate"}
    assert knowing[passwords["ACCOUNTS_PASSWORD"]] == {"frontend"}
    assert knowing[passwords["POSTGRES_PASSWORD"]] == set()


def test_the_api_cannot_sign_tokens(secrets_folder: Path):
    signing = env_file(secrets_folder / "frontend.env")["BETTER_AUTH_SECRET"]
    assert signing not in secrets(secrets_folder, "api") | secrets(secrets_folder, "migrate")
    environment = config_map("taskapi-api") | services()["api"]["environment"]
    assert "BETTER_AUTH_SECRET" not in environment


@pytest.mark.parametrize("file", ["api", "migrate"])
@pytest.mark.parametrize("platform", ["compose", "kubernetes"])
def test_the_service_starts_with_the_generated_settings(secrets_folder: Path, platform: str, file: str):
    own = config_map("taskapi-api") if platform == "kubernetes" else defaults(services()["api"]["environment"])
    environ = own | env_file(secrets_folder / f"{file}.env")
    config = Config.from_env(environ)
    assert ServerSettings.from_env(environ).workers == 2
    assert config.url_prefix == "/tasks-api"
    assert config.issuer == config.audience == config.cors_origins[0]
    assert (config.migration_database_url is not None) == (file == "migrate")


def test_the_certificate_belongs_to_its_key_and_to_the_name(secrets_folder: Path):
    certificate, key = (str(secrets_folder / "tls" / name) for name in ("tls.crt", "tls.key"))
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    decoded = ssl._ssl._test_decode_cert(certificate)
    assert decoded["subjectAltName"] == (("DNS", "localhost"),)


def defaults(environment: dict[str, str]) -> dict[str, str]:
    """Replace `${NAME:-value}` by the value."""
    return {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in environment.items()}
