"""Settings: parsed and validated together; no error message contains a secret."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from taskapi import create_app
from taskapi.config.environment import LOG_LEVELS
from taskapi.config.settings import Config, ConfigError
from taskapi.config.shared_secrets import DEVELOPMENT_SECRET
from taskapi.http.routing import Application
from tests.conftest import SECRET

PREVIOUS = "the-secret-before-it-0123456789-abcdef"
NO_KEY_SOURCE = (
    "no key source: set BETTER_AUTH_SECRET (HS256), BETTER_AUTH_URL or BETTER_AUTH_JWKS_URL (key pair), or both kinds"
)
BAD_DATABASE_URL = "DATABASE_URL is neither postgresql://USER:PASSWORD@HOST/NAME nor sqlite:////PATH/TO/FILE"
BAD_ORIGINS = "CORS_ORIGINS is not a comma-separated list of origins such as https://app.example.com (no path, no *)"


def config(**environ: str) -> Config:
    return Config.from_env({"BETTER_AUTH_SECRET": SECRET, **environ})


def problems(**environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Config.from_env(environ)
    return caught.value.problems


# Valid settings


def test_a_key_source_is_the_only_required_setting() -> None:
    assert Config.from_env({"BETTER_AUTH_SECRET": SECRET}) == Config(
        secrets=(SECRET,),
        jwks_url=None,
        issuer=None,
        audience=None,
        max_lifetime=None,
        database_url="sqlite:///taskapi.db",
        cors_origins=(),
        require_if_match=False,
        log_level="INFO",
    )


READ: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "the previous secret": ({"BETTER_AUTH_SECRET_PREVIOUS": PREVIOUS}, {"secrets": (SECRET, PREVIOUS)}),
    "secret of 32 bytes": ({"BETTER_AUTH_SECRET": "x" * 32}, {"secrets": ("x" * 32,)}),
    "secret of 32 bytes in 16 characters": ({"BETTER_AUTH_SECRET": "é" * 16}, {"secrets": ("é" * 16,)}),
    "secret with spaces and quotes inside": (
        {"BETTER_AUTH_SECRET": f"{SECRET} 'x' {SECRET}"},
        {"secrets": (f"{SECRET} 'x' {SECRET}",)},
    ),
    "Better Auth": (
        {"BETTER_AUTH_URL": "https://app.example.com"},
        {"jwks_url": "https://app.example.com/api/auth/jwks"},
    ),
    "Better Auth with a slash": (
        {"BETTER_AUTH_URL": "https://app.example.com/"},
        {"jwks_url": "https://app.example.com/api/auth/jwks"},
    ),
    "Better Auth on a port": (
        {"BETTER_AUTH_URL": " http://localhost:3000 "},
        {"jwks_url": "http://localhost:3000/api/auth/jwks"},
    ),
    "Better Auth below a path of its own": (
        {"BETTER_AUTH_URL": "https://app.example.com/auth/"},
        {"jwks_url": "https://app.example.com/auth/jwks"},
    ),
    "Better Auth on IPv6": ({"BETTER_AUTH_URL": "http://[::1]:3000"}, {"jwks_url": "http://[::1]:3000/api/auth/jwks"}),
    "a key set": ({"BETTER_AUTH_JWKS_URL": "https://app.example.com/k"}, {"jwks_url": "https://app.example.com/k"}),
    "a key set with a query": (
        {"BETTER_AUTH_JWKS_URL": "https://app.example.com/jwks?tenant=a%20b"},
        {"jwks_url": "https://app.example.com/jwks?tenant=a%20b"},
    ),
    "a key set beside Better Auth": (
        {"BETTER_AUTH_URL": "https://app.example.com", "BETTER_AUTH_JWKS_URL": "http://internal/jwks"},
        {"jwks_url": "http://internal/jwks"},
    ),
    "issuer": ({"JWT_ISSUER": "https://app.example.com"}, {"issuer": "https://app.example.com"}),
    "audience": ({"JWT_AUDIENCE": "tasks-api"}, {"audience": "tasks-api"}),
    "lifetime": ({"JWT_MAX_LIFETIME": "900"}, {"max_lifetime": 900}),
    "lifetime in seconds": ({"JWT_MAX_LIFETIME": "90s"}, {"max_lifetime": 90}),
    "lifetime in minutes": ({"JWT_MAX_LIFETIME": "15m"}, {"max_lifetime": 900}),
    "lifetime in hours": ({"JWT_MAX_LIFETIME": "12h"}, {"max_lifetime": 43_200}),
    "lifetime in days": ({"JWT_MAX_LIFETIME": "7d"}, {"max_lifetime": 604_800}),
    "not before": ({"JWT_NOT_BEFORE": "2026-12-01T08:00:00Z"}, {"tokens_not_before": 1_796_112_000.0}),
    "not before with an offset": ({"JWT_NOT_BEFORE": "2026-12-01T09:00+01:00"}, {"tokens_not_before": 1_796_112_000.0}),
    "SQLite": ({"DATABASE_URL": "sqlite:////var/lib/t.db"}, {"database_url": "sqlite:////var/lib/t.db"}),
    "PostgreSQL": ({"DATABASE_URL": "postgresql://u:p@db/t"}, {"database_url": "postgresql+psycopg://u:p@db/t"}),
    "PostgreSQL by its short name": (
        {"DATABASE_URL": "postgres://u:p@db:5433/t"},
        {"database_url": "postgresql+psycopg://u:p@db:5433/t"},
    ),
    "PostgreSQL by its driver": (
        {"DATABASE_URL": "postgresql+psycopg://u@db/t?sslmode=require"},
        {"database_url": "postgresql+psycopg://u@db/t?sslmode=require"},
    ),
    "PostgreSQL by a socket": (
        {"DATABASE_URL": "postgresql:///t?host=/run/postgresql"},
        {"database_url": "postgresql+psycopg:///t?host=%2Frun%2Fpostgresql"},
    ),
    "origin": ({"CORS_ORIGINS": "https://app.example.com"}, {"cors_origins": ("https://app.example.com",)}),
    "origins": (
        {"CORS_ORIGINS": " https://a.example , http://localhost:3000,"},
        {"cors_origins": ("https://a.example", "http://localhost:3000")},
    ),
    "origins of applications": (
        {"CORS_ORIGINS": "capacitor://localhost,http://[::1]:3000,https://App.example.com:443"},
        {"cors_origins": ("capacitor://localhost", "http://[::1]:3000", "https://app.example.com")},
    ),
    "path prefix": ({"URL_PREFIX": "/tasks-api/"}, {"url_prefix": "/tasks-api"}),
    "path prefix without a name": ({"URL_PREFIX": "/"}, {}),
    "strict mode": ({"REQUIRE_IF_MATCH": "true"}, {"require_if_match": True}),
    "strict mode as 1": ({"REQUIRE_IF_MATCH": "1"}, {"require_if_match": True}),
    "strict mode in capitals": ({"REQUIRE_IF_MATCH": " TRUE "}, {"require_if_match": True}),
    "no strict mode": ({"REQUIRE_IF_MATCH": "false"}, {"require_if_match": False}),
    "no strict mode as 0": ({"REQUIRE_IF_MATCH": "0"}, {"require_if_match": False}),
    "log level in small letters": ({"LOG_LEVEL": "warning"}, {"log_level": "WARNING"}),
    "a port of the metrics": ({"METRICS_PORT": "9090"}, {"has_metrics": True}),
    "what is none of ours": ({"PATH": "/bin", "JWT_ALGORITHMS": "none", "DISABLE_AUTH": "true"}, {}),
}


@pytest.mark.parametrize(("environ", "settings"), READ.values(), ids=READ.keys())
def test_each_setting_is_read_and_the_others_keep_their_defaults(
    environ: dict[str, str], settings: dict[str, Any]
) -> None:
    assert config(**environ) == Config(**{"secrets": (SECRET,), **settings})


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_every_log_level_can_be_set(level: str) -> None:
    assert config(LOG_LEVEL=level).log_level == level


@pytest.mark.parametrize("name", ["BETTER_AUTH_URL", "BETTER_AUTH_JWKS_URL"])
def test_a_published_key_set_needs_no_secret(name: str) -> None:
    found = Config.from_env({name: "https://app.example.com"})
    assert found.secrets == ()
    assert found.jwks_url is not None


SETTINGS = (
    *("BETTER_AUTH_SECRET_PREVIOUS", "BETTER_AUTH_URL", "BETTER_AUTH_JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE"),
    *(
        "JWT_MAX_LIFETIME",
        "JWT_NOT_BEFORE",
        "DATABASE_URL",
        "CORS_ORIGINS",
        "URL_PREFIX",
        "REQUIRE_IF_MATCH",
        "LOG_LEVEL",
    ),
)


@pytest.mark.parametrize("name", SETTINGS)
def test_an_empty_variable_counts_as_absent(name: str) -> None:
    assert config(**{name: ""}) == config()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_blank_variable_counts_as_absent(name: str) -> None:
    assert config(**{name: "  "}) == config()


def test_a_config_cannot_be_changed() -> None:
    made = config()
    for setting in fields(Config):
        with pytest.raises(FrozenInstanceError):
            setattr(made, setting.name, None)
    assert made == config()


PASSWORDS = ["p@ss", "p:a/s?s#", "100%", "%41", "sp ace", "pässwörd", "a+b&c=d", "'\"\\", "[::1]"]


@pytest.mark.parametrize("password", PASSWORDS)
def test_special_characters_in_the_database_password_are_preserved(password: str) -> None:
    url = make_url("postgresql://h").set(username=password, password=password, database="t")
    made = make_url(config(DATABASE_URL=url.render_as_string(hide_password=False)).database_url)
    assert (made.username, made.password, made.host, made.database) == (password, password, "h", "t")
    assert made.drivername == "postgresql+psycopg"


# Invalid settings

SHORT = "BETTER_AUTH_SECRET is shorter than 32 bytes: make one with `openssl rand -base64 32`"

WEAK_SECRETS: dict[str, tuple[dict[str, str], list[str]]] = {
    "nothing set": ({}, [NO_KEY_SOURCE]),
    "empty secret": ({"BETTER_AUTH_SECRET": ""}, [NO_KEY_SOURCE]),
    "blank URL": ({"BETTER_AUTH_URL": " "}, [NO_KEY_SOURCE]),
    "secret of 31 bytes": ({"BETTER_AUTH_SECRET": "x" * 31}, [SHORT]),
    "secret of 31 bytes beside a key set": (
        {"BETTER_AUTH_SECRET": "x" * 31, "BETTER_AUTH_URL": "https://app.example.com"},
        [SHORT],
    ),
    "previous secret of 31 bytes": (
        {"BETTER_AUTH_SECRET": SECRET, "BETTER_AUTH_SECRET_PREVIOUS": "x" * 31},
        [SHORT.replace("SECRET", "SECRET_PREVIOUS")],
    ),
    "previous secret alone": (
        {"BETTER_AUTH_SECRET_PREVIOUS": PREVIOUS},
        ["BETTER_AUTH_SECRET_PREVIOUS is set without BETTER_AUTH_SECRET", NO_KEY_SOURCE],
    ),
    "previous secret beside a key set only": (
        {"BETTER_AUTH_SECRET_PREVIOUS": PREVIOUS, "BETTER_AUTH_URL": "https://app.example.com"},
        ["BETTER_AUTH_SECRET_PREVIOUS is set without BETTER_AUTH_SECRET"],
    ),
    "the default secret of Better Auth": (
        {"BETTER_AUTH_SECRET": "better-auth-secret-12345678901234567890"},
        ["BETTER_AUTH_SECRET is the default secret of Better Auth, which is public"],
    ),
    "the default secret of Better Auth as the previous one": (
        {"BETTER_AUTH_SECRET": SECRET, "BETTER_AUTH_SECRET_PREVIOUS": "better-auth-secret-12345678901234567890"},
        ["BETTER_AUTH_SECRET_PREVIOUS is the default secret of Better Auth, which is public"],
    ),
    "the development secret": (
        {"BETTER_AUTH_SECRET": DEVELOPMENT_SECRET},
        ["BETTER_AUTH_SECRET is the development secret of .flaskenv, which is public"],
    ),
    "the development secret as the previous one": (
        {"BETTER_AUTH_SECRET": SECRET, "BETTER_AUTH_SECRET_PREVIOUS": DEVELOPMENT_SECRET},
        ["BETTER_AUTH_SECRET_PREVIOUS is the development secret of .flaskenv, which is public"],
    ),
    "a secret that is no text": (
        {"BETTER_AUTH_SECRET": SECRET + "\udcff"},  # the surrogate to which os.environ decodes a byte that is not UTF-8
        ["BETTER_AUTH_SECRET is not UTF-8"],
    ),
}


EDGES = "begins or ends with white space, such as a line break: remove it"
IN_QUOTES = "is in quotes, which are a part of the value: remove them"

WRAPPED_SECRETS: dict[str, tuple[str, list[str]]] = {
    "a trailing line break": (f"{SECRET}\n", [EDGES]),
    "a trailing carriage return": (f"{SECRET}\r", [EDGES]),
    "a leading space": (f" {SECRET}", [EDGES]),
    "double quotes": (f'"{SECRET}"', [IN_QUOTES]),
    "single quotes": (f"'{SECRET}'", [IN_QUOTES]),
    "typographic quotes": (f"\u201c{SECRET}\u201d", [IN_QUOTES]),
    "quotes and a line break": (f'"{SECRET}"\n', [EDGES, IN_QUOTES]),
    "quotes around a short one": ('"hunter2"', [IN_QUOTES, SHORT.partition(" ")[2]]),
}


@pytest.mark.parametrize("name", ["BETTER_AUTH_SECRET", "BETTER_AUTH_SECRET_PREVIOUS"])
@pytest.mark.parametrize(("value", "expected"), WRAPPED_SECRETS.values(), ids=WRAPPED_SECRETS)
def test_a_secret_in_quotes_or_with_white_space_around_is_a_config_error(
    name: str, value: str, expected: list[str]
) -> None:
    assert problems(**{"BETTER_AUTH_SECRET": SECRET, name: value}) == [f"{name} {problem}" for problem in expected]


QUOTED = {
    "BETTER_AUTH_URL": "https://a.example",
    "BETTER_AUTH_JWKS_URL": "https://a.example",
    "JWT_ISSUER": "https://a",
    "JWT_AUDIENCE": "tasks",
    "JWT_MAX_LIFETIME": "7d",
    "JWT_NOT_BEFORE": "2026-12-01T08:00:00Z",
    "DATABASE_URL": "postgresql://u:p@h/d",
    "RATE_LIMIT": "off",
    "MIGRATION_DATABASE_URL": "postgresql://u:p@h/d",
    "CORS_ORIGINS": "https://a.example,https://b.example",
    "REDIS_URL": "redis://h:1/0",
    "TRUSTED_PROXIES": "1",
    "MAX_TASKS_PER_USER": "1",
    "REQUIRE_IF_MATCH": "true",
    "LOG_LEVEL": "INFO",
    "URL_PREFIX": "/tasks-api",
    "HTTPS_PROXY": "http://proxy:3128",
    "https_proxy": "proxy",
    "NO_PROXY": "localhost,.example.com",
}


@pytest.mark.parametrize("name", QUOTED)
@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_value_in_quotes_is_one_config_error_that_says_so(name: str, quote: str) -> None:
    environ = {"BETTER_AUTH_JWKS_URL": "https://a.example", "DATABASE_URL": "postgresql://u:p@h/d"}
    assert problems(**{**environ, name: f"{quote}{QUOTED[name]}{quote}"}) == [f"{name} {IN_QUOTES}"]


@pytest.mark.parametrize(("environ", "expected"), WEAK_SECRETS.values(), ids=WEAK_SECRETS.keys())
def test_a_weak_or_public_secret_is_a_config_error(environ: dict[str, str], expected: list[str]) -> None:
    assert problems(**environ) == expected


BAD_VALUES: dict[str, tuple[str, list[str]]] = {
    "BETTER_AUTH_URL": (
        "BETTER_AUTH_URL is not an http(s) URL such as https://app.example.com",
        [
            *("app.example.com", "ftp://app.example.com", "https://", "https:///path", "http://[::1", "javascript:1"),
            *("http://h:port", "http://h:99999", "http://h/?q", "http://h/#f", "http://a b", "http://a\nb"),
            *("https://user:password@app.example.com", "https://user@app.example.com"),
        ],
    ),
    "JWT_MAX_LIFETIME": (
        "JWT_MAX_LIFETIME is not a duration such as 900, 15m, 12h or 7d",
        ["0", "-1", "1.5h", "7 d", "7w", "d", "1e3", "07d", "٧d", "9" * 10, "infinite"],
    ),
    "JWT_NOT_BEFORE": (
        "JWT_NOT_BEFORE is not a time with an offset such as 2026-12-01T08:00:00Z",
        ["2026-12-01T08:00:00", "2026-12-01", "08:00Z", "1796112000", "yesterday", "2026-13-01T08:00:00Z"],
    ),
    "DATABASE_URL": (
        BAD_DATABASE_URL,
        [
            *("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true"),
            *("sqlite:///file:t?mode=memory&uri=true", "sqlite+aiosqlite:///t.db", "mysql://u:p@h/t", "t.db"),
            *("postgresql://u:p@h", "postgresql://u:p@h/", "postgresql+asyncpg://u:p@h/t", "postgresql+psycopg2://h/t"),
            "://",
        ],
    ),
    "CORS_ORIGINS": (
        BAD_ORIGINS,
        [
            "*",
            "null",
            "app.example.com",
            "https://app.example.com/",
            "https://*.example.com",
            "https://a b",
            "https://",
            "https://app.example.com, null",
            "http://::1:3000",
        ],
    ),
    "URL_PREFIX": (
        "URL_PREFIX is not a path such as /tasks-api (at most 200 letters, digits and . _ ~ - /)",
        ["tasks-api", "https://example.com/tasks-api", "//example.com", "/a/../b", "/a b", "/" + "x" * 200],
    ),
    "REQUIRE_IF_MATCH": ("REQUIRE_IF_MATCH is neither true nor false", ["yes", "on", "2", "truely"]),
    "LOG_LEVEL": ("LOG_LEVEL is none of DEBUG, INFO, WARNING, ERROR, CRITICAL", ["LOUD", "10", "NOTSET"]),
}


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        pytest.param(name, value, problem, id=f"{name}={value!r}")
        for name, (problem, values) in BAD_VALUES.items()
        for value in values
    ],
)
def test_an_invalid_value_is_a_config_error(name: str, value: str, problem: str) -> None:
    assert problems(**{"BETTER_AUTH_SECRET": SECRET, name: value}) == [problem]


def test_the_jwks_url_is_validated_like_the_better_auth_url() -> None:
    assert problems(BETTER_AUTH_JWKS_URL="app.example.com/jwks") == [
        "BETTER_AUTH_JWKS_URL is not an http(s) URL such as https://app.example.com"
    ]


def test_a_config_error_lists_all_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env(
            {
                "BETTER_AUTH_SECRET": "better-auth-secret-short",
                "BETTER_AUTH_SECRET_PREVIOUS": DEVELOPMENT_SECRET,
                "BETTER_AUTH_URL": "nowhere",
                "JWT_MAX_LIFETIME": "long",
                "DATABASE_URL": "sqlite://",
                "CORS_ORIGINS": "*",
                "REQUIRE_IF_MATCH": "maybe",
                "LOG_LEVEL": "LOUD",
            }
        )
    assert str(caught.value) == (
        "taskapi cannot start:\n"
        "  - BETTER_AUTH_SECRET is shorter than 32 bytes: make one with `openssl rand -base64 32`\n"
        "  - BETTER_AUTH_SECRET is the default secret of Better Auth, which is public\n"
        "  - BETTER_AUTH_SECRET_PREVIOUS is the development secret of .flaskenv, which is public\n"
        "  - BETTER_AUTH_URL is not an http(s) URL such as https://app.example.com\n"
        "  - JWT_MAX_LIFETIME is not a duration such as 900, 15m, 12h or 7d\n"
        f"  - {BAD_DATABASE_URL}\n"
        f"  - {BAD_ORIGINS}\n"
        "  - REQUIRE_IF_MATCH is neither true nor false\n"
        "  - LOG_LEVEL is none of DEBUG, INFO, WARNING, ERROR, CRITICAL"
    )


def test_a_folder_of_the_default_database_that_cannot_be_created_is_a_config_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the image, whose file system is read-only."""
    (tmp_path / "file").touch()
    instance = str(tmp_path / "file/instance")
    monkeypatch.setattr(Application, "auto_find_instance_path", lambda _: instance)
    with pytest.raises(ConfigError) as caught:
        create_app(config())
    assert caught.value.problems == [f"{instance} cannot be created for SQLite (Not a directory): set DATABASE_URL"]


@given(st.dictionaries(st.sampled_from(["BETTER_AUTH_SECRET", *SETTINGS]), st.text(max_size=60)))
def test_any_environment_gives_a_config_or_a_config_error(environ: dict[str, str]) -> None:
    try:
        made = Config.from_env(environ)
    except ConfigError:
        return
    assert made.secrets or made.jwks_url


# The development secret


def test_the_flask_command_accepts_the_development_secret() -> None:
    made = config(BETTER_AUTH_SECRET=DEVELOPMENT_SECRET, FLASK_RUN_FROM_CLI="true")
    assert made.secrets == (DEVELOPMENT_SECRET,)
    assert made.is_development


@pytest.mark.parametrize("value", ["", "false", "1", "True"])
def test_only_the_flask_command_counts_as_development(value: str) -> None:
    assert problems(BETTER_AUTH_SECRET=DEVELOPMENT_SECRET, FLASK_RUN_FROM_CLI=value) == [
        "BETTER_AUTH_SECRET is the development secret of .flaskenv, which is public"
    ]


@pytest.mark.parametrize("secrets", [(SECRET,), (), (SECRET, DEVELOPMENT_SECRET)], ids=["own", "none", "previous"])
def test_only_the_current_secret_decides_about_development(secrets: tuple[str, ...]) -> None:
    assert not Config(secrets=secrets).is_development


# No secrets in messages


@pytest.mark.parametrize("secret", ["hunter2-is-too-short", "better-auth-secret-hunter2", "hunter2" * 9 + "\udcff"])
def test_no_config_error_contains_a_secret(secret: str) -> None:
    environ = {
        "BETTER_AUTH_SECRET": secret,
        "BETTER_AUTH_SECRET_PREVIOUS": secret,
        "BETTER_AUTH_URL": "ftp://user:hunter2@app.example.com",
        "DATABASE_URL": "mysql://user:hunter2@db/t",
    }
    with pytest.raises(ConfigError) as caught:
        Config.from_env(environ)
    assert len(caught.value.problems) >= 4
    assert "hunter2" not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_the_repr_of_a_config_has_no_secrets_and_no_passwords() -> None:
    shown = repr(
        config(
            BETTER_AUTH_SECRET_PREVIOUS=PREVIOUS,
            DATABASE_URL="postgresql://u:hunter2@db/t",
            MIGRATION_DATABASE_URL="postgresql://o:hunter2@db/t",
            REDIS_URL="redis://:hunter2@redis:6379/0",
            BETTER_AUTH_JWKS_URL="https://app.example.com/jwks?key=hunter2",
        )
    )
    assert SECRET not in shown
    assert PREVIOUS not in shown
    assert "hunter2" not in shown


# The application


def test_create_app_without_settings_raises_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BETTER_AUTH_SECRET", *SETTINGS):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError) as caught:
        create_app()
    assert str(caught.value) == f"taskapi cannot start:\n  - {NO_KEY_SOURCE}"
