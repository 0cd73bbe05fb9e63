"""Common behaviour of all calls: authentication, envelope, request ids, routes and methods."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.utils import timezone

from accounts import tokens
from tests.helpers.phone import Phone

READS = ["get-user-credits", "credits/balance", "get-credit-history", "get-video-status",
         "get-video-jobs"]  # fmt: skip
WRITES = [
    "quote-video",
    "generate-video",
    "retry-video-job",
    "cancel-video-job",
    "delete-video-job",
]
PUBLIC = ["get-models", "get-themes"]


def code_of(answer):
    return answer.status_code, answer.json()["error"]["code"]


# --- Who calls --------------------------------------------------------------------------------


def call(client, path, headers=None):
    if path in WRITES:
        return client.post(f"/v1/{path}", {}, content_type="application/json", headers=headers)
    return client.get(f"/v1/{path}", headers=headers)


@pytest.mark.parametrize("path", READS + WRITES)
def test_without_a_good_token_it_is_401(db, path):
    client = Client()
    access = {"user_id": uuid4(), "session_id": uuid4(), "language": "en"}
    good = tokens.issue_access(**access, now=timezone.now())
    expired = tokens.issue_access(**access, now=timezone.now() - timedelta(hours=2))
    head, payload, signature = good.split(".")

    for header in (
        None, "", "Bearer", "Bearer ", "Bearer garbled", f"Basic {good}", good, f"Bearer {expired}",
        f"Bearer {head}.{payload}.{signature[::-1]}", f"Bearer {head}.{payload}.", "Bearer é",
        f"Bearer {good} {good}", "Bearer " + "a" * 5000,
    ):  # fmt: skip
        answer = call(client, path, {"Authorization": header} if header is not None else None)
        assert code_of(answer) == (401, "ERR_4005"), header
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    assert call(client, path, {"Authorization": f"Bearer {good}"}).status_code != 401


def test_a_foreign_user_id_is_403_and_ones_own_is_accepted(phone):
    own, foreign = str(phone.user_id), str(uuid4())

    for path in ("get-user-credits", "get-credit-history", "get-video-jobs"):
        assert code_of(phone.get(path, user_id=foreign)) == (403, "ERR_4006")
        for spelling in (own, own.upper()):
            assert phone.get(path, user_id=spelling).status_code == 200
    for user_id in (foreign, 7, True, ["a"], {"a": 1}, "", 10**70):
        assert code_of(phone.generate(user_id=user_id)) == (403, "ERR_4006")
    assert phone.balance() == 10

    assert phone.generate(user_id=own).status_code == 200


def test_an_apikey_header_of_older_clients_is_ignored(phone):
    assert phone.client.get("/v1/get-models", headers={"apikey": "old"}).status_code == 200


# --- Credits ----------------------------------------------------------------------------------


def test_the_balance_is_told_under_both_names(phone):
    phone.generate()

    for path in ("get-user-credits", "credits/balance"):
        assert phone.get(path).json() == {
            "credits_remaining": 6,
            "credits_total": 10,
            "expiring": [],
        }


# --- Envelope and request id ------------------------------------------------------------------


def test_an_error_has_all_fields_of_the_envelope(phone):
    answer = phone.generate(settings={"duration": 12})

    error = answer.json()["error"]
    assert set(error) == {"code", "type", "message", "details", "request_id", "timestamp"}
    assert (error["code"], error["type"]) == ("ERR_4001", "INSUFFICIENT_CREDITS")
    assert error["details"] == {"required": 12, "available": 10}
    assert "12" in error["message"]
    assert "10" in error["message"]
    assert error["request_id"] == answer.headers["X-Request-ID"]
    told = datetime.strptime(error["timestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(told - timezone.now()) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "sane", ["0d6b7a5e-8c1f-4b7e-9a54-6f4f6f0b1a11", "abc.DEF_123-x", "a" * 64]
)
def test_a_sane_request_id_comes_back(db, sane):
    answer = Client().get("/v1/get-models", headers={"X-Request-ID": sane})

    assert answer.headers["X-Request-ID"] == sane


@pytest.mark.parametrize(
    "odd",
    ["", "short", "a" * 65, "has space in it", "<script>alert", "ébcdefghi", "abcdefg;drop"],
)
def test_an_odd_request_id_is_replaced_by_a_new_one(db, odd):
    answers = [Client().get("/v1/nowhere", headers={"X-Request-ID": odd}) for _ in range(2)]

    ids = {UUID(answer.headers["X-Request-ID"]) for answer in answers}
    assert len(ids) == 2
    assert {UUID(answer.json()["error"]["request_id"]) for answer in answers} == ids


# --- Routes and methods -----------------------------------------------------------------------


@pytest.mark.parametrize("path", READS + PUBLIC)
def test_older_builds_find_the_same_call_under_functions(phone, path):
    headers = {"Authorization": f"Bearer {phone.session['access_token']}"}

    old = phone.client.get(f"/functions/v1/{path}", headers=headers)
    new = phone.client.get(f"/v1/{path}", headers=headers)

    assert old.status_code == new.status_code
    if new.status_code == 200:
        assert old.content == new.content


def test_an_order_under_the_older_route_is_replayed_under_the_newer(phone):
    key = str(uuid4())
    headers = {"Authorization": f"Bearer {phone.session['access_token']}", "Idempotency-Key": key}
    body = {"model_id": "00000000-0000-4000-8000-000000000003", "prompt": "A red balloon"}

    first, again = (
        phone.client.post(
            f"{base}/generate-video", body, content_type="application/json", headers=headers
        )
        for base in ("/functions/v1", "/v1")
    )

    assert first.content == again.content
    assert again.headers["X-Idempotent-Replay"] == "true"
    assert phone.balance() == 6


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/", "/v1/nowhere", "/v1/get-models/", "/v2/get-models", "/functions/x",
     "/v1/get-models%00", "/v1/%F0%9F%8E%88", "/v1/..%2Fadmin"],
)  # fmt: skip
def test_an_unknown_path_is_404_in_the_envelope(db, path):
    assert code_of(Client().get(path)) == (404, "ERR_4007")
    assert code_of(Client().post(path, {}, content_type="application/json")) == (404, "ERR_4007")


def test_the_wrong_method_is_405_in_the_envelope(phone):
    wrong = [("post", path) for path in ("get-user-credits", "get-video-jobs")]
    wrong += [("get", path) for path in WRITES]
    for method, path in wrong:
        answer = getattr(phone, method)(path)
        assert code_of(answer) == (405, "ERR_4008"), path
        assert answer.headers["Allow"] == ("GET, HEAD" if method == "post" else "POST")
    headers = {"Authorization": f"Bearer {phone.session['access_token']}"}
    for method in ("put", "patch", "delete", "options"):
        answer = getattr(phone.client, method)("/v1/generate-video", headers=headers)
        assert code_of(answer) == (405, "ERR_4008"), method


def test_no_error_speaks_of_our_inside(phone):
    answers = [
        phone.get("get-video-status", job_id="x"),
        phone.generate(model_id="x"),
        phone.generate(settings={"duration": 5}),
        Client().get("/v1/nowhere"),
    ]

    for answer in answers:
        assert not re.search(r"Traceback|django|psycopg|packages|\.py", answer.content.decode())


def test_two_phones_see_their_own_credits(phone):
    other = Phone().sign_in()
    phone.generate()

    assert (phone.balance(), other.balance()) == (6, 10)
