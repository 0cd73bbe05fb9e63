"""The error log: bounded, and without the content of requests."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from adminops.models import ErrorLog
from adminops.monitoring import error_log
from tests.adminops.conftest import Staff, staff_user
from tests.helpers.phone import assert_refused

PROMPT, TOKEN = "a secret garden", "sandbox-but-not-base64!"


@pytest.fixture(autouse=True)
def _empty(db):
    """An empty error log: tests with real commits leave entries."""
    ErrorLog.objects.all().delete()


def kept(**which):
    rows = ErrorLog.objects.filter(**which).order_by("id")
    return [(row.code, row.status, row.endpoint, row.user_id) for row in rows]


def test_error_response_is_stored_and_a_success_is_not(phone):
    refused = phone.generate(prompt=PROMPT, settings={"duration": 12})
    assert_refused(refused, 402, "ERR_4001")
    assert phone.generate(prompt=PROMPT).status_code == 200

    assert kept(user_id=phone.user_id) == [
        ("ERR_4001", 402, "POST v1/generate-video", phone.user_id)
    ]
    row = ErrorLog.objects.get(user_id=phone.user_id)
    assert row.request_id == refused.json()["error"]["request_id"]
    assert abs(timezone.now() - row.at) < timedelta(minutes=1)


def test_anonymous_error_has_no_user_and_no_request_content(db):
    client = Client()
    client.post(f"/media/{TOKEN}")
    client.get(f"/media/{TOKEN}")
    client.get(f"/nowhere/{TOKEN}", headers={"Authorization": "Bearer abc"})
    client.get("/v1/get-user-profile", headers={"Authorization": f"Bearer {TOKEN}"})
    client.post(
        "/v1/device-check",
        {"device_id": TOKEN, "device_token": TOKEN},
        content_type="application/json",
    )

    assert kept() == [
        ("ERR_4008", 405, "POST media/<str:token>", None),
        ("ERR_4006", 403, "GET media/<str:token>", None),
        ("ERR_4007", 404, "GET (no such path)", None),
        ("ERR_4005", 401, "GET v1/get-user-profile", None),
        ("ERR_4008", 400, "POST v1/device-check", None),
    ]
    assert TOKEN not in str(list(ErrorLog.objects.values()))


def test_flood_of_one_code_is_bounded_and_does_not_hide_others(db, settings):
    settings.ERROR_LOG_PER_MINUTE = 3
    client = Client()

    for _ in range(8):
        assert client.get("/nowhere").status_code == 404
    client.get("/v1/get-user-profile")

    # A minute may have passed in between; a second one not.
    assert 3 <= len(kept(code="ERR_4007")) <= 6
    assert len(kept(code="ERR_4005")) == 1


def test_error_response_costs_one_statement_and_none_beyond_the_limit(db, settings):
    client = Client()
    for allowed, statements in ((1, 1), (0, 0)):
        settings.ERROR_LOG_PER_MINUTE = allowed
        with CaptureQueriesContext(connection) as said:
            Client().get("/nowhere")
        assert len(said) == statements
    assert client.get("/nowhere").status_code == 404


def test_database_failure_does_not_change_the_response_and_pauses_the_log(db):
    client, asked = Client(), []

    def fail(*args):
        asked.append(args)
        raise OperationalError("no connection")

    with connection.execute_wrapper(fail):
        answers = [client.get("/nowhere") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [404] * 3
    assert len(asked) == 1


# --- Sweeping --------------------------------------------------------------------------------


def make(*, age: timedelta = timedelta(0)):
    return ErrorLog.objects.create(
        at=timezone.now() - age, code="ERR_4007", status=404, endpoint="GET x", request_id="r"
    )


def test_old_entries_are_purged(db, settings):
    make(age=timedelta(days=settings.ERROR_LOG_DAYS, seconds=1))
    young = make(age=timedelta(days=settings.ERROR_LOG_DAYS - 1))

    error_log.purge(now=timezone.now())

    assert list(ErrorLog.objects.all()) == [young]


def test_entries_beyond_the_maximum_are_purged(db, settings):
    settings.ERROR_LOG_ROWS = 3
    made = [make() for _ in range(5)]

    error_log.purge(now=timezone.now())

    assert list(ErrorLog.objects.order_by("id")) == made[2:]


def test_purge_of_an_empty_table_deletes_nothing(db):
    error_log.purge(now=timezone.now())

    assert not ErrorLog.objects.exists()


# --- Support ---------------------------------------------------------------------------------


@pytest.fixture
def refused(phone):
    """An entry of a customer among others."""
    make()
    return phone.get("get-video-status", job_id=str(uuid4())).json()["error"]


def shown(answer):
    assert answer.status_code == 200
    return [row.code for row in answer.context["cl"].result_list]


def test_error_log_page_finds_entries_by_user_request_and_code(root, phone, refused):
    ErrorLog.objects.exclude(user_id=phone.user_id).update(code="ERR_4008")
    for query in (
        {"q": str(phone.user_id)},
        {"q": refused["request_id"]},
        {"code": "ERR_4007"},
    ):
        answer = root.see("adminops_errorlog_changelist", **query)

        assert shown(answer) == ["ERR_4007"]
        assert b"ERR_4007 NOT_FOUND (404)" in answer.content
    assert len(shown(root.see("adminops_errorlog_changelist"))) >= 2


def test_error_log_page_is_read_only(db, refused):
    viewer = Staff(staff_user("viewer", "adminops.view_errorlog"))
    row = ErrorLog.objects.get(request_id=refused["request_id"])

    page = viewer.see("adminops_errorlog_change", row.id)
    sent = viewer.submit("adminops_errorlog_change", row.id, code="ERR_6003")

    assert page.status_code == 200
    assert str(row.user_id).encode() in page.content
    assert sent.status_code == 403
    assert viewer.submit("adminops_errorlog_delete", row.id, post="yes").status_code == 403
    stranger = Staff(staff_user("stranger"))
    assert stranger.see("adminops_errorlog_changelist").status_code == 403


def test_export_contains_the_users_error_log(phone, refused):
    [row] = phone.get("export-user-data").json()["refusals"]

    assert (row["code"], row["endpoint"]) == ("ERR_4007", "GET v1/get-video-status")
