"""Runs the ```console sessions of the documentation: each `$ curl …` for real, its answer against what is printed below.

`…` in a printed answer stands for anything. With `-i` each printed line must occur, in this order, among status
line, headers and body. `$ETAG` and `$NEXT` are the last `ETag` and member `next` answered.
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
_CURL.add_argument("-d", dest="data")
_CURL.add_argument("-i", dest="include", action="store_true")
_CURL.add_argument("url")


@dataclass
class Step:
    command: str
    printed: list[str]


def steps(page: Path) -> Iterator[Step]:
    """The commands of a page's console blocks in order, with what the page prints below each."""
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
        for part in re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            yield Step(command.partition("  #")[0].strip(), [line for line in printed.splitlines() if line.strip()])


def run(step: Step, variables: dict[str, str], address: tuple[str, int]) -> None:
    """Run one `curl`, with `$NAME` replaced from `variables`, at the address instead of the printed one."""
    text = re.sub(r"\$(\w+)", lambda match: variables[match[1]], step.command)
    curl = _CURL.parse_args(shlex.split(text)[1:])
    url = urlsplit("//" + curl.url if "://" not in curl.url else curl.url)
    form = {"Content-Type": "application/x-www-form-urlencoded"} if curl.data else {}  # as curl takes any data for one
    headers = form | dict(header.split(": ", 1) for header in curl.headers)
    connection = http.client.HTTPConnection(*address, timeout=10)
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
    variables |= {"NEXT": found[1]} if (found := re.search(r'"next":"([^"]+)"', body)) else {}
    head = [f"HTTP/1.1 {response.status} {response.reason}", *(f"{k}: {v}" for k, v in response.getheaders())]
    lines = body.splitlines()
    _compare(step, [*head, *lines] if curl.include else lines)


def _compare(step: Step, answered: list[str]) -> None:
    lines = iter(answered)
    for printed in step.printed:
        pattern = re.compile(".*".join(re.escape(part) for part in printed.split("…")), re.IGNORECASE)
        assert any(pattern.fullmatch(line) for line in lines), f"{step.command}\nprints {printed}\nbut got {answered}"
