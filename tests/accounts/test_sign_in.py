"""Sign in with Apple: a guest becomes the account, or part of the one that exists."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts import services
from accounts.apple import identity_tokens
from accounts.models import AppleIdentity, Device, Session, UsedToken, User
from credits import ledger_check
from credits import services as credit_services
from credits.services import Source
from generation.models import InputKind, Job, Quote, Sanction, Upload, Violation
from tests.helpers.job_driver import grant
from tests.helpers.pictures import uploaded

pytestmark = pytest.mark.django_db

SORA = "00000000-0000-4000-8000-000000000003"
ORDER = {"model_id": SORA, "prompt": "A red balloon over the sea"}


def ledger_adds_up():
    return ledger_check.find_discrepancies() == []


def bought(user_id, amount):
    credit_services.grant(
        user_id=user_id,
        amount=amount,
        source=Source.PURCHASE,
        reason="test",
        now=timezone.now(),
        transaction_id=str(uuid4()),
    )


@pytest.fixture
def account(guest, person):
    """Has signed in on a phone of its own; 10 credits."""
    answer = person.signs_in(guest)
    assert answer.status_code == 200, answer.content
    return guest


@pytest.fixture
def second_phone(account, new_signed_in):
    """Another guest, with a welcome of its own."""
    return new_signed_in()


def test_the_first_time_the_guest_becomes_the_account(guest, person):
    user_id = guest.user_id

    answer = person.signs_in(guest)

    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert set(body) == {"user_id", "is_guest", "merged", "credits_remaining", "session"}
    assert (body["user_id"], body["is_guest"], body["merged"]) == (user_id, False, False)
    assert body["credits_remaining"] == 10
    profile = guest.get("get-user-profile").json()
    assert (profile["id"], profile["is_guest"]) == (user_id, False)
    assert profile["email"] == person.email
    assert guest.check().json()["is_guest"] is False


def test_a_known_apple_account_takes_the_guest_in(account, second_phone, person):
    bought(second_phone.user_id, 20)
    guest_id = second_phone.user_id

    body = person.signs_in(second_phone).json()

    assert (body["user_id"], body["merged"]) == (account.user_id, True)
    # 10 and 20; the second welcome has lapsed.
    assert body["credits_remaining"] == 30
    assert credit_services.balance_of(guest_id).balance == 0
    assert User.objects.get(id=guest_id).closed_at is not None
    assert ledger_adds_up()


def test_everything_of_the_guest_moves(account, second_phone, person):
    quote = second_phone.post("quote-video", ORDER)
    job = second_phone.post("generate-video", ORDER, idempotency_key=str(uuid4()))
    assert (quote.status_code, job.status_code) == (200, 200), job.content
    picture = uploaded(second_phone)
    refused = Violation.objects.create(
        user_id=second_phone.user_id,
        at=timezone.now(),
        input=InputKind.PROMPT,
        moderator="blocklist",
        categories=["blocked"],
        step=Sanction.NONE,
    )

    person.signs_in(second_phone)

    job_id = job.json()["job_id"]
    assert str(Job.objects.get(id=job_id).user_id) == account.user_id
    assert str(Quote.objects.get(id=quote.json()["quote_id"]).user_id) == account.user_id
    assert str(Upload.objects.get(id=picture["upload_id"]).user_id) == account.user_id
    assert str(Violation.objects.get(id=refused.id).user_id) == account.user_id
    assert account.get(f"get-video-status?job_id={job_id}").status_code == 200
    device = Device.objects.get(device_id=second_phone.device_id)
    assert str(device.user_id) == account.user_id
    assert second_phone.check().json()["user_id"] == account.user_id


def test_a_key_that_the_guest_used_replays_for_the_account(account, second_phone, person):
    key = str(uuid4())
    first = second_phone.post("generate-video", ORDER, idempotency_key=key)

    person.signs_in(second_phone)
    again = second_phone.post("generate-video", ORDER, idempotency_key=key)

    assert again.json() == first.json()
    assert again.headers["X-Idempotent-Replay"] == "true"
    assert Job.objects.filter(user_id=account.user_id).count() == 1


def test_a_job_of_the_guest_that_is_cancelled_is_refunded_to_the_account(
    account, second_phone, person
):
    grant(second_phone.user_id, 10)
    for _ in range(3):  # the welcome, and 2 of the others
        job = second_phone.post("generate-video", ORDER, idempotency_key=str(uuid4())).json()
    person.signs_in(second_phone)
    before = account.balance()

    cancelled = account.post("cancel-video-job", {"job_id": job["job_id"]})

    assert (cancelled.json()["status"], cancelled.json()["refunded"]) == ("cancelled", True)
    assert account.balance() == before + 2
    assert ledger_adds_up()


def test_the_same_account_again_moves_nothing(account, person):
    entries = ledger_check.count_wallets_and_entries()

    body = person.signs_in(account).json()

    assert (body["user_id"], body["merged"]) == (account.user_id, False)
    assert body["credits_remaining"] == 10
    assert ledger_check.count_wallets_and_entries() == entries


def test_a_merged_guest_that_signs_in_again_moves_nothing(account, second_phone, person):
    person.signs_in(second_phone)
    entries = ledger_check.count_wallets_and_entries()

    body = person.signs_in(second_phone).json()

    assert (body["user_id"], body["merged"]) == (account.user_id, False)
    assert ledger_check.count_wallets_and_entries() == entries


def test_an_account_is_not_merged_into_another(account, new_signed_in, new_person, refusal):
    other = new_signed_in()
    other_person = new_person()
    other_person.signs_in(other)

    assert refusal(other_person.signs_in(account)) == (409, "ERR_4019")
    assert refusal(new_person().signs_in(account)) == (409, "ERR_4019")

    assert (account.balance(), other.balance()) == (10, 10)
    assert AppleIdentity.objects.count() == 2


def test_a_refused_sign_in_leaves_the_code_for_another(account, new_person, new_signed_in):
    stranger = new_person()
    tokens = stranger.tokens()
    assert stranger.signs_in(account, tokens=tokens).status_code == 409

    assert stranger.signs_in(new_signed_in(), tokens=tokens).status_code == 200


@pytest.mark.parametrize("banned", ["guest", "account"])
def test_a_suspended_account_takes_no_part(account, second_phone, person, refusal, banned):
    user_id = {"guest": second_phone, "account": account}[banned].user_id
    User.objects.filter(id=user_id).update(suspended_at=timezone.now())

    refused = person.signs_in(second_phone)

    assert refusal(refused) == (403, "ERR_4018")
    assert credit_services.balance_of(second_phone.user_id).balance == 10
    User.objects.filter(id=user_id).update(suspended_at=None)
    assert person.signs_in(second_phone).json()["merged"] is True


def test_an_account_without_a_welcome_takes_over_the_guests(guest, new_installation, person):
    without = guest.reinstalled().signed_in()
    assert without.answer["credits_remaining"] == 0
    person.signs_in(without)

    body = person.signs_in(guest).json()

    assert (body["merged"], body["credits_remaining"]) == (True, 10)
    assert without.get("get-user-profile").json()["initial_grant_claimed"] is True
    assert ledger_adds_up()


def test_a_reinstalled_app_gets_its_account_back(account, person):
    bought(account.user_id, 7)
    reinstalled = account.reinstalled().signed_in()
    assert reinstalled.answer["credits_remaining"] == 0

    body = person.signs_in(reinstalled).json()

    assert (body["user_id"], body["credits_remaining"]) == (account.user_id, 17)


def test_apples_refresh_token_is_kept_encrypted(guest, person, settings, sandbox):
    settings.APPLE_TOKEN_KEYS = ["a" * 32]
    person.signs_in(guest)
    kept = AppleIdentity.objects.get(sub=person.sub)

    settings.APPLE_TOKEN_KEYS = ["b" * 32, "a" * 32]
    refresh_token = identity_tokens.decrypt(kept.refresh_token_encrypted)

    assert refresh_token not in kept.refresh_token_encrypted
    identity_tokens.revoke(refresh_token, client_id=kept.client_id)
    assert [one["sub"] for one in sandbox.revoked()] == [person.sub]


def test_without_a_code_nothing_of_apples_is_kept(guest, person):
    tokens = person.tokens()
    del tokens["authorization_code"]

    assert person.signs_in(guest, tokens=tokens).status_code == 200
    assert AppleIdentity.objects.get(sub=person.sub).refresh_token_encrypted == ""


def test_a_sign_in_without_a_code_keeps_what_there_was(account, person):
    tokens = person.tokens()
    del tokens["authorization_code"]

    assert person.signs_in(account, tokens=tokens).status_code == 200
    assert AppleIdentity.objects.get(sub=person.sub).refresh_token_encrypted != ""


@pytest.mark.parametrize("written", [True, False, "true", "false"])
def test_apple_writes_flags_as_booleans_and_as_texts(guest, person, written):
    person.email = f"{uuid4().hex[:8]}@privaterelay.appleid.com"

    assert person.signs_in(guest, email_verified=written).status_code == 200

    kept = AppleIdentity.objects.get(sub=person.sub)
    assert kept.email_verified is (str(written).lower() == "true")
    assert kept.is_private_email is True


def test_the_old_refresh_token_leads_to_the_account_for_the_grace(account, second_phone, person):
    old = second_phone.refresh_token
    answer = person.signs_in(second_phone, keep=False)
    assert answer.json()["merged"] is True

    refreshed = second_phone.refresh(old)

    assert refreshed.status_code == 200, refreshed.content
    second_phone.session = refreshed.json()["session"]
    assert second_phone.get("get-user-profile").json()["id"] == account.user_id
    # Of the two answers to one token only the last goes on.
    assert second_phone.refresh(answer.json()["session"]["refresh_token"]).status_code == 401
    assert second_phone.refresh().status_code == 200


def test_after_the_grace_the_old_refresh_token_is_somebodys_copy(
    account, second_phone, person, settings
):
    settings.REFRESH_GRACE_SECONDS = 0
    old = second_phone.refresh_token
    person.signs_in(second_phone)

    assert second_phone.refresh(old).status_code == 401
    assert second_phone.refresh().status_code == 401


def test_the_old_access_tokens_of_a_merged_guest_end(
    account, second_phone, person, django_capture_on_commit_callbacks
):
    old = second_phone.session["access_token"]
    with django_capture_on_commit_callbacks(execute=True):
        person.signs_in(second_phone)

    assert second_phone.get("get-user-profile", access_token=old).status_code == 401
    assert second_phone.post("generate-video", ORDER, access_token=old).status_code == 401
    assert second_phone.get("get-user-profile").json()["id"] == account.user_id


def test_an_account_that_logs_out_leaves_the_phone(account, person, new_person):
    other = new_person()
    bought(account.user_id, 5)
    assert account.log_out().status_code == 200

    next_owner = account.check().json()

    assert (next_owner["is_new"], next_owner["is_guest"]) == (True, True)
    assert next_owner["credits_remaining"] == 0
    assert other.signs_in(account).json()["user_id"] == next_owner["user_id"]
    assert account.check().json()["user_id"] == next_owner["user_id"]


def test_a_guest_that_logs_out_keeps_the_phone(guest):
    user_id = guest.user_id
    guest.log_out()

    assert guest.check().json()["user_id"] == user_id


def test_the_first_session_ends_with_the_one_that_continues_it(
    guest, person, django_capture_on_commit_callbacks
):
    old = guest.session["access_token"]
    person.signs_in(guest)
    assert guest.get("get-user-profile", access_token=old).status_code == 200

    with django_capture_on_commit_callbacks(execute=True):
        guest.log_out()

    assert guest.get("get-user-profile", access_token=old).status_code == 401


def test_spent_tokens_are_swept_once_they_have_expired(guest, person):
    person.signs_in(guest)
    assert UsedToken.objects.count() == 1

    services.purge_used_tokens(now=timezone.now())
    assert UsedToken.objects.count() == 1
    services.purge_used_tokens(now=timezone.now() + timedelta(days=2))
    assert UsedToken.objects.count() == 0


def test_one_session_of_a_sign_in_is_listed(guest, person):
    person.signs_in(guest)

    listed = guest.get("sessions").json()["sessions"]

    assert [one["current"] for one in listed] == [True]
    assert Session.objects.count() == 2
