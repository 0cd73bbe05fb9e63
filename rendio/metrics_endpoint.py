"""/metrics for Prometheus: of the web processes, and of each worker at a separate port.

The counters are in rendio/common/observability/metrics.py, the gauges in
adminops/monitoring/database_gauges.py.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import CollectorRegistry

from adminops.monitoring.database_gauges import Gauges
from rendio.common.background.threads import BackgroundThread
from rendio.common.errors import Forbidden, refusal_response
from rendio.common.observability.metrics import CONTENT_TYPE_LATEST, exposition

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

AGAIN_SECONDS = 5
_database = CollectorRegistry()
_database.register(Gauges())


def metrics(request: HttpRequest) -> HttpResponse:
    """Counts of this server's processes, and gauges from the database."""
    if not _may_read(request.headers.get("Authorization", "")):
        return refusal_response(Forbidden())
    return HttpResponse(exposition(_database), content_type=CONTENT_TYPE_LATEST)


def _may_read(authorization: str) -> bool:
    if not settings.METRICS_TOKEN:
        return not settings.PRODUCTION
    return constant_time_compare(authorization, f"Bearer {settings.METRICS_TOKEN}")


def serve_for_worker() -> None:
    """Serve /metrics in a thread of a worker's main process, if a port is configured."""
    if settings.WORKER_METRICS_PORT:
        _server.start()


def _wait() -> bool:
    """No wait the first time; afterwards the port is tried again."""
    if _has_served.is_set():
        time.sleep(AGAIN_SECONDS)
    return True


def _serve() -> None:
    _has_served.set()
    address = settings.WORKER_METRICS_ADDRESS, settings.WORKER_METRICS_PORT
    # Raises OSError at first if the children of a killed worker still hold the port.
    family = _IPv6Server if ":" in address[0] else WSGIServer
    with make_server(
        *address, _answer_for_worker, server_class=family, handler_class=_QuietHandler
    ) as server:
        server.serve_forever()


_has_served = threading.Event()
_server = BackgroundThread("metrics", wait=_wait, turn=_serve, late_seconds=None)


def _answer_for_worker(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    if not _may_read(environ.get("HTTP_AUTHORIZATION", "")):
        start("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"forbidden"]
    start("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
    return [exposition()]


class _IPv6Server(WSGIServer):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    # One client at a time: a silent one must not block the others.
    timeout = 10

    def log_message(self, format: str, *args: object) -> None:
        """The default would write text to standard error."""
