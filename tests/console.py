"""Run the ```console blocks of the documentation: send each `$ curl …` and compare the response with the printed one.

`…` in a printed response matches any text. With `-i` each printed line must occur, in this order, in the status line, the
headers and the body. `$ETAG` and `$NEXT` are the `ETag` and the member `next` of the last response that had them.
"""

from __future__ import annotations

import argparse
import http.client
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_CURL = argparse.ArgumentParser()
_CURL.add_argument("-X", dest="method")
_CURL.add_argument("-H", dest="headers", action="append", default=[])
_CURL.add_argument("-d", "--data-binary", dest="data")
_CURL.add_argument("-i", dest="include", action="store_true")
_CURL.add_argument("url")


@dataclass
class Step:
    """A command and the output printed below it."""

    command: str
    printed: list[str]


def steps(page: Path) -> Iterator[Step]:
    """Yield the commands of the console blocks of a page in order, each with its printed output."""
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
        for part in re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            yield Step(command.partition("  #")[0].strip(), [line for line in printed.splitlines() if line.strip()])


def run(step: Step, variables: dict[str, str], address: tuple[str, int]) -> None:
    """Send the request of a `curl` command to `address`, with `$NAME` replaced from `variables`; compare the response."""
    text = re.sub(r"\$'([^']*)'", lambda match: shlex.quote(match[1].replace("\\n", "\n")), step.command)  # $'a\nb'
    text = re.sub(r"\$(\w+)", lambda match: variables[match[1]], text)
    curl = _CURL.parse_args(shlex.split(text)[1:])
    url = urlsplit("//" + curl.url if "://" not in curl.url else curl.url)
    form = {"Content-Type": "application/x-www-form-urlencoded"} if curl.data else {}  # the default of curl for -d
    headers = form | dict(header.split(": ", 1) for header in curl.headers)
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request(
        curl.method or ("POST" if curl.data else "GET"),
        url.path + (f"?{url.query}" if url.query else ""),
        curl.data.encode() if curl.data else None,
        headers,
    )
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    variables |= {"ETAG": response.headers["ETag"]} if "ETag" in response.headers else {}
    variables |= {"NEXT": match[1]} if (match := re.search(r'"next":"([^"]+)"', body)) else {}
    head = [f"HTTP/1.1 {response.status} {response.reason}", *(f"{k}: {v}" for k, v in response.getheaders())]
    lines = body.splitlines()
    _compare(step, [*head, *lines] if curl.include else lines)


def _compare(step: Step, received: list[str]) -> None:
    lines = iter(received)
    for printed in step.printed:
        pattern = re.compile(".*".join(re.escape(part) for part in printed.split("…")), re.IGNORECASE)
        assert any(pattern.fullmatch(line) for line in lines), f"{step.command}\nprints {printed}\nbut got {received}"
