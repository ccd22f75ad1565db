"""The HTML pages: they load nothing from another host, and every problem type has one."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from taskapi.docs import ASSETS
from taskapi.http.errors import CATALOGUE
from tests.conftest import migrate
from tests.every_request import olga, send_every_request

PAGES = ("/docs", *(f"/problems/{code}" for code in CATALOGUE))


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SQLite only: nothing here depends on the database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/taskapi.db"
    migrate(url)
    return url


class Links(HTMLParser):
    """Collects the resources that a page loads, its links, and its inline scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "src" or (name == "href" and tag == "link") or name == "data-url":
                self.loaded.append(value or "")
            elif name == "href":
                self.linked.append(value or "")
            elif name.startswith("on") or name == "style":
                self.inline.append(f"{tag} {name}")
        if tag == "style" or (tag == "script" and "src" not in dict(attrs)):
            self.inline.append(tag)


def read(client: FlaskClient, path: str) -> Links:
    response = client.get(path)
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    links = Links()
    links.feed(response.text)
    return links


@pytest.mark.parametrize("path", PAGES)
def test_a_page_references_no_other_host(client: FlaskClient, path: str):
    links = read(client, path)
    for link in links.loaded + links.linked:
        assert link == "data:," or (urlsplit(link).netloc, urlsplit(link).scheme) == ("", ""), link
    assert not re.search(r"(https?:)?//", client.get(path).text)


@pytest.mark.parametrize("path", PAGES)
def test_everything_a_page_loads_or_links_to_is_served(client: FlaskClient, path: str):
    links = read(client, path)
    for link in [link for link in links.loaded + links.linked if link != "data:,"]:
        response = client.get(urljoin(path, link))
        assert response.status_code == 200, link
        assert response.data
        response.close()


def test_the_api_page_loads_the_two_assets_and_the_description(client: FlaskClient):
    loaded = read(client, "/docs").loaded
    assert {f"/docs/swagger/{name}" for name in ASSETS} | {"/openapi.json", "/docs/static/start.js"} <= set(loaded)


@pytest.mark.parametrize("path", [*PAGES, "/docs/", "/docs/swagger/swagger-ui.css", "/docs/static/start.js"])
def test_the_content_security_policy_allows_own_scripts_only_and_no_frames(client: FlaskClient, path: str):
    response = client.get(path)
    policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
    response.close()

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_inline_script_that_the_policy_blocks(client: FlaskClient, path: str):
    assert read(client, path).inline == []


@pytest.mark.parametrize(
    ("name", "media_type"), [("swagger-ui.css", "text/css"), ("swagger-ui-bundle.js", "text/javascript")]
)
def test_an_asset_has_the_content_type_that_nosniff_requires(client: FlaskClient, name: str, media_type: str):
    response = client.get(f"/docs/swagger/{name}")
    assert response.mimetype == media_type
    response.close()


@pytest.mark.parametrize("name", ["index.html", "swagger-ui.css.map", "..%2f__init__.py", "../__init__.py", "%2e%2e"])
def test_other_files_of_flask_swagger_ui_are_404(client: FlaskClient, name: str):
    assert client.get(f"/docs/swagger/{name}").status_code == 404


@pytest.mark.parametrize("code", CATALOGUE)
def test_each_problem_type_has_a_page(client: FlaskClient, code: str):
    page = client.get(f"/problems/{code}").text
    assert f"<code>{code}</code>" in page
    assert f"<code>{CATALOGUE[code].status}</code>" in page


@pytest.mark.parametrize("code", ["", "nothing", "NOT-FOUND", "not-found/", "..", "%3Cscript%3E"])
def test_an_unknown_problem_is_404_and_not_echoed(client: FlaskClient, code: str):
    response = client.get(f"/problems/{code}")
    assert response.status_code == 404
    assert response.content_type == "application/problem+json"
    assert "script" not in response.text


def test_the_type_of_every_error_response_is_the_address_of_a_page(app: Flask):
    person = olga(app)
    types = {
        answer.get_json()["type"] for answer in send_every_request(person) if answer.status_code >= 400 and answer.data
    }
    assert len(types) >= 8
    for address in types:
        response = person.client.get(urljoin("/api/olga/tasks/1", address))
        assert response.status_code == 200
        assert response.mimetype == "text/html"


def test_the_pages_need_no_token(client: FlaskClient):
    assert client.get("/docs").status_code == client.get("/docs/").status_code == 200
