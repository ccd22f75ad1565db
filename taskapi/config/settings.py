"""The frozen `Config` of the environment; one `ConfigError` names every problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .environment import Environment
from .proxies import Proxy
from .shared_secrets import DEVELOPMENT_SECRET

VERSION = "0.1.0"
"""The version of the service."""

DEFAULT_RATE_LIMIT = "600/minute"


class ConfigError(Exception):
    """The environment has invalid settings; `problems` lists a message for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("taskapi cannot start:\n" + "\n".join(f"  - {problem}" for problem in problems))


@dataclass(frozen=True)
class Config:
    """The validated settings.

    `secrets` is (), (current,) or (current, previous); `max_lifetime` is in seconds, `tokens_not_before` in
    seconds since 1970; `rate_limit` None means no limit;
    `trusted_proxies` is the number of reverse proxies whose `X-Forwarded-For` entries and `X-Forwarded-Prefix` are
    trusted; `url_prefix` has no slash at its end, and is "" without a prefix; `has_metrics` is True if the server that
    runs the application shall serve metrics.
    """

    secrets: tuple[str, ...] = field(default=(), repr=False)
    jwks_url: str | None = field(default=None, repr=False)  # its query may contain a key
    jwks_proxy: Proxy | None = None
    issuer: str | None = None
    audience: str | None = None
    max_lifetime: int | None = None
    tokens_not_before: float | None = None
    database_url: str = field(default="sqlite:///taskapi.db", repr=False)  # may contain a password
    migration_database_url: str | None = field(default=None, repr=False)
    cors_origins: tuple[str, ...] = ()
    redis_url: str | None = field(default=None, repr=False)
    rate_limit: str | None = DEFAULT_RATE_LIMIT
    trusted_proxies: int = 0
    url_prefix: str = ""
    max_tasks_per_user: int = 10_000
    require_if_match: bool = False
    log_level: str = "INFO"
    log_format: str = "text"
    log_user_key: str | None = field(default=None, repr=False)
    exports_traces: bool = False
    has_metrics: bool = False

    @property
    def is_development(self) -> bool:
        """True if the current (first) shared secret is the public development secret, also if `jwks_url` is set."""
        return self.secrets[:1] == (DEVELOPMENT_SECRET,)

    @property
    def observes_requests(self) -> bool:
        """True if something is made of the record of each request: a line of JSON, or a span."""
        return self.log_format == "json" or self.exports_traces

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Config:
        """Return the validated settings of `environ`; raise one `ConfigError` with every problem.

        A key source is required, and MIGRATION_DATABASE_URL must have the scheme of DATABASE_URL.
        """
        env = Environment(environ)
        config = cls(
            secrets=env.secrets(),
            jwks_url=(jwks_url := env.jwks_url()),
            jwks_proxy=env.proxy(jwks_url),
            issuer=env.text("JWT_ISSUER"),
            audience=env.text("JWT_AUDIENCE"),
            max_lifetime=env.seconds("JWT_MAX_LIFETIME"),
            tokens_not_before=env.time("JWT_NOT_BEFORE"),
            database_url=env.database_url("DATABASE_URL") or Config.database_url,
            migration_database_url=env.database_url("MIGRATION_DATABASE_URL"),
            cors_origins=env.origins("CORS_ORIGINS"),
            redis_url=env.redis_url("REDIS_URL"),
            rate_limit=env.rate_limit("RATE_LIMIT", DEFAULT_RATE_LIMIT),
            trusted_proxies=env.number("TRUSTED_PROXIES", Config.trusted_proxies, maximum=10),
            url_prefix=env.path_prefix("URL_PREFIX"),
            max_tasks_per_user=env.number(
                "MAX_TASKS_PER_USER", Config.max_tasks_per_user, minimum=1, maximum=10_000_000
            ),
            require_if_match=env.flag("REQUIRE_IF_MATCH"),
            log_level=env.log_level("LOG_LEVEL", Config.log_level),
            log_format=env.log_format("LOG_FORMAT", Config.log_format),
            log_user_key=env.key("LOG_USER_KEY"),
            exports_traces=env.exports_traces(),
            has_metrics=env.text("METRICS_PORT") is not None,
        )
        migration_url = config.migration_database_url
        if migration_url and migration_url.partition(":")[0] != config.database_url.partition(":")[0]:
            env.problems.append("MIGRATION_DATABASE_URL is of another kind than DATABASE_URL")
        if not env.has_key_source():
            env.problems.append(
                "no key source: set BETTER_AUTH_SECRET (HS256), "
                "BETTER_AUTH_URL or BETTER_AUTH_JWKS_URL (key pair), or both kinds"
            )
        if env.problems:
            raise ConfigError(env.problems)
        return config
