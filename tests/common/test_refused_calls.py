"""A refused call has its answer read by its client, and the connection is good for the next one.

Against the web process as it runs in production, with the clients that people have.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
import requests
from django.urls import get_resolver

from tests.generation.conftest import running
from tests.helpers import pictures
from tests.helpers.wait import PATIENCE_SECONDS

__all__ = ["running"]  # a fixture

pytestmark = pytest.mark.usefixtures("committed")
ORDER = "/v1/generate-video"
UPLOAD = "/v1/upload-image"


def routes(patterns=None, prefix="/"):
    """An address of each route."""
    for one in get_resolver().url_patterns if patterns is None else patterns:
        text = re.sub(r"<[^>]+>|\(\?P[^)]*\)", str(uuid4()), str(one.pattern))
        address = prefix + text.strip("^$").replace("\\Z", "").replace("\\", "")
        if hasattr(one, "url_patterns"):
            yield from routes(one.url_patterns, address)
        else:
            yield address


class Standard:
    """Python's http.client, on one connection."""

    def __init__(self):
        address = urlsplit(os.environ["PUBLIC_URL"])
        self.connection = http.client.HTTPConnection(
            address.hostname, address.port, timeout=PATIENCE_SECONDS
        )

    def send(self, method, path, body, headers):
        self.connection.request(method, path, body=body, headers=headers)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status

    def close(self):
        self.connection.close()


class OfRequests:
    def __init__(self):
        self.session = requests.Session()
        self.session.trust_env = False

    def send(self, method, path, body, headers):
        return self.session.request(
            method,
            os.environ["PUBLIC_URL"] + path,
            data=body,
            headers=headers,
            timeout=PATIENCE_SECONDS,
            allow_redirects=False,
        ).status_code

    def close(self):
        self.session.close()


class OfHttpx:
    def __init__(self):
        self.client = httpx.Client(
            base_url=os.environ["PUBLIC_URL"], timeout=PATIENCE_SECONDS, trust_env=False
        )

    def send(self, method, path, body, headers):
        return self.client.request(method, path, content=body, headers=headers).status_code

    def close(self):
        self.client.close()


@pytest.fixture(params=[Standard, OfRequests, OfHttpx])
def client(request):
    made = request.param()
    yield made
    made.close()


@pytest.fixture
def signed_in(running):
    return running.phone()._headers()


@pytest.mark.parametrize("size", [70_000, 1_200_000, 12_000_000])
def test_connection_survives_three_refusals_of_each_kind(signed_in, client, size):
    json = {"Content-Type": "application/json"}
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    kinds = [
        ("POST", ORDER, json, 401),
        ("POST", UPLOAD, form, 401),
        ("POST", "/admin/login/", form, 403),
        ("POST", "/v1/no-such-call", json, 404),
        ("PUT", "/v1/get-models", json, 405),
        ("POST", ORDER, signed_in | json, 413 if size > 1_000_000 else 400),
        ("POST", UPLOAD, signed_in | form, 413 if size > 10_100_000 else 400),
        ("POST", UPLOAD, signed_in | json, 415),
        ("POST", "/webhooks/fal", json, 413 if size > 1_000_000 else 401),
        ("GET", "/healthz", json, 200),
    ]
    body = b"z" * size
    for method, path, headers, status in kinds:
        answers = [client.send(method, path, body, headers) for _ in range(3)]

        assert answers == [status] * 3, (method, path)


def test_call_beyond_its_limit_gets_the_response(signed_in, client):
    headers = signed_in | {"Content-Type": "application/json"}
    body = b'{"code": "' + b"z" * 800_000 + b'"}'
    client.send("POST", "/v1/redeem-code", body, headers)

    answers = [client.send("POST", "/v1/redeem-code", body, headers) for _ in range(3)]

    assert answers == [429] * 3


def test_every_route_answers_on_the_same_connection(running):
    client = Standard()
    addresses = list(routes())
    assert len(addresses) > 150
    body = b"z" * 70_000
    client.send("GET", "/healthz", None, {})
    line = client.connection.sock
    assert line
    for address in addresses:
        for _ in range(2):
            status = client.send("POST", address, body, {"Content-Type": "application/json"})
            assert 200 <= status < 500, address
        assert client.connection.sock is line, address
    client.close()


def test_oversized_body_is_refused_before_it_ends(running):
    """The client sends 100 MB of what may have one, and finds its refusal."""
    for _ in range(3):
        client = Standard()
        headers = {"Content-Type": "application/json", "Content-Length": str(100_000_000)}
        client.connection.putrequest("POST", ORDER)
        for name, value in headers.items():
            client.connection.putheader(name, value)
        client.connection.endheaders()
        sent = 0
        while sent < 8_000_000:
            client.connection.send(b"z" * 1_000_000)
            sent += 1_000_000

        answer = client.connection.getresponse()

        assert (answer.status, answer.headers["Connection"]) == (401, "close")
        assert answer.read().startswith(b'{"error"')
        client.close()


def test_expect_100_continue_is_answered(signed_in):
    body = pictures.jpeg()
    part = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n" + body + b"\r\n--x--\r\n"
    )
    for token, status in ((signed_in["Authorization"], b"201"), ("Bearer x", b"401")):
        head = (
            f"POST {UPLOAD} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {token}\r\n"
            f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(part)}\r\n"
            "Expect: 100-continue\r\n\r\n"
        ).encode()
        with connected() as line:
            line.sendall(head)
            assert line.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            line.sendall(part)
            assert line.recv(1000).startswith(b"HTTP/1.1 " + status)


def test_expect_100_continue_is_refused_for_an_oversized_body(running):
    head = (
        f"POST {UPLOAD} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 90000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nExpect: 100-continue\r\n\r\n"
    ).encode()
    with connected() as line:
        line.sendall(head)

        assert line.recv(1000).startswith(b"HTTP/1.1 401")


def connected():
    address = urlsplit(os.environ["PUBLIC_URL"])
    return socket.create_connection((address.hostname, address.port), timeout=PATIENCE_SECONDS)
