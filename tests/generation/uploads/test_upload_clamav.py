"""A virus scanner sees every picture first, where one is configured; while it is away, none gets
in."""

from __future__ import annotations

import socket
import threading

import pytest

from generation.models import FileDeletion, Upload
from tests.helpers import pictures
from tests.helpers.phone import assert_refused
from tests.helpers.pictures import upload


class Daemon:
    """clamd, as far as INSTREAM goes (man clamd): it answers what it is told to."""

    def __init__(self):
        self.answer = b"stream: OK\0"
        self.seen = []
        self.ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self.ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as said:
                assert said.read(10) == b"zINSTREAM\0"
                content = b""
                while size := int.from_bytes(said.read(4), "big"):
                    content += said.read(size)
                self.seen.append(content)
                if self.answer is None:
                    self.ended.wait(10)
                else:
                    connection.sendall(self.answer)


@pytest.fixture
def daemon(settings):
    daemon = Daemon()
    settings.CLAMAV_ADDRESS = daemon.address
    settings.CLAMAV_TIMEOUT_SECONDS = 5
    yield daemon
    daemon.close()


def test_what_the_scanner_lets_pass_is_taken(phone, storage, daemon):
    content = pictures.jpeg() + bytes(200_000)

    assert upload(phone, content).status_code == 201

    assert daemon.seen == [content]


def test_what_the_scanner_finds_something_in_is_refused(phone, storage, daemon):
    daemon.answer = b"stream: Win.Test.EICAR_HDB-1 FOUND\0"

    details = assert_refused(upload(phone), 400, "ERR_4017")

    assert details == {"problem": "rejected by the virus scanner"}
    assert storage.names() == []


@pytest.mark.parametrize(
    "answer", [b"stream: INSTREAM size limit exceeded. ERROR\0", b"", b"\0", b"\xff" * 9000]
)
def test_an_answer_that_is_no_verdict_lets_nothing_in(phone, storage, daemon, answer):
    daemon.answer = answer

    refused = upload(phone)

    assert_refused(refused, 503, "ERR_6003")
    assert refused.headers["Retry-After"] == "5"
    assert (storage.names(), Upload.objects.count(), FileDeletion.objects.count()) == ([], 0, 0)


def test_a_scanner_that_does_not_answer_or_is_not_there_lets_nothing_in(
    phone, storage, daemon, settings, closed_port
):
    daemon.answer = None
    settings.CLAMAV_TIMEOUT_SECONDS = 0.2
    assert_refused(upload(phone), 503, "ERR_6003")

    settings.CLAMAV_ADDRESS = ("127.0.0.1", closed_port)
    assert_refused(upload(phone), 503, "ERR_6003")

    assert storage.names() == []
