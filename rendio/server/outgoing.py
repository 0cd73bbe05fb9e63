"""Data to send on one connection, for any speed of its reader.

Whoever owns the connection sends as much as the client accepts at once; the rest waits until the
client accepts more. No thread waits for a reader.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Parts up to this size are joined into one packet. Larger parts are sent without a copy: a response
# for many clients is one object, and a copy for each slow client would fill the memory.
JOINED_BYTES = 64 * 1024
# A file is sent in pieces, so that other connections are served in between.
FILE_PIECE_BYTES = 512 * 1024


class OpenFile:
    """WSGI's file wrapper (PEP 3333): an open file that the server sends, or that is read in
    pieces."""

    def __init__(self, content: Any, piece_bytes: int = 64 * 1024) -> None:
        self._content = content
        self._piece_bytes = piece_bytes
        if hasattr(content, "fileno"):
            # Without this, Sentry's WSGI wrapper hides the type.
            self.fileno = content.fileno

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._content.read(self._piece_bytes):
            yield piece

    def close(self) -> None:
        if hasattr(self._content, "close"):
            self._content.close()


@dataclass(slots=True)
class _FilePart:
    """A part of an open file, closed once it is sent or dropped."""

    descriptor: int
    offset: int
    left: int

    def close(self) -> None:
        os.close(self.descriptor)


class Outgoing:
    """The part of a response that the client has not accepted yet."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._parts: deque[bytes | memoryview | _FilePart] = deque()
        self.sent_bytes = 0
        self.progressed_at = time.monotonic()

    @property
    def is_empty(self) -> bool:
        return not self._parts

    def begin(self) -> None:
        """Start a response: the reader's time limits start now."""
        self.sent_bytes = 0
        self.progressed_at = time.monotonic()

    def put(self, *pieces: bytes) -> None:
        self._parts.extend(piece for piece in pieces if piece)

    def put_file(self, descriptor: int, *, offset: int, count: int) -> None:
        """`count` bytes of a file from `offset`; takes ownership of the descriptor."""
        self._parts.append(_FilePart(descriptor, offset, count))

    def send(self) -> None:
        """Send as much as the client accepts now; of a file one piece at most. Raises OSError if
        the client is gone."""
        try:
            while self._parts:
                part = self._parts[0]
                if isinstance(part, _FilePart):
                    if not self._send_piece(part):
                        return
                elif not self._send_memory(part):
                    return
        except BlockingIOError:
            return

    def close(self) -> None:
        """Drop unsent data."""
        while self._parts:
            part = self._parts.popleft()
            if isinstance(part, _FilePart):
                part.close()

    def _send_memory(self, first: bytes | memoryview) -> bool:
        """Whether the whole part was sent, including small parts that were joined to it."""
        pieces, size = [first], len(first)
        for part in itertools.islice(self._parts, 1, None):
            if isinstance(part, _FilePart) or size + len(part) > JOINED_BYTES:
                break
            pieces.append(part)
            size += len(part)
        data = first if len(pieces) == 1 else b"".join(pieces)
        sent = self._client.send(data)
        self._note(sent)
        for _ in pieces:
            self._parts.popleft()
        if sent == size:
            return True
        self._parts.appendleft(memoryview(data)[sent:])
        return False

    def _send_piece(self, part: _FilePart) -> bool:
        """Whether the file is sent completely."""
        wanted = min(part.left, FILE_PIECE_BYTES)
        sent = os.sendfile(self._client.fileno(), part.descriptor, part.offset, wanted)
        if not sent and wanted:
            raise BrokenPipeError("the file has become shorter")
        self._note(sent)
        part.offset += sent
        part.left -= sent
        if part.left:
            return False
        self._parts.popleft()
        part.close()
        return True

    def _note(self, sent: int) -> None:
        self.sent_bytes += sent
        self.progressed_at = time.monotonic()
