"""Validation of web origins."""

from __future__ import annotations

import pytest

from taskapi.config.origins import parse_origin


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
