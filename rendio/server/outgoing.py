"""Data to send on one connection, for any writer and any speed of the reader.

A responding thread writes and returns; the loop sends the data that the client does not accept at
once. Only the thread of a stream waits, and only for its own reader.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

# A stream's thread waits for its reader above this size.
STREAM_BYTES = 256 * 1024
# Parts up to this size are joined into one packet. Larger parts are sent without a copy: a response
# for many clients is one object, and a copy for each slow client would fill the memory.
JOINED_BYTES = 64 * 1024
# A file is sent in pieces, so that other connections are served in between.
FILE_PIECE_BYTES = 512 * 1024


class OpenFile:
    """WSGI's file wrapper (PEP 3333): an open file that the loop sends, or that is read in
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


@dataclass
class _FilePart:
    """A part of an open file, closed once it is sent or dropped."""

    descriptor: int
    offset: int
    left: int

    def close(self) -> None:
        os.close(self.descriptor)


class Outgoing:
    """Replaces the socket in gunicorn's Response, which writes by `sendall`.

    Thread-safe. `on_waiting` is called, by any thread, when data is left for the loop to send.
    """

    def __init__(self, client: socket.socket, on_waiting: Callable[[], None]) -> None:
        self._client = client
        self._on_waiting = on_waiting
        self._changed = threading.Condition()
        self._parts: deque[memoryview | _FilePart] = deque()
        self._waiting_bytes = 0  # in memory
        self._collects = True
        self._is_closed = False
        self.sent_bytes = 0
        self.progressed_at = time.monotonic()

    @property
    def is_empty(self) -> bool:
        return not self._parts

    @property
    def needs_room(self) -> bool:
        """Whether data waits for the client to accept more."""
        return bool(self._parts) and not self._collects

    def begin(self) -> None:
        """Start a response: collect the data until the response is complete, or is a stream."""
        self._collects = True
        self.sent_bytes = 0
        self.progressed_at = time.monotonic()

    def sendall(self, data: bytes) -> None:
        """Raises BrokenPipeError if the connection is closed."""
        with self._changed:
            self._put(memoryview(data), len(data))
            if self._collects:
                return
            self._send_or_leave()
            while self._waiting_bytes > STREAM_BYTES and not self._is_closed:
                self._changed.wait()

    # gunicorn's Response writes interim answers by it.
    send = sendall

    def send_file(self, descriptor: int, *, offset: int, count: int) -> None:
        """`count` bytes of a file from `offset`; takes ownership of the descriptor."""
        with self._changed:
            part = _FilePart(descriptor, offset, count)
            if self._is_closed:
                part.close()
                raise BrokenPipeError
            self._parts.append(part)

    def flush(self) -> None:
        """Send the collected data; from now on send at once."""
        with self._changed:
            self._collects = False
            self._send_or_leave()

    def send_more(self) -> None:
        """For the loop, when the client accepts more. Raises OSError if it is gone."""
        with self._changed:
            if not self._collects:
                self._send()
                self._changed.notify_all()

    def close(self) -> None:
        """Drop unsent data, and release waiting writers."""
        with self._changed:
            self._is_closed = True
            for part in self._parts:
                if isinstance(part, _FilePart):
                    part.close()
            self._parts.clear()
            self._waiting_bytes = 0
            self._changed.notify_all()

    def _put(self, part: memoryview, size: int) -> None:
        if self._is_closed:
            raise BrokenPipeError
        if size:
            if not self._parts:
                # A stream may have been silent for long: the reader's time limit starts now.
                self.progressed_at = time.monotonic()
            self._parts.append(part)
            self._waiting_bytes += size

    def _send_or_leave(self) -> None:
        self._send()
        if self._parts:
            self._on_waiting()

    def _send(self) -> None:
        """Send as much as the client accepts now; of a file one piece at most."""
        if self._is_closed:
            raise BrokenPipeError
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

    def _send_memory(self, first: memoryview) -> bool:
        """Whether the whole part was sent, including small parts that were joined to it."""
        pieces, size = [first], len(first)
        for part in itertools.islice(self._parts, 1, None):
            if isinstance(part, _FilePart) or size + len(part) > JOINED_BYTES:
                break
            pieces.append(part)
            size += len(part)
        data = pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
        sent = self._client.send(data)
        self._note(sent)
        self._waiting_bytes -= sent
        for _ in pieces:
            self._parts.popleft()
        if sent == len(data):
            return True
        self._parts.appendleft(data[sent:])
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
