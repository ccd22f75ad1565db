"""Secrets that are shared with the frontend: which are too weak or public."""

from __future__ import annotations

import re

DEVELOPMENT_SECRET = "taskapi-development-secret-never-use-in-production"
"""The secret that `.flaskenv` sets. It is public, so only the `flask` command accepts it."""

BETTER_AUTH_DEFAULT_SECRET = "better-auth-secret-"
"""Prefix of the secret that Better Auth uses when none is set. It is public, too."""

MIN_SECRET_BYTES = 32
"""Minimum length of an HS256 key: the 256 bits of its hash (RFC 7518, section 3.2)."""


def secret_problems(secret: str, *, in_development: bool) -> list[str]:
    """Return what is wrong with a secret, [] if nothing; each text follows the name of its variable in a message.

    The development secret, which is public, is accepted only with `in_development`.
    """
    problems = []
    # Python decodes a byte of the environment that is not UTF-8 to a lone surrogate, which PyJWT cannot encode.
    if re.search(r"[\ud800-\udfff]", secret):
        problems.append("is not UTF-8")
    if len(secret.encode("utf-8", "surrogatepass")) < MIN_SECRET_BYTES:
        problems.append(f"is shorter than {MIN_SECRET_BYTES} bytes: make one with `openssl rand -base64 32`")
    if secret.startswith(BETTER_AUTH_DEFAULT_SECRET):
        problems.append("is the default secret of Better Auth, which is public")
    if secret == DEVELOPMENT_SECRET and not in_development:
        problems.append("is the development secret of .flaskenv, which is public")
    return problems
