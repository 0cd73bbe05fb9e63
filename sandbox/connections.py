"""TCP connections of the requests, so that a handler can drop a connection without a response.

ASGI cannot drop a connection: a handler that raises gets a 500 response. So the listening socket
remembers accepted connections by the client's address, which ASGI passes to the handler.
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
        """Close the connection of a request. Bytes that were already sent still arrive."""
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
        return  # the client has closed the connection


class NoResponse(Response):
    """Sends no response and waits until the client disconnects."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await wait_for_disconnect(receive)


class DroppedResponse(Response):
    """Drops the connection instead of sending a response."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._connections.close(scope)
        await wait_for_disconnect(receive)


async def wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
