"""The settings of gunicorn.conf.py from the environment, validated like the service's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..config.environment import Environment
from ..config.settings import Config, ConfigError

MAX_WORKERS = 1000


@dataclass(frozen=True)
class ServerSettings:
    """The number of worker processes, the port, and the log level of gunicorn."""

    workers: int
    port: int
    log_level: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> ServerSettings:
        """Read the settings; an empty variable counts as absent. Raises one `ConfigError` with every problem."""
        env = Environment(environ)
        settings = cls(
            # Two processes use both cores of a small machine.
            workers=env.number("WEB_CONCURRENCY", 2, minimum=1, maximum=MAX_WORKERS),
            port=env.number("PORT", 8000, minimum=1, maximum=65_535),
            log_level=env.log_level("LOG_LEVEL", Config.log_level).lower(),
        )
        if env.problems:
            raise ConfigError(env.problems)
        return settings


def from_env_or_exit(environ: Mapping[str, str]) -> ServerSettings:
    """Do what `from_env` does; exit with the problems of all settings for one: gunicorn would print a traceback."""
    try:
        return ServerSettings.from_env(environ)
    except ConfigError:
        raise SystemExit(str(ConfigError(setting_problems(environ)))) from None


def setting_problems(environ: Mapping[str, str]) -> list[str]:
    """Return the problems of the service's settings and of those of gunicorn, each once."""
    problems: dict[str, None] = {}
    for read in (Config.from_env, ServerSettings.from_env):
        try:
            read(environ)
        except ConfigError as error:
            problems.update(dict.fromkeys(error.problems))
    return [*problems]
