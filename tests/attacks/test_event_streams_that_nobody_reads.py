"""An attacker opens event streams and reads none: not even the end of a session would end them."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager

import uvicorn

from rendio.events.server import _Protocol
from tests.helpers.wait import PATIENCE_SECONDS


class Endless:
    """ASGI: sends without end, and says when its client is gone."""

    def __init__(self):
        self.is_gone = threading.Event()

    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        sending = asyncio.get_running_loop().create_task(self._send(send))
        while (await receive())["type"] != "http.disconnect":
            pass
        sending.cancel()
        self.is_gone.set()

    async def _send(self, send):
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await asyncio.sleep(0)


@contextmanager
def serving(application):
    """The address of a server with the protocol of event streams."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, http=_Protocol, ws="none", lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = server.force_exit = True
        thread.join(PATIENCE_SECONDS)


def test_a_client_that_does_not_read_is_closed(settings):
    settings.WEB_READER_SECONDS = 0.2
    application = Endless()

    with serving(application) as address, socket.create_connection(address) as client:
        client.sendall(b"GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n")

        assert application.is_gone.wait(PATIENCE_SECONDS)
