"""What a browser is told by every answer, and which other origins may call."""

from __future__ import annotations

import re

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import get_resolver

from generation import media
from rendio.common.web import headers
from tests.helpers.phone import assert_refused

ANSWERS = {
    "a public list": "/v1/get-models",
    "a refusal": "/v1/get-user-credits",
    "the older paths": "/functions/v1/get-themes",
    "no such path": "/v1/no-such-thing",
    "no such page": "/no-such-thing",
    "the staff's sign-in": "/admin/login/",
    "a page that asks for it": "/admin/",
    "no such staff page": "/admin/no-such-thing/",
    "a static file": "/static/unfold/css/styles.css",
    "a media token": "/media/forged",
    "the health of a process": "/healthz",
}


@pytest.mark.parametrize("path", ANSWERS.values(), ids=ANSWERS)
def test_every_response_has_security_headers(db, path):
    answer = Client().get(path)

    policy = answer["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Permissions-Policy"] == headers.PERMISSIONS


def test_no_policy_allows_inline_scripts():
    for policy in [headers.NOTHING, *headers.POLICIES.values()]:
        scripts = re.search(r"script-src ([^;]*)", policy)
        assert scripts is None or "'self'" in scripts[1]
        assert scripts is None or not {"'unsafe-inline'", "*", "data:"} & set(scripts[1].split())


def test_staff_pages_have_no_inline_script(db):
    page = Client().get("/admin/login/").content.decode()

    assert "<script src=" in page
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>|\son[a-z]+=\"|javascript:", page) == []


def test_each_policy_has_existing_paths():
    served = {f"/{pattern.pattern}" for pattern in get_resolver().url_patterns}

    assert {start for start in headers.POLICIES if start not in served} == set()


def test_api_responses_are_not_cached_and_catalogue_lists_are_revalidated(phone):
    assert phone.get("get-user-credits")["Cache-Control"] == "no-store"
    assert phone.get("get-models")["Cache-Control"] == "public, max-age=0, must-revalidate"


def test_other_origins_may_embed_only_media(db):
    name = default_storage.save("test/headers.mp4", ContentFile(b"film"))
    path = "/media/" + media.signed_url(name).rpartition("/media/")[2]

    assert "Cross-Origin-Resource-Policy" not in Client().get(path).headers
    assert Client().get("/v1/get-models")["Cross-Origin-Resource-Policy"] == "same-origin"


# --- Other origins' scripts -------------------------------------------------------------------

PAGE = {"Origin": "https://app.example.com"}


def preflight(path="/v1/generate-video"):
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }
    return Client().options(path, headers=PAGE | asked)


def test_cors_is_off_by_default(phone):
    paths = ["/v1/get-models", "/static/unfold/css/styles.css"]
    answers = [preflight(), *(Client().get(path, headers=PAGE) for path in paths)]

    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_cors_allows_configured_origins_without_cookies(db, settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]

    asked, called = preflight(), Client().get("/v1/get-models", headers=PAGE)

    assert asked["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert "idempotency-key" in asked["Access-Control-Allow-Headers"]
    assert "etag" in called["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in called.headers


def test_cors_covers_only_the_phone_api(db, settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]

    for path in ("/admin/login/", "/webhooks/fal", "/healthz"):
        assert "Access-Control-Allow-Origin" not in preflight(path).headers, path


def test_unknown_host_header_is_refused(db, settings):
    settings.ALLOWED_HOSTS = ["api.example.com"]

    for path in ("/v1/get-models", "/admin/login/", "/media/forged"):
        assert_refused(Client().get(path, headers={"Host": "evil.example"}), 400, "ERR_4008")
    assert Client().get("/v1/get-models", headers={"Host": "api.example.com"}).status_code == 200
    assert Client().get("/healthz", headers={"Host": "10.0.0.7"}).status_code == 200
