"""An attacker opens connections and does next to nothing on them: the API still serves everybody.

Against the web process as it runs in production, without a proxy in front.
"""

from __future__ import annotations

import os
import socket
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests

from generation import media
from rendio.server.incoming import Heads
from rendio.server.outgoing import Outgoing
from tests.generation.conftest import running
from tests.helpers import fork_server
from tests.helpers.wait import PATIENCE_SECONDS, wait_for

__all__ = ["running"]  # a fixture

pytestmark = pytest.mark.usefixtures("committed")
# A test waits for one of them to pass.
STACK_ENVIRONMENT = {
    "WEB_HEAD_SECONDS": 2,
    "WEB_BODY_SECONDS": 2,
    "WEB_READER_SECONDS": 2,
    "WEB_CONNECTIONS": 150,
    "ALLOW_EXTERNAL_IMAGE_URLS": "true",
}
# Of two processes with eight threads each.
MANY = 32
SORA_FROM_PICTURE = "00000000-0000-4000-8000-000000000004"
# More than the buffers of two sockets.
VIDEO_BYTES = 24_000_000


class Client(socket.socket):
    """A connection that has sent `data` and reads nothing."""

    def __init__(self, data: bytes, *, receives: int | None = None) -> None:
        super().__init__()
        if receives:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        address = urlsplit(os.environ["PUBLIC_URL"])
        self.settimeout(PATIENCE_SECONDS)
        self.connect((address.hostname, address.port))
        self.sendall(data)

    def drip(self) -> bool:
        """Send a byte more; False once the server has closed."""
        try:
            self.sendall(b"a")
        except OSError:
            return False
        return not self.is_ended()

    def is_ended(self) -> bool:
        """Whether the server has answered or closed."""
        self.setblocking(False)
        try:
            self.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.settimeout(PATIENCE_SECONDS)
        return True

    def read_all(self) -> bytes:
        read = bytearray()
        try:
            while piece := self.recv(1_000_000):
                read += piece
        except ConnectionError:
            pass
        return bytes(read)


@contextmanager
def opened(count: int, data: bytes, **options: int):
    clients = [Client(data, **options) for _ in range(count)]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def assert_serves(running) -> None:
    """A newcomer is served, by either process."""
    for _ in range(10):
        with requests.Session() as session:
            for path in ("/healthz", "/readyz", "/v1/get-models"):
                assert session.get(running.url + path, timeout=PATIENCE_SECONDS).status_code == 200


@pytest.mark.parametrize("page", ["healthz", "readyz", "statusz"])
def test_a_flood_of_calls_to_a_health_page_makes_it_look_a_few_times(running, page):
    """Each look has a request id of its own."""
    with requests.Session() as session:
        answers = [
            session.get(f"{running.url}/{page}", timeout=PATIENCE_SECONDS) for _ in range(60)
        ]

    assert {answer.status_code for answer in answers} <= {200, 503}
    assert len({answer.content for answer in answers}) < 30
    assert len({answer.headers["X-Request-ID"] for answer in answers}) < 30
    refused = requests.post(f"{running.url}/{page}", timeout=PATIENCE_SECONDS)
    assert refused.status_code == 403


def test_unfinished_heads_stop_nobody_and_are_closed(running):
    head = b"GET /v1/get-models HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
    with opened(MANY, head) as clients:
        assert_serves(running)

        wait_for(lambda: not any(client.drip() for client in clients))


class Searched(bytearray):
    """Counts the bytes that are searched for something."""

    searched_bytes = 0

    def find(self, wanted, start=0):
        self.searched_bytes += len(self) - start
        return super().find(wanted, start)


@pytest.mark.parametrize("empty_lines", [0, 3])
def test_a_head_that_comes_byte_by_byte_is_searched_once(empty_lines):
    request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"a" * 8000 + b"\r\n\r\n"
    sent = b"\r\n" * empty_lines + request * 2
    received, heads = Searched(), Heads()

    taken = []
    for byte in sent:
        received.append(byte)
        head = heads.take(received)
        taken += [head] if head else []

    assert [head.fields["HTTP_X_SLOW"] for head in taken] == ["a" * 8000] * 2
    assert not received
    # The end is four bytes: each byte is looked at with the three before it.
    assert received.searched_bytes <= 4 * len(sent)


def test_unfinished_bodies_stop_nobody_and_are_closed(running):
    head = (
        b"POST /v1/generate-video HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Content-Type: application/json\r\nContent-Length: 900000\r\n\r\n{"
    )
    with opened(MANY, head) as clients:
        assert_serves(running)

        wait_for(lambda: not any(client.drip() for client in clients))
        assert {client.read_all()[:12] for client in clients} <= {b"HTTP/1.1 408", b""}


def test_unfinished_chunks_stop_nobody_and_are_closed(running):
    head = (
        b"POST /webhooks/fal HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n{"
    )
    with opened(MANY, head) as clients:
        assert_serves(running)

        wait_for(lambda: not any(client.drip() for client in clients))


def test_connections_that_send_nothing_stop_nobody_and_are_closed(running):
    with opened(MANY, b"") as clients:
        assert_serves(running)

        wait_for(lambda: all(client.is_ended() for client in clients))


@pytest.fixture
def video():
    """The path of a large film at our address, and its file."""
    name = f"videos/{uuid4()}.mp4"
    file = Path(os.environ["MEDIA_ROOT"]) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened_file:
        opened_file.truncate(VIDEO_BYTES)
    yield urlsplit(media.signed_url(name)).path, file
    file.unlink()


def times_opened(running, file: Path) -> int:
    """How often the web processes have the file open."""
    main = running.stack.children["web"].pid
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    return sum(
        os.path.realpath(descriptor) == os.path.realpath(file)
        for pid in children
        for descriptor in Path(f"/proc/{pid}/fd").iterdir()
    )


def test_unread_downloads_stop_nobody_and_are_closed(running, video):
    path, file = video
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with opened(MANY, head, receives=4096) as clients:
        wait_for(lambda: times_opened(running, file) == MANY)
        assert_serves(running)

        # The server gives up while most of it is unsent.
        wait_for(lambda: not times_opened(running, file))
        assert sum(len(client.read_all()) for client in clients[:2]) < 2 * VIDEO_BYTES
    whole = requests.get(running.url + path, timeout=PATIENCE_SECONDS)
    assert (whole.status_code, len(whole.content)) == (200, VIDEO_BYTES)


def test_answers_that_nobody_reads_stop_nobody(running):
    """Thousands of answers asked for on each connection, and none of them read."""
    ask = b"GET /v1/get-models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 2000
    with opened(MANY, ask, receives=4096) as clients:
        assert_serves(running)

        wait_for(lambda: all(client.is_ended() for client in clients))


def test_more_connections_than_there_are_places_keep_nobody_out(running):
    head = b"GET /v1/get-models HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    with opened(2 * STACK_ENVIRONMENT["WEB_CONNECTIONS"] + 20, head):
        assert_serves(running)


def test_pictures_at_addresses_that_never_answer_stop_nobody(running):
    """A server that takes connections and says nothing, in twice as many orders as threads."""
    phones = [running.phone() for _ in range(4)]
    with ThreadPoolExecutor(32) as pool:
        with socket.create_server(("127.0.0.1", 0), backlog=64) as deaf:
            address = f"http://127.0.0.1:{deaf.getsockname()[1]}/a.jpg"
            orders = [
                pool.submit(phone.generate, model_id=SORA_FROM_PICTURE, image_url=address)
                for phone in phones * 8
            ]
            # The first has arrived; the others follow at once.
            deaf.settimeout(PATIENCE_SECONDS)
            deaf.accept()[0].close()
            for _ in range(3):
                assert_serves(running)
        # Its end ends the connections, which would be waited for longer than a test.
        assert 200 not in {order.result().status_code for order in orders}


def test_an_answer_that_all_get_is_in_memory_once_however_many_leave_it_unread():
    """/openapi.json has more than a megabyte, and anybody gets it."""
    answer = bytes(8_000_000)
    pairs = [socket.socketpair() for _ in range(10)]
    tracemalloc.start()
    try:
        for ours, _ in pairs:
            ours.setblocking(False)
            out = Outgoing(ours)
            out.put(b"HTTP/1.1 200 OK\r\n\r\n", answer)
            out.send()
            assert not out.is_empty
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        for pair in pairs:
            for end in pair:
                end.close()

    assert held < len(answer)


@pytest.mark.parametrize(("hard", "expected"), [(1000, 400), (300, 50)])
def test_each_connection_may_have_a_file_open_beside_it(hard, expected):
    """Else as many slow downloads as there are connections take all of a process's files."""
    code = (
        "import resource\n"
        "from django.conf import settings\n"
        "from rendio.server.limits import Limits\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({hard}, {hard}))\n"
        "settings.WEB_CONNECTIONS = 2000\n"
        "print(Limits.from_settings().connections)"
    )

    found = fork_server.application(os.environ).run(code)

    assert found.stdout.split()[-1:] == [str(expected)], found.stderr
