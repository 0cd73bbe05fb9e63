"""Deletion: the person goes, with all that is outside; the money record stays and adds up."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import services
from accounts.due_work import REVOKE_AT_APPLE
from accounts.models import (
    AppleIdentity,
    AppleRevocation,
    Consent,
    Device,
    Session,
    User,
    WelcomeClaim,
)
from accounts.signals import account_deleted
from credits import ledger_check
from credits import services as credit_services
from credits.errors import AccountSuspended
from credits.models import IdempotencyRecord, LedgerEntry, WalletState
from generation import cleanup
from generation.models import AccountMediaDeletion, JobStatus, ProviderRequest, Quote, Stage
from rendio.common.errors import Unauthorized
from tests.helpers.job_driver import JobDriver, create_job, kinds_of
from tests.helpers.phone import Phone
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def life():
    return JobDriver()


@pytest.fixture
def quick(sandbox):
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False)
    return sandbox


def delete(phone):
    answer = phone.post("delete-account", {})
    assert answer.status_code == 200, answer.content
    assert answer.json() == {"success": True}


def files_of(job):
    try:
        folders, names = default_storage.listdir(f"jobs/{job.id}")
        inner = [default_storage.listdir(f"jobs/{job.id}/{folder}")[1] for folder in folders]
        return [*names, *(name for found in inner for name in found)]
    except FileNotFoundError:
        return []


def erases_until_done(life):
    """Look after what was deleted whenever that is due; it comes to an end."""
    for _ in range(10):
        if not (row := AccountMediaDeletion.objects.order_by("due_at").first()):
            return
        life.now = max(life.now, row.due_at)
        cleanup.delete_account_media_due(now=life.now)
    raise AssertionError("there is still something to erase")


@pytest.fixture
def completed(phone, quick, life):
    """A job with its video and thumbnail."""
    job = life.run_until_done(create_job(phone, prompt="My own garden"))
    assert len(files_of(job)) == 2
    return job


# --- The person ----------------------------------------------------------------------------------


def test_all_sessions_end(phone, refusal):
    assert phone.get("get-user-profile").status_code == 200

    delete(phone)

    assert refusal(phone.get("get-user-profile")) == (401, "ERR_4005")
    refresh = {"refresh_token": phone.session["refresh_token"]}
    assert refusal(Phone().post("auth/refresh", refresh)) == (401, "ERR_4005")
    assert not Session.objects.filter(revoked_at=None).exists()


def test_nothing_that_says_who_it_was_stays(guest, person):
    person.signs_in(guest)
    guest.post("update-user-profile", {"language": "tr", "tos_version": "7"})
    guest.post("record-consent", {"kind": "terms", "version": "7"})
    user = User.objects.get()
    assert user.email == person.email

    delete(guest)

    user.refresh_from_db()
    assert (user.email, user.username, user.tos_version, user.language) == (None, None, None, "en")
    assert user.closed_at is not None
    assert not Device.objects.exists()
    assert not Consent.objects.exists()
    assert not AppleIdentity.objects.exists()
    assert Session.objects.get(revoked_at__isnull=False, device=None, continued_by=None)
    assert list(WelcomeClaim.objects.values_list("user", flat=True)) == [None]


def test_the_same_phone_starts_anew_without_a_second_welcome(phone):
    first = phone.user_id
    delete(phone)

    phone.session = {}
    phone.sign_in()

    assert phone.user_id != first
    assert phone.balance() == 0


def test_the_same_phone_reinstalled_gets_no_second_welcome_either(phone):
    delete(phone)

    phone.session = {}
    phone.device_id = str(uuid4())
    phone.sign_in()

    assert phone.balance() == 0


def test_a_welcome_that_was_decided_by_the_device_stays_decided_without_it(phone, sandbox):
    # A second call of the same phone died before its commit; Apple's bit may be its own.
    claim = WelcomeClaim.objects.create(
        token_hash="0" * 64,
        device_id=phone.device_id,
        started_at=timezone.now(),
        updates_in_doubt=1,
    )
    delete(phone)

    phone.session = {}
    phone.sign_in()

    assert phone.balance() == 0
    claim.refresh_from_db()
    assert claim.granted_at is not None


def test_a_second_time_is_refused_as_nobody(phone, refusal):
    user_id = phone.user_id
    delete(phone)

    assert refusal(phone.post("delete-account", {})) == (401, "ERR_4005")
    with pytest.raises(Unauthorized):  # also where the process has not heard of it yet
        services.delete_account(user_id=user_id, now=timezone.now())


def test_a_banned_user_cannot_leave_the_ban_behind(phone):
    with transaction.atomic():
        services.ban_user(
            user_id=phone.user_id, reason="fraud", acting_user_id=uuid4(), now=timezone.now()
        )

    with pytest.raises(AccountSuspended):
        services.delete_account(user_id=phone.user_id, now=timezone.now())

    assert Device.objects.exists()


def test_another_user_is_left_alone(phone, guest, refusal):
    assert refusal(phone.post("delete-account", {"user_id": guest.user_id})) == (403, "ERR_4006")

    delete(phone)

    assert guest.get("get-user-profile").status_code == 200
    assert guest.get("get-user-credits").json()["credits_remaining"] == 10


def test_deleting_needs_a_session(client, refusal):
    assert refusal(client.post("/v1/delete-account")) == (401, "ERR_4005")


def test_it_happens_as_a_whole_or_not_at_all(phone):
    def refuse(**_):
        raise IntegrityError("no")

    account_deleted.connect(refuse)
    try:
        assert phone.post("delete-account", {}).status_code == 503
    finally:
        account_deleted.disconnect(refuse)

    assert phone.get("get-user-profile").status_code == 200
    assert phone.generate(settings={"duration": 4}).status_code == 200
    delete(phone)


# --- The money -----------------------------------------------------------------------------------


def test_the_ledger_stays_and_nothing_is_spent_any_more(phone):
    phone.generate(settings={"duration": 4})
    user_id = phone.user_id

    delete(phone)

    with transaction.atomic():
        wallet = credit_services.lock_wallet(user_id=user_id)
        assert wallet.state == WalletState.CLOSED
        with pytest.raises(Unauthorized):
            credit_services.charge(wallet=wallet, amount=1, job_id=uuid4(), now=timezone.now())
    assert LedgerEntry.objects.count() == 2
    assert not IdempotencyRecord.objects.filter(user_id=user_id).exists()
    assert ledger_check.find_discrepancies() == []


# --- Media and jobs ------------------------------------------------------------------------------


def test_prompts_and_quotes_go_at_once_and_media_right_after(phone, completed, life):
    phone.post("quote-video", {"prompt": "A red balloon", "settings": {"duration": 4}})

    delete(phone)

    completed.refresh_from_db()
    assert (completed.prompt, completed.media_name, completed.thumbnail_name) == ("", "", "")
    assert completed.deleted_at is not None
    assert not Quote.objects.exists()
    cleanup.delete_account_media_due(now=life.now)
    assert files_of(completed) == []


def test_a_crash_after_the_commit_leaves_no_media(phone, completed, life):
    delete(phone)  # and no worker gets the message
    assert len(files_of(completed)) == 2

    erases_until_done(life)

    assert files_of(completed) == []
    assert not AccountMediaDeletion.objects.exists()


def test_storage_that_fails_is_asked_again(phone, completed, life, monkeypatch):
    delete(phone)
    with monkeypatch.context() as patch:
        patch.setattr(type(default_storage._wrapped), "delete", _fails)
        cleanup.delete_account_media_due(now=life.now)
    assert len(files_of(completed)) == 2

    erases_until_done(life)

    assert files_of(completed) == []


def _fails(*_):
    raise OSError("storage is gone")


def test_what_a_slow_worker_writes_after_the_files_went_goes_too(phone, completed, life):
    delete(phone)
    cleanup.delete_account_media_due(now=life.now)
    default_storage.save(f"jobs/{completed.id}/video.mp4", ContentFile(b"late"))

    erases_until_done(life)

    assert files_of(completed) == []


def test_another_users_media_stays(phone, completed, life, sandbox):
    other = Phone().sign_in()
    life.run_until_done(create_job(other))
    delete(other)

    erases_until_done(life)

    assert len(files_of(completed)) == 2


@pytest.mark.parametrize("stage", [Stage.SUBMIT, Stage.QUEUED, Stage.RUNNING, Stage.STORE])
@pytest.mark.parametrize("cancelling", [True, False])
def test_a_job_that_runs_ends_and_its_money_is_settled_once(
    phone, sandbox, life, stage, cancelling
):
    sandbox.provider(
        queue_seconds=1 if stage == Stage.QUEUED else 0,
        run_seconds=1 if stage == Stage.RUNNING else 0,
        webhooks=False,
    )
    job = create_job(phone)
    if stage != Stage.SUBMIT:
        job = life.run_until_done(job, until=lambda job: job.stage == stage)
    delete(phone)
    if not cancelling and stage != Stage.SUBMIT:
        # The provider is quicker than we are in asking it to stop.
        wait_for(lambda: "COMPLETED" in str(sandbox.jobs()).upper())

    life.run_until_done(job)
    erases_until_done(life)

    job.refresh_from_db()
    assert job.status in JobStatus.terminal()
    assert job.status == JobStatus.COMPLETED or cancelling or stage == Stage.SUBMIT
    settled = ["charge"] if job.status == JobStatus.COMPLETED else ["charge", "refund"]
    assert kinds_of(job.id) == settled
    assert (job.prompt, job.media_name, job.thumbnail_name) == ("", "", "")
    assert files_of(job) == []
    assert ledger_check.find_discrepancies() == []


def test_a_job_that_nobody_had_yet_is_not_sent_after_the_deletion(phone, quick, life):
    job = create_job(phone)
    delete(phone)

    life.run_until_done(job)

    assert job.status == JobStatus.CANCELLED
    assert not ProviderRequest.objects.exists()


def test_nothing_of_what_a_provider_said_about_a_job_stays(phone, completed, life):
    ProviderRequest.objects.update(error_detail="about My own garden")
    delete(phone)

    erases_until_done(life)

    request = ProviderRequest.objects.get()
    assert (request.error_detail, request.response_url) == ("", "")


# --- Apple ---------------------------------------------------------------------------------------


def revoked(sandbox):
    return [token["sub"] for token in sandbox.revoked()]


@pytest.fixture
def account(guest, person):
    """Signed in with Apple, whose refresh token we keep."""
    assert person.signs_in(guest).status_code == 200
    assert AppleIdentity.objects.get().refresh_token_encrypted
    return guest


def test_apples_token_is_revoked(account, person, sandbox):
    delete(account)

    REVOKE_AT_APPLE.run_batch(now=timezone.now())

    assert revoked(sandbox) == [person.sub]
    assert not AppleRevocation.objects.exists()


def test_an_outage_at_apple_holds_up_nobody_and_is_outlasted(account, person, sandbox):
    sandbox.control("apple/outage", service="auth", status=503, times=2)

    delete(account)
    now = timezone.now()
    for minutes in (0, 2, 10):
        REVOKE_AT_APPLE.run_batch(now=now + timedelta(minutes=minutes))

    assert revoked(sandbox) == [person.sub]
    assert not AppleRevocation.objects.exists()


def test_a_revocation_that_failed_waits_before_it_is_tried_again(account, sandbox):
    sandbox.control("apple/outage", service="auth", status=503, times=1)
    delete(account)
    now = timezone.now()
    assert REVOKE_AT_APPLE.run_batch(now=now) == 1

    assert REVOKE_AT_APPLE.run_batch(now=now + timedelta(seconds=30)) == 0

    assert revoked(sandbox) == []
    assert REVOKE_AT_APPLE.run_batch(now=now + timedelta(seconds=61)) == 1
    assert len(revoked(sandbox)) == 1


def test_signing_in_afterwards_is_a_new_account_without_a_second_welcome(account, person):
    first = account.user_id
    delete(account)

    account.session = None
    account.signed_in()
    body = person.signs_in(account).json()

    assert body["user_id"] != first
    assert (body["merged"], body["credits_remaining"]) == (False, 0)


def test_what_a_guest_agreed_to_becomes_the_accounts(account, person, new_signed_in):
    second = new_signed_in()
    second.post("record-consent", {"kind": "terms", "version": "9"})

    assert person.signs_in(second).json()["merged"] is True

    assert [one["version"] for one in second.get("consents").json()["consents"]] == ["9"]
