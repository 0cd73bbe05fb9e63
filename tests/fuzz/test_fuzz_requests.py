"""Bodies, headers and queries of every call of the phone: never an error of ours, and a refusal
changes nothing. (Pictures and forms: tests/generation/uploads.)"""

from __future__ import annotations

import base64
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from generation import media
from tests.helpers import hostile_input
from tests.helpers.budget import budgeted
from tests.test_ownership import VIEWS

pytestmark = budgeted

# Whoever deletes the account makes no second call.
POSTS = [route for route, view in VIEWS.items() if hasattr(view, "post")]
POSTS.remove("delete-account")
GETS = [route for route, view in VIEWS.items() if hasattr(view, "get")]
FIELDS = [
    "app_attest", "assertion", "attestation", "authorization_code", "challenge", "code",
    "device_id", "device_token", "direct_id", "granted", "identity_token", "image_url",
    "installation_secret", "job_id", "key_id", "kind", "language", "model_id", "nonce", "prompt",
    "providers", "quote_id", "refresh_token", "session_id", "settings", "signed_transaction",
    "theme_id", "theme_preference", "tos_version", "transaction_id", "upload_id", "user_id",
    "version",
]  # fmt: skip
SIGN_IN = {
    "Please sign in again.",
    "Lütfen tekrar giriş yapın.",
    "Vuelve a iniciar sesión.",
}


def sent(phone, method, path, *, headers=None, **content):
    """By the phone, with its session."""
    return getattr(phone.client, method)(
        f"/v1/{path}", headers=phone._headers() | (headers or {}), **content
    )


def test_no_body_of_any_call_is_an_error_of_ours(phone, sandbox, rows):
    last = rows()

    @given(route=st.sampled_from(POSTS), body=hostile_input.json_bodies(FIELDS))
    @hostile_input.examples(250)
    def is_answered(route, body):
        nonlocal last
        key = {"Idempotency-Key": str(uuid4())}
        answer = sent(phone, "post", route, data=body, content_type="application/json", headers=key)
        assert answer.status_code < 500, (route, answer.content)
        now = rows()
        assert now == last or answer.status_code < 300, (route, answer.content)
        last = now

    is_answered()


@pytest.mark.parametrize("name", ["prompt", "settings", "image_url", "quote_id", "theme_id"])
def test_no_order_is_an_error_of_ours_nor_charged_when_refused(phone, rows, name):
    last = rows()

    @given(value=hostile_input.values)
    @hostile_input.examples(30)
    def is_answered(value):
        nonlocal last
        answer = phone.generate(**{name: value})
        assert answer.status_code < 500, answer.content
        assert rows() == last or answer.status_code == 200
        last = rows()

    is_answered()


def test_no_query_is_an_error_of_ours(phone, rows):
    before = rows()
    names = st.sampled_from(["limit", "offset", "cursor", "status", "job_id", "user_id", "token"])
    encoded = st.binary(max_size=20).map(lambda raw: base64.urlsafe_b64encode(raw).decode())
    queries = st.dictionaries(names, hostile_input.texts | encoded, max_size=3).map(
        lambda query: {name: text.replace("\ud800", "") for name, text in query.items()}
    )

    @given(route=st.sampled_from(GETS), query=queries)
    @hostile_input.examples(120)
    def is_answered(route, query):
        assert sent(phone, "get", route, data=query).status_code < 500
        assert rows() == before

    is_answered()


@given(header=hostile_input.header_texts)
@hostile_input.examples(80)
def test_any_accept_language_is_answered_in_one_of_ours(db, header):
    answer = Client().get("/v1/get-user-profile", headers={"Accept-Language": header})

    assert answer.status_code == 401
    assert answer.json()["error"]["message"] in SIGN_IN


def test_no_header_is_an_error_of_ours(phone, rows, settings):
    settings.TRUSTED_PROXIES = 1
    before = rows()
    names = ["Accept", "Accept-Encoding", "Authorization", "Cookie", "Idempotency-Key",
             "If-None-Match", "Range", "X-CSRFToken", "X-Forwarded-For", "X-Forwarded-Proto",
             "X-Request-ID"]  # fmt: skip

    @given(
        route=st.sampled_from(["get-models", "get-user-credits", "get-video-jobs"]),
        headers=st.dictionaries(st.sampled_from(names), hostile_input.header_texts, max_size=3),
    )
    @hostile_input.examples(80)
    def is_answered(route, headers):
        assert sent(phone, "get", route, headers=headers).status_code < 500
        assert rows() == before

    is_answered()


def test_no_content_type_is_an_error_of_ours(phone, rows):
    before = rows()
    types = st.sampled_from(
        ["application/json; charset=rot13", "text/plain", "multipart/form-data"]
    )

    @given(content_type=types | hostile_input.header_texts, body=st.binary(max_size=30))
    @hostile_input.examples(50)
    def is_refused(content_type, body):
        # Django's client would take the body for text of that charset.
        answer = phone.client.generic(
            "POST", "/v1/quote-video", body, content_type, headers=phone._headers()
        )
        assert 400 <= answer.status_code < 500, answer.content
        assert rows() == before

    is_refused()


def test_no_media_address_or_range_is_an_error_of_ours(db, storage):
    default_storage.save("jobs/a/video.mp4", ContentFile(b"0123456789"))
    path = urlsplit(media.signed_url("jobs/a/video.mp4") or "").path
    token = path.removeprefix("/media/")
    damaged = hostile_input.damaged(token.encode()).filter(lambda raw: raw != token.encode())
    others = hostile_input.texts.map(lambda text: text.encode("utf-8", "replace"))

    @given(address=damaged | others)
    @hostile_input.examples(60)
    def is_refused(address):
        assert Client().get(f"/media/{quote(address, safe='')}").status_code in {403, 404}

    ranges = st.from_regex(r"bytes=[0-9]{0,3}-[0-9]{0,20}", fullmatch=True)

    @given(asked=hostile_input.header_texts | ranges)
    @hostile_input.examples(80)
    def is_served(asked):
        answer = Client().get(path, headers={"Range": asked})
        assert answer.status_code in {200, 206, 416}
        assert b"".join(answer) in b"0123456789"

    is_refused()
    is_served()
