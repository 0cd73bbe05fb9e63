"""A gunicorn worker in which no client holds a thread.

One loop accepts connections, reads complete requests, sends the rest of responses, and closes slow
clients. Threads run the application: a pool for calls, one thread for each status page, and a pool
for event streams. The loop sends files.

gunicorn does the rest: processes, signals, head parsing, response format. Not all of these are a
public interface: requirements.in pins the version, and tests/attacks and tests/ops/test_server.py
show what breaks with another version.
"""

from __future__ import annotations

import contextvars
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from gunicorn.http import errors, wsgi
from gunicorn.workers.base import Worker as GunicornWorker

from rendio.server.connection import GIVES_WAY, Connection, State
from rendio.server.incoming import DROPPED_BYTES, Incoming
from rendio.server.outgoing import OpenFile
from rendio.server.probes import KeptAnswer
from rendio.server.response import Response
from rendio.server.threads import Threads

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
PIECE_BYTES = 64 * 1024
# Bodies up to this size are always accepted; the rest counts against WEB_BODY_MEMORY_BYTES.
SMALL_BODY_BYTES = 64 * 1024
LOOK_SECONDS = 0.5
# During a shutdown, clients that are sending a request still get a response.
LAST_REQUEST_SECONDS = 2.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Worker(GunicornWorker):  # type: ignore[misc]
    def init_process(self) -> None:
        self._poller = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._accepts = False
        self._held_bytes = 0
        # Tasks of other threads for the loop, and the pipe that wakes the loop.
        self._wanted: deque[Callable[[], None]] = deque()
        self._wake_end, self._waking_end = os.pipe()
        os.set_blocking(self._wake_end, False)
        os.set_blocking(self._waking_end, False)
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        # Not at the top: gunicorn's main process imports this module, and needs no Django.
        from django.conf import settings

        from rendio.server import refusals
        from rendio.server.limits import Limits

        self._refusals = refusals
        self._limits = Limits.from_settings()
        self._calls = Threads(self._limits.threads, "call")
        self._streams = Threads(self._limits.stream_threads, "stream")
        # One thread per page: a hanging page, or hanging requests, do not delay the other pages.
        self._probes = {path: Threads(1, "probe") for path in settings.PROBE_PATHS}
        # Any number of requests costs one check a second.
        self._kept = {path: KeptAnswer(self.wsgi) for path in settings.PUBLIC_PROBE_PATHS}

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        self._wake()

    def handle_quit(self, sig: int, frame: Any) -> None:
        self._stop_pools()
        super().handle_quit(sig, frame)

    @property
    def _pools(self) -> list[Threads]:
        return [self._calls, self._streams, *self._probes.values()]

    def _stop_pools(self) -> None:
        for pool in self._pools:
            pool.stop()

    # --- The loop -----------------------------------------------------------------------------

    def run(self) -> None:
        self._poller.register(self._wake_end, READ, self._on_wake)
        for listener in self.sockets:
            listener.setblocking(False)
        self._accept(True)
        looked_at = time.monotonic()
        while self.alive and self.ppid == os.getppid():
            self.notify()
            self._turn(LOOK_SECONDS)
            if time.monotonic() - looked_at > LOOK_SECONDS / 2:
                looked_at = time.monotonic()
                self._look_for_late(looked_at)
        self._stop()

    def _stop(self) -> None:
        """Accept no more connections; finish running requests within gunicorn's
        graceful_timeout."""
        self._accept(False)
        stopped_at = time.monotonic()
        while self._connections and time.monotonic() - stopped_at < self.cfg.graceful_timeout:
            self.notify()
            self._turn(0.1)
            now = time.monotonic()
            self._look_for_late(now)
            if now - stopped_at > LAST_REQUEST_SECONDS:
                for connection in list(self._connections):
                    if connection.state in {State.NEW, State.KEPT}:
                        self._close(connection)
        self._stop_pools()
        for connection in list(self._connections):
            self._close(connection)
        # Calls whose clients are gone.
        for pool in self._pools:
            pool.join(until=stopped_at + self.cfg.graceful_timeout)

    def _turn(self, timeout: float) -> None:
        for key, events in self._poller.select(timeout):
            connection = key.data
            if not isinstance(connection, Connection):
                key.data(key.fileobj)
                continue
            self._guarded(connection, self._on_events, connection, events)

    def _guarded(self, connection: Connection, act: Callable[..., None], *arguments: Any) -> None:
        """An error of one connection must not end the others."""
        try:
            act(*arguments)
        except OSError:
            self._close(connection)
        except Exception:
            self.log.exception("A connection failed.")
            self._close(connection)

    def _on_wake(self, _pipe: Any) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_end, 4096)
        while self._wanted:
            self._wanted.popleft()()

    def _wake(self) -> None:
        # A full pipe wakes the loop as well.
        with suppress(BlockingIOError):
            os.write(self._waking_end, b"\0")

    def _in_loop(self, connection: Connection, act: Callable[..., None], *arguments: Any) -> None:
        """Schedule a call in the loop, from another thread. Skipped if the connection is closed by
        then."""

        def do() -> None:
            if connection in self._connections:
                self._guarded(connection, act, connection, *arguments)

        self._wanted.append(do)
        self._wake()

    def _look_for_late(self, now: float) -> None:
        self._settle_all()
        for connection in list(self._connections):
            if connection.state is State.QUEUED:
                self._guarded(connection, self._give_up_queued, connection, now)
            elif connection.is_late(now, self._limits, keepalive=self.cfg.keepalive):
                self._guarded(connection, self._end_late, connection)
        # Closed connections have made room, or file descriptors are available again.
        self._accept(self.alive)

    # --- Connections --------------------------------------------------------------------------

    def _accept(self, wanted: bool) -> None:
        if wanted == self._accepts:
            return
        for listener in self.sockets:
            if wanted:
                self._poller.register(listener, READ, self._on_connection)
            else:
                self._poller.unregister(listener)
        self._accepts = wanted

    def _on_connection(self, listener: Any) -> None:
        if len(self._connections) >= self._limits.connections and not self._make_room():
            self._accept(False)
            return
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process was quicker, or the client is gone
        except OSError as error:
            self.log.warning("Cannot accept a connection: %s", error)
            self._accept(False)
            return
        client.setblocking(False)
        connection = Connection(
            client, address, listener.getsockname(), on_waiting=self._on_waiting
        )
        self._connections.add(connection)
        self._watch(connection, READ)

    def _make_room(self) -> bool:
        """Close the connection that has been longest in a state that may be closed."""
        self._settle_all()
        giving_way = [each for each in self._connections if each.state in GIVES_WAY]
        if giving_way:
            self._close(min(giving_way, key=lambda each: each.since))
        return bool(giving_way)

    def _watch(self, connection: Connection, events: int) -> None:
        if events == connection.watched:
            return
        if not connection.watched:
            self._poller.register(connection.client, events, connection)
        elif events:
            self._poller.modify(connection.client, events, connection)
        else:
            self._poller.unregister(connection.client)
        connection.watched = events

    def _close(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._watch(connection, 0)
        self._release(connection)
        connection.outgoing.close()
        connection.client.close()
        if connection.task:
            connection.task.cancel()

    def _on_events(self, connection: Connection, events: int) -> None:
        if events & WRITE:
            connection.outgoing.send_more()
            self._after_sending(connection)
        if events & READ and connection in self._connections:
            self._on_readable(connection)

    # --- Requests in --------------------------------------------------------------------------

    def _on_readable(self, connection: Connection) -> None:
        self._settle(connection)
        if connection.state in {State.QUEUED, State.STREAM, State.SENDING}:
            if connection.state is State.STREAM and not connection.client.recv(1, socket.MSG_PEEK):
                # The stream has no reader any more.
                self._close(connection)
                return
            # A pipelined request: handled after the current response.
            self._watch(connection, connection.watched & ~READ)
            connection.has_more = True
            # The thread may have ended before it could see that.
            self._settle(connection)
            return
        try:
            data = connection.client.recv(PIECE_BYTES)
        except BlockingIOError:
            return
        if connection.state is State.LINGERING:
            connection.dropped_bytes += len(data)
            if not data or connection.dropped_bytes > DROPPED_BYTES:
                self._close(connection)
            return
        if not data:
            self._close(connection)
            return
        connection.received += data
        self._advance(connection)

    def _advance(self, connection: Connection) -> None:
        """Process the received data."""
        try:
            if incoming := connection.incoming or self._begin_request(connection):
                self._read_body(connection, incoming)
        except errors.ParseException as error:
            self.log.debug("Invalid request: %s", error)
            self._refuse(connection, self._refusals.malformed(error))

    def _begin_request(self, connection: Connection) -> Incoming | None:
        """Begin the next request once its head is complete."""
        if connection.state in {State.NEW, State.KEPT}:
            connection.enter(State.HEAD)
        request = connection.heads.take(
            connection.received,
            config=self.cfg,
            address=connection.address,
            number=connection.requests + 1,
        )
        if request is None:
            return None
        connection.requests += 1
        connection.enter(State.BODY)
        room = self._limits.body_bytes_for(request.path)
        connection.incoming = Incoming(request, room=room)
        return connection.incoming

    def _read_body(self, connection: Connection, incoming: Incoming) -> None:
        if not incoming.is_complete:
            incoming.feed(connection.received)
            self._hold(connection, max(incoming.kept_bytes - SMALL_BODY_BYTES, 0))
        if self._held_bytes > self._limits.held_bytes and connection.held_bytes:
            # Clients that send little are served between those that send much.
            self.log.warning("Bodies in memory are at their limit.")
            self._refuse(connection, self._busy(incoming))
        elif incoming.is_complete or incoming.is_too_large:
            if not incoming.is_complete:
                connection.may_send_more = connection.closes_after_answer = True
            self._start(connection, incoming)
        elif incoming.expects_continue and not incoming.has_begun:
            incoming.expects_continue = False
            connection.outgoing.begin()
            connection.outgoing.sendall(CONTINUE)
            connection.outgoing.flush()

    def _start(self, connection: Connection, incoming: Incoming) -> None:
        """Pass the request to a thread."""
        if not self.alive:
            connection.closes_after_answer = True
        connection.outgoing.begin()
        connection.enter(State.QUEUED)
        pool, application = self._calls, self.wsgi
        if incoming.request.method in {"GET", "HEAD"}:
            pool = self._probes.get(incoming.request.path, pool)
            application = self._kept.get(incoming.request.path, application)
        connection.task = pool.submit(self._serve, connection, incoming, application)

    def _release(self, connection: Connection) -> None:
        """Drop the request, and the memory that its body counted for."""
        self._hold(connection, 0)
        connection.incoming = None

    def _hold(self, connection: Connection, size: int) -> None:
        self._held_bytes += size - connection.held_bytes
        connection.held_bytes = size

    # --- The application, in threads ----------------------------------------------------------

    def _serve(self, connection: Connection, incoming: Incoming, application: Any) -> None:
        out = connection.outgoing
        response = None
        try:
            request = incoming.for_application()
            response, environ = wsgi.create(
                request, out, connection.address, connection.server, self.cfg, Response
            )
            environ["wsgi.multithread"] = True
            environ["wsgi.file_wrapper"] = OpenFile
            if connection.closes_after_answer:
                response.force_close()
            answer = application(environ, response.start_response)
            if self._is_stream(response, answer):
                self._in_loop(connection, Connection.enter, State.STREAM)
                # The thread's log lines have the request id too.
                run = contextvars.copy_context().run
                self._streams.submit(run, self._write_stream, connection, response, answer)
                return
            if not self._send_file(response, answer, out):
                self._write(response, answer)
            # This thread sends as much as the client accepts at once; the loop sends the rest.
            out.flush()
        except OSError:
            self._in_loop(connection, self._close)
        except Exception:
            self.log.exception("Error handling request.")
            self._in_loop(connection, self._fail, response)
        else:
            self._end_call(connection, closes=response.should_close())

    def _end_call(self, connection: Connection, *, closes: bool) -> None:
        """Leave the connection to the loop, in the thread that wrote the response.

        The loop is not woken for it if the response is sent and the connection stays open: the
        client's next request wakes the loop (`_settle`). That saves each call two system calls and
        two hand-overs of the GIL.
        """
        connection.closes_after_answer = closes
        connection.is_answered = True
        if (
            closes
            or connection.has_more
            or connection.received
            or connection.held_bytes
            or connection.outgoing.needs_room
        ):
            self._in_loop(connection, self._settle)

    def _is_stream(self, response: Any, answer: Any) -> bool:
        """Whether the response is produced over time. All others have a length
        (rendio.common.web.headers), and are a file or in memory."""
        if isinstance(answer, OpenFile) or response._omits_body:
            return False
        return response.response_length is None or getattr(answer, "streaming", False)

    def _write(self, response: Any, answer: Iterable[bytes]) -> None:
        try:
            for piece in answer:
                response.write(piece)
            response.close()
        finally:
            if hasattr(answer, "close"):
                answer.close()

    def _send_file(self, response: Any, answer: Any, out: Any) -> bool:
        """Leave an open file of known length to the loop. False for all other responses."""
        length = response.response_length
        if length is None or not (isinstance(answer, OpenFile) and hasattr(answer, "fileno")):
            return False
        descriptor = answer.fileno()
        offset = os.lseek(descriptor, 0, os.SEEK_CUR)
        try:
            response.send_headers()
            if not response._omits_body:
                out.send_file(os.dup(descriptor), offset=offset, count=length)
        finally:
            answer.close()
        return True

    def _write_stream(self, connection: Connection, response: Any, answer: Any) -> None:
        try:
            try:
                # From here on each piece is sent on its own.
                connection.outgoing.flush()
            finally:
                self._write(response, answer)
        except OSError:
            self._in_loop(connection, self._close)
        except Exception:
            # The client has the head already: closing the connection is the only signal left.
            self.log.exception("Error in a stream.")
            self._in_loop(connection, self._close)
        else:
            self._in_loop(connection, self._answered, response.should_close())

    # --- Answers out, in the loop -------------------------------------------------------------

    def _on_waiting(self, connection: Connection) -> None:
        self._in_loop(connection, self._watch_for_room)

    def _watch_for_room(self, connection: Connection) -> None:
        if connection.outgoing.needs_room:
            self._watch(connection, connection.watched | WRITE)

    def _answered(self, connection: Connection, closes: bool) -> None:
        connection.closes_after_answer = closes
        connection.is_answered = True
        self._settle(connection)

    def _settle(self, connection: Connection) -> None:
        """If the response is written completely, go on; the client may not have read it yet."""
        if connection.is_answered:
            connection.is_answered = connection.has_more = False
            connection.task = None
            connection.enter(State.SENDING)
            self._after_sending(connection)

    def _settle_all(self) -> None:
        for connection in [each for each in self._connections if each.is_answered]:
            self._guarded(connection, self._settle, connection)

    def _after_sending(self, connection: Connection) -> None:
        if connection.outgoing.needs_room:
            self._watch(connection, connection.watched | WRITE)
            return
        self._watch(connection, connection.watched & ~WRITE)
        if connection.state is not State.SENDING:
            return
        self._release(connection)
        if connection.closes_after_answer:
            self._end(connection)
            return
        connection.enter(State.KEPT)
        self._watch(connection, READ)
        if connection.received:
            self._advance(connection)

    def _end(self, connection: Connection) -> None:
        """Close; if the client may still be sending, after it has had time to read the response.

        Closing a connection with unread data resets it (RFC 9112, 9.6): the response would be lost.
        """
        if not (connection.may_send_more or connection.received):
            self._close(connection)
            return
        connection.received.clear()
        connection.client.shutdown(socket.SHUT_WR)
        connection.enter(State.LINGERING)
        self._watch(connection, READ)

    def _refuse(self, connection: Connection, answer: bytes) -> None:
        """Respond without the application, and close."""
        self._release(connection)
        connection.may_send_more = True
        connection.outgoing.begin()
        connection.outgoing.sendall(answer)
        connection.outgoing.flush()
        self._answered(connection, True)

    def _fail(self, connection: Connection, response: Any) -> None:
        """The application raised. Django handles its own exceptions, so this is a bug of ours."""
        if response is not None and response.headers_sent:
            self._close(connection)
        else:
            self._refuse(connection, self._refusals.broken(_language(connection.incoming)))

    def _end_late(self, connection: Connection) -> None:
        if connection.state in {State.HEAD, State.BODY}:
            self._refuse(connection, self._refusals.not_in_time(_language(connection.incoming)))
        else:
            self._close(connection)

    def _give_up_queued(self, connection: Connection, now: float) -> None:
        """Drop a call that waited long for a thread: its client no longer waits for it."""
        if now - connection.since < self._limits.queue_seconds or not connection.task:
            return
        if connection.task.cancel():
            self._refuse(connection, self._busy(connection.incoming))

    def _busy(self, incoming: Incoming | None) -> bytes:
        return self._refusals.busy(_language(incoming))


def _language(incoming: Incoming | None) -> str:
    headers = incoming.request.headers if incoming else []
    return next((value for name, value in headers if name == "ACCEPT-LANGUAGE"), "")
