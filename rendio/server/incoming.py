"""A request that arrives in pieces. Nothing here blocks: the loop passes the received bytes.

gunicorn parses and validates the head (RFC 9112, 3 to 6). The body is collected here, because
gunicorn reads it from a socket that may block.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

MAX_HEAD_BYTES = 64 * 1024
END_OF_HEAD = b"\r\n\r\n"
# Up to this much of a too large body is read and dropped, so that a client that sends it anyway
# can read the response.
DROPPED_BYTES = 16 * 1024 * 1024
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_LONGEST_LINE = 1024
_LONGEST_TRAILERS = 8 * 1024
# Chunks of one byte cost us a thousand times more than their sender.
_FREE_FRAMING_BYTES = 64 * 1024


class Malformed(errors.ParseException):  # type: ignore[misc]
    """The body's framing violates RFC 9112, 7.1."""


class _Head(Unreader):  # type: ignore[misc]
    """A complete head, in the form that gunicorn reads."""

    def __init__(self, head: bytes) -> None:
        super().__init__()
        self.buf.write(head)

    def chunk(self, size_hint: int | None = None) -> bytes:
        return b""


class Heads:
    """The heads of a connection's requests, in order."""

    def __init__(self) -> None:
        # The number of received bytes that contain no end of a head. A head that arrives byte by
        # byte is thus searched once, and not once per byte.
        self._searched_bytes = 0

    def take(
        self, received: bytearray, *, config: Any, address: Any, number: int
    ) -> Request | None:
        """Remove the next request's head from `received`; None while it is incomplete.

        Raises gunicorn's ParseException for a malformed or too large head.
        """
        while received.startswith(b"\r\n"):
            # RFC 9112, 2.2: an empty line before a request is skipped.
            del received[:2]
            self._searched_bytes = 0
        end = received.find(END_OF_HEAD, self._searched_bytes)
        if end > MAX_HEAD_BYTES or (end < 0 and len(received) > MAX_HEAD_BYTES):
            raise errors.LimitRequestHeaders("the head is too large")
        if end < 0:
            self._searched_bytes = max(len(received) - len(END_OF_HEAD) + 1, 0)
            return None
        self._searched_bytes = 0
        head = bytes(received[: end + len(END_OF_HEAD)])
        del received[: end + len(END_OF_HEAD)]
        return Request(config, _Head(head), address, number)


class Incoming:
    """One request: its head, and its body so far.

    `room` is the maximum of body bytes that are kept. Of a larger body one more byte is kept, so
    that the application notices the excess, and the rest is dropped. If the head announces too
    large a body, the request does not wait for the body.
    """

    def __init__(self, request: Any, *, room: int) -> None:
        self.request = request
        self.expects_continue = bool(request._expected_100_continue)
        # We respond to this, because gunicorn would do so only after reading the body.
        request._expected_100_continue = False
        self._length, self._chunks = _framing(request)
        self._room = room
        self._body = bytearray()
        self.received_bytes = 0  # of the body, with the framing
        self._body_bytes = 0
        self.is_complete = self._chunks is None and self._length == 0
        # The response does not wait for the rest of the body, and the connection closes afterwards.
        self.is_too_large = self._length > room

    @property
    def has_begun(self) -> bool:
        return self.received_bytes > 0

    @property
    def kept_bytes(self) -> int:
        return len(self._body)

    def feed(self, received: bytearray) -> None:
        """Remove the body's bytes from `received`. Raises Malformed."""
        before = len(received)
        if self._chunks:
            for piece in self._chunks.take(received):
                self._keep(piece)
            self.is_complete = self._chunks.ended
        else:
            piece = bytes(received[: self._length - self._body_bytes])
            del received[: len(piece)]
            self._keep(piece)
            self.is_complete = self._body_bytes == self._length
        self.received_bytes += before - len(received)
        if self._chunks:
            if self.received_bytes > _FREE_FRAMING_BYTES + 2 * self._body_bytes:
                raise Malformed("chunks that are too small")
            self.is_too_large = self.received_bytes > self._room + DROPPED_BYTES

    def for_application(self) -> Any:
        """The request with its body in memory and of known length, chunked or not."""
        headers = self.request.headers
        if self._chunks:
            headers = [(name, value) for name, value in headers if name != "TRANSFER-ENCODING"]
            headers.append(("CONTENT-LENGTH", str(self._body_bytes)))
        self.request.headers = headers
        self.request.body = io.BytesIO(self._body)
        self._body = bytearray()
        return self.request

    def _keep(self, piece: bytes) -> None:
        self._body_bytes += len(piece)
        place = self._room + 1 - len(self._body)
        if place > 0:
            self._body += piece[:place]


def _framing(request: Any) -> tuple[int, _Chunks | None]:
    """The body's length, or a decoder of its chunks. gunicorn has refused a head with both."""
    length, chunks = 0, None
    for name, value in request.headers:
        if name == "CONTENT-LENGTH":
            length = int(value)
        elif name == "TRANSFER-ENCODING":
            if value.strip().lower() != "chunked":
                raise errors.UnsupportedTransferCoding(value)
            chunks = _Chunks()
    return length, chunks


class _Chunks:
    """Decodes a chunked body (RFC 9112, 7.1). Extensions and trailers are ignored."""

    def __init__(self) -> None:
        self.ended = False
        self._left = 0  # of the chunk that has begun
        self._ends_line = False  # the line end after a chunk's data is still to come
        self._in_trailers = False
        self._trailers_bytes = 0

    def take(self, received: bytearray) -> Iterator[bytes]:
        while received and not self.ended:
            if self._left:
                piece = bytes(received[: self._left])
                del received[: len(piece)]
                self._left -= len(piece)
                self._ends_line = not self._left
                yield piece
                continue
            line = self._take_line(received)
            if line is None:
                return
            if self._ends_line:
                if line:
                    raise Malformed("data beyond the size of its chunk")
                self._ends_line = False
            elif self._in_trailers:
                self._pass_trailer(line)
            else:
                self._begin_chunk(line)

    def _take_line(self, received: bytearray) -> bytes | None:
        end = received.find(b"\n", 0, _LONGEST_LINE + 2)
        if end < 0:
            if len(received) > _LONGEST_LINE:
                raise Malformed("a line that is too long")
            return None
        line = bytes(received[: end + 1])
        del received[: end + 1]
        if not line.endswith(b"\r\n"):
            raise Malformed("a line that ends without a carriage return")
        return line.removesuffix(b"\r\n")

    def _begin_chunk(self, line: bytes) -> None:
        found = _CHUNK_SIZE.fullmatch(line)
        if not found:
            raise Malformed("not the size of a chunk")
        self._left = int(found[1], 16)
        self._in_trailers = not self._left

    def _pass_trailer(self, line: bytes) -> None:
        self.ended = not line
        self._trailers_bytes += len(line)
        if self._trailers_bytes > _LONGEST_TRAILERS:
            raise Malformed("trailers that are too long")
