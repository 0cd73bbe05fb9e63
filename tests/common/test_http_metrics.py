"""Prometheus's counts of requests, by the names of django-prometheus."""

from __future__ import annotations

import pytest
from django.test import Client
from prometheus_client import REGISTRY

VIEW = "generation.api.GetModels"


@pytest.fixture
def counted():
    """How much these counts have grown since."""

    def value(name, **labels):
        return REGISTRY.get_sample_value(f"rendio_django_http_{name}", labels) or 0.0

    class Counted:
        def __init__(self):
            self.before = {}

        def __call__(self, name, **labels):
            return value(name, **labels) - self.before.get((name, *labels.items()), 0.0)

        def watch(self, name, **labels):
            self.before[(name, *labels.items())] = value(name, **labels)

    return Counted()


COUNTS = [
    ("requests_before_middlewares_total", {}, 1),
    ("responses_before_middlewares_total", {}, 1),
    ("requests_latency_including_middlewares_seconds_count", {}, 1),
    ("requests_latency_seconds_by_view_method_count", {"view": VIEW, "method": "GET"}, 1),
    ("requests_total_by_method_total", {"method": "GET"}, 1),
    ("requests_total_by_transport_total", {"transport": "http"}, 1),
    (
        "requests_total_by_view_transport_method_total",
        {"view": VIEW, "transport": "http", "method": "GET"},
        1,
    ),
    ("requests_body_total_bytes_count", {}, 1),
    ("responses_total_by_status_total", {"status": "200"}, 1),
    (
        "responses_total_by_status_view_method_total",
        {"status": "200", "view": VIEW, "method": "GET"},
        1,
    ),
    ("responses_total_by_charset_total", {"charset": "utf-8"}, 1),
    ("responses_body_total_bytes_count", {}, 1),
    ("responses_streaming_total", {}, 0),
    ("ajax_requests_total", {}, 0),
    ("exceptions_total_by_view_total", {"view": VIEW}, 0),
]


def test_a_call_is_counted_once_by_each_of_its_labels(db, counted):
    for name, labels, _ in COUNTS:
        counted.watch(name, **labels)

    answer = Client().get("/v1/get-models")

    assert {(name, *labels.items()): counted(name, **labels) for name, labels, _ in COUNTS} == {
        (name, *labels.items()): grown for name, labels, grown in COUNTS
    }
    assert answer.status_code == 200


def test_a_request_that_no_route_takes_is_counted_without_a_view(db, counted):
    labels = {"status": "404", "view": "<unnamed view>", "method": "<invalid method>"}
    counted.watch("responses_total_by_status_view_method_total", **labels)

    Client().generic("BREW", "/v1/nothing")

    assert counted("responses_total_by_status_view_method_total", **labels) == 1


def test_the_bytes_of_both_bodies_are_summed(db, counted):
    for name in ("requests_body_total_bytes_sum", "responses_body_total_bytes_sum"):
        counted.watch(name)

    answer = Client().post("/v1/quote-video", b"{}", content_type="application/json")

    assert counted("requests_body_total_bytes_sum") == 2
    assert counted("responses_body_total_bytes_sum") == len(answer.content)
