"""gunicorn's response, with a date that is formatted once a second."""

from __future__ import annotations

import time
from functools import lru_cache

from gunicorn.http import wsgi
from gunicorn.util import http_date


class Response(wsgi.Response):  # type: ignore[misc]
    def default_headers(self) -> list[str]:
        connection = "close" if self.should_close() else "keep-alive"
        headers = [
            f"HTTP/{self.req.version[0]}.{self.req.version[1]} {self.status}\r\n",
            f"Server: {self.version}\r\n",
            f"Date: {_date(int(time.time()))}\r\n",
            f"Connection: {connection}\r\n",
        ]
        if self.chunked:
            headers.append("Transfer-Encoding: chunked\r\n")
        return headers


@lru_cache(1)
def _date(second: int) -> str:
    date: str = http_date(second)
    return date
