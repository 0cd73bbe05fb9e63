"""Hypercorn with the app: HTTP/1.1 and HTTP/2 without TLS on the same port."""

import asyncio
import logging
import signal
import socket
from typing import Self

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config, Sockets

from sandbox.app import create_app
from sandbox.connections import Connections

BACKLOG = 512


class Listener(socket.socket):
    """A listening socket that remembers the connections it accepted."""

    connections: Connections

    @classmethod
    def open(cls, *, host: str, port: int) -> Self:
        """Bind and listen. Raises OSError if the address is not available.

        An IPv6 address may be in brackets. `::` accepts IPv4 too if the system does.
        """
        host = host.removeprefix("[").removesuffix("]")
        listener = cls(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listener.connections = Connections()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
        return listener

    @property
    def url(self) -> str:
        host, port = self.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().accept()
        self.connections.add(connection, (address[0], address[1]))
        return connection, address


class _ListenerConfig(Config):
    """Hypercorn's settings, with a socket that is already open."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.errorlog = logging.getLogger("sandbox.server")
        self.accesslog = None
        self.backlog = BACKLOG
        self.loglevel = "WARNING"
        self.graceful_timeout = 1.0
        # A load test keeps its connections open, and must not be disconnected in between.
        self.keep_alive_max_requests = 1_000_000
        self.keep_alive_timeout = 60.0

    def create_sockets(self) -> Sockets:
        return Sockets(secure_sockets=[], insecure_sockets=[self._listener], quic_sockets=[])


async def serve(listener: Listener, *, url: str) -> None:
    """Serve until SIGTERM or SIGINT, then close all connections."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)

    async def on_stop() -> None:
        await stop.wait()
        listener.connections.close_all()

    app = create_app(listener.connections, url=url)
    await hypercorn_serve(app, _ListenerConfig(listener), shutdown_trigger=on_stop, mode="asgi")  # type: ignore[arg-type]
