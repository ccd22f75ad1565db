"""Request smuggling: a request whose end is ambiguous is refused, and its connection closed.

gunicorn refuses malformed HTTP itself, with an error page instead of a problem document: the attacks in `PAGES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.security.attacker import JSON, Attack, System, assert_fails

pytestmark = pytest.mark.usefixtures("data_unchanged")

MALLORYS = "/api/mallory/tasks"
TASK = b'{"title":"c4n4ry"}'
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: %d" % len(TASK)
IN_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(TASK), TASK)

Make = Callable[[System], bytes]


def framed(
    *lines: bytes,
    body: bytes = b"",
    start: bytes = b"POST /api/mallory/tasks HTTP/1.1",
    end: bytes = b"\r\n",
    smuggled: bool = False,
) -> Make:
    """Return a valid request of mallory with additional header lines and body bytes.

    With `smuggled`, a request of alice follows: it is executed if the server takes it for the next request.
    """

    def make(s: System) -> bytes:
        head = (
            start,
            b"Host: localhost",
            b"Authorization: Bearer " + s.token("mallory").encode(),
            b"Content-Type: " + JSON.encode(),
            *lines,
        )
        return end.join(head) + end * 2 + body + (victim(s) if smuggled else b"")

    return make


def victim(s: System) -> bytes:
    """Return the smuggled request: it deletes a task of alice."""
    bearer = s.token("alice").encode()
    return b"DELETE /api/alice/tasks/1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + bearer + b"\r\n\r\n"


def page(make: Make, status: int = 400) -> Attack:
    """Return an attack that gunicorn refuses."""
    return Attack(make, status, None)


def problem(make: Make, status: int = 400, code: str = "bad-request") -> Attack:
    """Return an attack that the service refuses."""
    return Attack(make, status, code)


# Contradictory lengths

BOTH = {
    "a length, then chunks": framed(LENGTH, CHUNKED, body=IN_CHUNKS, smuggled=True),
    "chunks, then a length": framed(CHUNKED, LENGTH, body=IN_CHUNKS, smuggled=True),
    "chunks and a length of nothing": framed(b"Content-Length: 0", CHUNKED, body=b"0\r\n\r\n", smuggled=True),
    "a short length and chunks": framed(b"Content-Length: 4", CHUNKED, body=b"5c\r\n", smuggled=True),
    "a length and chunks in other cases": framed(b"content-length: 4", b"tRANSFER-eNCODING: Chunked", smuggled=True),
    "a length and an identity": framed(LENGTH, b"Transfer-Encoding: identity", body=TASK, smuggled=True),
    "two lengths that differ": framed(b"Content-Length: 0", LENGTH, body=TASK, smuggled=True),
    "two lengths that differ, the other way": framed(LENGTH, b"Content-Length: 0", body=TASK, smuggled=True),
    "two lengths that agree": framed(LENGTH, LENGTH, body=TASK, smuggled=True),
    "two lengths in two cases": framed(LENGTH, b"content-length: 0", body=TASK, smuggled=True),
    "chunks twice": framed(CHUNKED, CHUNKED, body=IN_CHUNKS, smuggled=True),
    "chunks within chunks": framed(b"Transfer-Encoding: chunked, chunked", body=IN_CHUNKS, smuggled=True),
    "chunks, then identity": framed(b"Transfer-Encoding: chunked, identity", body=IN_CHUNKS, smuggled=True),
    "chunks, then gzip": framed(b"Transfer-Encoding: chunked, gzip", body=IN_CHUNKS, smuggled=True),
    "chunks, and identity in a line of its own": framed(
        CHUNKED, b"Transfer-Encoding: identity", body=IN_CHUNKS, smuggled=True
    ),
    "identity alone": framed(b"Transfer-Encoding: identity", body=TASK, smuggled=True),
    "gzip alone": framed(b"Transfer-Encoding: gzip", body=TASK, smuggled=True),
    "chunks in HTTP/1.0": framed(CHUNKED, start=b"POST /api/mallory/tasks HTTP/1.0", body=IN_CHUNKS, smuggled=True),
    "chunks with a vertical tab before": framed(b"Transfer-Encoding: \x0bchunked", body=IN_CHUNKS, smuggled=True),
    "chunks with a vertical tab after": framed(b"Transfer-Encoding: chunked\x0b", body=IN_CHUNKS, smuggled=True),
    "chunks with NUL after": framed(b"Transfer-Encoding: chunked\0", body=IN_CHUNKS, smuggled=True),
    "chunks with a space before the colon": framed(b"Transfer-Encoding : chunked", body=IN_CHUNKS, smuggled=True),
    "chunks with a tab before the colon": framed(b"Transfer-Encoding\t: chunked", body=IN_CHUNKS, smuggled=True),
    "chunks in a folded line": framed(b"Transfer-Encoding:\r\n chunked", body=IN_CHUNKS, smuggled=True),
    "chunks behind a line feed": framed(b"X: x\nTransfer-Encoding: chunked", body=IN_CHUNKS, smuggled=True),
    "chunks behind a carriage return": framed(b"X: x\rTransfer-Encoding: chunked", body=IN_CHUNKS, smuggled=True),
    "chunks behind a space": framed(b" Transfer-Encoding: chunked", body=IN_CHUNKS, smuggled=True),
    "chunks in a name with NUL": framed(b"Transfer-Encoding\0: chunked", body=IN_CHUNKS, smuggled=True),
    "chunks in quotes for a name": framed(b'"Transfer-Encoding": chunked', body=IN_CHUNKS, smuggled=True),
}

CODINGS = {
    f"the coding {name}": framed(b"Transfer-Encoding: " + coding, body=IN_CHUNKS, smuggled=True)
    for name, coding in {
        "xchunked": b"xchunked",
        "chunked with a parameter": b"chunked;q=1",
        "chunked in quotes": b'"chunked"',
        "chunked with a dot": b"chunked.",
        "chunked with spaces within": b"c hunked",
        "chunked with a no-break space": b"chunked\xa0",
        "chunked with a line separator": b"chunked\xe2\x80\xa8",
        "chunked in Cyrillic": "\u0441hunked".encode(),
        "of nothing, then chunked": b", chunked",
        "of nothing": b"",
        "cow, chunked": b"cow, chunked",
    }.items()
}

LENGTHS = {
    f"the length {name}": framed(b"Content-Length: " + length, body=TASK, smuggled=True)
    for name, length in {
        "+18": b"+18",
        "-18": b"-18",
        "-0": b"-0",
        "0x12": b"0x12",
        "0b1": b"0b1",
        "18.0": b"18.0",
        "1.8e1": b"1.8e1",
        "1_8": b"1_8",
        "18 18": b"18 18",
        "18, 18": b"18, 18",
        "18,0": b"18,0",
        "18;": b"18;",
        "of nothing": b"",
        "in Arabic digits": "\u0661\u0668".encode(),
        "with a superscript": b"1\xb2",
        "a half": b"\xbd",
        "with a vertical tab": b"\x0b18",
        "with a no-break space": b"\xa018",
        "of 5,000 digits": b"9" * 5000,
        "in quotes": b'"18"',
        "infinite": b"Infinity",
    }.items()
} | {
    "the length with a space before the colon": framed(b"Content-Length : 18", body=TASK, smuggled=True),
    "the length in a folded line": framed(b"Content-Length: 1\r\n 8", body=TASK, smuggled=True),
    "the length behind a line feed": framed(b"X: x\nContent-Length: 18", body=TASK, smuggled=True),
}


# Malformed heads

HEADS = {
    "a line feed for all ends": framed(LENGTH, body=TASK, end=b"\n"),
    "a line feed in a value": framed(b"X: c4n4ry\nAuthorization: Bearer c4n4ry"),
    "a carriage return in a value": framed(b"X: c4n4ry\rX-Injected: 1"),
    "NUL in a value": framed(b"X: c4n4ry\0"),
    "an escape in a value": framed(b"X: c4n4ry\x1b[31m"),
    "DEL in a value": framed(b"X: c4n4ry\x7f"),
    "NUL in the token": lambda s: framed()(s).replace(b"Bearer ey", b"Bearer \0ey"),
    "a line feed in the token": lambda s: framed()(s).replace(b"Bearer ey", b"Bearer \ney"),
    "the token in a folded line": lambda s: framed()(s).replace(b"Bearer ", b"Bearer\r\n "),
    "the token folded by a tab": lambda s: framed()(s).replace(b"Bearer ", b"Bearer\r\n\t"),
    "a folded line": framed(b"X: a\r\n b"),
    "a folded first line": lambda s: framed()(s).replace(b"Host", b" Host"),
    "a space before the colon": lambda s: framed()(s).replace(b"Authorization:", b"Authorization :"),
    "a name with a space": framed(b"X Y: c4n4ry"),
    "a name with a slash": framed(b"X/Y: 1"),
    "a name beyond ASCII": framed("X\u00e9: 1".encode()),
    "a name in brackets": framed(b"X(Y): 1"),
    "no name": framed(b": 1"),
    "two hosts": framed(b"Host: mallory.example"),
    "two types": framed(LENGTH, b"Content-Type: text/plain", body=TASK),
}

BIG_HEADS = {
    "a header of 17 KB": framed(b"X: " + b"x" * 17_000),
    "a token of 17 KB": lambda s: framed()(s).replace(b"Bearer ", b"Bearer " + b"x" * 17_000),
    "a header without an end": framed(b"X: " + b"x" * 2_000_000),
    "65 headers": framed(*(b"X-%d: 1" % n for n in range(65))),
    "10,000 headers": framed(*(b"X-%d: 1" % n for n in range(10_000))),
    "10,000 cookies": framed(*(b"Cookie: a=%d" % n for n in range(10_000))),
}


# Malformed request lines

STARTS = {
    "HTTP/0.9": b"GET /api/mallory/tasks",
    "HTTP/0.9, said": b"GET /api/mallory/tasks HTTP/0.9",
    "HTTP/2.0": b"GET /api/mallory/tasks HTTP/2.0",
    "HTTP/2": b"GET /api/mallory/tasks HTTP/2",
    "HTTP/11": b"GET /api/mallory/tasks HTTP/11",
    "HTTP/1.10": b"GET /api/mallory/tasks HTTP/1.10",
    "HTTP/01.1": b"GET /api/mallory/tasks HTTP/01.1",
    "HTTP in small letters": b"GET /api/mallory/tasks http/1.1",
    "HTTP in Arabic digits": "GET /api/mallory/tasks HTTP/\u0661.\u0661".encode(),
    "another protocol": b"GET /api/mallory/tasks ICAP/1.0",
    "a space after": b"GET /api/mallory/tasks HTTP/1.1 ",
    "a space before": b" GET /api/mallory/tasks HTTP/1.1",
    "two spaces": b"GET  /api/mallory/tasks HTTP/1.1",
    "tabs": b"GET\t/api/mallory/tasks\tHTTP/1.1",
    "a form feed": b"GET\x0c/api/mallory/tasks HTTP/1.1",
    "a carriage return within": b"GET /api/mallory/tasks\rHTTP/1.1",
    "a line feed within": b"GET /api/mallory/tasks HTTP/1.1\nX: x",
    "two empty lines first": b"\r\n\r\nGET /api/mallory/tasks HTTP/1.1",
    "a line feed first": b"\nGET /api/mallory/tasks HTTP/1.1",
    "a method in small letters": b"get /api/mallory/tasks HTTP/1.1",
    "a method of two letters": b"GO /api/mallory/tasks HTTP/1.1",
    "a method of 30 letters": b"G" * 30 + b" /api/mallory/tasks HTTP/1.1",
    "a method with a colon": b"GET: /api/mallory/tasks HTTP/1.1",
    "a method with NUL": b"GET\0 /api/mallory/tasks HTTP/1.1",
    "a method beyond ASCII": "G\u00c9T /api/mallory/tasks HTTP/1.1".encode(),
    "NUL in the path": b"GET /api/alice\0/tasks HTTP/1.1",
    "a letter beyond ASCII in the path": "GET /api/\u0430lice/tasks HTTP/1.1".encode(),
    "a carriage return in the path": b"GET /api/mallory\r/tasks HTTP/1.1",
    "no slash": b"GET api/alice/tasks HTTP/1.1",
    "a backslash first": b"GET \\api\\alice\\tasks HTTP/1.1",
    "a name and a port": b"GET localhost:8000 HTTP/1.1",
    "an asterisk": b"GET * HTTP/1.1",
    "a broken host": b"GET http://[api/alice/tasks HTTP/1.1",
    "no path": b"GET HTTP/1.1",
    "a query with a space": b"GET /api/mallory/tasks?q=c4n4ry x HTTP/1.1",
    "the beginning of HTTP/2": b"PRI * HTTP/2.0",
    "a proxy's word": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2",
}
NO_HTTP = {
    "the beginning of TLS": bytes.fromhex("16030100c8010000c403030000000000000000000000000000000000") + b"\r\n\r\n",
    "a text that is no request": b"hello\r\n\r\n",
    "a redis command": b"*1\r\n$4\r\nPING\r\n",
    "an SMTP greeting": b"EHLO localhost\r\nMAIL FROM:<a@localhost>\r\n\r\n",
    "an SSH greeting": b"SSH-2.0-client\r\n",
    "JSON": b'{"title":"x"}\r\n\r\n',
    "NUL": b"\0" * 100 + b"\r\n\r\n",
    "blanks": b" " * 100 + b"\r\n\r\n",
    "a line feed": b"\n",
}

# The refusal and the log must not contain the token of these requests.
TOKENS_IN_WRONG_PLACES = {
    "a token in a line of its own": lambda s: framed()(s).replace(b"Bearer ", b"Bearer\r\n"),
    "a token in two lines": lambda s: re.sub(rb"(Bearer .{80})", rb"\1\r\n", framed()(s)),
    "a token in a query with a space": lambda s: framed(
        start=b"GET /api/mallory/tasks?access_token=" + s.token("mallory").encode() + b"&q=a b HTTP/1.1"
    )(s),
    "a token in a first line": lambda s: b"Authorization: Bearer " + s.token("mallory").encode() + b"\r\n\r\n",
    "a token as a method": lambda s: s.token("mallory").encode() + b" / HTTP/1.1\r\n\r\n",
    "a token as a version": lambda s: b"GET / " + s.token("mallory").encode() + b"\r\n\r\n",
    "a token as an expectation": lambda s: framed(b"Expect: " + s.token("mallory").encode())(s),
    "a token as a coding": lambda s: framed(b"Transfer-Encoding: " + s.token("mallory").encode())(s),
}

STATUS_OF_PAGE = {
    **dict.fromkeys(BIG_HEADS, 431),
    # RFC 9112, section 6.1: 501 for an unsupported transfer coding.
    **dict.fromkeys(CODINGS, 501),
    "a token as an expectation": 417,
    "a token as a coding": 501,
}

PAGES: dict[str, Make] = {
    **BOTH,
    **CODINGS,
    **LENGTHS,
    **HEADS,
    **BIG_HEADS,
    **{f"a first line with {name}": framed(start=start) for name, start in STARTS.items()},
    **{name: lambda _, sent=sent: sent for name, sent in NO_HTTP.items()},
    "a first line of 9 KB": framed(start=b"GET /api/" + b"x" * 9000 + b" HTTP/1.1"),
    "an expectation": framed(b"Expect: 200-ok"),
    **TOKENS_IN_WRONG_PLACES,
}
STATUS_OF_PAGE |= {"a first line of 9 KB": 414, "an expectation": 417}


# Malformed chunks: the head is valid, so the service responds

CHUNKS = {
    "of no size": b"\r\n" + IN_CHUNKS,
    "of a negative size": b"-12\r\n" + TASK + b"\r\n0\r\n\r\n",
    "of a size with a plus": b"+12\r\n" + TASK + b"\r\n0\r\n\r\n",
    "of a size in 0x": b"0x12\r\n" + TASK + b"\r\n0\r\n\r\n",
    "of a size with an underscore": b"1_2\r\n" + TASK + b"\r\n0\r\n\r\n",
    "of a size with a space before": b" 12\r\n" + TASK + b"\r\n0\r\n\r\n",
    "of a size with a space after": b"12 \r\n" + TASK + b"\r\n0\r\n\r\n",
    "of a size with a tab after": b"12\t\r\n" + TASK + b"\r\n0\r\n\r\n",
    "of a size with NUL": b"12\0\r\n" + TASK + b"\r\n0\r\n\r\n",
    "of a size that is no number": b"zz\r\n" + TASK + b"\r\n0\r\n\r\n",
    "of a size in fullwidth digits": "\uff11\uff12".encode() + b"\r\n" + TASK + b"\r\n0\r\n\r\n",
    "of a size beyond 64 bits": b"f" * 17 + b"\r\n" + TASK + b"\r\n0\r\n\r\n",
    "of a size that wraps around": b"100000012\r\n" + TASK + b"\r\n0\r\n\r\n",
    "too long for its size": b"3\r\n" + TASK + b"\r\n0\r\n\r\n",
    "too short for its size": b"20\r\n" + TASK + b"\r\n0\r\n\r\n",
    "ended by line feeds": IN_CHUNKS.replace(b"\r\n", b"\n"),
    "ended by a line feed after the size": b"12\n" + TASK + b"\r\n0\r\n\r\n",
    "ended by a line feed after the data": b"12\r\n" + TASK + b"\n0\r\n\r\n",
    "ended by two bytes of anything": b"12\r\n" + TASK + b"xx0\r\n\r\n",
    "with an extension with a carriage return": b"12;a\rb\r\n" + TASK + b"\r\n0\r\n\r\n",
    "with an extension with a line feed": b"12;a\nb\r\n" + TASK + b"\r\n0\r\n\r\n",
    "with an extension that is none": b"12;=;=\r\n" + TASK + b"\r\n0\r\n\r\n",
    "with an extension in open quotes": b'12;a="\r\n' + TASK + b"\r\n0\r\n\r\n",
    "with an extension of 40 KB": b"12;a=" + b"x" * 40_000 + b"\r\n" + TASK + b"\r\n0\r\n\r\n",
    "with no last one": b"12\r\n" + TASK + b"\r\n",
    "with no end of the last one": b"12\r\n" + TASK + b"\r\n0\r\n",
    "with a trailer that authenticates": b"12\r\n" + TASK + b"\r\n0\r\nAuthorization: Bearer c4n4ry\r\n\r\n",
    "with a trailer that gives a length": b"12\r\n" + TASK + b"\r\n0\r\nContent-Length: 0\r\n\r\n",
    "with a trailer that gives a coding": b"12\r\n" + TASK + b"\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "with a trailer that gives a host": b"12\r\n" + TASK + b"\r\n0\r\nHost: c4n4ry\r\n\r\n",
    "with a trailer that is none": b"12\r\n" + TASK + b"\r\n0\r\nc4n4ry\r\n\r\n",
    "with a trailer ended by a line feed": b"12\r\n" + TASK + b"\r\n0\r\nX: x\nY: y\r\n\r\n",
    "with a folded trailer": b"12\r\n" + TASK + b"\r\n0\r\nX: x\r\n y\r\n\r\n",
    "with 100 trailers": b"12\r\n" + TASK + b"\r\n0\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(100)) + b"\r\n",
}

PROBLEMS: dict[str, Attack] = {
    **{f"chunks {name}": problem(framed(CHUNKED, body=chunks)) for name, chunks in CHUNKS.items()},
    "a request within a tunnel": problem(
        framed(start=b"CONNECT localhost:443 HTTP/1.1", smuggled=True), 404, "not-found"
    ),
    "a length of which nothing came": problem(framed(b"Content-Length: 18")),
    "a length of which half came": problem(framed(b"Content-Length: 36", body=TASK)),
    "a length of 20 digits": problem(framed(b"Content-Length: " + b"9" * 20, body=TASK), 413, "too-large"),
    "a gigabyte that is announced": problem(framed(b"Content-Length: 1073741824", body=TASK), 413, "too-large"),
    "a gigabyte in chunks": problem(
        framed(CHUNKED, body=b"40000000\r\n" + b" " * 70_000), 413, "too-large"
    ),
    "gzip in chunks": problem(framed(b"Transfer-Encoding: gzip, chunked", body=b"3\r\n\x1f\x8b\x08\r\n0\r\n\r\n")),
}  # fmt: skip

ATTACKS: dict[str, Attack] = {
    **{name: page(make, STATUS_OF_PAGE.get(name, 400)) for name, make in PAGES.items()},
    **PROBLEMS,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_ambiguous_or_malformed_request_is_refused_and_nothing_after_it_is_executed(
    system: System, attack: Attack
) -> None:
    """There is one response: the server did not take the bytes that follow for another request."""
    assert_fails(system, attack)


def test_the_smuggled_request_would_be_executed_after_a_valid_request(system: System) -> None:
    """Without this, the attacks could fail for another reason than their framing."""
    made = system.of("trudy", method="POST", body=b'{"title":"x"}')
    task = made.headers["Location"].encode()
    second_request = victim(system).replace(b"/api/alice/tasks/1", task)
    second_request = second_request.replace(system.token("alice").encode(), system.token("trudy").encode())
    first, second = system.send(framed(start=b"GET /api/mallory/tasks HTTP/1.1")(system) + second_request)
    assert (first.status, second.status) == (200, 204)


def test_an_incomplete_head_closes_the_connection_without_a_response(system: System) -> None:
    for end in (b"\r", b""):
        assert system.send(framed(LENGTH, body=TASK, end=end)(system)) == []


def test_header_names_with_an_underscore_are_dropped_and_do_not_frame_the_body(system: System) -> None:
    for line in (b"Content_Length: 18", b"Transfer_Encoding: chunked"):
        replies = system.send(
            framed(line, b"Content-Length: 0", b"Connection: close", body=TASK, smuggled=True)(system)
        )
        assert [reply.status for reply in replies] == [422]  # the title is missing


def test_a_body_that_is_refused_before_it_is_read_is_not_executed_as_a_request(system: System) -> None:
    """413, 401 and 403 are sent before the body is read: its bytes must not become the next request."""
    inner = victim(system)
    length = b"Content-Length: %d" % (len(inner) + 100_000)
    heads: dict[int, bytes] = {
        413: framed(length)(system),
        401: framed(length)(system).replace(b"Authorization", b"X-Authorization"),
        403: framed(length, start=b"POST /api/alice/tasks HTTP/1.1")(system),
    }
    before = system.commits()
    for status, head in heads.items():
        replies = system.send(head + b" " * 100_000 + inner)
        assert [reply.status for reply in replies] == [status]
    assert system.commits() == before


def test_a_valid_request_is_served_after_all_attacks(system: System) -> None:
    reply: Any = system.of("mallory")
    assert (reply.status, [task["title"] for task in reply.json]) == (200, ["Sell more milk", "Sell milk"])
