"""The settings of gunicorn.conf.py from the environment, validated like the service's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..config.environment import Environment
from ..config.settings import Config, ConfigError
from ..telemetry.log_format import start_error

MAX_WORKERS = 1000


@dataclass(frozen=True)
class ServerSettings:
    """The number of worker processes, the ports, and the level and format of the log of gunicorn.

    `metrics_port` 0 means no metrics.
    """

    workers: int
    port: int
    log_level: str
    log_format: str = "text"
    metrics_port: int = 0
    metrics_host: str = "127.0.0.1"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> ServerSettings:
        """Return these settings from `environ`, with the default for one that is absent or empty.

        Raises one `ConfigError` with the problems of all of them; it does not read the other settings of the service.
        """
        env = Environment(environ)
        settings = cls(
            # Two processes use both cores of a small machine.
            workers=env.number("WEB_CONCURRENCY", 2, minimum=1, maximum=MAX_WORKERS),
            port=env.number("PORT", 8000, minimum=1, maximum=65_535),
            log_level=env.log_level("LOG_LEVEL", Config.log_level).lower(),
            log_format=env.log_format("LOG_FORMAT", Config.log_format),
            metrics_port=env.number("METRICS_PORT", 0, minimum=1, maximum=65_535),
            # Metrics are not for the public: an operator who wants them on the network says so.
            metrics_host=env.ip_address("METRICS_HOST", cls.metrics_host),
        )
        if settings.metrics_port == settings.port:
            env.problems.append("METRICS_PORT is the public port (PORT): choose another one")
        if env.problems:
            raise ConfigError(env.problems)
        return settings


def from_env_or_exit(environ: Mapping[str, str]) -> ServerSettings:
    """Return the settings of gunicorn; exit if one is invalid, with a message that lists the problems of all settings.

    With an exception gunicorn would print a traceback.
    """
    try:
        return ServerSettings.from_env(environ)
    except ConfigError:
        raise SystemExit(start_error(ConfigError(setting_problems(environ)), environ)) from None


def setting_problems(environ: Mapping[str, str]) -> list[str]:
    """Return the problems of the settings of the service and of gunicorn, each once; [] if all are valid."""
    problems: dict[str, None] = {}
    for read in (Config.from_env, ServerSettings.from_env):
        try:
            read(environ)
        except ConfigError as error:
            problems.update(dict.fromkeys(error.problems))
    return [*problems]
