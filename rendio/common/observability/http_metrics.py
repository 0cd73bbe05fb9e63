"""Prometheus's counts of requests: django-prometheus's, at half their cost.

Names, labels and the counts of rare events (exceptions, templates) are django-prometheus's own.
What each request counts is counted here: the counters of a combination of labels are looked up
once, and headers are read without making Django's mapping of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django_prometheus.middleware import Metrics, PrometheusAfterMiddleware
from prometheus_client import Counter, Histogram

_metrics = Metrics.get_instance()
# Of labels; more than there are routes, methods and statuses.
COMBINATIONS = 2_000


class AllMiddlewareMetrics:
    """The first middleware: the requests, and their time in all middleware and the view."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = perf_counter()
        _metrics.requests_total.inc()
        response = self.get_response(request)
        _metrics.responses_total.inc()
        _metrics.requests_latency_before.observe(perf_counter() - began)
        return response


class ViewMetrics(PrometheusAfterMiddleware):  # type: ignore[misc]
    """The last middleware: the requests that reach the routes, by view, method and status."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # The inherited hook for exceptions reads it.
        request.prometheus_after_middleware_event = began = perf_counter()  # type: ignore[attr-defined]
        method = self._method(request)
        for counter in _received(method, self._transport(request)):
            counter.inc()
        if request.META.get("HTTP_X_REQUESTED_WITH") == "XMLHttpRequest":
            _metrics.requests_ajax.inc()
        _metrics.requests_body_bytes.observe(int(request.META.get("CONTENT_LENGTH") or 0))
        response: HttpResponse = self.get_response(request)
        answered = _answered(
            self._get_view_name(request), method, response.status_code, response.charset
        )
        for counter in answered.counters:
            counter.inc()
        if response.streaming:
            _metrics.responses_streaming.inc()
        else:
            _metrics.responses_body_bytes.observe(len(response.content))
        answered.seconds.observe(perf_counter() - began)
        return response

    def process_view(self, request: HttpRequest, *_view: Any) -> None:
        view = self._get_view_name(request)
        _viewed(view, self._transport(request), self._method(request)).inc()


class _Answered(NamedTuple):
    counters: tuple[Counter, ...]
    seconds: Histogram


@lru_cache(COMBINATIONS)
def _received(method: str, transport: str) -> tuple[Counter, ...]:
    return (
        _metrics.requests_by_method.labels(method=method),
        _metrics.requests_by_transport.labels(transport=transport),
    )


@lru_cache(COMBINATIONS)
def _viewed(view: str, transport: str, method: str) -> Counter:
    viewed: Counter = _metrics.requests_by_view_transport_method.labels(
        view=view, transport=transport, method=method
    )
    return viewed


@lru_cache(COMBINATIONS)
def _answered(view: str, method: str, status: int, charset: str) -> _Answered:
    return _Answered(
        counters=(
            _metrics.responses_by_status.labels(status=str(status)),
            _metrics.responses_by_status_view_method.labels(
                status=str(status), view=view, method=method
            ),
            _metrics.responses_by_charset.labels(charset=str(charset)),
        ),
        seconds=_metrics.requests_latency_by_view_method.labels(view=view, method=method),
    )
