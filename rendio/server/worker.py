"""A gunicorn worker in which no client holds a thread.

All threads wait for all clients. The one that the kernel wakes reads what has arrived; if that
completes a request, the same thread runs the application and sends the response, so that a call
passes from no thread to another. There is one thread more than may run calls at once: it goes on
reading, and hands requests to the threads of the status pages. What a client does not accept at
once is sent when it accepts more. The main thread closes clients that are too slow.

gunicorn does the rest: processes and signals.
"""

from __future__ import annotations

import io
import os
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gunicorn.workers.base import Worker as GunicornWorker

from rendio.server.connection import GIVES_WAY, Connection, State
from rendio.server.head import Malformed
from rendio.server.incoming import DROPPED_BYTES, Incoming
from rendio.server.outgoing import OpenFile
from rendio.server.poller import READ, WRITE, Poller
from rendio.server.probes import KeptAnswer
from rendio.server.response import Response
from rendio.server.threads import Task, TaskThread

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

PIECE_BYTES = 64 * 1024
# Bodies up to this size are always accepted; the rest counts against WEB_BODY_MEMORY_BYTES.
SMALL_BODY_BYTES = 64 * 1024
LOOK_SECONDS = 0.5
# During a shutdown, clients that are sending a request still get a response.
LAST_REQUEST_SECONDS = 2.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Worker(GunicornWorker):  # type: ignore[misc]
    def init_process(self) -> None:
        self._poller = Poller()
        self._connections: dict[int, Connection] = {}  # by descriptor
        self._paused: set[socket.socket] = set()  # listeners, while there is no room
        self._held_bytes = 0
        self._holding = threading.Lock()
        self._calls: deque[Task] = deque()
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        # Not at the top: gunicorn's main process imports this module, and needs no Django.
        from django.conf import settings

        from rendio.server import refusals
        from rendio.server.limits import Limits

        self._refusals = refusals
        self._limits = Limits.from_settings()
        # Taking one and giving it back is atomic, as with all that is done to a deque.
        self._permits = deque([None] * self._limits.threads)
        # One thread per page: a hanging page, or hanging requests, do not delay the other pages.
        self._probes = {path: TaskThread("probe") for path in settings.PROBE_PATHS}
        # Any number of requests costs one check a second.
        self._kept = {path: KeptAnswer(self.wsgi) for path in settings.PUBLIC_PROBE_PATHS}
        self._variables = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": self.cfg.workers > 1,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": OpenFile,
            "SCRIPT_NAME": "",
        }

    # --- The main thread ----------------------------------------------------------------------

    def run(self) -> None:
        self._listeners = {listener.fileno(): listener for listener in self.sockets}
        for descriptor, listener in self._listeners.items():
            listener.setblocking(False)
            self._poller.add(descriptor, READ)
        threads = [
            # A daemon: a call that hangs must not keep the process from ending.
            threading.Thread(target=self._work, name=f"call_{number}", daemon=True)
            for number in range(self._limits.threads + 1)
        ]
        for thread in threads:
            thread.start()
        while self.alive and self.ppid == os.getppid():
            self._look(LOOK_SECONDS)
        self._stop()

    def _look(self, seconds: float) -> None:
        """Wait so long, or until a signal; then end what is late."""
        self.notify()
        select.select([self.PIPE[0]], [], [], seconds)
        with suppress(BlockingIOError):
            os.read(self.PIPE[0], 4096)
        now = time.monotonic()
        for connection in list(self._connections.values()):
            if connection.state is State.QUEUED:
                self._give_up_queued(connection, now)
            elif self._is_late(connection, now) and connection.owner.acquire(blocking=False):
                self._act(connection, self._end_late, now)
        # Closed connections have made room, or file descriptors are available again.
        while self.alive and self._paused:
            self._poller.arm(self._paused.pop().fileno(), READ)

    def _stop(self) -> None:
        """Accept no more connections; finish running requests within gunicorn's
        graceful_timeout."""
        for descriptor in self._listeners:
            self._poller.remove(descriptor)
        stopped_at = time.monotonic()
        while self._connections and time.monotonic() - stopped_at < self.cfg.graceful_timeout:
            self._look(0.1)
            if time.monotonic() - stopped_at > LAST_REQUEST_SECONDS:
                for connection in list(self._connections.values()):
                    self._close_if(connection, {State.NEW, State.KEPT})
        self._poller.end()

    def _is_late(self, connection: Connection, now: float) -> bool:
        return connection.is_late(now, self._limits, keepalive=self.cfg.keepalive)

    def _end_late(self, connection: Connection, now: float) -> None:
        if not self._is_late(connection, now):
            connection.owner.release()  # its client was quicker
        elif connection.state in {State.HEAD, State.BODY}:
            self._refuse(connection, self._refusals.not_in_time(_language(connection.incoming)))
        else:
            self._close(connection)

    def _give_up_queued(self, connection: Connection, now: float) -> None:
        """Drop a call that waited long for a thread: its client no longer waits for it."""
        task = connection.task
        if task and now - connection.since >= self._limits.queue_seconds and task.cancel():
            self._act(connection, self._refuse_busy)

    # --- The threads --------------------------------------------------------------------------

    def _work(self) -> None:
        while (descriptor := self._poller.wait()) is not None:
            try:
                if listener := self._listeners.get(descriptor):
                    self._accept(listener)
                elif connection := self._connections.get(descriptor):
                    connection.owner.acquire()
                    self._act(connection, self._on_event)
                    self._run_calls()
            except BaseException:
                # All other clients need this thread.
                self.log.exception("A thread failed.")

    def _act(self, connection: Connection, act: Callable[..., None], *arguments: Any) -> None:
        """Act for a connection that this thread owns. An error must not end the others."""
        try:
            act(connection, *arguments)
        except OSError:
            self._close(connection)
        except BaseException:
            self.log.exception("A connection failed.")
            self._close(connection)

    def _run_calls(self) -> None:
        """Run the calls that wait, unless as many threads as may do so already."""
        while self._calls:
            try:
                self._permits.pop()
            except IndexError:
                return  # one of them looks for the next call when it has given its permit back
            try:
                if self._calls:
                    self._calls.popleft().run()
            except IndexError:
                pass  # another thread was quicker
            finally:
                self._permits.append(None)

    # --- Connections --------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        if not self.alive:
            return
        if len(self._connections) >= self._limits.connections and not self._make_room():
            self._paused.add(listener)
            return
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            pass  # another process was quicker, or the client is gone
        except OSError as error:
            self.log.warning("Cannot accept a connection: %s", error)
            self._paused.add(listener)
            return
        else:
            client.setblocking(False)
            connection = Connection(client, self._variables_of(address, listener.getsockname()))
            self._connections[connection.descriptor] = connection
            self._poller.add(connection.descriptor, READ)
        self._poller.arm(listener.fileno(), READ)

    def _variables_of(self, client: Any, server: Any) -> dict[str, Any]:
        return self._variables | {
            "REMOTE_ADDR": client[0],
            "REMOTE_PORT": str(client[1]),
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
        }

    def _make_room(self) -> bool:
        """Close the connection that has been longest in a state that may be closed."""
        longest_first = sorted([*self._connections.values()], key=lambda each: each.since)
        return any(self._close_if(each, GIVES_WAY) for each in longest_first)

    def _close_if(self, connection: Connection, states: set[State]) -> bool:
        """Close a connection that is in one of these states, and for which no thread acts."""
        if connection.state not in states or not connection.owner.acquire(blocking=False):
            return False
        if connection.state not in states:
            connection.owner.release()
            return False
        self._close(connection)
        return True

    def _close(self, connection: Connection) -> None:
        """Has no effect on a connection that is closed."""
        if connection.state is State.CLOSED:
            return
        connection.enter(State.CLOSED)
        del self._connections[connection.descriptor]
        self._poller.remove(connection.descriptor)
        self._release_memory(connection)
        connection.outgoing.close()
        connection.client.close()
        connection.owner.release()

    def _await(self, connection: Connection, event: int) -> None:
        """Leave the connection to the thread that gets its next event."""
        self._poller.arm(connection.descriptor, event)
        connection.owner.release()

    def _on_event(self, connection: Connection) -> None:
        match connection.state:
            case State.CLOSED:
                connection.owner.release()
            case State.SENDING:
                self._send(connection)
            case _:
                self._receive(connection)

    # --- Requests in --------------------------------------------------------------------------

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.client.recv(PIECE_BYTES)
        except BlockingIOError:
            self._await(connection, READ)
            return
        if connection.state is State.LINGERING:
            connection.dropped_bytes += len(data)
            if not data or connection.dropped_bytes > DROPPED_BYTES:
                self._close(connection)
            else:
                self._await(connection, READ)
        elif not data:
            self._close(connection)
        else:
            connection.received += data
            self._advance(connection)

    def _advance(self, connection: Connection) -> None:
        """Process the received data."""
        try:
            incoming = connection.incoming or self._begin_request(connection)
            is_whole = incoming is not None and self._read_body(connection, incoming)
        except Malformed as error:
            self.log.debug("Invalid request: %s", error)
            self._refuse(connection, self._refusals.malformed(error.status))
            return
        if self._held_bytes > self._limits.held_bytes and connection.held_bytes:
            # Clients that send little are served between those that send much.
            self.log.warning("Bodies in memory are at their limit.")
            self._refuse_busy(connection)
        elif incoming is not None and is_whole:
            self._start(connection, incoming)
        else:
            self._await(connection, READ)

    def _begin_request(self, connection: Connection) -> Incoming | None:
        """Begin the next request once its head is complete."""
        if connection.state is not State.HEAD:
            connection.enter(State.HEAD)
        head = connection.heads.take(connection.received)
        if head is None:
            return None
        connection.enter(State.BODY)
        connection.incoming = Incoming(head, room=self._limits.body_bytes_for(head.path))
        return connection.incoming

    def _read_body(self, connection: Connection, incoming: Incoming) -> bool:
        """Whether the request waits for no more of its body."""
        if incoming.is_complete:
            return True
        incoming.feed(connection.received)
        self._hold(connection, max(incoming.kept_bytes - SMALL_BODY_BYTES, 0))
        if incoming.is_complete:
            return True
        if incoming.is_too_large:
            connection.may_send_more = connection.closes_after_answer = True
            return True
        if incoming.expects_continue and not incoming.has_begun:
            incoming.expects_continue = False
            with suppress(BlockingIOError):  # the client sends its body after a while anyway
                connection.client.send(CONTINUE)
        return False

    def _start(self, connection: Connection, incoming: Incoming) -> None:
        """Let a thread run the request; this one, if it is a call and threads are free."""
        if not self.alive:
            connection.closes_after_answer = True
        connection.enter(State.QUEUED)
        head = incoming.head
        if head.method in {"GET", "HEAD"} and head.path in self._probes:
            application = self._kept.get(head.path, self.wsgi)
            connection.task = self._probes[head.path].submit(
                self._act, connection, self._answer_elsewhere, incoming, application
            )
        else:
            connection.task = Task(self._act, (connection, self._answer, incoming))
            self._calls.append(connection.task)

    def _release_memory(self, connection: Connection) -> None:
        """Drop the request, and the memory that its body counted for."""
        self._hold(connection, 0)
        connection.incoming = connection.task = None

    def _hold(self, connection: Connection, size: int) -> None:
        if size != connection.held_bytes:
            with self._holding:
                self._held_bytes += size - connection.held_bytes
            connection.held_bytes = size

    # --- The application ----------------------------------------------------------------------

    def _answer(self, connection: Connection, incoming: Incoming) -> None:
        """Run a call, and send as much of its response as the client accepts at once."""
        if self._run_application(connection, incoming, self.wsgi):
            connection.enter(State.SENDING)
            self._send(connection)

    def _answer_elsewhere(
        self, connection: Connection, incoming: Incoming, application: WSGIApplication
    ) -> None:
        """The same for a thread that runs no calls: it leaves the sending, and what the client
        wants next, to the others."""
        if self._run_application(connection, incoming, application):
            connection.enter(State.SENDING)
            self._await(connection, WRITE)

    def _run_application(
        self, connection: Connection, incoming: Incoming, application: WSGIApplication
    ) -> bool:
        """Whether the response is complete."""
        head = incoming.head
        fields, body = incoming.for_application()
        environ = {
            **connection.variables,
            **fields,
            "REQUEST_METHOD": head.method,
            "PATH_INFO": head.path,
            "QUERY_STRING": head.query,
            "RAW_URI": head.target,
            "SERVER_PROTOCOL": f"HTTP/1.{head.minor_version}",
            "wsgi.input": io.BytesIO(body),
        }
        response = Response(head, closes=connection.closes_after_answer)
        connection.outgoing.begin()
        try:
            answer = application(environ, response.start)
            _put(connection, response, answer)
        except Exception:
            # Django handles its own exceptions, so this is a bug of ours.
            self.log.exception("Error handling request.")
            self._refuse(connection, self._refusals.broken(_language(incoming)))
            return False
        connection.closes_after_answer = response.closes
        return True

    # --- Answers out --------------------------------------------------------------------------

    def _send(self, connection: Connection) -> None:
        """Send the rest of a response; after it, go on with the client's next request."""
        connection.outgoing.send()
        if not connection.outgoing.is_empty:
            self._await(connection, WRITE)
            return
        self._release_memory(connection)
        if connection.closes_after_answer:
            self._end(connection)
            return
        connection.enter(State.KEPT)
        if connection.received:
            self._advance(connection)
        else:
            self._await(connection, READ)

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
        self._await(connection, READ)

    def _refuse(self, connection: Connection, answer: bytes) -> None:
        """Respond without the application, and close."""
        connection.may_send_more = connection.closes_after_answer = True
        connection.outgoing.begin()
        connection.outgoing.put(answer)
        connection.enter(State.SENDING)
        self._send(connection)

    def _refuse_busy(self, connection: Connection) -> None:
        """No thread, or no memory, is free."""
        self._refuse(connection, self._refusals.busy(_language(connection.incoming)))


def _put(connection: Connection, response: Response, answer: Any) -> None:
    """Put the response into `outgoing`: a file of known length as a file, all else from memory.
    Raises ValueError if its length is not what its head says."""
    out = connection.outgoing
    try:
        if response.omits_body:
            out.put(response.head())
        elif isinstance(answer, OpenFile) and hasattr(answer, "fileno") and response.length:
            descriptor = answer.fileno()
            offset = os.lseek(descriptor, 0, os.SEEK_CUR)
            out.put(response.head())
            out.put_file(os.dup(descriptor), offset=offset, count=response.length)
        else:
            body = b"".join(answer)
            if response.length is None:
                response.length = len(body)
            elif response.length != len(body):
                raise ValueError(f"{len(body)} bytes where {response.length} were announced")
            out.put(response.head(), body)
    finally:
        if hasattr(answer, "close"):
            answer.close()


def _language(incoming: Incoming | None) -> str:
    return incoming.head.fields.get("HTTP_ACCEPT_LANGUAGE", "") if incoming else ""
