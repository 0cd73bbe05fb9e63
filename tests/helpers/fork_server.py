"""Python processes for tests, forked from a process that has the imports behind it.

Starting Python and reading in the application takes 2 s of processor time, forking 0.01 s. A
process started here is otherwise what `subprocess` would start: it has its own environment, its own
connections, and it can be killed.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from functools import cache
from typing import IO, Any

from rendio.local.data_dir import PROJECT

# Imported by what reads in the settings, and independent of them.
LIBRARIES = [
    "celery.schedules",
    "cryptography.fernet",
    "cryptography.x509",
    "django.core.management.commands.check",
    "django.core.management.commands.shell",
    "environ",
    "jwt",
    "psycopg",
    "redis.asyncio",
    "requests",
    "sentry_sdk",
    "structlog",
]
# What a process tells of itself: its pid, and its exit code.
NUMBER = struct.Struct("i")


class ForkServer:
    """Forks processes that have imported the libraries and, where told to, set up the application.

    The application reads its settings once: all processes of one server share the environment in
    which it was set up, and each adds variables of its own.
    """

    def __init__(self, environment: Mapping[str, str], *, application: bool) -> None:
        self.environment = dict(environment)
        ours, its = socket.socketpair()
        with its:
            self._server = subprocess.Popen(  # noqa: S603
                [
                    *[sys.executable, "-c"],
                    "import sys; from tests.helpers import fork_server;"
                    f" fork_server.serve({its.fileno()}, application={application})",
                ],
                env=self.environment,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
            )
        self._socket = ours

    def start(self, code: str, **variables: str | None) -> Process:
        """Run the code in a process of its own. A variable of None is one that is not set."""
        environment = {
            name: value
            for name, value in {**self.environment, **variables}.items()
            if value is not None
        }
        return Process(self._socket, {"code": code, "environment": environment})

    def run(
        self, code: str, *, timeout: float | None = None, **variables: str | None
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(code, **variables)
        output, errors = process.communicate(timeout)
        return subprocess.CompletedProcess(code, process.returncode, output, errors)


@cache
def _server(environment: frozenset[tuple[str, str]], *, application: bool) -> ForkServer:
    return ForkServer(dict(environment), application=application)


def application(environment: Mapping[str, str]) -> ForkServer:
    """The server whose processes have called django.setup() in this environment."""
    settled = {**environment, "DJANGO_SETTINGS_MODULE": "rendio.settings"}
    settled.pop("PYTEST_CURRENT_TEST", None)  # else each test would have a server of its own
    return _server(frozenset(settled.items()), application=True)


def manage(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`python manage.py …` with nothing but these variables."""
    bare = _server(frozenset({"PATH": os.environ["PATH"]}.items()), application=False)
    code = (
        f"import runpy, sys; sys.argv = {['manage.py', *arguments]!r};"
        " runpy.run_path('manage.py', run_name='__main__')"
    )
    return bare.run(code, **environment)


class Process:
    """What tests need of a subprocess.Popen with text pipes."""

    def __init__(self, server: socket.socket, request: dict[str, Any]) -> None:
        its_input, our_input = os.pipe()
        our_output, its_output = os.pipe()
        our_errors, its_errors = os.pipe()
        control, its_control = socket.socketpair()
        given = [its_input, its_output, its_errors, its_control.detach()]
        socket.send_fds(server, [b"x"], given)
        for descriptor in given:
            os.close(descriptor)
        self.stdin: IO[str] = os.fdopen(our_input, "w")
        self.stdout: IO[str] = os.fdopen(our_output)
        self.stderr: IO[str] = os.fdopen(our_errors)
        self._control = control
        control.sendall(json.dumps(request).encode() + b"\n")
        self.pid = self._receive()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self._control.settimeout(0.001)
            try:
                self._control.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                return None
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._control.settimeout(timeout)
            self.returncode = self._receive()
        return self.returncode

    def _receive(self) -> int:
        [number] = NUMBER.unpack(self._control.recv(NUMBER.size, socket.MSG_WAITALL))
        return int(number)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Close its input, and read to the end what it says."""
        self.stdin.close()
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(self.stderr.read()))
        reader.start()
        output = self.stdout.read()
        reader.join()
        self.wait(timeout)
        self.stdout.close()
        self.stderr.close()
        return output, "".join(errors)


# --- In the server --------------------------------------------------------------------------------


def serve(descriptor: int, *, application: bool) -> None:
    """Fork a process for each request, until the tests have ended."""
    for name in LIBRARIES:
        importlib.import_module(name)
    if application:
        import django

        django.setup()
        from django.urls import get_resolver

        get_resolver().url_patterns  # noqa: B018 (imports the views)
    assert threading.active_count() == 1, "a fork has none of the other threads"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(fileno=descriptor)
    while True:
        asked, given, _, _ = socket.recv_fds(server, 1, 4)
        if not asked:
            return
        if os.fork() == 0:
            server.close()
            _watch(given)
            os._exit(0)
        for one in given:
            os.close(one)


def _watch(given: list[int]) -> None:
    """Start the process, and say what it is and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, control_descriptor = given
    control = socket.socket(fileno=control_descriptor)
    request = json.loads(control.makefile("r").readline())
    pid = os.fork()
    if pid == 0:
        control.close()
        os._exit(_run(request, standard))
    for one in standard:
        os.close(one)
    control.sendall(NUMBER.pack(pid))
    _, status = os.waitpid(pid, 0)
    control.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _run(request: dict[str, Any], standard: list[int]) -> int:
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ |= request["environment"]
    code = 0
    try:
        exec(compile(request["code"], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code
