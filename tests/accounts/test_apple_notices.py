"""What Apple tells of its accounts, from server to server."""

import base64
import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts.apple import identity_tokens
from accounts.models import AppleIdentity, Device, Session, UsedToken, User
from credits import ledger_check
from credits import services as credit_services
from credits.models import WalletState
from generation.models import AccountMediaDeletion, Job, JobStatus, Stage
from tests.helpers.job_driver import JobDriver, kinds_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(guest, person):
    assert person.signs_in(guest).status_code == 200
    return guest


@pytest.fixture
def notice(sandbox, person):
    """Signs a notice about the person, without delivering it anywhere."""

    def make(kind, **fields):
        made = sandbox.control(
            "apple/identity-notice",
            **{"sub": person.sub, "type": kind, "url": "http://127.0.0.1:9/", **fields},
        )
        return made["payload"]

    return make


def deliver(payload, **arguments):
    body = {"payload": payload}
    return Client().post(
        "/webhooks/apple-id", body, **{"content_type": "application/json", **arguments}
    )


def is_signed_in(account):
    return account.refresh().status_code == 200


def identity_of(person):
    return AppleIdentity.objects.get(sub=person.sub)


def test_without_consent_all_sessions_end_and_only_apple_leads_back(
    account, person, notice, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        delivered = deliver(notice("consent-revoked"))

    assert delivered.status_code == 200
    assert account.get("get-user-profile").status_code == 401
    assert account.refresh().status_code == 401
    assert identity_of(person).refresh_token_encrypted == ""
    assert not Device.objects.filter(user_id=account.user_id).exists()
    assert credit_services.balance_of(account.user_id).balance == 10


def test_who_signs_in_again_after_all_finds_the_account(account, person, notice):
    user_id = account.user_id
    deliver(notice("consent-revoked"))
    stranger = account.check().json()
    assert (stranger["is_guest"], stranger["credits_remaining"]) == (True, 0)

    body = person.signs_in(account).json()

    assert (body["user_id"], body["merged"], body["credits_remaining"]) == (user_id, True, 10)
    assert identity_of(person).unlinked_at is None
    assert identity_of(person).refresh_token_encrypted != ""


@pytest.mark.parametrize("kind", ["account-delete", "account-deleted"])
def test_without_the_apple_account_ours_is_deleted_and_its_ledger_stays(
    account, person, notice, kind, django_capture_on_commit_callbacks
):
    user_id = account.user_id

    with django_capture_on_commit_callbacks(execute=True):
        delivered = deliver(notice(kind))

    assert delivered.status_code == 200
    assert account.get("get-user-profile").status_code == 401
    assert account.refresh().status_code == 401
    user = User.objects.get(id=user_id)
    assert (user.closed_at is not None, user.email) == (True, None)
    assert not AppleIdentity.objects.filter(sub=person.sub).exists()
    assert not Device.objects.filter(device_id=account.device_id).exists()
    assert credit_services.balance_of(user_id).balance == 10
    assert ledger_check.find_discrepancies() == []
    assert account.signed_in().user_id != user_id
    assert account.balance() == 0


@pytest.mark.parametrize("kept", ["suspended_at", "is_staff"])
def test_an_account_that_may_not_be_deleted_loses_its_sessions_alone(account, person, notice, kept):
    value = True if kept == "is_staff" else timezone.now()
    User.objects.filter(id=account.user_id).update(username="sam", **{kept: value})

    assert deliver(notice("account-delete")).status_code == 200

    assert not is_signed_in(account)
    assert User.objects.get(id=account.user_id).closed_at is None
    assert identity_of(person).unlinked_at is not None
    with transaction.atomic():
        assert credit_services.lock_wallet(user_id=account.user_id).state == WalletState.OPEN


def test_a_job_that_runs_when_the_apple_account_goes_ends_refunded_once(account, notice, sandbox):
    sandbox.provider(queue_seconds=1, run_seconds=0, webhooks=False)
    life = JobDriver()
    order = {"prompt": "A red balloon", "settings": {"duration": 4}}
    ordered = account.post("generate-video", order, idempotency_key=str(uuid4())).json()
    job = life.run_until_done(
        Job.objects.get(id=ordered["job_id"]), until=lambda job: job.stage == Stage.QUEUED
    )

    assert deliver(notice("account-delete")).status_code == 200
    life.run_until_done(job)

    assert (job.status, kinds_of(job.id)) == (JobStatus.CANCELLED, ["charge", "refund"])
    assert AccountMediaDeletion.objects.filter(job=job).exists()
    assert ledger_check.find_discrepancies() == []


def test_the_mail_relay_is_switched_off_and_on(account, person, notice):
    email = "abc@privaterelay.appleid.com"

    assert deliver(notice("email-disabled", email=email)).status_code == 200
    assert identity_of(person).relay_enabled is False
    assert identity_of(person).email == email
    assert identity_of(person).is_private_email is True

    assert deliver(notice("email-enabled", email=email)).status_code == 200
    assert identity_of(person).relay_enabled is True
    assert is_signed_in(account)


def test_a_bad_signature_is_401_and_changes_nothing(account, notice):
    refused = deliver(notice("consent-revoked", bad_signature=True))

    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "ERR_4005"
    assert is_signed_in(account)
    assert deliver(notice("consent-revoked")).status_code == 200
    assert not is_signed_in(account)


def tampered(payload):
    header, body, signature = payload.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["events"] = claims["events"].replace("email-disabled", "consent-revoked")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{header}.{body}.{signature}"


def test_a_tampered_or_foreign_notice_changes_nothing(account, notice):
    disabled = notice("email-disabled", email="a@example.com")

    for payload in [tampered(disabled), notice("consent-revoked", audience="com.other"), "x.y.z"]:
        assert deliver(payload).status_code == 401

    assert is_signed_in(account)


def test_an_identity_token_is_no_notice(account, person):
    assert deliver(person.tokens()["identity_token"]).status_code == 401
    assert is_signed_in(account)


def test_a_notice_is_no_identity_token(account, guest, person, notice, refusal):
    tokens = person.tokens() | {"identity_token": notice("email-enabled", email="a@example.com")}

    assert refusal(person.signs_in(guest, tokens=tokens)) == (401, "ERR_4020")


def test_a_person_that_we_do_not_know_is_a_200(account, notice):
    assert deliver(notice("account-delete", sub="nobody")).status_code == 200
    assert is_signed_in(account)


def test_a_notice_that_comes_again_does_nothing_more(account, person, notice):
    payload = notice("consent-revoked")
    assert deliver(payload).status_code == 200
    account.signed_in()
    person.signs_in(account)

    assert deliver(payload).status_code == 200

    assert is_signed_in(account)


@pytest.mark.parametrize("kind", ["consent-revoked", "account-delete"])
def test_a_notice_from_before_the_last_sign_in_is_over(account, person, notice, kind):
    payload = notice(kind)
    apple = identity_of(person)
    apple.last_sign_in_at += timedelta(minutes=5)
    apple.save()

    assert deliver(payload).status_code == 200

    assert is_signed_in(account)


@pytest.mark.parametrize("body", [{}, {"payload": 7}, {"payload": ""}, {"payload": ["x"]}])
def test_a_body_that_is_no_notice_is_a_400(db, body):
    answer = Client().post("/webhooks/apple-id", body, content_type="application/json")

    assert answer.status_code == 400


def test_the_media_type_is_apples_affair(account, notice):
    body = json.dumps({"payload": notice("consent-revoked")})

    answer = Client().post("/webhooks/apple-id", body, content_type="text/plain")

    assert answer.status_code == 200
    assert not is_signed_in(account)


def test_without_apples_keys_a_notice_is_neither_believed_nor_lost(account, notice, sandbox):
    payload = notice("consent-revoked")
    identity_tokens.keys.clear()
    sandbox.control("apple/outage", service="auth", status=503, times=1)

    assert deliver(payload).status_code == 503
    assert is_signed_in(account)
    assert deliver(payload).status_code == 200
    assert not is_signed_in(account)


def test_a_guest_is_none_of_apples_business(account, new_signed_in, notice):
    other = new_signed_in()

    deliver(notice("consent-revoked"))

    assert is_signed_in(other)
    assert Session.objects.filter(user_id=other.user_id, revoked_at=None).count() == 1
    assert User.objects.get(id=account.user_id).closed_at is None
    assert UsedToken.objects.count() == 2
