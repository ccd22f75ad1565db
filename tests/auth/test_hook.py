"""Authentication over HTTP: only the Authorization header counts, and another user's path is 403 by the token alone."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from taskapi.auth import jwks_cache
from taskapi.database.base import db
from tests.auth.issuer import KEY_PAIR_ALGORITHMS, Signer, base64url, compact, hs256
from tests.auth.key_server import KeyServer
from tests.conftest import SECRET, Person, Statements, build, delete_all_rows, migrate, token
from tests.waiting import until

VECTORS = Path(__file__).parent / "vectors"
CHALLENGE = 'Bearer realm="taskapi"'
ALICES = "/api/alice/tasks"

MakeApp = Callable[..., Flask]
Serve = Callable[..., KeyServer]

ENDPOINTS = [
    *(("GET", ""), ("HEAD", ""), ("POST", ""), ("GET", "/1"), ("HEAD", "/1"), ("PUT", "/1"), ("DELETE", "/1")),
    *(("PATCH", "/1/complete"), ("GET", "/"), ("POST", "/"), ("GET", "/not-an-id")),
]


def ask(client: FlaskClient, authorization: str | None = None, path: str = ALICES, **options: Any) -> TestResponse:
    """Send a request with the given Authorization header, or none, and the request id `r-1`."""
    headers = {"X-Request-Id": "r-1", **options.pop("headers", {})}
    if authorization is not None:
        headers["Authorization"] = authorization
    return client.open(path, headers=headers, **options)


def challenge(reason: str) -> str:
    return f'{CHALLENGE}, error="invalid_token", error_description="{reason}"'


def unauthorized(detail: str) -> dict[str, Any]:
    return {
        "type": "/problems/unauthorized",
        "title": "A valid token is required",
        "status": 401,
        "detail": detail,
        "code": "unauthorized",
        "request_id": "r-1",
    }


def assert_token_required(response: TestResponse) -> None:
    """Assert a 401 whose challenge has no error attributes, because the request had no token."""
    assert response.status_code == 401
    assert response.headers.getlist("WWW-Authenticate") == [CHALLENGE]
    assert response.content_type == "application/problem+json"
    assert response.get_json() == unauthorized("Send `Authorization: Bearer <token>`.")


def assert_token_rejected(response: TestResponse, reason: str) -> None:
    assert response.status_code == 401
    assert response.headers.getlist("WWW-Authenticate") == [challenge(reason)]
    assert response.content_type == "application/problem+json"
    assert response.get_json() == unauthorized(f"Sign in again: {reason}.")


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SQLite only: requests that are rejected here do not reach the database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('hook')}/taskapi.db"
    migrate(url)
    return url


@pytest.fixture(scope="module")
def app(database_url: str) -> Iterator[Flask]:
    """One application for all tests of this module."""
    app = build(database_url)
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def alice(client: FlaskClient, database_url: str) -> Iterator[Person]:
    """The only user with tasks in this module; they are removed after the test."""
    yield Person(client, "alice")
    delete_all_rows(database_url)


# The header


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_bearer_in_any_case(client: FlaskClient, scheme: str) -> None:
    response = ask(client, f"{scheme} {token('alice')}")
    assert (response.status_code, response.get_json()) == (200, [])
    assert "WWW-Authenticate" not in response.headers


def test_spaces_around_the_token_are_ignored(client: FlaskClient) -> None:
    assert ask(client, f"  Bearer   {token('alice')}  ").status_code == 200


NO_TOKEN = {
    "no header": None,
    "an empty header": "",
    "a blank header": "  ",
    "the scheme alone": "Bearer",
    "the scheme and a space": "Bearer ",
    "the token alone": "{token}",
    "a colon": "Bearer: {token}",
    "an equals sign": "Bearer={token}",
    "a tab": "Bearer\t{token}",
    "a comma first": ", Bearer {token}",
    "Basic": "Basic " + b64encode(f"alice:{SECRET}".encode()).decode(),
    "Basic with a token": "Basic {token}",
    "Token": "Token {token}",
    "JWT": "JWT {token}",
    "DPoP": "DPoP {token}",
    "Digest": 'Digest username="alice"',
    "BearerX": "BearerX {token}",
    "Basic, then Bearer": "Basic YTpi, Bearer {token}",
}


@pytest.mark.parametrize("authorization", NO_TOKEN.values(), ids=NO_TOKEN.keys())
def test_without_a_bearer_token_the_401_has_a_challenge_without_an_error(
    client: FlaskClient, authorization: str | None
) -> None:
    assert_token_required(ask(client, authorization and authorization.replace("{token}", token("alice"))))


NOT_SIGNED = "the token is not a signed JWT"
BAD_TOKENS: dict[str, tuple[Callable[[], str], str]] = {
    "text": (lambda: "hunter2", NOT_SIGNED),
    "a session token": (lambda: "x" * 32 + "." + "y" * 43 + "%3D", NOT_SIGNED),
    "expired": (lambda: token("alice", exp=int(time.time()) - 1), "the token has expired"),
    "expired just now": (lambda: token("alice", exp=int(time.time())), "the token has expired"),
    "without exp": (lambda: token("alice", exp=None), "the token has no exp"),
    "not valid yet": (lambda: token("alice", nbf=int(time.time()) + 86_400, exp=2**33), "the token is not valid yet"),
    "of another secret": (lambda: token("alice", secret="x" * 40), "the signature of the token is wrong"),
    "with an empty sub": (lambda: token(""), "sub of the token is not an id"),
    "unsigned": (
        lambda: f"{base64url({'alg': 'none'})}.{base64url({'sub': 'alice', 'exp': 2**33})}.AA",
        "the token is signed with an algorithm that is not accepted",
    ),
    "a logout token": (lambda: token("alice", headers={"typ": "logout+jwt"}), "the token is of another type"),
    "too long": (lambda: "x" * 8193, "the token is too long"),
    "two tokens": (lambda: f"{token('alice')} {token('alice')}", NOT_SIGNED),
    "two tokens and a comma": (lambda: f"{token('alice')},{token('alice')}", NOT_SIGNED),
    "two schemes": (lambda: f"Bearer {token('alice')}", NOT_SIGNED),
    "two schemes and a comma": (lambda: f"{token('alice')}, Bearer {token('alice')}", NOT_SIGNED),
    "in quotes": (lambda: f'"{token("alice")}"', NOT_SIGNED),
    "padded": (lambda: f"{token('alice')}=", NOT_SIGNED),
    "beyond ASCII": (lambda: "tök.én.é", NOT_SIGNED),
}


@pytest.mark.parametrize(("make", "reason"), BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_an_invalid_token_is_401_with_its_reason(client: FlaskClient, make: Callable[[], str], reason: str) -> None:
    text = make()
    response = ask(client, f"Bearer {text}")
    assert_token_rejected(response, reason)
    assert text not in response.text
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("of", ["alice", "mallory", None], ids=["same user", "other", "text"])
def test_two_authorization_headers_are_401(client: FlaskClient, of: str | None) -> None:
    other = token(of) if of else "hunter2"
    for first, second in ((token("alice"), other), (other, token("alice"))):
        headers = [("X-Request-Id", "r-1"), ("Authorization", f"Bearer {first}"), ("Authorization", f"Bearer {second}")]
        assert_token_rejected(client.get(ALICES, headers=headers), NOT_SIGNED)


@pytest.mark.parametrize(
    "name", ["session", "token", "better-auth.session_token", "__Secure-better-auth.session_token"]
)
def test_a_token_in_a_cookie_is_ignored(client: FlaskClient, name: str) -> None:
    client.set_cookie(name, token("alice"))
    assert_token_required(ask(client))
    assert_token_required(ask(client, method="POST", json={"title": "Buy milk"}))


@pytest.mark.parametrize("name", ["token", "access_token", "jwt", "authorization", "Authorization", "bearer"])
def test_a_token_in_the_query_string_is_ignored(client: FlaskClient, name: str) -> None:
    assert_token_required(ask(client, query_string={name: token("alice")}))
    assert_token_required(ask(client, query_string={name: f"Bearer {token('alice')}"}))


@pytest.mark.parametrize("form", ["data", "json"])
@pytest.mark.parametrize("name", ["token", "access_token", "authorization"])
def test_a_token_in_the_body_is_ignored(client: FlaskClient, form: str, name: str) -> None:
    body = {name: token("alice"), "title": "Buy milk"}
    assert_token_required(ask(client, method="POST", **{form: body}))


@pytest.mark.parametrize(
    "name",
    [
        *("X-Authorization", "X-Access-Token", "X-Auth-Token", "X-Token", "X-Forwarded-Authorization", "Token"),
        *("Proxy-Authorization", "X-User-Id", "X-Forwarded-User", "Remote-User", "X-Remote-User", "set-auth-jwt"),
    ],
)
def test_a_token_in_another_header_is_ignored(client: FlaskClient, name: str) -> None:
    for value in (token("alice"), f"Bearer {token('alice')}", "alice"):
        assert_token_required(ask(client, headers={name: value}))


def test_remote_user_of_the_server_is_ignored(client: FlaskClient) -> None:
    environ = {"REMOTE_USER": "alice", "AUTH_TYPE": "Bearer"}
    assert_token_required(ask(client, environ_overrides=environ))


def test_a_token_elsewhere_does_not_replace_the_one_in_the_header(client: FlaskClient) -> None:
    client.set_cookie("token", token("mallory"))
    assert ask(client, f"Bearer {token('alice')}", headers={"X-User-Id": "mallory"}).status_code == 200
    assert_token_rejected(ask(client, "Bearer hunter2", headers={"X-Token": token("alice")}), NOT_SIGNED)


# Precedence of the token check


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize("authorization", [None, "Basic YTpi", "Bearer hunter2", "Bearer {forged}"])
def test_no_statement_is_sent_before_the_token_is_verified(
    client: FlaskClient, statements: Statements, method: str, path: str, authorization: str | None
) -> None:
    forged = token("alice", secret="x" * 40)
    response = ask(
        client,
        authorization and authorization.replace("{forged}", forged),
        ALICES + path,
        method=method,
        data=b"{not read",
    )
    assert response.status_code == 401
    assert statements.sent == []


@pytest.mark.parametrize(
    "path", ["/api/alice/tasks", "/api/alice/tasks/", "/api/alice/tasks/1", "/api/alice/tasks/1/complete"]
)
def test_a_preflight_needs_no_token(make_app: MakeApp, path: str) -> None:
    client = make_app(CORS_ORIGINS="https://app.example.com").test_client()
    preflight = {
        "Origin": "https://app.example.com",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    response = ask(client, path=path, method="OPTIONS", headers=preflight)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert "authorization" in response.headers["Access-Control-Allow-Headers"].lower()
    assert "WWW-Authenticate" not in response.headers
    assert response.data == b""


@pytest.mark.parametrize("authorization", [None, "Bearer hunter2"])
def test_options_without_a_token_shows_only_the_methods(
    client: FlaskClient, statements: Statements, authorization: str | None
) -> None:
    response = ask(client, authorization, ALICES, method="OPTIONS")
    assert response.status_code == 200
    assert sorted(response.headers["Allow"].split(", ")) == ["GET", "HEAD", "OPTIONS", "POST"]
    assert statements.sent == []


# The path of another user

FORBIDDEN = {
    "type": "/problems/forbidden",
    "title": "This path belongs to another user",
    "status": 403,
    "detail": "The token is another user's than the path.",
    "code": "forbidden",
    "request_id": "r-1",
}


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_another_users_path_is_403_without_a_query_or_a_read_of_the_body(
    alice: Person, mallory: Person, statements: Statements, method: str, path: str
) -> None:
    alice.add("Buy milk")
    statements.clear()
    # Other errors of the request are not reported to another user: the body is not even read.
    for body in (b'{"title": "mine"}', b"{not read", b"x" * 100_000):
        response = mallory.send(method, path, of="alice", data=body, headers={"X-Request-Id": "r-1", "If-Match": "?"})
        assert response.status_code == 403
        assert method == "HEAD" or response.get_json() == FORBIDDEN
        assert "WWW-Authenticate" not in response.headers
    assert statements.sent == []
    assert alice.titles() == ["Buy milk"]


def test_the_path_of_an_unknown_user_is_the_same_403(alice: Person, mallory: Person) -> None:
    alice.add("Buy milk")
    headers = {"X-Request-Id": "r-1"}
    for path in ("", "/1", "/2"):
        there, nowhere = (mallory.get(path, of=of, headers=headers) for of in ("alice", "nobody-of-this-name"))
        assert (there.status_code, there.data) == (nowhere.status_code, nowhere.data) == (403, there.data)


LIKE_ALICE = {
    "capital": "Alice",
    "capitals": "ALICE",
    "space after": "alice%20",
    "space before": "%20alice",
    "plus after": "alice+",
    "line break after": "alice%0A",
    "NUL after": "alice%00",
    "NUL before": "%00alice",
    "tab after": "alice%09",
    "Cyrillic a": quote("\u0430lice"),
    "full width": quote("\uff41\uff4c\uff49\uff43\uff45"),
    "mathematical": quote("\U0001d41a\U0001d425\U0001d422\U0001d41c\U0001d41e"),
    "dotless i": quote("al\u0131ce"),
    "Roman numeral": quote("al\u2170ce"),
    "zero width space": quote("alice\u200b"),
    "zero width joiner": quote("al\u200dice"),
    "soft hyphen": quote("al\u00adice"),
    "right-to-left mark": quote("\u200falice"),
    "BOM": quote("\ufeffalice"),
    "combining mark": quote("alice\u0301"),
    "no-break space": quote("alice\u00a0"),
    "not UTF-8": "alice%FF",
    "overlong": "%C1%A1lice",
    "surrogate": "alice%ED%A0%80",
    "encoded twice": "%2561lice",
    "parameter": "alice;a=1",
    "encoded slash": "alice%2F",
    "encoded slash before": "%2Falice",
    "encoded backslash": "alice%5C",
    "slash": "alice/",
    "dot": "./alice",
    "encoded dots": "%2e%2e/api/alice",
    "dots": "mallory/../alice",
    "encoded dots and slash": "mallory%2F..%2Falice",
    "query": "alice%3F",
    "fragment": "alice%23",
    "two users": "alice,mallory",
    "wildcard": "*",
    "per cent": "%25",
    "placeholder": "me",
    "empty": "",
    "blank": "%20",
}


@pytest.mark.parametrize("spelling", LIKE_ALICE.values(), ids=LIKE_ALICE.keys())
def test_a_path_user_that_only_resembles_the_tokens_user_is_403(
    alice: Person, statements: Statements, spelling: str
) -> None:
    alice.add("Buy milk")
    statements.clear()
    for path in (f"/api/{spelling}/tasks", f"/api/{spelling}/tasks/1"):
        for method in ("GET", "DELETE"):
            response = ask(alice.client, f"Bearer {alice.token}", path, method=method)
            assert response.status_code in (403, 404, 405), path
    assert statements.sent == []
    assert alice.titles() == ["Buy milk"]


@pytest.mark.parametrize(
    "user", ["alice", "用户", "e\u0301", "\u00e9", "a b", "a+b", "50%", "me@example.com", "\ufffd", "...", "İ", "a;b=c"]
)
def test_the_path_user_may_be_percent_encoded_in_any_way(client: FlaskClient, user: str) -> None:
    authorization = f"Bearer {token(user)}"
    assert ask(client, authorization, f"/api/{quote(user, safe='')}/tasks").status_code == 200
    fully = "".join(f"%{byte:02x}" for byte in user.encode())
    assert ask(client, authorization, f"/api/{fully}/tasks").status_code == 200
    assert ask(client, authorization, ALICES).status_code == (200 if user == "alice" else 403)


def test_composed_and_decomposed_letters_are_different_users(client: FlaskClient) -> None:
    authorization = f"Bearer {token(chr(0xE9))}"
    assert ask(client, authorization, "/api/%C3%A9/tasks").status_code == 200
    assert ask(client, authorization, "/api/e%CC%81/tasks").status_code == 403


# Published keys


@pytest.fixture
def key_server(serve_keys: Serve, signers: dict[str, Signer]) -> KeyServer:
    return serve_keys(*(signer.jwk() for signer in signers.values()))


def of(signer: Signer, sub: str = "alice", **header: Any) -> str:
    now = int(time.time())
    return "Bearer " + signer.token({"sub": sub, "iat": now, "exp": now + 900}, **header)


def test_tokens_of_both_key_sources_are_accepted(
    make_app: MakeApp, key_server: KeyServer, signers: dict[str, Signer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks_cache, "MIN_REFETCH_INTERVAL", 60)
    client = make_app(BETTER_AUTH_URL=key_server.url.removesuffix("/api/auth/jwks")).test_client()
    assert ask(client, f"Bearer {token('alice')}").status_code == 200
    assert key_server.fetches == []
    for algorithm in KEY_PAIR_ALGORITHMS:
        assert ask(client, of(signers[algorithm])).status_code == 200
        assert ask(client, of(signers[algorithm], "mallory")).status_code == 403
    assert_token_rejected(ask(client, of(signers["EdDSA"], kid="invented")), "the token is signed with an unknown key")
    assert key_server.fetches == ["/api/auth/jwks"]


def test_an_algorithm_without_a_key_source_is_401(
    make_app: MakeApp, key_server: KeyServer, client: FlaskClient
) -> None:
    reason = "the token is signed with an algorithm that is not accepted"
    assert_token_rejected(ask(client, of(Signer("EdDSA"))), reason)
    key_pairs_only = make_app(BETTER_AUTH_SECRET="", BETTER_AUTH_JWKS_URL=key_server.url).test_client()
    assert_token_rejected(ask(key_pairs_only, f"Bearer {token('alice')}"), reason)


def test_beyond_the_limit_of_requests_that_wait_for_a_key_it_is_503_and_not_401(
    make_app: MakeApp, key_server: KeyServer, signers: dict[str, Signer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks_cache, "MIN_REFETCH_INTERVAL", 0)
    monkeypatch.setattr(jwks_cache, "MAX_WAITING", 1)
    app = make_app(BETTER_AUTH_JWKS_URL=key_server.url)
    client = app.test_client()
    assert ask(client, of(signers["EdDSA"])).status_code == 200
    key_server.mode = "slow"
    new = Signer("ES256", "new")
    key_server.keys.append(new.jwk())
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, app.test_client(), of(new))
        until(lambda: len(key_server.fetches) == 2)
        refused = ask(client, of(new))
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert "WWW-Authenticate" not in refused.headers
        assert ask(client, of(signers["EdDSA"])).status_code == 200
        assert ask(client, f"Bearer {token('alice')}").status_code == 200
        key_server.over.set()
        assert first.result().status_code == 200


@pytest.mark.parametrize("mode", ["down", "error", "empty"])
def test_without_a_key_set_requests_are_503_until_it_can_be_fetched(
    make_app: MakeApp,
    key_server: KeyServer,
    signers: dict[str, Signer],
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    client = make_app(BETTER_AUTH_SECRET="", BETTER_AUTH_JWKS_URL=key_server.url).test_client()
    if mode == "down":
        key_server.stop()
    else:
        key_server.mode = mode
    for _ in range(3):
        response = ask(client, of(signers["ES256"]))
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        assert "WWW-Authenticate" not in response.headers
        assert response.get_json() == {
            "type": "/problems/unavailable",
            "title": "The service cannot answer right now",
            "status": 503,
            "detail": "The keys to check the token with cannot be fetched. Try again shortly.",
            "code": "unavailable",
            "request_id": "r-1",
        }
    # Requests that need no key get their usual status.
    assert_token_required(ask(client))
    assert_token_rejected(ask(client, "Bearer hunter2"), NOT_SIGNED)
    if mode == "down":
        key_server.start()
    key_server.mode = "ok"
    assert int(response.headers["Retry-After"]) >= jwks_cache.MIN_REFETCH_INTERVAL
    monkeypatch.setattr(jwks_cache, "MIN_REFETCH_INTERVAL", 0)  # as if those seconds had passed
    assert ask(client, of(signers["ES256"])).status_code == 200


def test_cached_keys_verify_tokens_during_an_outage_of_the_key_server(
    make_app: MakeApp, key_server: KeyServer, signers: dict[str, Signer]
) -> None:
    client = make_app(BETTER_AUTH_SECRET="", BETTER_AUTH_JWKS_URL=key_server.url).test_client()
    assert ask(client, of(signers["EdDSA"])).status_code == 200
    key_server.mode = "error"
    assert all(ask(client, of(signer)).status_code == 200 for signer in signers.values())
    assert_token_rejected(ask(client, of(signers["EdDSA"], kid="new")), "the token is signed with an unknown key")


# Settings


def test_issuer_audience_lifetime_and_previous_secret_are_configurable(make_app: MakeApp) -> None:
    previous = "the-secret-before-it-0123456789-abcdef"
    client = make_app(
        BETTER_AUTH_SECRET_PREVIOUS=previous,
        JWT_ISSUER="https://app.example.com",
        JWT_AUDIENCE="tasks-api",
        JWT_MAX_LIFETIME="15m",
    ).test_client()
    good = {"iss": "https://app.example.com", "aud": "tasks-api"}
    assert ask(client, f"Bearer {token('alice', **good)}").status_code == 200
    assert ask(client, f"Bearer {token('alice', secret=previous, **good)}").status_code == 200
    refused = {
        "the token has no iss": {**good, "iss": None},
        "the token comes from another issuer": {**good, "iss": "https://mallory.example"},
        "the token has no aud": {**good, "aud": None},
        "the token is meant for another audience": {**good, "aud": "other"},
        "the token lives longer than is accepted here": {**good, "exp": int(time.time()) + 1000},
    }
    for reason, claims in refused.items():
        assert_token_rejected(ask(client, f"Bearer {token('alice', **claims)}"), reason)


# Tokens recorded from Better Auth


@pytest.mark.parametrize(
    "vector",
    [pytest.param(v, id=v["name"]) for v in json.loads((VECTORS / "index.json").read_text())["vectors"]],
)
def test_recorded_better_auth_tokens_get_the_recorded_status(
    make_app: MakeApp, serve_keys: Serve, vector: dict[str, Any]
) -> None:
    environ = {"BETTER_AUTH_SECRET": vector.get("secret", "")}
    if vector["jwks_file"]:
        environ["BETTER_AUTH_JWKS_URL"] = serve_keys(
            *json.loads((VECTORS / vector["jwks_file"]).read_text())["keys"]
        ).url
    client = make_app(**environ, JWT_ISSUER=vector["verify"]["iss"], JWT_AUDIENCE=vector["verify"]["aud"]).test_client()
    text = (VECTORS / vector["token_file"]).read_text().strip()
    response = ask(client, f"Bearer {text}", f"/api/{vector['sub'] or 'nobody'}/tasks")
    if vector["expected"] == "valid":
        assert (response.status_code, response.get_json()) == (200, [])
        assert ask(client, f"Bearer {text}", ALICES).status_code == 403
    else:
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith(
            f'{CHALLENGE}, error="invalid_token", error_description="'
        )


def test_a_fresh_better_auth_session_cache_cookie_is_not_an_access_token(client: FlaskClient) -> None:
    now = int(time.time())
    session = {"id": "s-1", "userId": "alice", "token": "x" * 32}
    cache = {"session": session, "user": {"id": "alice"}, "iat": now, "exp": now + 300}
    verification = {"email": "alice@example.com", "iat": now, "exp": now + 300}
    for claims in (cache, verification):
        assert_token_rejected(
            ask(client, "Bearer " + compact({"alg": "HS256"}, claims, hs256())), "the token has no sub"
        )


# The log of rejected tokens


def rejected(app: Flask, *tokens: str) -> None:
    """Send each token, and expect 401."""
    for each in tokens:
        assert ask(app.test_client(), f"Bearer {each}").status_code == 401


def test_a_rejected_token_is_logged_with_the_rule_and_the_expected_issuer_and_audience(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = build(database_url, JWT_ISSUER="https://a.example", JWT_AUDIENCE="tasks")
    ours = {"iss": "https://a.example", "aud": "tasks"}
    rejected(
        app,
        token("alice", **{**ours, "iss": "https://a.example/"}),
        token("alice", **{**ours, "aud": ["other", "x\n\u202e" + "y" * 300]}),
        token("alice", aud="tasks"),
        token("alice", iss="https://a.example"),
    )
    prefix = "a token was rejected: the token"
    cut_off = r"['other', 'x\n\u202e" + "y" * (200 - len(r"['other', 'x\n\u202e"))
    assert caplog.messages == [
        f"{prefix} comes from another issuer (iss: expected 'https://a.example', got 'https://a.example/')",
        f"{prefix} is meant for another audience (aud: expected 'tasks', got {cut_off})",
        f"{prefix} has no iss (iss: expected 'https://a.example', got none)",
        f"{prefix} has no aud (aud: expected 'tasks', got none)",
    ]
    with app.app_context():
        db.engine.dispose()


def test_the_claims_of_a_token_whose_signature_is_wrong_are_not_logged(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = build(database_url, JWT_ISSUER="https://a.example")
    claims = {"sub": "alice", "iss": "https://hunter2", "exp": time.time() + 60}
    forged = compact({"alg": "HS256"}, claims, hs256(SECRET[::-1]))
    rejected(app, forged)
    assert caplog.messages == ["a token was rejected: the signature of the token is wrong"]


def test_a_flood_of_rejected_tokens_writes_one_line_for_each_rule_and_nothing_of_the_tokens(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = build(database_url)
    rejected(app, *(f"hunter2-{number}" for number in range(50)), *(f"hunter2.{number}.x" for number in range(50)))
    assert len(caplog.messages) == 2
    assert "hunter2" not in caplog.text


def test_an_expired_token_is_logged_as_information(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "taskapi")
    rejected(build(database_url), token("alice", exp=int(time.time()) - 1))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "a token was rejected: the token has expired")
    ]


def test_a_rejected_logout_token_is_logged(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    response = client.post("/backchannel-logout", data={"logout_token": token("alice")})
    assert response.status_code == 400
    assert caplog.messages == ["a logout token was rejected: the token is of another type"]
