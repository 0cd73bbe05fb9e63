"""A request that arrives in pieces. Nothing here blocks: the received bytes are passed in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rendio.server.head import MAX_HEAD_BYTES, Head, Malformed, parse

END_OF_HEAD = b"\r\n\r\n"
# Up to this much of a too large body is read and dropped, so that a client that sends it anyway
# can read the response.
DROPPED_BYTES = 16 * 1024 * 1024
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_LONGEST_LINE = 1024
_LONGEST_TRAILERS = 8 * 1024
# Chunks of one byte cost us a thousand times more than their sender.
_FREE_FRAMING_BYTES = 64 * 1024


class Heads:
    """The heads of a connection's requests, in order."""

    def __init__(self) -> None:
        # The number of received bytes that contain no end of a head. A head that arrives byte by
        # byte is thus searched once, and not once per byte.
        self._searched_bytes = 0

    def take(self, received: bytearray) -> Head | None:
        """Remove the next request's head from `received`; None while it is incomplete. Raises
        Malformed."""
        while received.startswith(b"\r\n"):
            # RFC 9112, 2.2: an empty line before a request is skipped.
            del received[:2]
            self._searched_bytes = 0
        end = received.find(END_OF_HEAD, self._searched_bytes)
        if end > MAX_HEAD_BYTES or (end < 0 and len(received) > MAX_HEAD_BYTES):
            raise Malformed("the head is too large", status=431)
        if end < 0:
            self._searched_bytes = max(len(received) - len(END_OF_HEAD) + 1, 0)
            return None
        self._searched_bytes = 0
        head = bytes(received[:end])
        del received[: end + len(END_OF_HEAD)]
        return parse(head)


class Incoming:
    """One request: its head, and its body so far.

    `room` is the maximum of body bytes that are kept. Of a larger body one more byte is kept, so
    that the application notices the excess, and the rest is dropped. If the head announces too
    large a body, the request does not wait for the body.
    """

    def __init__(self, head: Head, *, room: int) -> None:
        self.head = head
        self.expects_continue = head.expects_continue
        self._chunks = _Chunks() if head.is_chunked else None
        self._room = room
        self._body = bytearray()
        self.received_bytes = 0  # of the body, with the framing
        self._body_bytes = 0
        self.is_complete = not (head.is_chunked or head.body_bytes)
        # The response does not wait for the rest of the body, and the connection closes afterwards.
        self.is_too_large = head.body_bytes > room

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
            piece = bytes(received[: self.head.body_bytes - self._body_bytes])
            del received[: len(piece)]
            self._keep(piece)
            self.is_complete = self._body_bytes == self.head.body_bytes
        self.received_bytes += before - len(received)
        if self._chunks:
            if self.received_bytes > _FREE_FRAMING_BYTES + 2 * self._body_bytes:
                raise Malformed("chunks that are too small")
            self.is_too_large = self.received_bytes > self._room + DROPPED_BYTES

    def for_application(self) -> tuple[dict[str, str], bytes]:
        """The head's fields and the body, which has a length, chunked or not."""
        fields = self.head.fields
        if self._chunks:
            fields = {**fields, "CONTENT_LENGTH": str(self._body_bytes)}
            del fields["HTTP_TRANSFER_ENCODING"]
        body, self._body = bytes(self._body), bytearray()
        return fields, body

    def _keep(self, piece: bytes) -> None:
        self._body_bytes += len(piece)
        place = self._room + 1 - len(self._body)
        if place > 0:
            self._body += piece[:place]


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
