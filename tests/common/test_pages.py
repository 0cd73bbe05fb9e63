"""Which paths have sessions, forms and static files, and which have none."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils.module_loading import import_string

from adminops.api import StaffView
from rendio.common.web import paths
from rendio.urls import v1

CALLS = ["/v1/get-models", "/functions/v1/get-models", "/webhooks/fal", "/media/x"]
PAGES = ["/admin/", "/admin/login/", "/static/x.css", "/docs", "/healthz", "/", "/v1"]


@pytest.mark.parametrize("path", CALLS)
def test_calls_pass_the_middleware_of_pages_by(path):
    seen = passed(path)

    assert not hasattr(seen, "session")
    assert not hasattr(seen, "user")


@pytest.mark.parametrize("path", PAGES)
def test_pages_have_sessions_and_users(path):
    seen = passed(path)

    assert hasattr(seen, "session")
    assert hasattr(seen, "user")


def passed(path):
    """A request to this path after all middleware of pages but the one of static files."""
    seen = []

    def view(request):
        seen.append(request)
        return HttpResponse()

    chain = view
    for name in reversed(settings.MIDDLEWARE):
        if name.startswith("rendio.common.web.pages.") and "WhiteNoise" not in name:
            chain = import_string(name)(chain)
    chain(RequestFactory().get(path))
    return seen[0]


def test_calls_of_staff_are_pages_and_no_other_route_of_the_api_is():
    for pattern in v1:
        is_staffs = issubclass(pattern.callback.view_class, StaffView)
        assert paths.is_call(f"/v1/{pattern.pattern._route}") == (not is_staffs)
        assert paths.is_call(f"/functions/v1/{pattern.pattern._route}") == (not is_staffs)


def test_a_form_without_a_token_is_refused_on_pages_only(db):
    client = Client(enforce_csrf_checks=True)

    assert client.post("/admin/login/", {"username": "x"}).status_code == 403
    assert client.post("/webhooks/none", {}, content_type="application/json").status_code == 404
