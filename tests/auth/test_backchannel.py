"""Back-channel logout over HTTP: a logout token ends one session of one user at every worker, and nothing else does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Barrier
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

import taskapi.database.engine
from taskapi.auth import hook, jwks_cache
from taskapi.auth.models import EndedSession, SeenLogoutToken
from taskapi.auth.sessions import EndedSessions
from taskapi.database.base import db
from tests.auth.conftest import Clock
from tests.auth.issuer import KEY_PAIR_ALGORITHMS, Signer, base64url, compact, hs256, logout_claims, logout_token
from tests.auth.key_server import KeyServer
from tests.conftest import SECRET, Person, Statements, delete_all_rows, superuser_engine, token
from tests.every_request import API, at
from tests.gunicorn_server import Request, Server, ServerResponse, serve
from tests.waiting import WAIT_LIMIT

MakeApp = Callable[..., Flask]
FRESH_FOR = 0.5  # the documented number, and not the constant of the module
FORM = "application/x-www-form-urlencoded"
REASON = "the session of the token has ended"
CHALLENGE = f'Bearer realm="taskapi", error="invalid_token", error_description="{REASON}"'


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> None:
    """Empty the cache of ended sessions for each test: the tests share an application, and their session ids repeat."""
    if "app" in request.fixturenames:
        request.getfixturevalue("view")


def post_logout(client: FlaskClient, *tokens: str, **options: Any) -> TestResponse:
    fields = {"logout_token": list(tokens)} if "data" not in options else {}
    return client.post("/backchannel-logout", **{"data": fields, **options}, headers={"X-Request-Id": "r-1"})


def signed_in(client: FlaskClient, user: str, session: str | None) -> Person:
    return Person(client, user, token(user, sid=session))


def row_counts(app: Flask) -> tuple[int, int]:
    """Return the numbers of rows of ended sessions and of executed logout tokens."""
    with app.app_context(), superuser_engine().connect() as connection:
        ended, seen = (connection.execute(select(table.__table__)).all() for table in (EndedSession, SeenLogoutToken))
    return len(ended), len(seen)


def problem(code: str, title: str, status: int, detail: str) -> dict[str, Any]:
    return {
        "type": f"/problems/{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "r-1",
    }


def assert_refused(response: TestResponse, detail: str) -> None:
    assert response.status_code == 400, response.text
    assert response.content_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.get_json() == problem("bad-notice", "The logout notice is not valid", 400, detail)


def assert_ended(response: TestResponse) -> None:
    assert response.status_code == 401
    assert response.headers.getlist("WWW-Authenticate") == [CHALLENGE]
    assert response.headers["Cache-Control"] == "no-store"
    assert response.content_type == "application/problem+json"
    if response.request.method != "HEAD":
        assert response.get_json() == problem(
            "unauthorized", "A valid token is required", 401, f"Sign in again: {REASON}."
        )


# Valid logout tokens


def test_logout_responds_with_an_empty_200_that_is_not_cached(client: FlaskClient) -> None:
    response = post_logout(client, logout_token("alice", "s-1"))
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Length"] == "0"
    assert "Content-Type" not in response.headers
    assert "WWW-Authenticate" not in response.headers


def test_after_logout_every_token_of_the_session_is_401_on_every_route(client: FlaskClient) -> None:
    now = int(time.time())
    tokens = [token("alice", sid="s-1", **times) for times in (
        {}, {"iat": now - 500, "exp": now + 300}, {"iat": now + 20}, {"jti": "another"},
    )]  # fmt: skip
    people = [Person(client, "alice", each) for each in tokens]
    for person in people:
        person.add()
    assert post_logout(client, logout_token("alice", "s-1")).status_code == 200
    assert {method for method, _ in API} == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
    for person in people:
        headers = {"Authorization": f"Bearer {person.token}", "X-Request-Id": "r-1"}
        for method, path in API:
            assert_ended(client.open(at(path, "alice"), method=method, headers=headers))
    assert len(signed_in(client, "alice", "s-2").get().get_json()) == len(people)


def test_a_cached_token_is_401_once_its_session_has_ended(app: Flask, client: FlaskClient) -> None:
    alice = signed_in(client, "alice", "s-1")
    assert [alice.get().status_code for _ in range(2)] == [200, 200]
    with app.app_context():
        assert hook.verifier(app)._cache.get(alice.token)
    assert post_logout(client, logout_token("alice", "s-1")).status_code == 200
    for _ in range(2):
        assert_ended(alice.get(headers={"X-Request-Id": "r-1"}))


def test_a_token_of_an_ended_session_is_401_on_every_path_before_the_body_is_read(client: FlaskClient) -> None:
    post_logout(client, logout_token("alice", "s-1"))
    headers = {"Authorization": f"Bearer {token('alice', sid='s-1')}", "X-Request-Id": "r-1"}
    for user in ("alice", "mallory"):
        assert_ended(client.post(f"/api/{user}/tasks", headers=headers, data=b"x" * 100_000))


def test_after_logout_other_sessions_and_users_stay_signed_in(
    client: FlaskClient, view: EndedSessions, clock: Clock
) -> None:
    others = [
        *(signed_in(client, "alice", session) for session in ("s-2", "s", "s-11", "S-1", None)),
        *(signed_in(client, user, "s-1") for user in ("mallory", "Alice", "alice2")),
    ]
    post_logout(client, logout_token("alice", "s-1"))
    for _ in range(3):
        for person in others:
            assert person.get().status_code == 200, person
        assert signed_in(client, "alice", "s-1").get().status_code == 401
        clock.now += FRESH_FOR


def test_a_preflight_needs_no_session(client: FlaskClient) -> None:
    post_logout(client, logout_token("alice", "s-1"))
    headers = {"Authorization": f"Bearer {token('alice', sid='s-1')}"}
    assert client.options("/api/alice/tasks", headers=headers).status_code == 200


def test_an_ended_session_stays_ended_after_the_users_data_is_erased(client: FlaskClient, clock: Clock) -> None:
    post_logout(client, logout_token("alice", "s-1"))
    assert signed_in(client, "alice", "s-2").data("DELETE").status_code == 204
    clock.now += FRESH_FOR
    assert signed_in(client, "alice", "s-1").get().status_code == 401


def test_a_logout_token_is_accepted_once_and_another_for_the_same_session_is_accepted(
    app: Flask, client: FlaskClient
) -> None:
    first = logout_token("alice", "s-1")
    assert post_logout(client, first).status_code == 200
    for _ in range(2):
        assert_refused(post_logout(client, first), "No session was ended: this logout token was used before.")
    assert post_logout(client, logout_token("alice", "s-1")).status_code == 200
    assert row_counts(app) == (1, 2)


def test_the_jti_of_a_logout_token_is_unique_per_user(app: Flask, client: FlaskClient) -> None:
    assert post_logout(client, logout_token("alice", "s-1", jti="n")).status_code == 200
    assert_refused(
        post_logout(client, logout_token("alice", "s-2", jti="n")),
        "No session was ended: this logout token was used before.",
    )
    assert post_logout(client, logout_token("mallory", "s-1", jti="n")).status_code == 200
    assert row_counts(app) == (2, 2)


def test_other_form_fields_are_ignored(client: FlaskClient) -> None:
    """OpenID Connect Back-Channel Logout 1.0, section 2.5."""
    fields = {"logout_token": logout_token("alice", "s-1"), "colour": "red", "client_id": ["a", "b"], "": ""}
    assert post_logout(client, data=fields).status_code == 200
    assert signed_in(client, "alice", "s-1").get().status_code == 401


@pytest.mark.parametrize("content_type", [FORM, FORM + "; charset=UTF-8", FORM.upper()])
def test_the_form_media_type_is_accepted_in_any_case_and_with_parameters(
    client: FlaskClient, content_type: str
) -> None:
    body = f"logout_token={logout_token('alice', 's-1')}"
    assert post_logout(client, data=body, content_type=content_type).status_code == 200


def test_the_authorization_header_has_no_effect_on_logout(app: Flask, client: FlaskClient) -> None:
    """The logout token authenticates itself; an access token is not needed, and does not replace it."""
    headers = {"Authorization": f"Bearer {token('alice', sid='s-1')}"}
    assert client.post("/backchannel-logout", headers=headers).status_code == 400
    assert client.post("/backchannel-logout", headers=headers, data={"sid": "s-1", "sub": "alice"}).status_code == 400
    assert row_counts(app) == (0, 0)
    headers = {"Authorization": "Bearer nonsense"}
    made = logout_token("alice", "s-1")
    assert client.post("/backchannel-logout", headers=headers, data={"logout_token": made}).status_code == 200


# Invalid logout tokens


def now() -> int:
    return int(time.time())


NO_ID = "No session was ended: {} of the token is not an id."
OTHER_TYPE = "No session was ended: the token is of another type."
NOT_ABOUT = "No session was ended: the token does not say that it is about a sign-out."
TIMES = "No session was ended: the token has no iat, or lives longer than 600 seconds."
NOT_SIGNED = "No session was ended: the token is not a signed JWT."
WRONG = "No session was ended: the signature of the token is wrong."
ALGORITHM = "No session was ended: the token is signed with an algorithm that is not accepted."

BAD_LOGOUT_TOKENS: dict[str, tuple[Callable[[], str], str]] = {
    "of another secret": (lambda: logout_token("alice", "s-1", secret="x" * 40), WRONG),
    "changed": (lambda: logout_token("alice", "s-1")[:-4] + "AAAA", WRONG),
    "unsigned": (
        lambda: f"{base64url({'alg': 'none', 'typ': 'logout+jwt'})}.{base64url(logout_claims('alice', 's-1'))}.AA",
        ALGORITHM,
    ),
    "without a signature": (
        lambda: f"{base64url({'alg': 'none', 'typ': 'logout+jwt'})}.{base64url(logout_claims('alice', 's-1'))}.",
        NOT_SIGNED,
    ),
    "of an unpublished key pair": (
        lambda: Signer("EdDSA").token(logout_claims("alice", "s-1"), typ="logout+jwt"),
        ALGORITHM,
    ),
    "expired": (
        lambda: logout_token("alice", "s-1", iat=now() - 200, exp=now() - 80),
        "No session was ended: the token has expired.",
    ),
    "from the future": (
        lambda: logout_token("alice", "s-1", iat=now() + 9000, exp=now() + 9100),
        "No session was ended: the token was issued in the future.",
    ),
    "not valid yet": (
        lambda: logout_token("alice", "s-1", nbf=now() + 9000),
        "No session was ended: the token is not valid yet.",
    ),
    "too long-lived": (lambda: logout_token("alice", "s-1", iat=now(), exp=now() + 9000), TIMES),
    "without iat": (lambda: logout_token("alice", "s-1", iat=None), TIMES),
    "without exp": (lambda: logout_token("alice", "s-1", exp=None), "No session was ended: the token has no exp."),
    "without typ": (lambda: logout_token("alice", "s-1", header={"typ": None}), OTHER_TYPE),
    "an access token by its typ": (lambda: logout_token("alice", "s-1", header={"typ": "at+jwt"}), OTHER_TYPE),
    "an access token": (lambda: token("alice", sid="s-1"), OTHER_TYPE),
    "without events": (lambda: logout_token("alice", "s-1", events=None), NOT_ABOUT),
    "about another event": (lambda: logout_token("alice", "s-1", events={"https://example.com/moved": {}}), NOT_ABOUT),
    "with events of another shape": (lambda: logout_token("alice", "s-1", events=[]), NOT_ABOUT),
    "with a nonce": (
        lambda: logout_token("alice", "s-1", nonce="n"),
        "No session was ended: the token has a nonce, which a logout token must not have.",
    ),
    "without sub": (lambda: logout_token(None, "s-1"), "No session was ended: the token has no sub."),
    "with an empty sub": (lambda: logout_token("", "s-1"), NO_ID.format("sub")),
    "without sid": (lambda: logout_token("alice", None), NO_ID.format("sid")),
    "of all sessions": (lambda: logout_token("alice", ""), NO_ID.format("sid")),
    "without jti": (lambda: logout_token("alice", "s-1", jti=None), NO_ID.format("jti")),
    "with a line break in sub": (lambda: logout_token("alice\ns-1", "x"), NO_ID.format("sub")),
    "with a line break in sid": (lambda: logout_token("alice", "s-1\n"), NO_ID.format("sid")),
    "with NUL in jti": (lambda: logout_token("alice", "s-1", jti="\0"), NO_ID.format("jti")),
    "with a sid that is too long": (lambda: logout_token("alice", "s" * 256), NO_ID.format("sid")),
    "with a key of its own": (
        lambda: logout_token("alice", "s-1", header={"jwk": {"kty": "oct", "k": "AAAA"}}),
        "No session was ended: the header of the token has a member that is not accepted.",
    ),
    "that is no object": (
        lambda: compact({"alg": "HS256", "typ": "logout+jwt"}, ["alice"], hs256()),
        "No session was ended: the token does not hold a JSON object.",
    ),
    "that is no JSON": (
        lambda: compact({"alg": "HS256", "typ": "logout+jwt"}, b"{", hs256()),
        "No session was ended: the token does not hold strict JSON.",
    ),
    "that is no token": (lambda: "hunter2", NOT_SIGNED),
    "that is empty": (lambda: "", NOT_SIGNED),
    "beyond ASCII": (lambda: "tök.én.é", NOT_SIGNED),
    "that is too long for a token": (lambda: "x" * 8193, "No session was ended: the token is too long."),
}


@pytest.mark.parametrize(("make", "detail"), BAD_LOGOUT_TOKENS.values(), ids=BAD_LOGOUT_TOKENS.keys())
def test_an_invalid_logout_token_is_400_with_its_reason_and_ends_no_session(
    app: Flask, client: FlaskClient, make: Callable[[], str], detail: str
) -> None:
    text = make()
    response = post_logout(client, text)
    assert_refused(response, detail)
    assert not text or text not in response.text
    assert row_counts(app) == (0, 0)
    assert signed_in(client, "alice", "s-1").get().status_code == 200


def test_a_logout_token_as_bearer_token_is_401(client: FlaskClient) -> None:
    response = Person(client, "alice", logout_token("alice", "s-1")).get()
    assert response.status_code == 401
    assert 'error_description="the token is of another type"' in response.headers["WWW-Authenticate"]


ONE_FIELD = "Send one form field `logout_token`."


@pytest.mark.parametrize(
    "body",
    ["", "logout_token", "logout-token=x", "LOGOUT_TOKEN=x", "%00=&;=%", "token=eyJ.eyJ.x"],
    ids=["nothing", "no value", "another name", "capitals", "rubbish", "another field"],
)
def test_a_form_without_logout_token_is_400(app: Flask, client: FlaskClient, body: str) -> None:
    response = post_logout(client, data=body, content_type=FORM)
    assert_refused(response, NOT_SIGNED if body == "logout_token" else ONE_FIELD)
    assert row_counts(app) == (0, 0)


def test_a_form_with_two_logout_tokens_is_400(app: Flask, client: FlaskClient) -> None:
    one, two = logout_token("alice", "s-1"), logout_token("alice", "s-2")
    for tokens in ((one, two), (one, one), (one, ""), ("", one)):
        assert_refused(post_logout(client, *tokens), ONE_FIELD)
    assert row_counts(app) == (0, 0)


def test_a_logout_token_in_the_query_string_is_400(app: Flask, client: FlaskClient) -> None:
    response = client.post(
        f"/backchannel-logout?logout_token={logout_token('alice', 's-1')}", headers={"X-Request-Id": "r-1"}
    )
    assert_refused(response, ONE_FIELD)
    assert row_counts(app) == (0, 0)


@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data; boundary=x", "text/plain", "application/jwt", ""]
)
def test_another_media_type_than_a_form_is_415(app: Flask, client: FlaskClient, content_type: str) -> None:
    response = post_logout(client, data=f"logout_token={logout_token('alice', 's-1')}", content_type=content_type)
    assert response.status_code == 415
    assert response.headers["Accept"] == FORM
    assert response.get_json() == problem(
        "unsupported-media-type",
        "The body is not in a supported format",
        415,
        f"Send the body as `Content-Type: {FORM}`.",
    )
    assert row_counts(app) == (0, 0)


def test_a_logout_body_of_more_than_16_kib_is_413(app: Flask, client: FlaskClient) -> None:
    body = f"logout_token={logout_token('alice', 's-1')}&padding="
    response = post_logout(client, data=body + "x" * (16 * 1024 + 1 - len(body)), content_type=FORM)
    assert response.status_code == 413
    assert response.get_json() == problem("too-large", "The body is too large", 413, "Send at most 16384 bytes.")
    assert row_counts(app) == (0, 0)
    assert post_logout(client, data=body + "x" * (16 * 1024 - len(body)), content_type=FORM).status_code == 200


def test_a_truncated_logout_body_is_400(app: Flask, client: FlaskClient) -> None:
    body = f"logout_token={logout_token('alice', 's-1')}"
    response = post_logout(
        client, data=body, content_type=FORM, environ_overrides={"CONTENT_LENGTH": str(len(body) + 1)}
    )
    assert response.status_code == 400
    assert response.get_json()["code"] == "bad-request"
    assert row_counts(app) == (0, 0)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_logout_with_another_method_than_post_is_405(app: Flask, client: FlaskClient, method: str) -> None:
    response = client.open("/backchannel-logout", method=method, data={"logout_token": logout_token("alice", "s-1")})
    assert response.status_code == 405
    assert sorted(response.headers["Allow"].split(", ")) == ["OPTIONS", "POST"]
    assert row_counts(app) == (0, 0)


def test_a_logout_token_needs_the_configured_issuer_and_audience(make_app: MakeApp) -> None:
    app = make_app(JWT_ISSUER="https://app.example.com", JWT_AUDIENCE="taskapi")
    good = {"iss": "https://app.example.com", "aud": "taskapi"}
    refused = {
        "the token comes from another issuer": {**good, "iss": "https://mallory.example"},
        "the token has no iss": {**good, "iss": None},
        "the token is meant for another audience": {**good, "aud": "other"},
        "the token has no aud": {**good, "aud": None},
    }
    client = app.test_client()
    for reason, claims in refused.items():
        assert_refused(post_logout(client, logout_token("alice", "s-1", **claims)), f"No session was ended: {reason}.")
    assert row_counts(app) == (0, 0)
    assert post_logout(client, logout_token("alice", "s-1", **good)).status_code == 200


# Keys


def test_a_logout_token_signed_with_the_previous_secret_is_accepted_while_it_is_configured(make_app: MakeApp) -> None:
    previous = "the-secret-before-it-0123456789-abcdef"
    client = make_app(BETTER_AUTH_SECRET_PREVIOUS=previous).test_client()
    assert post_logout(client, logout_token("alice", "s-1", secret=previous)).status_code == 200
    assert post_logout(client, logout_token("alice", "s-2", secret=SECRET)).status_code == 200
    assert signed_in(client, "alice", "s-1").get().status_code == 401
    assert_refused(post_logout(make_app().test_client(), logout_token("alice", "s-3", secret=previous)), WRONG)


@pytest.fixture
def key_server(serve_keys: Callable[..., KeyServer], signers: dict[str, Signer]) -> KeyServer:
    return serve_keys(*(signer.jwk() for signer in signers.values()))


@pytest.fixture
def with_keys(make_app: MakeApp, key_server: KeyServer) -> Flask:
    """An application with key pairs only, as in production."""
    return make_app(BETTER_AUTH_SECRET="", BETTER_AUTH_JWKS_URL=key_server.url)


def by(signer: Signer, session: str) -> str:
    now = int(time.time())
    return signer.token({"sub": "alice", "sid": session, "iat": now, "exp": now + 900})


def test_a_logout_token_signed_with_each_key_pair_algorithm_is_accepted(
    with_keys: Flask, signers: dict[str, Signer]
) -> None:
    client = with_keys.test_client()
    for algorithm in KEY_PAIR_ALGORITHMS:
        signer = signers[algorithm]
        assert Person(client, "alice", by(signer, algorithm)).get().status_code == 200
        assert post_logout(client, signer.token(logout_claims("alice", algorithm), typ="logout+jwt")).status_code == 200
        assert Person(client, "alice", by(signer, algorithm)).get().status_code == 401
    assert Person(client, "alice", by(signers["EdDSA"], "other")).get().status_code == 200


def test_with_key_pairs_a_forged_logout_token_is_400(with_keys: Flask, signers: dict[str, Signer]) -> None:
    client = with_keys.test_client()
    public = signers["RS256"].private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for algorithm in KEY_PAIR_ALGORITHMS:
        assert_refused(
            post_logout(client, Signer(algorithm).token(logout_claims("alice", "s-1"), typ="logout+jwt")), WRONG
        )
    head = {"alg": "HS256", "kid": signers["RS256"].kid, "typ": "logout+jwt"}
    for secret in (public, SECRET):
        assert_refused(post_logout(client, compact(head, logout_claims("alice", "s-1"), hs256(secret))), ALGORITHM)
    assert row_counts(with_keys) == (0, 0)


def test_logout_is_503_while_the_key_server_is_down(
    with_keys: Flask, key_server: KeyServer, signers: dict[str, Signer], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = with_keys.test_client()
    made = signers["ES256"].token(logout_claims("alice", "s-1"), typ="logout+jwt")
    key_server.stop()
    response = post_logout(client, made)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert response.get_json() == problem(
        "unavailable",
        "The service cannot answer right now",
        503,
        "The keys to check the token with cannot be fetched. Try again shortly.",
    )
    assert row_counts(with_keys) == (0, 0)
    key_server.start()
    assert int(response.headers["Retry-After"]) >= jwks_cache.MIN_REFETCH_INTERVAL
    monkeypatch.setattr(jwks_cache, "MIN_REFETCH_INTERVAL", 0)  # as if those seconds had passed
    assert post_logout(client, made).status_code == 200
    assert Person(client, "alice", by(signers["ES256"], "s-1")).get().status_code == 401


# Database outages


@contextmanager
def outage(app: Flask) -> Iterator[None]:
    """Check out all connections of the pool."""
    with app.app_context(), ExitStack() as connections:
        for _ in range(db.engine.pool.size()):
            connections.enter_context(db.engine.connect())
        yield


def test_logout_and_requests_of_a_session_are_503_while_the_database_is_down(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taskapi.database.engine, "POOL_TIMEOUT", 0)
    app = make_app()
    client = app.test_client()
    alice, made = signed_in(client, "alice", "s-1"), logout_token("alice", "s-1")
    assert alice.get().status_code == 200
    with outage(app):
        time.sleep(FRESH_FOR)
        other_path = client.get("/api/mallory/tasks", headers={"Authorization": f"Bearer {alice.token}"})
        for response in (other_path, alice.get(headers={"X-Request-Id": "r-1"}), post_logout(client, made)):
            assert response.status_code == 503
            assert response.headers["Retry-After"] == "1"
            assert response.get_json()["detail"] == (
                "The database cannot be reached. Nothing was changed; try again shortly."
            )
        # Requests that need no database get their usual status.
        assert signed_in(client, "alice", None).get(of="mallory").status_code == 403
        assert_refused(post_logout(client, "x"), NOT_SIGNED)
        assert client.get("/healthz").status_code == 200
    assert row_counts(app) == (0, 0)
    assert alice.get().status_code == 200
    assert post_logout(client, made).status_code == 200
    assert alice.get().status_code == 401


# Statements per request


def statements_of(statements: Statements, send: Callable[[], TestResponse]) -> int:
    statements.clear()
    assert send().status_code == 200
    return len(statements)


def test_a_token_with_a_session_costs_one_more_statement_every_half_second(
    client: FlaskClient, statements: Statements, clock: Clock
) -> None:
    without, of_a_session = signed_in(client, "alice", None), signed_in(client, "alice", "s-1")
    without.add()
    alone = statements_of(statements, without.get)
    for _ in range(3):
        assert statements_of(statements, of_a_session.get) == alone + 1
        for _ in range(3):
            assert statements_of(statements, of_a_session.get) == alone
            assert statements_of(statements, without.get) == alone
        clock.now += FRESH_FOR
        assert statements_of(statements, without.get) == alone


# With gunicorn


@pytest.fixture(scope="module")
def server(database_url: str) -> Iterator[Server]:
    """A gunicorn server with three workers."""
    with serve(database_url, WEB_CONCURRENCY="3") as running:
        yield running
    delete_all_rows(database_url)


def bearer(user: str, session: str) -> Request:
    return Request("GET", headers=(("Authorization", f"Bearer {token(user, sid=session)}"),))


def meet_every_worker(server: Server, user: str, request: Request) -> None:
    """Send requests until each worker has served one of this user; each worker counts the rate limit for itself."""
    first, deadline = 0, time.monotonic() + WAIT_LIMIT
    while first < 3:
        assert time.monotonic() < deadline, f"only {first} workers served"
        responses = server.race(user, [request] * 8)
        assert {response.status for response in responses} == {200}
        first += sum("r=599;" in response.headers["RateLimit"] for response in responses)
    assert first == 3


def statuses(server: Server, user: str, session: str, times: int) -> set[int]:
    """Return the statuses of eight concurrent requests, repeated `times` times."""
    return {response.status for _ in range(times) for response in server.race(user, [bearer(user, session)] * 8)}


def test_within_a_second_of_logout_every_worker_rejects_a_copied_token(server: Server) -> None:
    copied, other = bearer("copied", "s-1"), bearer("copied", "s-2")
    meet_every_worker(server, "copied", copied)
    assert server.send_logout_token(logout_token("copied", "s-1")).status == 200
    responded_at = time.monotonic()
    while time.monotonic() < responded_at + 0.8:
        assert {response.status for response in server.race("copied", [copied] * 8)} <= {200, 401}
        assert server.send("copied", other).status == 200
    time.sleep(max(0.0, responded_at + 1 - time.monotonic()))
    assert statuses(server, "copied", "s-1", 10) == {401}
    assert statuses(server, "copied", "s-2", 3) == {200}
    assert statuses(server, "another", "s-1", 3) == {200}


def test_logout_at_one_deployment_ends_the_session_at_another_on_the_same_database(
    server: Server, database_url: str
) -> None:
    with serve(database_url, WEB_CONCURRENCY="1") as elsewhere:
        assert elsewhere.send("shared", bearer("shared", "s-1")).status == 200
        assert server.send_logout_token(logout_token("shared", "s-1")).status == 200
        time.sleep(FRESH_FOR)
        assert elsewhere.send("shared", bearer("shared", "s-1")).status == 401
        assert elsewhere.send("shared", bearer("shared", "s-2")).status == 200


def raced(server: Server, tokens: list[str]) -> list[ServerResponse]:
    start = Barrier(len(tokens))
    with ThreadPoolExecutor(len(tokens)) as pool:
        return list(pool.map(lambda each: server.send_logout_token(each, start.wait), tokens))


def test_concurrent_logouts_each_end_their_session_at_every_worker(server: Server) -> None:
    responses = raced(server, [logout_token("racing", f"s-{number}") for number in range(20)])
    assert [response.status for response in responses] == [200] * 20
    time.sleep(FRESH_FOR)
    for number in range(20):
        assert statuses(server, "racing", f"s-{number}", 1) == {401}
    assert statuses(server, "racing", "s-20", 3) == {200}


def test_of_concurrent_requests_with_one_logout_token_one_succeeds(server: Server) -> None:
    responses = raced(server, [logout_token("twin", "s-1")] * 20)
    assert sorted(response.status for response in responses) == [200] + [400] * 19
    assert {response.json["code"] for response in responses if response.status == 400} == {"bad-notice"}
    time.sleep(FRESH_FOR)
    assert statuses(server, "twin", "s-1", 3) == {401}
