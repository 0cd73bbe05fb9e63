"""Orders under moderation: refused before anything is charged, and paid ones answered for good."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from credits.models import LedgerEntry
from generation.lifecycle import settle
from generation.models import Job, Quote, Violation
from generation.providers.base import FailureReason
from tests.helpers.phone import Phone, assert_refused
from tests.helpers.sandbox_control import Sandbox

BAD, GOOD = "A bomb over the sea", "A red balloon over the sea"


def asked(sandbox: Sandbox) -> list:
    return sandbox.requests("openai")


@pytest.fixture(params=["blocklist", "openai"])
def bombs_refused(request, sandbox):
    """By one of the moderators."""
    if request.param == "blocklist":
        request.getfixturevalue("blocked")("bomb*")
    else:
        request.getfixturevalue("openai")(flag=["bomb"])


def test_a_refused_prompt_costs_nothing_and_says_which_input_it_was(phone, bombs_refused):
    details = assert_refused(phone.generate(prompt=BAD), 422, "ERR_4016")

    assert details == {"input": "prompt", "step": "none"}
    assert phone.balance() == 10
    assert not Job.objects.filter(user_id=phone.user_id).exists()
    assert not LedgerEntry.objects.filter(wallet__user_id=phone.user_id, change__lt=0).exists()
    assert phone.generate(prompt=GOOD).status_code == 200


def test_a_paid_order_is_answered_again_whatever_has_become_blocked(phone, openai, sandbox):
    key = str(uuid4())
    first = phone.generate(key=key, prompt=BAD)
    assert first.status_code == 200
    openai(flag=["bomb"])
    count = len(asked(sandbox))

    again = phone.generate(key=key, prompt=BAD)

    assert again.content == first.content
    assert again.headers["X-Idempotent-Replay"] == "true"
    assert len(asked(sandbox)) == count
    assert not Violation.objects.exists()
    # The key with other words is that, and not looked at either.
    assert_refused(phone.generate(key=key, prompt="Another bomb"), 422, "ERR_4010")
    assert len(asked(sandbox)) == count


def test_a_refused_key_is_forgotten_and_takes_other_words(phone, bombs_refused):
    key = str(uuid4())
    assert_refused(phone.generate(key=key, prompt=BAD), 422, "ERR_4016")

    assert phone.generate(key=key, prompt=GOOD).status_code == 200


def test_the_same_request_sent_again_is_one_violation(phone, bombs_refused):
    key = str(uuid4())

    for _ in range(3):
        assert_refused(phone.generate(key=key, prompt=BAD), 422, "ERR_4016")
    assert Violation.objects.filter(user_id=phone.user_id).count() == 1

    assert_refused(phone.generate(key=key, prompt="Another bomb"), 422, "ERR_4016")
    assert Violation.objects.filter(user_id=phone.user_id).count() == 2


def test_a_themes_prompt_and_a_retried_one_are_judged_too(phone, blocked):
    job_id = phone.generate(prompt=BAD).json()["job_id"]
    settle.fail(
        Job.objects.get(id=job_id), FailureReason.PROVIDER_ERROR, now=Job.objects.get().due_at
    )
    blocked("bomb", "neon")
    neon_rain = {"theme_id": "00000000-0000-4000-8000-000000000080", "prompt": None}

    assert_refused(phone.generate(**neon_rain), 422, "ERR_4016")
    retried = phone.post("retry-video-job", {"job_id": job_id}, Idempotency_Key=str(uuid4()))
    assert_refused(retried, 422, "ERR_4016")
    assert phone.balance() == 10


def test_a_quote_is_a_price_and_not_judged(phone, blocked):
    blocked("bomb")

    assert phone.post("quote-video", {"prompt": BAD}).status_code == 200
    assert Quote.objects.exists()


def test_the_blocklist_spares_openai_what_it_refuses(phone, openai, blocked, sandbox, settings):
    settings.MODERATION = ["blocklist", "openai"]
    blocked("bomb")

    assert_refused(phone.generate(prompt=BAD), 422, "ERR_4016")
    assert asked(sandbox) == []
    openai(flag=["balloon"])
    assert_refused(phone.generate(prompt=GOOD), 422, "ERR_4016")
    assert len(asked(sandbox)) == 1


def test_openai_is_asked_in_its_own_words(phone, openai, sandbox):
    phone.generate(prompt=GOOD)

    [request] = asked(sandbox)
    assert request["path"] == "/openai/v1/moderations"
    assert request["body"] == {
        "model": "omni-moderation-latest",
        "input": [{"type": "text", "text": GOOD}],
    }


def test_what_openai_finds_may_be_allowed(phone, openai, settings):
    openai(flag=["battle"], category="violence")
    assert_refused(phone.generate(prompt="A knight's battle"), 422, "ERR_4016")
    assert Violation.objects.get().categories == ["violence"]

    settings.OPENAI_ALLOWED_CATEGORIES = ["violence"]

    assert phone.generate(prompt="A knight's battle").status_code == 200


# --- Out of reach -----------------------------------------------------------------------------


@pytest.fixture(params=["a status", "no sense", "no answer", "nobody there"])
def openai_out(request, openai, settings, closed_port):
    """OpenAI does not tell, in each of the ways."""
    if request.param == "a status":
        openai(status=429)
    elif request.param == "no sense":
        openai(garbage=True)
    elif request.param == "no answer":
        openai(hang=True)
        settings.MODERATION_TIMEOUT_SECONDS = 0.3
    else:
        settings.OPENAI_URL = f"http://127.0.0.1:{closed_port}"


def test_out_of_reach_refuses_without_a_charge_or_lets_pass_as_the_setting_says(
    phone, openai_out, settings
):
    key = str(uuid4())
    refused = phone.generate(key=key)
    assert_refused(refused, 503, "ERR_5002")
    assert refused.headers["Retry-After"]
    assert phone.balance() == 10
    assert not Violation.objects.exists()

    settings.MODERATION_WHEN_UNREACHABLE = "allow"

    assert phone.generate(key=key).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"results": []}',
        b'{"results": [{}]}',
        b'{"results": [7]}',
        b'{"results": {"flagged": true}}',
        b'{"results": [{"flagged": "no"}]}',
    ],
)
def test_an_answer_of_another_form_is_no_verdict(phone, openai, stub_server, settings, body):
    stub_server.say(200, body)
    settings.OPENAI_URL = stub_server.url

    assert_refused(phone.generate(), 503, "ERR_5002")


def test_a_verdict_without_its_category_is_one(phone, openai, stub_server, settings):
    stub_server.say(200, {"results": [{"flagged": True, "categories": None}]})
    settings.OPENAI_URL = stub_server.url

    assert_refused(phone.generate(), 422, "ERR_4016")
    assert Violation.objects.get().categories == ["unspecified"]


# --- What it costs, and what is kept ----------------------------------------------------------


def test_moderation_adds_two_questions_before_the_charges_transaction(committed, openai):
    phone = Phone().sign_in()
    phone.get("get-models")  # the catalogue is in memory

    with CaptureQueriesContext(connection) as trips:
        job_id = phone.generate(prompt=GOOD).json()["job_id"]

    said = [trip["sql"].split()[0] for trip in trips.captured_queries]
    assert said[:3] == ["SELECT", "SELECT", "BEGIN"]  # answered already? held?
    # Two trips. Django logs BEGIN and COMMIT beside them, which go with the statements.
    assert said[2:] == ["BEGIN", "BEGIN;", "SELECT", "COMMIT"]
    phone.post("cancel-video-job", {"job_id": job_id})


def test_nothing_of_what_was_refused_is_kept_or_logged(phone, bombs_refused, caplog):
    phone.generate(prompt="A purple BOMB for everybody")

    [row] = Violation.objects.values()
    for kept in (str(row), caplog.text):
        assert "purple" not in kept.lower()
        assert "bomb" not in kept.lower()


def test_verdicts_are_counted(phone, openai, client, settings):
    settings.MODERATION_WHEN_UNREACHABLE = "allow"

    def counted():
        lines = rb'rendio_moderated_total{moderator="openai",verdict="(.+?)"} (.+)'
        told = dict(re.findall(lines, client.get("/metrics").content))
        return [float(told.get(name, 0)) for name in (b"allowed", b"refused", b"out_of_reach")]

    before = counted()
    for plan in ({}, {"flag": ["balloon"]}, {"status": 500}):
        openai(**plan)
        phone.generate(prompt=GOOD, settings={"duration": 4})

    assert [after - was for after, was in zip(counted(), before, strict=True)] == [1, 1, 1]


def test_who_did_not_consent_to_openai_is_asked_for_that(phone, openai, sandbox, settings):
    settings.REQUIRE_AI_CONSENT = True

    def agree(*providers):
        consent = {"kind": "ai_providers", "version": "1", "providers": providers}
        assert phone.post("record-consent", consent).status_code == 200

    agree("fal")
    details = assert_refused(phone.generate(), 403, "ERR_4021")
    assert details == {"providers": ["fal", "openai"]}
    assert asked(sandbox) == []
    agree("openai")

    assert phone.generate().status_code == 200
