"""Validation of path prefixes and web origins."""

from __future__ import annotations

import pytest

from taskapi.urls import MAX_PREFIX_LENGTH, parse_origin, parse_path_prefix


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


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://App.Example.com:443", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://localhost:80", "http://localhost"),
        ("HTTP://localhost:080", "http://localhost"),
        ("https://localhost:03000", "https://localhost:3000"),
        ("http://localhost:443", "http://localhost:443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("https://[2001:DB8:0:0::1]", "https://[2001:db8::1]"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("ionic://localhost", "ionic://localhost"),
        ("tauri://localhost", "tauri://localhost"),
        ("https://tauri.localhost", "https://tauri.localhost"),
        ("app://obsidian.md", "app://obsidian.md"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("http://host_with_underscore", "http://host_with_underscore"),
    ],
)
def test_an_origin_is_normalized_to_what_browsers_send(text: str, origin: str):
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        *("null", "*", "https://*.example.com", "https://app.example.com/", "https://app.example.com/path", "file://"),
        *("app.example.com", "https://", "https://user@app.example.com", "https://a b", "http://[::1", "http://[::g]"),
        *("http://::1:3000", "https://app.example.com:port", "http://[1.2.3.4]", "https://app.example.com\n", ""),
        *("https://app.example.com:0", "https://app.example.com:65536"),
    ],
)
def test_an_opaque_origin_a_pattern_and_a_path_are_no_origins(text: str):
    assert parse_origin(text) is None
