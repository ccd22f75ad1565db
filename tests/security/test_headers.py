"""Only `Authorization` authenticates; other headers neither authenticate nor change the response or appear in it."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable

import pytest

from tests.auth.test_hook import NO_TOKEN
from tests.auth.test_tokens import NOT_SIGNED
from tests.security.attacker import (
    CANARY,
    CHALLENGE,
    ISSUER,
    Attack,
    Headers,
    System,
    assert_fails,
    assert_is_problem,
    request,
)

pytestmark = pytest.mark.usefixtures("data_unchanged")

ALICES = "/api/alice/tasks"
MALLORYS = "/api/mallory/tasks"

Make = Callable[[System], Headers]


def sent(make: Make, target: str = ALICES, **options: str) -> Callable[[System], bytes]:
    return lambda s: request(target, headers=make(s), **options)


def without_token(make: Make, target: str = ALICES, **options: str) -> Attack:
    return Attack(sent(make, target, **options), 401, "unauthorized")


def refused(make: Make, reason: str) -> Attack:
    return Attack(sent(make), 401, "unauthorized", reason)


def bearers(s: System, *users: str) -> list[str]:
    return [f"Bearer {s.token(user)}" for user in users]


# Authorization without a valid bearer token

NO_BEARER = {
    f"Authorization: {name}": without_token(
        lambda s, text=text: [] if text is None else [("Authorization", text.replace("{token}", s.token("alice")))]
    )
    for name, text in NO_TOKEN.items()
}

SCHEMES = {
    f"the scheme {name}": without_token(lambda s, text=text: [("Authorization", text + s.token("alice"))])
    for name, text in {
        "Bearer, without a space": "Bearer",
        "Bearer, twice as long": "BearerBearer ",
        "Bearer in quotes": '"Bearer" ',
        "Bearer, with a zero width space": "Bearer\u200b ",
        "Bearer in Cyrillic": "B\u0435arer ",
        "Bearer, after a line feed in per cent": "%0ABearer ",
        "Negotiate": "Negotiate ",
        "MAC": "MAC ",
        "GNAP": "GNAP ",
        "Session": "Session ",
        "OAuth": "OAuth ",
        "apikey": "apikey ",
    }.items()
}

SEVERAL = {
    "two headers of one user": refused(
        lambda s: [("Authorization", text) for text in bearers(s, "alice", "alice")], NOT_SIGNED
    ),
    "two headers, alice's second": refused(
        lambda s: [("Authorization", text) for text in bearers(s, "mallory", "alice")], NOT_SIGNED
    ),
    "two headers, alice's first": refused(
        lambda s: [("Authorization", text) for text in bearers(s, "alice", "mallory")], NOT_SIGNED
    ),
    "two headers in two cases": refused(
        lambda s: list(zip(("authorization", "AUTHORIZATION"), bearers(s, "alice", "alice"), strict=True)), NOT_SIGNED
    ),
    "three headers": refused(
        lambda s: [("Authorization", text) for text in bearers(s, "alice", "alice", "alice")], NOT_SIGNED
    ),
    "an empty header after alice's": refused(
        lambda s: [("Authorization", bearers(s, "alice")[0]), ("Authorization", "")], NOT_SIGNED
    ),
    "an empty header before alice's": without_token(
        lambda s: [("Authorization", ""), ("Authorization", bearers(s, "alice")[0])]
    ),
    "Basic before alice's": without_token(
        lambda s: [("Authorization", "Basic YTpi"), ("Authorization", bearers(s, "alice")[0])]
    ),
    "Basic after alice's": refused(
        lambda s: [("Authorization", bearers(s, "alice")[0]), ("Authorization", "Basic YTpi")], NOT_SIGNED
    ),
    "two tokens and a comma": refused(
        lambda s: [("Authorization", ", ".join(bearers(s, "alice", "alice")))], NOT_SIGNED
    ),
    "two tokens and a semicolon": refused(
        lambda s: [("Authorization", "; ".join(bearers(s, "alice", "alice")))], NOT_SIGNED
    ),
    "two tokens and a space": refused(
        lambda s: [("Authorization", f"Bearer {s.token('alice')} {s.token('alice')}")], NOT_SIGNED
    ),
    "a token and a realm": refused(
        lambda s: [("Authorization", f'Bearer {s.token("alice")}, realm="taskapi"')], NOT_SIGNED
    ),
    "a token as a parameter": refused(lambda s: [("Authorization", f'Bearer token="{s.token("alice")}"')], NOT_SIGNED),
    "a token, then a tab and another": refused(
        lambda s: [("Authorization", f"Bearer {s.token('alice')}\t{s.token('alice')}")], NOT_SIGNED
    ),
    "a token with a byte beyond ASCII": refused(
        lambda s: [("Authorization", b"Bearer " + s.token("alice").encode() + b"\xff")], NOT_SIGNED
    ),
}


# Tokens in other places

OTHER_HEADERS = {
    f"{name} says who asks": without_token(lambda s, name=name: [(name, f"Bearer {s.token('alice')}")])
    for name in (
        *("X-Authorization", "X-Access-Token", "X-Auth-Token", "X-Token", "X-Forwarded-Authorization", "Token"),
        *("X-Original-Authorization", "Proxy-Authorization", "X-Api-Key", "Sec-WebSocket-Protocol", "set-auth-jwt"),
        *("Authorization_", "HTTP_AUTHORIZATION", "REDIRECT-HTTP-AUTHORIZATION", "Authorization-", "Authorisation"),
    )
}
USER_HEADERS = {
    f"{name} names alice": without_token(lambda s, name=name: [(name, "alice")])
    for name in (
        *("X-User-Id", "X-User", "X-Forwarded-User", "X-Remote-User", "Remote-User", "REMOTE_USER", "X-Email"),
        *("X-Auth-Request-User", "X-Authenticated-User", "X-Amzn-Oidc-Identity", "Cf-Access-Authenticated-User-Email"),
    )
}
COOKIES = {
    f"the cookie {name}": without_token(lambda s, name=name: [("Cookie", f"{name}={s.token('alice')}")])
    for name in (
        *("session", "token", "Authorization", "better-auth.session_token", "__Secure-better-auth.session_token"),
        *("__Host-token", "better-auth.session_data", "access_token"),
    )
}
IN_ADDRESS = {
    f"the parameter {name}": Attack(
        lambda s, name=name: request(f"{ALICES}?{name}={s.token('alice')}"), 401, "unauthorized"
    )
    for name in ("token", "access_token", "jwt", "authorization", "Authorization", "bearer", "auth", "id_token")
}
IN_BODY = {
    f"the member {name} of the body": Attack(
        lambda s, name=name: request(
            ALICES, method="POST", body=f'{{"title":"x","{name}":"{s.token("alice")}"}}'.encode()
        ),
        401,
        "unauthorized",
    )
    for name in ("token", "access_token", "authorization")
} | {
    "the field access_token of a form": Attack(
        lambda s: request(
            ALICES,
            method="POST",
            body=f"access_token={s.token('alice')}&title=x".encode(),
            content_type="application/x-www-form-urlencoded",
        ),
        401,
        "unauthorized",
    )
}


# A token of mallory with a header that names alice

FORWARDED = {
    f"mallory's token and {name}": Attack(
        lambda s, lines=lines: request(ALICES, bearer=s.token("mallory"), headers=lines(s)), 403, "forbidden"
    )
    for name, lines in {
        "X-User-Id of alice": lambda _: [("X-User-Id", "alice")],
        "X-Forwarded-User of alice": lambda _: [("X-Forwarded-User", "alice")],
        "a cookie of alice's": lambda s: [("Cookie", f"token={s.token('alice')}")],
        "X-Access-Token of alice": lambda s: [("X-Access-Token", s.token("alice"))],
        "Proxy-Authorization of alice": lambda s: [("Proxy-Authorization", f"Bearer {s.token('alice')}")],
        "X-Original-URL of her own": lambda _: [("X-Original-URL", MALLORYS)],
        "X-Rewrite-URL of her own": lambda _: [("X-Rewrite-URL", MALLORYS)],
        "X-Forwarded-Prefix": lambda _: [("X-Forwarded-Prefix", "/api/mallory")],
        "X-HTTP-Method-Override: OPTIONS": lambda _: [("X-HTTP-Method-Override", "OPTIONS")],
        "X-Forwarded-For of this host": lambda _: [("X-Forwarded-For", "127.0.0.1")],
        "Forwarded of this host": lambda _: [("Forwarded", "for=127.0.0.1;host=localhost")],
        "Connection that drops Authorization": lambda _: [("Connection", "Authorization")],
        "a host of her own": lambda _: [("X-Forwarded-Host", "mallory.example")],
        "Content-Length of nothing": lambda _: [("Content-Length", "0")],
        "a preflight's header": lambda _: [("Access-Control-Request-Method", "GET")],
    }.items()
}


# Method overrides

OVERRIDES = {
    f"POST with {name}": Attack(
        lambda s, name=name, value=value: request(
            f"{MALLORYS}/1", method="POST", bearer=s.token("mallory"), headers=[(name, value)]
        ),
        405,
        "method-not-allowed",
    )
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Method")
    for value in ("DELETE", "PUT")
} | {
    "POST with _method in the query": Attack(
        lambda s: request(f"{MALLORYS}/1?_method=DELETE", method="POST", bearer=s.token("mallory")),
        405,
        "method-not-allowed",
    ),
    "GET with _method in the query": Attack(
        lambda s: request(f"{MALLORYS}/1?_method=DELETE", bearer=s.token("mallory")), 400, "bad-parameter"
    ),
    "PUT with _method in the body": Attack(
        lambda s: request(f"{MALLORYS}/1", method="PUT", bearer=s.token("mallory"), body=b'{"_method":"DELETE"}'),
        422,
        "invalid",
    ),
    "PUT with _method in a form": Attack(
        lambda s: request(
            f"{MALLORYS}/1",
            method="PUT",
            bearer=s.token("mallory"),
            body=b"_method=DELETE",
            content_type="application/x-www-form-urlencoded",
        ),
        415,
        "unsupported-media-type",
    ),
}


# Idempotency keys and conditions that inject text

KEYS = {
    f"an Idempotency-Key {name}": Attack(
        lambda s, key=key: request(
            MALLORYS,
            method="POST",
            bearer=s.token("mallory"),
            body=b'{"title":"c4n4ry"}',
            headers=[("Idempotency-Key", key)],
        ),
        400,
        "bad-request",
    )
    for name, key in {
        "of nothing": "",
        "of 256 characters": "k" * 256,
        "with a space": "c4n4ry c4n4ry",
        "with a tab": "c4n4ry\tc4n4ry",
        "beyond ASCII": "c4n4ry\u00e9",
        "with bytes that are no text": b"c4n4ry\xff\xfe",
        "with half a pair": "c4n4ry\ud800",
    }.items()
} | {
    f"If-Match {name}": Attack(
        lambda s, tag=tag: request(
            f"{MALLORYS}/1",
            method="PUT",
            bearer=s.token("mallory"),
            body=b'{"title":"c4n4ry"}',
            headers=[("If-Match", tag)],
        ),
        412,
        "precondition-failed",
    )
    for name, tag in {
        "of text": "c4n4ry",
        "of a statement": "\"1' OR '1'='1\"",
        "of a large number": f'"{"9" * 400}"',
        "of an Arabic digit": '"\u0661"',
        "that is weak and stale": 'W/"99"',
        "with a suffix and stale": '"99-gzip"',
        "negative": '"-1"',
        "of nothing": '""',
        "of a thousand tags": ", ".join('"99"' for _ in range(1000)),
        "of open quotes": '"' * 501,
    }.items()
}

ATTACKS: dict[str, Attack] = {
    **NO_BEARER,
    **SCHEMES,
    **SEVERAL,
    **OTHER_HEADERS,
    **USER_HEADERS,
    **COOKIES,
    **IN_ADDRESS,
    **IN_BODY,
    **FORWARDED,
    **OVERRIDES,
    **KEYS,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_invalid_header_is_refused_and_changes_no_data(system: System, attack: Attack) -> None:
    assert_fails(system, attack)


# Headers that do not change the response to a valid request

UNSUPPORTED: dict[str, list[tuple[str, str | bytes]]] = {
    "X-HTTP-Method-Override: DELETE": [("X-HTTP-Method-Override", "DELETE")],
    "X-Original-URL": [("X-Original-URL", ALICES)],
    "X-Rewrite-URL": [("X-Rewrite-URL", ALICES)],
    "X-User-Id": [("X-User-Id", "alice")],
    "X-Forwarded-Host": [("X-Forwarded-Host", "c4n4ry.example")],
    "X-Forwarded-Proto": [("X-Forwarded-Proto", "c4n4ry")],
    "X-Forwarded-Prefix": [("X-Forwarded-Prefix", "/c4n4ry")],
    "X-Forwarded-Port": [("X-Forwarded-Port", "c4n4ry")],
    "X-Forwarded-For of text": [("X-Forwarded-For", "c4n4ry")],
    "Forwarded": [("Forwarded", "host=c4n4ry.example;proto=gopher")],
    "Remote-User": [("Remote-User", "alice")],
    "REMOTE_USER": [("REMOTE_USER", "alice")],
    "REMOTE_ADDR": [("REMOTE_ADDR", "c4n4ry")],
    "PATH_INFO": [("PATH_INFO", ALICES)],
    "SCRIPT_NAME": [("SCRIPT_NAME", "/c4n4ry")],
    "SCRIPT_NAME of the beginning": [("SCRIPT_NAME", "/api/mallory")],
    "REQUEST_METHOD": [("REQUEST_METHOD", "DELETE")],
    "CONTENT_LENGTH": [("CONTENT_LENGTH", "c4n4ry")],
    "wsgi.url_scheme": [("wsgi.url_scheme", "c4n4ry")],
    "a cookie": [("Cookie", "token=c4n4ry; session=c4n4ry")],
    "a cookie that is none": [("Cookie", b"\xff=;;=;c4n4ry")],
    "Upgrade: h2c": [("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")],
    "Upgrade: websocket": [("Upgrade", "websocket"), ("Sec-WebSocket-Key", b64encode(b"c" * 16).decode())],
    "Accept of something else": [("Accept", "text/html"), ("Accept-Encoding", "c4n4ry"), ("Accept-Language", "*")],
    "Range": [("Range", "bytes=0-1,5-6")],
    "If-None-Match of alice's": [("If-None-Match", '"6.deadbeef"')],
    "If-None-Match of open quotes": [("If-None-Match", '"' * 501)],
    "If-Modified-Since": [("If-Modified-Since", "Thu, 31 Dec 2099 23:59:59 GMT")],
    "Content-Type of nothing sent": [("Content-Type", "multipart/form-data; boundary=c4n4ry")],
    "Content-Encoding of nothing sent": [("Content-Encoding", "c4n4ry")],
    "Expect: 100-continue": [("Expect", "100-continue")],
    "Max-Forwards": [("Max-Forwards", "0")],
    "Referer and User-Agent of a template": [("Referer", "${jndi:ldap://c4n4ry}"), ("User-Agent", "{{c4n4ry}}%s%n")],
    "an unknown header of a shell": [("X-Shell", "() { :;}; echo c4n4ry")],
}  # fmt: skip


@pytest.mark.parametrize("lines", UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_an_unsupported_header_does_not_change_the_response(system: System, lines: Headers) -> None:
    bearer = system.token("mallory")
    plain = system.ask(request(MALLORYS, bearer=bearer))
    assert plain.status == 200
    assert system.ask(request(MALLORYS, bearer=bearer, headers=lines)).essence == plain.essence


HOSTS: dict[str, str | bytes] = {
    "another": "c4n4ry.example",
    "with a port too large": "c4n4ry.example:99999",
    "with a path": "c4n4ry.example/api/alice",
    "with a user": "alice@c4n4ry.example",
    "with a template": "{{c4n4ry}}",
    "with a quote": "c4n4ry'\"><script>",
    "an open bracket": "[c4n4ry",
    "of 300 characters": CANARY * 50,
    "beyond ASCII": "c4n4ry\u00e9.example",
    "no text": b"c4n4ry\xff\xfe",
    "empty": "",
}


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS.keys())
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_no_response_contains_the_host_header(system: System, host: str | bytes, method: str) -> None:
    good = request(MALLORYS, bearer=system.token("mallory"), method=method)
    sent = good.replace(b"Host: localhost", b"Host: " + (host if isinstance(host, bytes) else host.encode()))
    assert system.ask(sent).essence == system.ask(good).essence
    assert system.ask(sent.replace(MALLORYS.encode(), b"/nowhere")).status == 404


REQUEST_IDS: dict[str, str | bytes] = {
    "a line break in per cent": "c4n4ry%0d%0aSet-Cookie: a=b",
    "spaces": "c4n4ry c4n4ry",
    "a script": "<script>c4n4ry</script>",
    "129 characters": "c4n4ry" + "x" * 123,
    "quotes": 'c4n4ry"}',
    "beyond ASCII": "c4n4ry\u2028",
    "bytes that are no text": b"c4n4ry\xff\xfe",
    "a slash": "../c4n4ry",
    "a format": "c4n4ry%(h)s{0}",
    "empty": "",
}


@pytest.mark.parametrize("name", REQUEST_IDS.values(), ids=REQUEST_IDS.keys())
@pytest.mark.parametrize("bearer", ["mallory", None], ids=["with a token", "without"])
def test_an_invalid_request_id_is_replaced(system: System, name: str | bytes, bearer: str | None) -> None:
    token = system.token(bearer) if bearer else None
    reply = system.ask(request(MALLORYS, bearer=token, headers=[("X-Request-Id", name)]))
    assert reply.status == (200 if bearer else 401)
    assert re.fullmatch("[0-9a-f]{32}", reply.headers["X-Request-Id"])
    assert "Set-Cookie" not in reply.headers


def test_two_request_ids_are_replaced(system: System) -> None:
    reply = system.ask(request(ALICES, headers=[("X-Request-Id", "c4n4ry"), ("X-Request-Id", "c4n4ry")]))
    assert re.fullmatch("[0-9a-f]{32}", reply.headers["X-Request-Id"])


# CORS

ORIGINS = {
    "another": "https://mallory.example",
    "null": "null",
    "one that goes on": f"{ISSUER}.mallory.example",
    "one that begins elsewhere": ISSUER.replace("app.", "mallory-app."),
    "a subdomain": ISSUER.replace("app.", "mallory.app."),
    "the parent": "https://example.com",
    "a dot that is any character": ISSUER.replace("app.", "appx"),
    "without encryption": ISSUER.replace("https", "http"),
    "another port": f"{ISSUER}:8443",
    "the port in words": f"{ISSUER}:443",
    "with a slash": f"{ISSUER}/",
    "with a path": f"{ISSUER}/../",
    "with a user": ISSUER.replace("//", "//mallory@"),
    "behind a user": f"{ISSUER}@mallory.example",
    "two": f"{ISSUER} https://mallory.example",
    "two with a comma": f"https://mallory.example, {ISSUER}",
    "a wildcard": "*",
    "a pattern": "https://.*",
    "a dot at the end": f"{ISSUER}.",
    "a confusable letter": ISSUER.replace("app", "\u0430pp"),
    "a file": "file://",
    "this host": "http://localhost",
    "an extension": "chrome-extension://c4n4ry",
}


@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS.keys())
def test_other_origins_get_no_cors_headers(system: System, origin: str) -> None:
    preflight = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "DELETE"),
        ("Access-Control-Request-Headers", "authorization"),
    ]
    for reply in (
        system.ask(request(MALLORYS, bearer=system.token("mallory"), headers=[("Origin", origin)])),
        system.ask(request(ALICES, headers=[("Origin", origin)])),
        system.ask(request(ALICES, method="OPTIONS", headers=preflight)),
    ):
        assert not [name for name in reply.headers if name.startswith("Access-Control-")]
        assert "Origin" in reply.headers["Vary"]


def test_the_allowed_origin_may_not_send_cookies(system: System) -> None:
    for target, token in ((MALLORYS, system.token("mallory")), (ALICES, None)):
        reply = system.ask(request(target, bearer=token, headers=[("Origin", ISSUER)]))
        assert reply.headers["Access-Control-Allow-Origin"] == ISSUER
        assert "Access-Control-Allow-Credentials" not in reply.headers


# Keys and tags of another user

BODY = b'{"title": "Kept"}'


def test_an_idempotency_key_of_another_user_replays_no_response(system: System) -> None:
    key = [("Idempotency-Key", "k-1")]
    first = system.of("peggy", method="POST", body=BODY, headers=key)
    again = system.of("peggy", method="POST", body=BODY, headers=key)
    other = system.of("victor", method="POST", body=BODY, headers=key)
    assert [reply.status for reply in (first, again, other)] == [201, 201, 201]
    assert (again.headers["Idempotency-Replayed"], again.body) == ("true", first.body)
    assert "Idempotency-Replayed" not in other.headers
    assert (other.json["user_id"], other.headers["Location"]) == ("victor", "/api/victor/tasks/1")
    assert_is_problem(system.of("peggy", method="POST", body=b'{"title": "x"}', headers=key), 422, "key-reused")


def test_the_list_etag_of_another_user_does_not_match(system: System) -> None:
    for user in ("peggy", "victor"):
        system.of(user, method="POST", body=BODY)
    tag = system.of("peggy").headers["ETag"]
    assert system.of("peggy", headers=[("If-None-Match", tag)]).status == 304
    assert system.of("victor", headers=[("If-None-Match", tag)]).status == 200


def test_without_a_token_the_challenge_has_no_error(system: System) -> None:
    reply = system.ask(request(ALICES, headers=[("If-None-Match", "*"), ("Idempotency-Key", "k-1")]))
    assert (reply.status, reply.headers.get_all("WWW-Authenticate")) == (401, [CHALLENGE])
