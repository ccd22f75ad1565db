"""Web origins that may call the API from a browser (CORS)."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

MAX_PORT = 65_535

_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def parse_origin(text: str) -> str | None:
    """Return an origin as browsers send it (RFC 6454, section 6.2): in lower case, without a default port; or None.

    The scheme may be that of an application, such as `capacitor://localhost`; an IPv6 host is in brackets. None for
    `null`, which many documents share, a path (even `/`), a pattern such as `*`, and a host that is not ASCII.
    """
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme, host, port = match[1].lower(), match[2].lower(), ""
    if match[3]:
        if not 1 <= (number := int(match[3][1:])) <= MAX_PORT:
            return None
        port = f":{number}"
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1])}]"
        except ValueError:
            return None
    return f"{scheme}://{host}" + ("" if port == _DEFAULT_PORTS.get(scheme) else port)
