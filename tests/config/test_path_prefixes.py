"""Validation of path prefixes."""

from __future__ import annotations

import pytest

from taskapi.config.path_prefixes import MAX_PREFIX_LENGTH, parse_path_prefix


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("/tasks-api", "/tasks-api"),
        ("/tasks-api/", "/tasks-api"),
        ("/a/b.c/~d_e", "/a/b.c/~d_e"),
        ("/" + "x" * (MAX_PREFIX_LENGTH - 1), "/" + "x" * (MAX_PREFIX_LENGTH - 1)),
        ("/", ""),
    ],
)
def test_a_path_prefix_has_no_slash_at_its_end(text: str, prefix: str):
    assert parse_path_prefix(text) == prefix


HOSTILE_PREFIXES = {
    "absolute-url": "https://evil.example",
    "scheme": "javascript:alert(1)",
    "another-host": "//evil.example",
    "another-host-with-backslash": "/\\evil.example",
    "empty-segment": "/tasks//api",
    "two-slashes-at-the-end": "/tasks//",
    "only-slashes": "//",
    "parent": "/tasks/..",
    "current": "/./tasks",
    "encoded-parent": "/tasks/%2e%2e",
    "relative": "tasks-api",
    "line-break": "/tasks\r\nSet-Cookie: a=b",
    "line-break-at-the-end": "/tasks\n",
    "nul": "/tasks\x00",
    "space": "/tasks api",
    "query": "/tasks?x=1",
    "fragment": "/tasks#x",
    "markup": '/"><script>',
    "header-syntax": "/tasks>;rel=x",
    "not-ascii": "/tåsks",
    "not-ascii-digit": "/tasks٣",
    "too-long": "/" + "x" * MAX_PREFIX_LENGTH,
    "empty": "",
}


@pytest.mark.parametrize("text", HOSTILE_PREFIXES.values(), ids=HOSTILE_PREFIXES)
def test_what_is_not_a_path_of_the_same_host_is_no_path_prefix(text: str):
    assert parse_path_prefix(text) is None
