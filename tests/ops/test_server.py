"""The web server: bodies in chunks, connections kept, ends, and pages that tell how it is.

Against the web process as it runs in production.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import threading
import time
from pathlib import Path
from select import select
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests
from django.db import connection, transaction
from PIL import Image

from generation import media
from rendio import worker
from rendio.config.environment import SANDBOX_WEBHOOK_SECRET
from rendio.server.addresses import bind, bind_and_processes, url
from tests.generation.conftest import running
from tests.helpers import pictures
from tests.helpers.job_driver import serves
from tests.helpers.phone import assert_refused
from tests.helpers.wait import PATIENCE_SECONDS, wait_for

__all__ = ["running"]  # a fixture

pytestmark = pytest.mark.usefixtures("committed")
STACK_ENVIRONMENT = {
    "WEB_QUEUE_SECONDS": 4,
    "DB_LOCK_TIMEOUT_MS": 4500,
    # A body that has just been answered still counts while the next one comes.
    "WEB_BODY_MEMORY_BYTES": 2_000_000,
    # It wraps every answer of the application.
    "SENTRY_DSN": "http://key@127.0.0.1:1/1",
}


class Line:
    """One connection, for bytes that no client library would send."""

    def __init__(self, *data: bytes) -> None:
        address = urlsplit(os.environ["PUBLIC_URL"])
        self.socket = socket.create_connection(
            (address.hostname, address.port), timeout=PATIENCE_SECONDS
        )
        self.read = b""
        for piece in data:
            self.socket.sendall(piece)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer that has a length: its status, its headers and its body."""
        while b"\r\n\r\n" not in self.read:
            self._read_more()
        head, _, self.read = self.read.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers["content-length"])
        while len(self.read) < length:
            self._read_more()
        body, self.read = self.read[:length], self.read[length:]
        return int(first.split()[1]), headers, body

    def is_closed(self) -> bool:
        """Once all that was answered has been read."""
        return not self.read and not self.socket.recv(1)

    def _read_more(self) -> None:
        piece = self.socket.recv(65536)
        assert piece, self.read
        self.read += piece


def head(method: str, path: str, **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def chunked(body: bytes, size: int = 7) -> bytes:
    """With an extension and a trailer, as nobody needs and everybody may send."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return chunks + b"0\r\nX-Trailer: 1\r\n\r\n"


# --- Bodies in chunks (RFC 9112, 7.1) -----------------------------------------------------------


def test_an_order_in_chunks_is_taken(running, sandbox):
    phone = running.phone()
    order = {"model_id": "00000000-0000-4000-8000-000000000003", "prompt": "A red balloon"}

    answer = requests.post(
        f"{phone.url}/v1/generate-video",
        data=iter([json.dumps(order).encode()[:20], json.dumps(order).encode()[20:]]),
        headers=phone._headers()
        | {"Content-Type": "application/json", "Idempotency-Key": str(uuid4())},
        timeout=30,
    )

    assert answer.status_code == 200, answer.text
    phone.post("cancel-video-job", {"job_id": answer.json()["job_id"]})


def test_a_picture_in_chunks_is_taken(running):
    phone = running.phone()
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n" + pictures.jpeg() + b"\r\n--x--\r\n"
    )

    answer = requests.post(
        f"{phone.url}/v1/upload-image",
        data=iter([form[:100], form[100:]]),
        headers=phone._headers() | {"Content-Type": "multipart/form-data; boundary=x"},
        timeout=30,
    )

    assert answer.status_code == 201, answer.text


def test_calls_with_images_take_more_than_others(running):
    phone = running.phone()
    noise = Image.frombytes("RGB", (640, 640), os.urandom(640 * 640 * 3))
    image = pictures.saved(noise, "PNG")
    assert len(image) > 1_000_000

    for call, field in (("upload-image", "file"), ("uploads", "file"), ("train/upload", "files")):
        answer = requests.post(
            f"{phone.url}/v1/{call}",
            files={field: ("a.png", image, "image/png")},
            headers=phone._headers(),
            timeout=30,
        )

        assert answer.status_code == 201, (call, answer.text)


def test_a_signed_webhook_in_chunks_is_genuine(running):
    body = json.dumps({"id": str(uuid4()), "status": "succeeded"}).encode()
    name, sent_at = str(uuid4()), str(int(time.time()))
    secret = base64.b64decode(SANDBOX_WEBHOOK_SECRET.removeprefix("whsec_"))
    signed = f"{name}.{sent_at}.".encode() + body
    signature = base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
    for sent, status in ((body, 200), (body + b" ", 401)):
        lines = head(
            "POST", "/webhooks/replicate", Content_Type="application/json",
            Transfer_Encoding="chunked", webhook_id=name, webhook_timestamp=sent_at,
            webhook_signature=f"v1,{signature}",
        )  # fmt: skip
        # In pieces, so that none of them is a whole chunk.
        raw = lines + chunked(sent)
        with Line(*(raw[start : start + 50] for start in range(0, len(raw), 50))) as line:
            assert line.answer()[0] == status


def test_a_body_in_chunks_has_the_same_limits(running):
    for body, status in ((b"z" * 1_000_000, 401), (b"z" * 1_000_001, 413)):
        with Line(head("POST", "/webhooks/fal", Transfer_Encoding="chunked")) as line:
            line.socket.sendall(chunked(body, size=100_000))

            assert line.answer()[0] == status


MISFRAMED = {
    "both": (head("POST", "/v1/redeem-code", Transfer_Encoding="chunked", Content_Length="3"), 400),
    "other codings": (head("POST", "/v1/redeem-code", Transfer_Encoding="gzip, chunked"), 501),
    "unknown coding": (head("POST", "/v1/redeem-code", Transfer_Encoding="x"), 501),
    "two lengths": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "no number": (head("POST", "/v1/redeem-code", Content_Length="1x"), 400),
    "an expectation": (head("POST", "/v1/redeem-code", Expect="gold"), 417),
    "no head": (b"\x16\x03\x01 hello\r\n\r\n", 400),
    "a long line": (head("GET", "/" + "a" * 9000), 414),
    "a long head": (head("GET", "/", **{f"x{number}": "a" * 700 for number in range(99)}), 431),
}
CHUNKS = {
    "no size": b"x\r\n",
    "a negative size": b"-1\r\n",
    "a size of 17 digits": b"1" * 17 + b"\r\n",
    "a size beside 0x": b"0x3\r\nabc\r\n",
    "more than its size": b"3\r\nabcd\r\n",
    "a lone line feed": b"3\nabc\n0\n\n",
    "a long extension": b"3;" + b"a" * 2000,
    "long trailers": b"0\r\n" + b"a: b\r\n" * 3000,
    "bytes one by one": b"1\r\na\r\n" * 50_000,
}


@pytest.mark.parametrize("kind", MISFRAMED)
def test_what_is_not_framed_as_http_is_refused_in_the_envelope(running, kind):
    data, status = MISFRAMED[kind]
    with Line(data) as line:
        answered, headers, body = line.answer()

        assert (answered, headers["connection"]) == (status, "close")
        error = json.loads(body)["error"]
        assert (error["code"], error["request_id"]) == ("ERR_4008", headers["x-request-id"])
        line.socket.shutdown(socket.SHUT_WR)
        assert line.is_closed()


@pytest.mark.parametrize("kind", CHUNKS)
def test_chunks_that_are_none_are_refused(running, kind):
    with Line(head("POST", "/v1/redeem-code", Transfer_Encoding="chunked"), CHUNKS[kind]) as line:
        assert line.answer()[0] == 400


# --- Connections --------------------------------------------------------------------------------


def test_requests_sent_at_once_are_answered_in_their_order(running):
    paths = ["/healthz", "/v1/get-models", "/v1/nothing", "/readyz"] * 5
    with Line(b"".join(head("GET", path) for path in paths)) as line:
        statuses = [line.answer()[0] for _ in paths]

        assert statuses == [200, 200, 404, 200] * 5


def test_an_answer_is_whole_for_who_has_ended_its_own_side(running):
    with Line(head("GET", "/v1/get-models")) as line:
        line.socket.shutdown(socket.SHUT_WR)

        assert line.answer()[0] == 200
        assert line.is_closed()


def test_every_response_tells_its_length(running):
    phone = running.phone()
    paths = [
        "/v1/get-models",
        "/v1/get-user-credits",
        "/v1/sessions",
        "/v1/events",
        "/openapi.json",
        "/docs",
    ]
    paths += ["/v1/export-user-data", "/v1/get-themes", "/v1/events"]
    paths += ["/healthz", "/readyz", "/metrics", "/admin/login/", "/nothing", "/v1/no-such-call"]
    for path in paths:
        answer = requests.get(running.url + path, headers=phone._headers(), timeout=30)
        assert "Transfer-Encoding" not in answer.headers, path
        encoded = answer.headers.get("Content-Encoding")
        assert encoded or int(answer.headers["Content-Length"]) == len(answer.content), path
    known = requests.get(f"{running.url}/v1/get-models", timeout=30).headers["ETag"]
    unchanged = requests.get(
        f"{running.url}/v1/get-models", headers={"If-None-Match": known}, timeout=30
    )
    assert (unchanged.status_code, unchanged.headers.get("Content-Length")) == (304, None)


@pytest.fixture
def film():
    """The path of a file of five million bytes, and what is in it."""
    content = os.urandom(5_000_000)
    name = f"videos/{uuid4()}.mp4"
    file = Path(os.environ["MEDIA_ROOT"]) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    yield urlsplit(media.signed_url(name)).path, content
    file.unlink()


def test_a_film_and_its_parts_are_sent_on_one_connection(running, film):
    path, content = film
    with Line() as line:
        for asked, status, expected in (
            ("bytes=0-1", 206, content[:2]),
            ("bytes=1000000-", 206, content[1_000_000:]),
            ("bytes=-7", 206, content[-7:]),
            ("", 200, content),
        ):
            line.socket.sendall(head("GET", path, Range=asked) if asked else head("GET", path))
            answered, headers, body = line.answer()
            assert (answered, body == expected) == (status, True), asked
            assert headers["connection"] == "keep-alive"
        line.socket.sendall(head("HEAD", path) + head("GET", "/healthz"))
        while b"\r\n\r\n" not in line.read:
            line._read_more()
        first, _, line.read = line.read.partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 200")
        assert b"Content-Length: 5000000" in first
        assert line.answer()[0] == 200


def test_films_do_not_fill_memory(running, film):
    """Three hundred connections that ask for a film and read none of it."""
    path, _ = film
    before = sum(map(memory_of, both_processes(running)))
    lines = [Line(head("GET", path)) for _ in range(300)]

    for _ in range(4):
        # A loaded machine takes its time for three hundred calls.
        wait_for(lambda: requests.get(f"{running.url}/v1/get-models", timeout=30).ok)
    grown = sum(map(memory_of, both_processes(running))) - before
    for line in lines:
        line.socket.close()
    assert grown < 150_000_000


def memory_of(pid):
    """Bytes."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


# --- A database that does not answer -------------------------------------------------------------


def test_pages_that_tell_how_we_are_are_served_while_all_threads_wait(running):
    """Calls that wait for a lock hold all threads; those beyond are refused before long."""
    phones = [running.phone() for _ in range(3)]
    answers = []

    def call(number):
        answers.append(phones[number % 3].get("get-user-credits"))

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE credits_wallet IN ACCESS EXCLUSIVE MODE")
        threads = [threading.Thread(target=call, args=(number,)) for number in range(60)]
        for thread in threads:
            thread.start()
        for path in ("/healthz", "/readyz", "/metrics", "/healthz") * 3:
            status = requests.get(running.url + path, timeout=PATIENCE_SECONDS).status_code
            assert status == 200, path
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert len(answers) == 60
    for answer in answers:
        assert_refused(answer, 503, "ERR_6001")
        assert answer.headers["Retry-After"] == "1"
    assert phones[0].get("get-user-credits").status_code == 200


def test_large_bodies_beyond_what_memory_may_hold_are_refused_and_small_ones_are_not(running):
    started = [
        Line(head("POST", "/webhooks/fal", Content_Length="900000"), b"z" * 800_000)
        for _ in range(8)
    ]

    def answered() -> list[Line]:
        ready = select([line.socket for line in started], [], [], 0)[0]
        return [line for line in started if line.socket in ready]

    try:
        # Two processes, each with room for two.
        wait_for(lambda: len(answered()) >= 4)
        assert {line.answer()[0] for line in answered()} == {503}
        assert requests.get(f"{running.url}/v1/get-models", timeout=30).status_code == 200
        assert running.phone().balance() > 0
    finally:
        for line in started:
            line.socket.close()


# --- Ends and beginnings ------------------------------------------------------------------------


def test_a_request_that_has_begun_is_answered_after_sigterm(running):
    body = b'{"device_id": "' + b"z" * 10_000 + b'"}'
    with Line(
        head(
            "POST", "/v1/device-check",
            Content_Type="application/json", Content_Length=str(len(body)),
        ),
        body[:5000],
    ) as line:  # fmt: skip
        child = running.stack.children["web"]
        serves(running.url)
        child.request_stop()
        wait_for(lambda: "Handling signal: term" in running.log("web"))

        line.socket.sendall(body[5000:])

        assert line.answer()[0] == 400
        # By the answer, or by the process once nothing more comes.
        assert line.is_closed()
    assert child.stop()
    running.stack.start("web")
    wait_for(lambda: serves(running.url))


def test_a_web_process_that_dies_is_replaced(running):
    killed = both_processes(running)[0]
    os.kill(killed, 9)

    wait_for(lambda: killed not in both_processes(running))
    answers = [wait_for(lambda: serves(running.url)) for _ in range(10)]
    assert all(answers)
    assert killed not in both_processes(running)


def both_processes(running):
    """The ids of the two processes that answer. The first answers before the second is started."""
    main = running.stack.children["web"].pid

    def both():
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return len(children) == 2 and [int(child) for child in children]

    return wait_for(both)


ADDRESSES = {
    ("", ""): "0.0.0.0:8000",
    ("127.0.0.1", "80"): "127.0.0.1:80",
    ("::", "8080"): "[::]:8080",
    ("[::1]", "8080"): "[::1]:8080",
    ("localhost", "8080"): "localhost:8080",
}


def test_the_server_listens_at_addresses_of_both_kinds():
    for (address, port), expected in ADDRESSES.items():
        assert bind({"ADDRESS": address, "PORT": port}) == expected
    for name, value in (("PORT", "http"), ("PORT", "70000"), ("ADDRESS", "127.0.0.1:80:1")):
        with pytest.raises(SystemExit, match=f"^{name} must be"):
            bind({name: value})


def test_all_that_a_start_of_web_cannot_use_is_named_at_once():
    wrong = {"ADDRESS": "::1:x", "PORT": "http", "WEB_CONCURRENCY": "many"}

    with pytest.raises(SystemExit) as refused:
        bind_and_processes(wrong)

    named = [line.split()[0] for line in str(refused.value).splitlines()]
    assert named == ["ADDRESS", "PORT", "WEB_CONCURRENCY"]


def test_a_worker_names_a_number_of_processes_that_is_none(monkeypatch):
    monkeypatch.setenv("WORKER_CONCURRENCY", "0")

    with pytest.raises(SystemExit, match=r"^WORKER_CONCURRENCY must be a number from 1"):
        worker.main(["high"])


def test_a_machine_reaches_its_own_server_wherever_that_listens():
    reached = [url({"ADDRESS": address, "PORT": "8000"}) for address, _ in ADDRESSES]

    assert reached == [
        "http://127.0.0.1:8000",
        "http://127.0.0.1:8000",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "http://localhost:8000",
    ]
