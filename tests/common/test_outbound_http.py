"""The one way out: what may have had an effect, what we never wait for, where we never go."""

from __future__ import annotations

import gzip
import io
import itertools
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from rendio.common.outbound import http
from tests.generation.conftest import stub_server

__all__ = ["stub_server"]  # a fixture

# A server here answers once for each connection. Unsaid, the next request could be sent into one
# that is just being closed.
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


def get(url, **options):
    return http.request("GET", url, timeout=options.pop("timeout", (1, 0.3)), **options)


def drip(ended, head):
    """A script that sends a byte every few milliseconds, for ever as far as a test goes."""

    def script(connection):
        connection.sendall(head)
        for _ in itertools.count():
            if ended.wait(0.02):
                return
            connection.sendall(b"x")

    return script


# --- request ----------------------------------------------------------------------------------


def test_response_is_read_completely(answering):
    server = answering(OK, b'Content-Length: 11\r\nX-Mark: here\r\n\r\n{"a": true}')

    answer = get(server.url)

    assert (answer.status, answer.ok, answer.json()) == (200, True, {"a": True})
    assert answer.headers["x-mark"] == "here"


def test_a_refused_connection_was_not_sent(closed_port):
    with pytest.raises(http.NotSent):
        get(f"http://127.0.0.1:{closed_port}/")


def test_a_name_that_does_not_resolve_was_not_sent():
    with pytest.raises(http.NotSent):
        get("http://nowhere.invalid/")


def test_connection_closed_without_a_response_is_no_answer(loopback):
    server = loopback(lambda connection: None)

    with pytest.raises(http.NoAnswer):
        get(server.url)

    assert len(server.heads) == 1, "and is not repeated"


def test_timeout_is_no_answer_and_is_not_retried(loopback):
    server = loopback(lambda connection: server.ended.wait(10))

    with pytest.raises(http.NoAnswer):
        get(server.url)
    server.ended.set()

    assert len(server.heads) == 1


@pytest.mark.parametrize(
    "cut",
    [
        b"Content-Length: 100\r\n\r\nonly this",
        b"Transfer-Encoding: chunked\r\n\r\n64\r\nonly this",
        b"Transfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: 100\r\n\r\n" + gzip.compress(b"only this"),
    ],
    ids=["length", "chunk", "chunks", "gzip"],
)
def test_truncated_response_is_no_answer(answering, cut):
    server = answering(OK, cut)

    with pytest.raises(http.NoAnswer):
        get(server.url)


@pytest.mark.parametrize(
    "head", [OK + b"\r\n", OK + b"Content-Length: 90000\r\n\r\n"], ids=["endless", "announced"]
)
def test_slow_response_ends_at_the_deadline(loopback, head):
    """Each byte comes well within the read timeout; only the deadline of 0.5 + 2 x 0.2 ends it."""
    server = loopback(lambda connection: drip(server.ended, head)(connection))

    with pytest.raises(http.NoAnswer):
        get(server.url, timeout=(0.5, 0.2))

    assert not server.ended.is_set(), "the server was still at it"


@pytest.mark.parametrize("body", [b"x" * 1001, gzip.compress(b"x" * 1001)], ids=["plain", "gzip"])
def test_response_is_accepted_up_to_the_byte_limit(answering, body):
    encoding = b"Content-Encoding: gzip\r\n" if body[:2] == b"\x1f\x8b" else b""
    server = answering(OK, encoding, b"Content-Length: %d\r\n\r\n" % len(body), body)

    with pytest.raises(http.NoAnswer):
        get(server.url, max_bytes=1000)

    assert get(server.url, max_bytes=1001).body == b"x" * 1001


def test_redirect_is_returned_and_not_followed(answering):
    target = answering(OK, b"Content-Length: 0\r\n\r\n")
    server = answering(
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n",
        f"Location: {target.url}/\r\n\r\n".encode(),
    )

    answer = get(server.url)

    assert (answer.status, answer.ok) == (302, False)
    assert target.heads == []


def test_proxy_variables_are_ignored(answering, closed_port, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port}")
    server = answering(OK, b"Content-Length: 0\r\n\r\n")

    assert get(server.url).status == 200


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"\xff"])
def test_invalid_json_reads_as_none(body):
    assert http.Response(200, body, {}).json() is None


# --- Certificates --------------------------------------------------------------------------


@contextmanager
def https_server(folder, *, name: str):
    """A server with a certificate for `name` that signs itself. Yields its port, and the file of
    the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, folder / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port, file
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "is_known", "accepted"),
    [("localhost", True, True), ("localhost", False, False), ("another.test", True, False)],
)
@pytest.mark.parametrize("call", ["request", "download"])
def test_a_certificate_must_be_known_and_of_this_host(
    tmp_path, monkeypatch, request, call, name, is_known, accepted
):
    request.addfinalizer(http._pools.cache_clear)
    with https_server(tmp_path, name=name) as (port, file):
        if is_known:
            monkeypatch.setattr(certifi, "where", lambda: str(file))
        http._pools.cache_clear()
        url = f"https://localhost:{port}/"
        ask = get if call == "request" else partial(download, hosts=("localhost",), max_bytes=10**6)

        if accepted:
            assert ask(url)
        else:
            with pytest.raises(http.NoAnswer):
                ask(url)


# --- download ---------------------------------------------------------------------------------


def download(url, *, hosts=("127.0.0.1",), max_bytes=1000, timeout_seconds=5):
    into = io.BytesIO()
    http.download(
        url, into, allowed_hosts=list(hosts), max_bytes=max_bytes, timeout_seconds=timeout_seconds
    )
    return into.getvalue()


def test_a_file_is_streamed_into_the_target(answering):
    server = answering(OK, b"Content-Length: 4\r\n\r\nfilm")

    assert download(f"{server.url}/a.mp4") == b"film"


def test_a_file_beyond_the_cap_is_too_large(answering):
    server = answering(OK, b"Content-Length: 1001\r\n\r\n", b"x" * 1001)

    with pytest.raises(http.TooLarge):
        download(server.url)

    assert len(download(server.url, max_bytes=1001)) == 1001


def test_truncated_file_is_no_answer(answering):
    server = answering(OK, b"Content-Length: 500\r\n\r\n", b"x" * 400)

    with pytest.raises(http.NoAnswer):
        download(server.url)


def test_slow_file_ends_at_the_deadline(loopback):
    head = OK + b"Content-Length: 900\r\n\r\n"
    server = loopback(lambda connection: drip(server.ended, head)(connection))

    with pytest.raises(http.NoAnswer):
        download(server.url, timeout_seconds=0.3)

    assert not server.ended.is_set()


@pytest.mark.parametrize(
    ("host", "allowed", "may"),
    [
        ("fal.media", "fal.media", True),
        ("v3.fal.media", "*.fal.media", True),
        ("V3.FAL.MEDIA", "*.fal.media", True),
        ("fal.media", "*.fal.media", False),
        ("evilfal.media", "*.fal.media", False),
        ("fal.media.evil.example", "*.fal.media", False),
        ("evil.example\\.fal.media", "*.fal.media", False),
        ("evil.example/.fal.media", "*.fal.media", False),
        ("evil.example#.fal.media", "*.fal.media", False),
        ("evil.example?.fal.media", "*.fal.media", False),
        ("fal.media@evil.example", "fal.media", False),
        (":pass@fal.media", "fal.media", False),
        ("user@fal.media", "fal.media", False),
        ("fal.media:22", "fal.media", False),
        ("fal.media:99999", "fal.media", False),
        ("", "fal.media", False),
        ("[::1", "fal.media", False),
        ("fal.media\t", "fal.media", False),
        ("fal.media\ud800", "fal.media", False),
        ("\N{FULLWIDTH LATIN SMALL LETTER F}al.media", "fal.media", False),
        ("evil.example\N{FULLWIDTH SOLIDUS}.fal.media", "*.fal.media", False),
    ],
)
def test_only_allowed_hosts_are_called(host, allowed, may, settings, monkeypatch):
    """Decided before any connection: an allowed one then fails at its name, which is nobody's."""
    settings.ALLOW_PRIVATE_ADDRESSES = False
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda *args, **kwargs: (_ for _ in ()).throw(OSError("no network"))
    )

    with pytest.raises(http.NotSent if may else http.Refused):
        download(f"https://{host}/a.mp4", hosts=[allowed])


@pytest.mark.parametrize("url", ["http://fal.media/", "ftp://fal.media/", "file:///etc/passwd", ""])
def test_only_https_is_called_in_production(url, settings):
    settings.ALLOW_PRIVATE_ADDRESSES = False

    with pytest.raises(http.Refused):
        download(url, hosts=["fal.media", ""])


def moved(location):
    """A server's answer that sends on."""
    return f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n".encode()


@pytest.mark.parametrize("spelling", ["{0}/a.mp4?b=1", "/a.mp4?b=1", "a.mp4?b=1", "x/../a.mp4?b=1"])
def test_a_redirect_to_an_allowed_host_is_followed(stub_server, spelling):
    stub_server.say(302, b"not the file", Location=spelling.format(stub_server.url)).say(
        200, b"film"
    )

    assert download(f"{stub_server.url}/film.mp4") == b"film"

    assert [path for _, path, _ in stub_server.asked] == ["/film.mp4", "/a.mp4?b=1"]


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://localhost:{port}/a.mp4", "host"),
        ("ftp://127.0.0.1/a.mp4", "scheme"),
        ("http://user@127.0.0.1:{port}/a.mp4", "credentials"),
        ("http://[half/a.mp4", "address"),
    ],
)
def test_each_redirect_target_is_checked(stub_server, location, why):
    stub_server.say(302, b"", Location=location.format(port=stub_server.server.server_port))

    with pytest.raises(http.Refused, match=why):
        download(f"{stub_server.url}/film.mp4")

    assert len(stub_server.asked) == 1


def test_a_key_for_a_file_stays_at_its_origin(stub_server, answering):
    elsewhere = answering(OK, b"Content-Length: 4\r\n\r\nfilm")
    stub_server.say(302, b"", Location="/moved").say(302, b"", Location=f"{elsewhere.url}/film")

    http.download(
        f"{stub_server.url}/film.mp4",
        io.BytesIO(),
        allowed_hosts=["127.0.0.1"],
        max_bytes=1000,
        headers={"Authorization": "Bearer key"},
    )

    assert [headers.get("Authorization") for _, _, headers in stub_server.asked] == [
        "Bearer key"
    ] * 2
    [head] = elsewhere.heads
    assert b"authorization" not in head.lower()


def test_redirect_loop_is_refused(stub_server):
    stub_server.otherwise = (301, {"Location": "/again"}, b"")

    with pytest.raises(http.Refused, match="too many redirects"):
        download(f"{stub_server.url}/film.mp4")

    assert len(stub_server.asked) == http.MOST_REDIRECTS + 1


@pytest.mark.parametrize("ask", [get, download])
def test_cookies_are_not_kept_between_requests(stub_server, ask):
    stub_server.say(200, b"one", Set_Cookie="whose=theirs; Path=/").say(200, b"two")

    ask(f"{stub_server.url}/one")
    ask(f"{stub_server.url}/two")

    assert "Cookie" not in stub_server.asked[1][2]


PRIVATE = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0.0.0.0",  # noqa: S104
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "localhost",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[fe80::1]",
    "[fc00::1]",
    "[ff02::1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:7f00:1::]",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_are_refused_in_any_spelling(host, settings):
    settings.ALLOW_PRIVATE_ADDRESSES = False
    # As the list would have it if somebody named the address there, or a name that leads to it.
    hosts = [host, host.lower()]

    with pytest.raises(http.Refused, match="address"):
        download(f"https://{host}/", hosts=hosts)


def test_private_address_is_accepted_where_allowed(answering, settings):
    server = answering(OK, b"Content-Length: 4\r\n\r\nfilm")
    settings.ALLOW_PRIVATE_ADDRESSES = True

    assert download(server.url) == b"film"
