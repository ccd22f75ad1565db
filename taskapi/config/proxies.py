"""The proxy for requests to the issuer: HTTPS_PROXY, HTTP_PROXY and NO_PROXY."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit

DEFAULT_PORT = 80

PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")
"""The variables that `proxy_for` reads."""


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy; `authorization` is the value of Proxy-Authorization, None without credentials."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for an http(s) URL; None if `environ` has no proxy for its scheme, or NO_PROXY has its host.

    A variable in lower case has precedence, as in curl. Raises ValueError, whose message begins with the variable's
    name, for a proxy that is not http.
    """
    parts = urlsplit(url)
    name = "HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY"
    value = _variable(environ, name)
    if not value or _is_exempt(parts, _variable(environ, "NO_PROXY")):
        return None
    target = urlsplit(value if "://" in value else f"http://{value}")
    try:
        host, port = target.hostname, target.port
    except ValueError:
        host, port = None, None
    if target.scheme != "http" or not host or target.path.strip("/") or target.query or re.search(r"\s", value):
        raise ValueError(f"{name} is not http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")
    return Proxy(host, port or DEFAULT_PORT, _basic(target.username, target.password))


def _is_exempt(target: SplitResult, no_proxy: str) -> bool:
    """Return True for a host of this machine (localhost, 127.0.0.0/8, ::1) or in `no_proxy`.

    The list is such as `.example.com,10.0.0.0/8,api.example.com:8443,*`. A domain stands for its subdomains as well,
    with or without a leading dot.
    """
    host = (target.hostname or "").rstrip(".")
    if host == "localhost" or _is_in_network(host, "127.0.0.0/8") or host == "::1":
        return True
    port = target.port or (443 if target.scheme == "https" else 80)
    for entry in re.split(r"[\s,]+", no_proxy.lower()):
        name = entry.removesuffix(f":{port}").strip("[]").strip(".").removeprefix("*.")
        if entry == "*" or (name and (host == name or host.endswith(f".{name}"))) or _is_in_network(host, name):
            return True
    return False


def _is_in_network(host: str, network: str) -> bool:
    """Return True if the host is an IP address in `network`, which needs a prefix length: 10.0.0.0/8; else False."""
    try:
        return "/" in network and ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def _variable(environ: Mapping[str, str], name: str) -> str:
    """Return a variable by its lower-case name, otherwise by `name` (upper case); "" if both are absent or empty."""
    return environ.get(name.lower(), "").strip() or environ.get(name, "").strip()


def _basic(user: str | None, password: str | None) -> str | None:
    """Return the value of Proxy-Authorization (RFC 7617); None without a user."""
    if user is None:
        return None
    return "Basic " + b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
