"""Whatever fails, and wherever: the caller gets the contract's envelope."""

from __future__ import annotations

import json

import pytest
from django.db import OperationalError, connection
from django.test import Client

from tests.helpers.phone import assert_refused

JSON = "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "ERR_4007"),
        ("GET", "/webhooks/", 404, "ERR_4007"),
        ("GET", "/media/", 404, "ERR_4007"),
        ("POST", "/webhooks/nobody", 404, "ERR_4007"),
        ("GET", "/webhooks/fal", 405, "ERR_4008"),
        ("GET", "/webhooks/app-store", 405, "ERR_4008"),
        ("GET", "/webhooks/apple-id", 405, "ERR_4008"),
        ("POST", "/media/any", 405, "ERR_4008"),
        ("POST", "/v1/get-models", 405, "ERR_4008"),
        ("OPTIONS", "/v1/get-models", 405, "ERR_4008"),
        ("BREW", "/v1/get-models", 405, "ERR_4008"),
        ("POST", "/webhooks/fal", 401, "ERR_4005"),
        ("POST", "/webhooks/app-store", 400, "ERR_4008"),
        ("GET", "/media/any", 403, "ERR_4006"),
        ("GET", "/v1/get-user-profile", 401, "ERR_4005"),
        ("GET", "/v1/admin-user-stats", 401, "ERR_4005"),
    ],
)
def test_every_error_uses_the_envelope(sandbox, db, method, path, status, code):
    answer = Client().generic(method, path, "{}", content_type=JSON)

    assert_refused(answer, status, code)
    assert answer.headers["Content-Type"] == JSON
    assert status != 405 or answer.headers["Allow"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("{", JSON, 400),
        ("{}", "text/xml", 415),
        (json.dumps({"pad": "x" * 1_000_001}), JSON, 413),
    ],
)
@pytest.mark.parametrize("path", ["/v1/device-check", "/webhooks/app-store"])
def test_unreadable_body_is_refused_in_the_envelope(db, path, body, content_type, status):
    answer = Client().post(path, body, content_type=content_type)

    assert_refused(answer, status, "ERR_4008")


def test_staffs_calls_without_a_csrf_token_are_refused_in_the_envelope(db, django_user_model):
    django_user_model.objects.create_superuser(username="root", password="Quite-long-1")
    client = Client(enforce_csrf_checks=True)
    client.login(username="root", password="Quite-long-1")

    answer = client.post("/v1/admin-ban-user", {}, content_type=JSON)

    assert_refused(answer, 403, "ERR_4006")


def test_response_is_json_for_any_accept_header(db):
    answer = Client().get("/v1/get-products", headers={"Accept": "text/html"})

    assert_refused(answer, 401, "ERR_4005")
    assert answer.headers["Content-Type"] == JSON


# --- When something of ours fails ------------------------------------------------------------


@pytest.fixture
def failing():
    """Makes every query of a block fail as given."""

    def with_error(error):
        def fail(*args):
            raise error

        return connection.execute_wrapper(fail)

    return with_error


def test_unavailable_database_is_503(phone, failing):
    with failing(OperationalError("connection to server at 10.0.0.5 failed")):
        answer = phone.get("get-user-profile")

    assert_refused(answer, 503, "ERR_6001")
    assert answer.headers["Retry-After"]
    assert b"10.0.0.5" not in answer.content


def test_unexpected_error_is_500_without_internal_details(phone, failing):
    with failing(RuntimeError("the-secret")):
        answer = phone.get("get-user-profile")

    assert_refused(answer, 500, "ERR_6003")
    assert b"the-secret" not in answer.content


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OperationalError("no connection"), 503, "ERR_6001"),
        (RuntimeError("the-secret"), 500, "ERR_6003"),
    ],
)
def test_errors_outside_views_use_the_envelope(db, failing, error, status, code):
    client = Client(raise_request_exception=False)
    client.cookies["sessionid"] = "a" * 32

    with failing(error):
        answer = client.get("/admin/")

    assert_refused(answer, status, code)
    assert b"the-secret" not in answer.content
