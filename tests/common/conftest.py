"""Throw-away servers on loopback that answer as told, down to the byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest


class Loopback:
    """Answers each connection with `script(socket)` after one request's head, and counts them."""

    def __init__(self, script: Callable[[socket.socket], None]) -> None:
        self.script = script
        self.heads: list[bytes] = []
        self.ended = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.ended.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(timeout=5)

    def _serve(self) -> None:
        while not self.ended.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
                    head += more
                self.heads.append(head)
                try:
                    self.script(connection)
                except OSError:  # the client has gone: that is what some tests are about
                    continue


@pytest.fixture
def loopback() -> Iterator[Callable[[Callable[[socket.socket], None]], Loopback]]:
    servers: list[Loopback] = []

    def start(script: Callable[[socket.socket], None]) -> Loopback:
        servers.append(Loopback(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def answering(loopback):
    """A server that answers everything with these bytes."""
    return lambda *parts: loopback(lambda connection: connection.sendall(b"".join(parts)))
