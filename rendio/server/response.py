"""The application's response: WSGI's `start_response`, and the bytes of its head."""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

from rendio.server.head import Head

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    ExceptionInfo = (
        tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
    )

# RFC 9112, 4 and 5: what a response's head may contain, line by line.
_HEAD = re.compile(rb"(?:[\t\x20-\x7e\x80-\xff]+\r\n)+\r\n")
# RFC 9110, 15.3.5 and 15.4.5.
_WITHOUT_BODY = frozenset({"204", "304"})


class Response:
    """`closes`: the connection ends with this response.

    `length` is the body's, if the application says it; else it is set before `head` is called.
    """

    def __init__(self, request: Head, *, closes: bool) -> None:
        self._request = request
        self.closes = closes or request.closes
        self._status = ""
        self._fields: list[tuple[str, str]] = []
        self.length: int | None = None
        self._says_length = False

    def start(
        self,
        status: str,
        fields: list[tuple[str, str]],
        exc_info: ExceptionInfo | None = None,
        /,
    ) -> Callable[[bytes], object]:
        """`start_response` (PEP 3333). Nothing is sent before the application returns, so that a
        second call for an exception replaces the first. The function that it returns is for
        applications older than WSGI, and refuses."""
        self._status = status
        self._fields = fields
        for name, value in fields:
            if name.lower() == "content-length":
                self.length = int(value)
                self._says_length = True
        return _refuse_write

    @property
    def omits_body(self) -> bool:
        return self._request.method == "HEAD" or self._status[:3] in _WITHOUT_BODY

    def head(self) -> bytes:
        """Raises ValueError if a name or value would end its line."""
        lines = [
            f"HTTP/1.{self._request.minor_version} {self._status}\r\n"
            f"Date: {_date(int(time.time()))}\r\n"
            f"Connection: {'close' if self.closes else 'keep-alive'}\r\n"
        ]
        lines += [f"{name}: {value}\r\n" for name, value in self._fields]
        if self.length is not None and not self._says_length:
            lines.append(f"Content-Length: {self.length}\r\n")
        lines.append("\r\n")
        head = "".join(lines).encode("latin-1")
        if not _HEAD.fullmatch(head):
            raise ValueError("A line end or a control character in the response's head.")
        return head


def _refuse_write(_data: bytes) -> None:
    raise RuntimeError("The application returns its response.")


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
