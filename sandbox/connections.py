"""The TCP connections under the requests, so that one can be cut without an answer.

ASGI has no word for "drop the line": a handler that raises gets a 500 sent in its name. So the
listening socket remembers what it accepted, by the client's address, which ASGI does tell.
"""

import socket
from weakref import WeakValueDictionary

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Address = tuple[str, int]


class Connections:
    def __init__(self) -> None:
        self._open: WeakValueDictionary[Address, socket.socket] = WeakValueDictionary()

    def add(self, connection: socket.socket, address: Address) -> None:
        self._open[address] = connection

    def close(self, scope: Scope) -> None:
        """End the connection a request came on. Bytes already sent still arrive."""
        host, port = scope["client"]
        connection = self._open.get((host, port))
        if connection is not None:
            _shutdown(connection)

    def close_all(self) -> None:
        for connection in list(self._open.values()):
            _shutdown(connection)


def _shutdown(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was quicker


class NoResponse(Response):
    """Says nothing until the client is gone."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await wait_for_disconnect(receive)


class DroppedResponse(Response):
    """Cuts the line instead of answering."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._connections.close(scope)
        await wait_for_disconnect(receive)


async def wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
