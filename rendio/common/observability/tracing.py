"""OpenTelemetry spans, if OTEL_EXPORTER_OTLP_ENDPOINT is set; else a span does nothing.

A span has the view, task or host, its duration and outcome; never a path, query, body or exception
text, which may hold a token or personal data. A thread sends spans in batches; what cannot be sent
is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from django.http import HttpRequest, HttpResponse

from rendio.common.observability import request_id

Attributes = dict[str, str | int]
_tracer: Any = None
_provider: Any = None


def start(*, endpoint: str, environment: str) -> None:
    """Call once in a process, before it forks: the children send for themselves."""
    global _tracer, _provider
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create(
        {"service.name": "rendio", "deployment.environment.name": environment}
    )
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=5)
    _provider = TracerProvider(resource=resource)
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = _provider.get_tracer("rendio")


def stop() -> None:
    """Send the remaining spans."""
    if _provider:
        _provider.shutdown()


def span(name: str, kind: str, attributes: Attributes) -> AbstractContextManager[Attributes]:
    """A span around the block, a child of the surrounding one.

    `kind` is SERVER, CONSUMER or CLIENT. Entries added to the dictionary until the end become
    attributes.
    """
    return _span(name, kind, attributes) if _tracer else nullcontext(attributes)


@contextmanager
def _span(name: str, kind: str, attributes: Attributes) -> Iterator[Attributes]:
    from opentelemetry.trace import SpanKind, StatusCode

    with _tracer.start_as_current_span(
        name, kind=SpanKind[kind], record_exception=False, set_status_on_exception=False
    ) as running:
        try:
            yield attributes
        except BaseException as error:
            running.set_status(StatusCode.ERROR)
            attributes["error.type"] = type(error).__name__
            raise
        finally:
            if caused_by := request_id.current():
                attributes["rendio.request_id"] = caused_by
            running.set_attributes(attributes)
            running.update_name(str(attributes.pop("name", name)))


class TracingMiddleware:
    """A span for each request, named after its view."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        method = request.method or ""
        with span(method, "SERVER", {"http.request.method": method}) as told:
            response = self.get_response(request)
            told["http.response.status_code"] = response.status_code
            if match := request.resolver_match:
                told["http.route"] = match.route
                told["name"] = f"{method} {match.route}"
        return response
