"""Our media over HTTP, for providers that make something from a customer's files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from django.http import Http404
from django.test import RequestFactory

from generation import media
from rendio.common.errors import Refusal


class _MediaHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        token = unquote(self.path.partition("/media/")[2])
        try:
            answer: Any = media.serve(RequestFactory().get(self.path), token)
            status, content = answer.status_code, answer.getvalue()
        except (Http404, Refusal):
            status, content = 404, b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def media_over_http(settings: Any) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _MediaHandler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    settings.PUBLIC_URL = f"http://127.0.0.1:{server.server_port}"
    yield
    server.shutdown()
    server.server_close()
