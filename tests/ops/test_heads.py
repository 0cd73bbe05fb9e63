"""Heads of requests: nothing passes that gunicorn's parser refuses, and both read the same."""

from __future__ import annotations

import random
from urllib.parse import unquote_to_bytes

import pytest
from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

from rendio.server.head import MAX_FIELD_BYTES, MAX_FIELDS, MAX_LINE_BYTES, Malformed, parse

PLAIN = (
    b"POST /v1/a%20b/%C3%A9?c=d%26&e#f HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n"
    b"User-Agent:Rendio/1.0 (iPhone)\r\nX-Text: \t caf\xc3\xa9 \t\r\nCookie: a=b\r\nCookie: c=d\r\n"
    b"Content-Type: application/json\r\nX_Same: 1\r\nX-Same: 2\r\nContent-Length: 7"
)
HEADS = [
    PLAIN,
    b"GET / HTTP/1.0",
    b"GET / HTTP/1.0\r\nConnection: Keep-Alive",
    b"GET http://a.example:80/b?c HTTP/1.1\r\nConnection: x, close\r\nHost: a",
    b"OPTIONS * HTTP/1.1\r\nHost: a",
    b"PUT //a/b?c=//d HTTP/1.1\r\nExpect: 100-Continue\r\nTransfer-Encoding: Chunked",
]
# What an attacker would put where it does not belong.
PIECES = [
    *(bytes([byte]) for byte in b"\0\t\n\r\x0b\x1f \"#,:;?[]_\x7f\x80\xff"),
    b"\r\n", b"\r\n ", b"\n\n", b"\r\r\n", b"%0d%0a", b" HTTP/1.1", b"\r\nHost: b", b"\r\n: a",
    b"\r\nContent-Length: 3", b"\r\ncontent-length: +7", b"\r\nTransfer-Encoding: chunked",
    b"\r\nTransfer_Encoding: chunked", b"\r\nTransfer-Encoding: identity", b"\r\nExpect: a",
]  # fmt: skip


class _Received(Unreader):
    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.buf.write(data)

    def chunk(self, size_hint=None):
        return b""


def read_by_gunicorn(head: bytes) -> dict[str, object]:
    """Raises gunicorn's exceptions."""
    request = Request(Config(), _Received(head + b"\r\n\r\n"), ("192.0.2.1", 1))
    fields: dict[str, str] = {}
    for name, value in request.headers:
        name = name.replace("-", "_")
        key = name if name in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{name}"
        fields[key] = f"{fields[key]},{value}" if key in fields else value
    return {
        "method": request.method,
        "path": unquote_to_bytes(request.path).decode("latin-1"),
        "query": request.query,
        "version": request.version,
        "fields": fields,
        "expects_continue": request._expected_100_continue,
    }


def read_by_us(head: bytes) -> dict[str, object]:
    """Raises Malformed."""
    found = parse(head)
    return {
        "method": found.method,
        "path": found.path,
        "query": found.query,
        "version": (1, found.minor_version),
        "fields": found.fields,
        "expects_continue": found.expects_continue,
    }


def test_heads_are_read_as_gunicorn_reads_them():
    for head in HEADS:
        assert read_by_us(head) == read_by_gunicorn(head)


def test_nothing_passes_that_gunicorn_refuses_or_reads_in_another_way():
    chance = random.Random(1)  # noqa: S311
    passed = 0
    for _ in range(4000):
        head = bytearray(chance.choice(HEADS))
        for _change in range(chance.randint(1, 2)):
            start = chance.randrange(len(head) + 1)
            head[start : start + chance.choice([0, 0, 1, 3])] = chance.choice(PIECES)
        # The end of the head is found before it is parsed.
        whole = bytes(head).partition(b"\r\n\r\n")[0]
        try:
            ours = read_by_us(whole)
        except Malformed:
            continue
        passed += 1
        assert ours == read_by_gunicorn(whole), whole
    assert 300 < passed < 3500


PUT = b"PUT / HTTP/1.1"


def request(line: bytes = PUT, *fields: bytes) -> bytes:
    return b"\r\n".join([line, *fields])


REFUSED = {
    400: [
        request(b"get / HTTP/1.1"),
        request(b"GET  / HTTP/1.1"),
        request(b"GET / HTTP/2.0"),
        request(b"GET / HTTP/1.1 "),
        request(b"GET /\xe9 HTTP/1.1"),
        request(b"GET http://[ HTTP/1.1"),
        request(b"PUT / HTTP/1.0", b"Transfer-Encoding: chunked"),
        request(PUT, b"no colon"),
        request(PUT, b"Host : a"),
        request(PUT, b" folded: a"),
        request(PUT, b"A: b\nC: d"),
        request(PUT, b"A: b\x00"),
        request(PUT, b"Host: a", b"host: a"),
        request(PUT, b"Content-Length: " + b"1" * 19),
        request(PUT, b"Content-Length: 1_0"),
        request(PUT, b"Content-Length: 3", b"Transfer-Encoding: chunked"),
    ],
    414: [request(b"GET /" + b"a" * MAX_LINE_BYTES + b" HTTP/1.1")],
    417: [request(PUT, b"Expect: gold")],
    431: [
        request(PUT, *[b"A: b"] * (MAX_FIELDS + 1)),
        request(PUT, b"A: " + b"b" * MAX_FIELD_BYTES),
    ],
    501: [request(PUT, b"Transfer-Encoding: gzip, chunked")],
}


def test_what_is_refused_says_why(subtests):
    for status, heads in REFUSED.items():
        for head in heads:
            with subtests.test(head=head[:60]), pytest.raises(Malformed) as refused:
                parse(head)
            assert refused.value.status == status


def test_a_connection_is_kept_unless_the_client_or_its_version_says_otherwise():
    closes = {
        request(PUT): False,
        request(PUT, b"Connection: x, Close"): True,
        request(PUT, b"Connection: keep-alive"): False,
        request(b"PUT / HTTP/1.0"): True,
        request(b"PUT / HTTP/1.0", b"Connection: Keep-Alive"): False,
    }
    assert {head: parse(head).closes for head in closes} == closes
