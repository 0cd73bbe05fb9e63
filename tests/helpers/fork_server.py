"""Python processes for tests, forked from a process that has done the imports.

Starting Python and importing the application takes 1.7 s of processor time, forking 0.01 s. A
process started here is otherwise what `subprocess` would start: it has its own environment and its
own connections, and it can be killed.

One server has imported the libraries. It forks the other servers, one for each environment. These
have called django.setup() too: the settings are read once.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import mmap
import os
import runpy
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import django
from django.urls import get_resolver

from generation.video_files import process as decoding_process
from rendio.common.background import shutdown
from rendio.common.observability import metrics_folder
from rendio.local import child_process
from rendio.local.data_dir import PROJECT

# Imported by the application, and independent of the settings and of the environment.
LIBRARIES = [
    "PIL.Image",
    "PIL.ImageOps",
    "PIL.JpegImagePlugin",
    "appstoreserverlibrary.api_client",
    "appstoreserverlibrary.signed_data_verifier",
    "av",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.concurrency.prefork",
    "celery.schedules",
    "celery.worker",
    "corsheaders.middleware",
    "cryptography.fernet",
    "cryptography.x509",
    "django.contrib.admin",
    "django.core.management.commands.check",
    "django.core.management.commands.shell",
    "django.db.models",
    "environ",
    "gunicorn.app.wsgiapp",
    "gunicorn.arbiter",
    "jinja2",
    "jwt",
    "kombu.transport.redis",
    "pillow_heif",
    "psycopg.types.json",
    "qrcode",
    "redis.asyncio",
    "requests",
    "rest_framework.serializers",
    "sentry_sdk",
    "sqlparse",
    "structlog",
    "uritemplate",
    "uvicorn.protocols.http.h11_impl",
    "xml.dom.minidom",
]
# What `python -m` starts from a server of its environment. Other modules read no settings.
OF_THE_APPLICATION = {"celery", "gunicorn", "rendio.events", "rendio.worker"}
MAKE_METRICS_FOLDERS = {"gunicorn", "rendio.events", "rendio.worker"}
# As in production; tests/conftest.py replaces it by `decode`.
launch_decoder = decoding_process.launch
# Servers of environments at the same time.
KEPT_SERVERS = 4
# What a process tells of itself: its pid, and its exit code.
NUMBER = struct.Struct("i")


class Child:
    """What rendio.local needs of a subprocess.Popen. `streams` are its standard descriptors."""

    def __init__(
        self, server: socket.socket, request: Mapping[str, Any], streams: Sequence[int]
    ) -> None:
        control, its_control = socket.socketpair()
        with its_control:
            socket.send_fds(server, [b"x"], [*streams, its_control.fileno()])
        self._control = control
        control.sendall(json.dumps(request).encode() + b"\n")
        self.args = request
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
            try:
                self.returncode = self._receive()
            except TimeoutError:
                raise subprocess.TimeoutExpired(str(self.args), timeout or 0) from None
            self._control.close()
        return self.returncode

    def _receive(self) -> int:
        [number] = NUMBER.unpack(self._control.recv(NUMBER.size, socket.MSG_WAITALL))
        return int(number)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Process(Child):
    """A process that runs a piece of code, with text pipes."""

    def __init__(self, server: socket.socket, request: Mapping[str, Any]) -> None:
        its_input, our_input = os.pipe()
        our_output, its_output = os.pipe()
        our_errors, its_errors = os.pipe()
        streams = [its_input, its_output, its_errors]
        super().__init__(server, request, streams)
        for descriptor in streams:
            os.close(descriptor)
        self.stdin = os.fdopen(our_input, "w")
        self.stdout = os.fdopen(our_output)
        self.stderr = os.fdopen(our_errors)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Close its input, and read its output to the end."""
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


class ForkServer:
    """Forks processes that have imported the libraries and, with `application`, called
    django.setup() in this environment. Each process can have variables of its own besides."""

    def __init__(self, environment: Mapping[str, str], *, application: bool) -> None:
        self.environment = dict(environment)
        self.children: list[Child] = []
        ours, its = socket.socketpair()
        with its, open(os.devnull, "r+b") as null:
            if application:
                code = "from tests.helpers import fork_server; fork_server.serve_application()"
                request = {"code": code, "environment": self.environment}
                streams = [its.fileno(), null.fileno(), 2]
                Child(_libraries()._socket, request, streams)
            else:
                code = "from tests.helpers import fork_server; fork_server.serve_libraries()"
                command = [sys.executable, "-c", code]
                subprocess.Popen(command, env=self.environment, cwd=PROJECT, stdin=its)  # noqa: S603
        self._socket = ours

    def start(self, code: str, **variables: str | None) -> Process:
        """Run the code in a process of its own. A variable of None is not set."""
        environment = {
            name: value
            for name, value in {**self.environment, **variables}.items()
            if value is not None
        }
        process = Process(self._socket, {"code": code, "environment": environment})
        self.children.append(process)
        return process

    def run(
        self, code: str, *, timeout: float | None = None, **variables: str | None
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(code, **variables)
        output, errors = process.communicate(timeout)
        return subprocess.CompletedProcess(code, process.returncode or 0, output, errors)

    def launch(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        output: int,
        death_signal: int | None,
    ) -> Child:
        """Start `python *argv` in a session of its own."""
        request = {
            "argv": list(argv),
            "environment": dict(env),
            "cwd": os.fspath(cwd),
            "death_signal": death_signal,
        }
        with open(os.devnull, "rb") as null:
            child = Child(self._socket, request, [null.fileno(), output, output])
        self.children.append(child)
        return child

    def is_unused(self) -> bool:
        return all(child.poll() is not None for child in self.children)

    def close(self) -> None:
        self._socket.close()


@cache
def _libraries() -> ForkServer:
    return ForkServer({"PATH": os.environ["PATH"]}, application=False)


_of_environments: dict[frozenset[tuple[str, str]], ForkServer] = {}


def application(environment: Mapping[str, str]) -> ForkServer:
    """The server whose processes have called django.setup() in this environment."""
    settled = {**environment, "DJANGO_SETTINGS_MODULE": "rendio.settings"}
    settled.pop("PYTEST_CURRENT_TEST", None)  # else each test would have a server of its own
    key = frozenset(settled.items())
    server = _of_environments.pop(key, None) or ForkServer(settled, application=True)
    _of_environments[key] = server  # the last used comes last
    for old in list(_of_environments)[:-KEPT_SERVERS]:
        if _of_environments[old].is_unused():
            _of_environments.pop(old).close()
    return server


def run(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`python *arguments` with nothing but these variables."""
    code = f"from tests.helpers import fork_server; fork_server.run_python({list(arguments)!r})"
    return _libraries().run(code, **environment)


def manage(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`python manage.py …` with nothing but these variables."""
    return run("manage.py", *arguments, environment=environment)


def module(name: str, *arguments: str, environment: Mapping[str, str]) -> Process:
    """`python -m name …` with nothing but these variables, for a module that needs no settings."""
    code = (
        "from tests.helpers import fork_server;"
        f" fork_server.run_python({['-m', name, *arguments]!r})"
    )
    return _libraries().start(code, **environment)


def decode(
    arguments: Sequence[str], *, timeout_seconds: float, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """generation.video_files.process.launch for tests. The process itself limits its time."""
    _, name, *following = arguments
    process = module(name, *following, environment=environment)
    output, errors = process.communicate(timeout_seconds)
    return subprocess.CompletedProcess(arguments, process.returncode or 0, output, errors)


def launch(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path | None,
    death_signal: signal.Signals | None,
) -> Any:
    """child_process.launch for Python's processes: they are forked; others are started as ever."""
    if argv[0] != sys.executable:
        return child_process.launch(argv, env=env, cwd=cwd, log=log, death_signal=death_signal)
    with ExitStack() as files:
        output = files.enter_context(log.open("ab")).fileno() if log else 1
        module = argv[argv.index("-m") + 1] if "-m" in argv else ""
        server = application(env) if module in OF_THE_APPLICATION else _libraries()
        return server.launch(argv[1:], env=env, cwd=cwd, output=output, death_signal=death_signal)


# --- In the servers -------------------------------------------------------------------------------


def serve_libraries() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    assert "prometheus_client" not in sys.modules, "it would not look for the folder any more"
    _serve()


def serve_application() -> None:
    # The metrics' library looks for a folder when it is imported. Processes make their own later.
    # Not a TemporaryDirectory: the first process that ends would remove it for all.
    folder = tempfile.mkdtemp(prefix="rendio-fork-server-")
    try:
        os.environ[metrics_folder.FOLDER] = folder
        django.setup()
        get_resolver().url_patterns  # noqa: B018 (imports the views)
        _serve()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve() -> None:
    """Fork a process for each request, until the tests have ended. Standard input is the socket."""
    assert threading.active_count() == 1, "a fork has none of the other threads"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which ends us
    # A collection in a child would write to every object, and so copy all of our memory.
    gc.freeze()
    server = socket.socket(fileno=os.dup(0))
    while True:
        asked, given, _, _ = socket.recv_fds(server, 1, 4)
        if not asked:
            return
        if os.fork() == 0:
            server.close()
            _die_with_parent(signal.SIGKILL)
            _watch(given)
            os._exit(0)
        for descriptor in given:
            os.close(descriptor)


def _watch(given: list[int]) -> None:
    """Start the process, and report its pid and its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, control_descriptor = given
    control = socket.socket(fileno=control_descriptor)
    request = json.loads(control.makefile("r").readline())
    pid = os.fork()
    if pid == 0:
        control.close()
        os._exit(_run(request, streams))
    for descriptor in streams:
        os.close(descriptor)
    control.sendall(NUMBER.pack(pid))
    _, status = os.waitpid(pid, 0)
    control.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _run(request: dict[str, Any], streams: list[int]) -> int:
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    shutdown._requested = mmap.mmap(-1, 1)  # else a worker that stops would stop those after it
    folder = os.environ.get(metrics_folder.FOLDER)
    os.environ.clear()
    os.environ |= request["environment"]
    if folder and not MAKE_METRICS_FOLDERS.intersection(request.get("argv", [])):
        os.environ.setdefault(metrics_folder.FOLDER, folder)
    code = 0
    try:
        if "code" in request:
            exec(compile(request["code"], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
        else:
            os.setsid()
            if request["death_signal"]:
                _die_with_parent(request["death_signal"])
            os.chdir(request["cwd"])
            run_python(request["argv"])
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    # As at the end of every Python process.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def run_python(arguments: Sequence[str]) -> None:
    """As `python *arguments`: options -W, then a module or a file."""
    following = iter(arguments)
    for argument in following:
        if argument == "-W":
            warnings._setoption(next(following))
        elif argument == "-m":
            module = next(following)
            sys.argv = [module, *following]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            sys.argv = [argument, *following]
            runpy.run_path(argument, run_name="__main__")


def _die_with_parent(number: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(child_process.PR_SET_PDEATHSIG, int(number))
