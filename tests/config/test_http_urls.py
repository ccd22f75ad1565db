"""The HTTP URLs of the issuer."""

from __future__ import annotations

from taskapi.config.http_urls import without_query


def test_a_url_in_the_log_has_no_query():
    url = "https://app.example.com/api/auth/jwks"
    assert without_query(url) == url
    assert without_query(f"{url}?key=hunter2") == f"{url}?…"
