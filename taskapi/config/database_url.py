"""PostgreSQL URLs: both spellings of several hosts, the parameters of libpq, and session settings in `options`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, unquote

from psycopg.pq import Conninfo
from sqlalchemy.engine import URL

DATABASE_KINDS = "neither postgresql://USER:PASSWORD@HOST/NAME nor sqlite:////PATH/TO/FILE"

ENCODE = "not a PostgreSQL URL: write / ? # @ and % in a name or password as %2F %3F %23 %40 and %25"
"""Also for what may be a part of a password: `postgresql://u:p@ss@host/db` reads as the host `ss@host`."""

_SCHEMES = re.compile(r"(postgres|postgresql|postgresql\+psycopg)://(.*)")

_URL = re.compile(
    r"(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?(?P<hosts>[^/?]*)(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?"
)

_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<name>[\w.%-]*))(?::(?P<port>[0-9]{0,5}))?")

_SETTING = re.compile(r"(?:-c\s*|--)([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)


def normalize_postgresql(url: str, options: str = "") -> str | None:
    """Return the URL with the driver `postgresql+psycopg`, as SQLAlchemy reads it; None if it has another scheme.

    Several hosts, in either spelling, become the parameters `host` and `port`; `user`, `password` and `dbname` in the
    query move to their usual places, where SQLAlchemy hides the password. `options` are those of `PGOPTIONS`, for a URL
    without its own. Raises ValueError with a message that contains no value.
    """
    scheme = _SCHEMES.fullmatch(url)
    if scheme is None:
        return None
    parts = _URL.fullmatch(scheme[2])
    # An unencoded character of the password would be taken for the start of one of these, and appear in messages.
    if parts is None or "@" in parts["hosts"] or re.search("[@/#]", parts["database"] or ""):
        raise ValueError(ENCODE)
    query = _parameters(parts["query"] or "")
    query.setdefault("options", [options])
    parse_options(query["options"][0])
    names, ports = _hosts(parts["hosts"].split(","), query)
    database = query.pop("dbname", [unquote(parts["database"] or "")])[0]
    if not database and "service" not in query:
        raise ValueError(DATABASE_KINDS)
    single = names[0] if len(names) == 1 and not names[0].startswith(("/", "@")) else None
    others = {name: values[0] for name, values in query.items() if values[0] and name not in ("user", "password")}
    if single is None and any(names):
        others["host"] = ",".join(names)
    if single is None and any(ports):
        others["port"] = ",".join(ports)
    return URL.create(
        "postgresql+psycopg",
        username=_parameter_or_part(query.get("user"), parts["user"]),
        password=_parameter_or_part(query.get("password"), parts["password"]),
        host=single or None,
        port=int(ports[0]) if single is not None and ports[0] else None,
        database=database or None,
        query=others,
    ).render_as_string(hide_password=False)


def _parameter_or_part(parameter: Sequence[str] | None, part: str | None) -> str | None:
    """Return the first value of a query parameter, otherwise the decoded part of the URL; None without both."""
    return parameter[0] if parameter else None if part is None else unquote(part)


def _parameters(query: str) -> dict[str, list[str]]:
    """Return the query parameters of a URL by name; ValueError for one that libpq does not know or that is repeated.

    `ssl=true` becomes `sslmode=require`, as in libpq; `host` and `port` may be repeated; empty values are left out.
    """
    parameters: dict[str, list[str]] = {}
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for name, value in parse_qsl(query, keep_blank_values=True):
        key, setting = ("sslmode", "require") if (name, value) == ("ssl", "true") else (name, value)
        if key not in known:
            # Named, unless the query may be the end of a password with `?` and `@`.
            shown = f": {key}" if value and re.fullmatch("[A-Za-z_]{1,40}", key) and "@" not in query else ""
            raise ValueError(f"a URL with a parameter that PostgreSQL's client library does not know{shown}")
        if setting:
            parameters.setdefault(key, []).append(setting)
    if repeated := [name for name, values in parameters.items() if len(values) > 1 and name not in ("host", "port")]:
        raise ValueError(f"a URL with {repeated[0]} twice")
    return parameters


def _hosts(authority: Sequence[str], query: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """Return the host names, or socket directories, and as many ports ("": the default port).

    Those in `query`, which are removed from it, precede those in the URL's `authority`. Raises ValueError for an
    invalid port, or numbers of hosts and ports that differ.
    """
    named = [part for value in query.pop("host", []) for part in value.split(",")]
    listed = [part for value in query.pop("port", []) for part in value.split(",")]
    found = [(host, "") if host.startswith(("/", "@")) else _host(host) for host in named or authority]
    names, ports = [name for name, _ in found], [port for _, port in found]
    if listed and not named and any(ports):
        ports = [""] * len(ports)
    if listed and not any(ports):
        ports = listed * len(names) if len(listed) == 1 else listed
    elif listed:
        raise ValueError("a URL with ports in host and in port")
    if len(ports) != len(names) or not all(re.fullmatch("[0-9]{0,5}", port) for port in ports):
        raise ValueError("a URL with another number of ports than of hosts, or a port that is not a number")
    if any(port and not 0 < int(port) < 65_536 for port in ports):
        raise ValueError("a URL with a port outside 1 to 65535")
    return names, ports


def _host(text: str) -> tuple[str, str]:
    """Return the decoded name and the port ("" without one) of a host such as `db:5432`; ValueError for other text."""
    # An IPv6 address in a query needs no brackets.
    found = _HOST.fullmatch(f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text)
    if found is None:
        raise ValueError(ENCODE)
    return unquote(found["ipv6"] or found["name"] or ""), found["port"] or ""


def parse_options(options: str) -> dict[str, str]:
    """Return the session settings in libpq's `options`, such as `-c lock_timeout=1s --search_path=tasks`, by name.

    PostgreSQL separates them at white space that no backslash precedes. Raises ValueError for any other command-line
    option: behind a pooler only settings can be set, in each transaction.
    """
    settings: dict[str, str] = {}
    words = re.findall(r"(?:[^\s\\]|\\.)+", options, re.DOTALL)
    for word in _join_flags(words):
        found = _SETTING.fullmatch(word)
        if found is None:
            raise ValueError("a URL whose options (or PGOPTIONS) are not of the form -c NAME=VALUE (a space is %20)")
        # PostgreSQL ignores the case, and reads a dash as an underscore.
        settings[found[1].replace("-", "_").lower()] = re.sub(r"\\(.)", r"\1", found[2], flags=re.DOTALL)
    return settings


def _join_flags(words: Sequence[str]) -> list[str]:
    """Return the words with each `-c` joined to the word after it, without a space; a `-c` at the end stays."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "-c":
            joined[-1] += word
        else:
            joined.append(word)
    return joined
