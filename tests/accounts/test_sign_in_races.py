"""Sign-ins at the same time, with real commits: everything moves once."""

from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from accounts import services
from accounts.models import AppleIdentity, Device, Session, User
from credits import ledger_check
from credits import services as credit_services
from credits.models import Kind, LedgerEntry
from credits.services import Source
from generation.models import Job
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("committed")

SORA = "00000000-0000-4000-8000-000000000003"
ORDER = {"model_id": SORA, "prompt": "A red balloon over the sea"}


def ledger_adds_up():
    return ledger_check.find_discrepancies() == []


def balance(user_id):
    return credit_services.balance_of(user_id).balance


def transfers_of(*user_ids):
    entries = LedgerEntry.objects.filter(wallet__user_id__in=user_ids, kind=Kind.TRANSFER)
    return sorted(entries.values_list("change", flat=True))


def buy(user_id, amount):
    with transaction.atomic():
        credit_services.grant(
            user_id=user_id,
            amount=amount,
            source=Source.PURCHASE,
            reason="test",
            now=timezone.now(),
            transaction_id=str(uuid4()),
        )


@pytest.fixture
def account(committed_guest, person):
    assert person.signs_in(committed_guest).status_code == 200
    return committed_guest


@pytest.fixture
def second_phone(account, new_installation):
    phone = new_installation().signed_in()
    buy(phone.user_id, 20)
    return phone


def test_six_merges_of_one_guest_at_once_are_one(account, second_phone, person, at_once):
    guest_id = second_phone.user_id
    tokens = [person.tokens() for _ in range(6)]

    answers = at_once(
        *(lambda one=one: person.signs_in(second_phone, tokens=one, keep=False) for one in tokens)
    )

    signed_in = [answer.json() for answer in answers if answer.status_code == 200]
    # Who came late finds the guest's access token ended.
    assert {answer.status_code for answer in answers} <= {200, 401}
    assert {body["user_id"] for body in signed_in} == {account.user_id}
    assert [body["merged"] for body in signed_in].count(True) == 1
    assert (balance(guest_id), balance(account.user_id)) == (0, 30)
    assert transfers_of(guest_id, account.user_id) == [-20, 20]
    assert ledger_adds_up()
    for body in signed_in:
        second_phone.session = body["session"]
        assert second_phone.refresh().status_code == 200


def test_one_identity_token_at_once_from_six_is_one_sign_in(committed_guest, person, at_once):
    tokens = person.tokens()
    del tokens["authorization_code"]

    answers = at_once(*[lambda: person.signs_in(committed_guest, tokens=tokens, keep=False)] * 6)

    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 5


def test_four_phones_at_once_into_one_account(account, new_installation, person, at_once):
    phones = [new_installation().signed_in() for _ in range(4)]
    for phone in phones:
        buy(phone.user_id, 5)
    guests = [phone.user_id for phone in phones]
    tokens = [person.tokens() for _ in phones]

    answers = at_once(
        *(
            lambda phone=phone, one=one: person.signs_in(phone, tokens=one)
            for phone, one in zip(phones, tokens, strict=True)
        )
    )

    assert [answer.status_code for answer in answers] == [200] * 4
    assert {answer.json()["user_id"] for answer in answers} == {account.user_id}
    assert all(answer.json()["merged"] for answer in answers)
    assert balance(account.user_id) == 10 + 4 * 5
    assert {balance(guest) for guest in guests} == {0}
    assert ledger_adds_up()


def test_four_guests_at_once_with_an_apple_account_that_is_new(
    committed, new_installation, person, at_once
):
    phones = [new_installation().signed_in() for _ in range(4)]
    tokens = [person.tokens() for _ in phones]

    answers = at_once(
        *(
            lambda phone=phone, one=one: person.signs_in(phone, tokens=one)
            for phone, one in zip(phones, tokens, strict=True)
        )
    )

    bodies = [answer.json() for answer in answers]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({body["user_id"] for body in bodies}) == 1
    assert [body["merged"] for body in bodies].count(False) == 1
    assert balance(bodies[0]["user_id"]) == 10
    assert AppleIdentity.objects.filter(sub=person.sub).count() == 1
    assert ledger_adds_up()


def test_one_guest_at_once_into_two_accounts_goes_into_one(
    account, second_phone, new_installation, new_person, person, at_once
):
    other_person, other = new_person(), new_installation().signed_in()
    other_person.signs_in(other)
    total = balance(account.user_id) + balance(other.user_id) + 20
    calls = [(one, one.tokens()) for one in (person, other_person) * 4]

    answers = at_once(
        *(
            lambda one=one, tokens=tokens: one.signs_in(second_phone, tokens=tokens, keep=False)
            for one, tokens in calls
        )
    )

    assert {answer.status_code for answer in answers} <= {200, 401, 409}
    merged = [answer for answer in answers if answer.status_code == 200 and answer.json()["merged"]]
    assert len(merged) == 1
    assert balance(account.user_id) + balance(other.user_id) == total
    assert ledger_adds_up()


def test_orders_during_a_merge_are_paid_once_and_belong_to_the_account(
    account, second_phone, person, at_once
):
    guest_id, tokens = second_phone.user_id, person.tokens()
    orders = [
        lambda: second_phone.post("generate-video", ORDER, idempotency_key=str(uuid4()))
        for _ in range(6)
    ]

    *ordered, signed_in = at_once(
        *orders, lambda: person.signs_in(second_phone, tokens=tokens, keep=False)
    )

    assert signed_in.status_code == 200
    assert {answer.status_code for answer in ordered} <= {200, 401}
    paid = [answer.json() for answer in ordered if answer.status_code == 200]
    assert Job.objects.filter(user_id=guest_id).count() == 0
    assert Job.objects.filter(user_id=account.user_id).count() == len(paid)
    assert balance(guest_id) == 0
    # The guest's welcome, of which the orders were paid first or that lapsed, is no part of it.
    assert balance(account.user_id) <= 30
    assert ledger_adds_up()
    for job in paid:
        cancelled = account.post("cancel-video-job", {"job_id": job["job_id"]})
        assert cancelled.json()["refunded"] is True
    assert ledger_adds_up()


def test_cancellations_during_a_merge_refund_once(account, second_phone, person, at_once):
    jobs = [
        second_phone.post("generate-video", ORDER, idempotency_key=str(uuid4())).json()
        for _ in range(5)
    ]
    total = balance(second_phone.user_id) + sum(job["credits_used"] for job in jobs)
    tokens = person.tokens()

    *_, signed_in = at_once(
        *(
            lambda job=job: second_phone.post("cancel-video-job", {"job_id": job["job_id"]})
            for job in jobs
        ),
        lambda: person.signs_in(second_phone, tokens=tokens, keep=False),
    )

    assert signed_in.status_code == 200
    assert balance(second_phone.user_id) == 0
    for job in jobs:
        account.post("cancel-video-job", {"job_id": job["job_id"]})
    ended = Job.objects.filter(id__in=[job["job_id"] for job in jobs])
    assert {job.status for job in ended} == {"cancelled"}
    assert {str(job.user_id) for job in ended} == {account.user_id}
    # All is back but for that part of the second welcome that had not been spent when it lapsed.
    assert 10 + total - 10 <= balance(account.user_id) <= 10 + total
    assert ledger_adds_up()


def test_a_sign_in_during_a_ban_waits_and_is_refused(
    account, second_phone, person, at_once, lock_waiters, refusal
):
    tokens = person.tokens()
    banned = []

    def ban():
        with transaction.atomic():
            services.ban_user(
                user_id=account.user_id,
                reason="fraud",
                acting_user_id=account.user_id,
                now=timezone.now(),
            )
            banned.append(True)
            wait_for(lambda: lock_waiters("credits_wallet"))

    def sign_in():
        wait_for(lambda: banned)
        return person.signs_in(second_phone, tokens=tokens)

    _, answer = at_once(ban, sign_in)

    assert refusal(answer) == (403, "ERR_4018")
    assert balance(second_phone.user_id) == 30
    assert User.objects.get(id=second_phone.user_id).closed_at is None


def test_a_device_check_during_a_merge_gives_the_account_or_the_guest(
    account, second_phone, person, at_once
):
    guest_id, tokens = second_phone.user_id, person.tokens()
    checks = [
        lambda: second_phone.post(
            "device-check",
            second_phone.check_body,
        )
        for _ in range(6)
    ]

    *checked, signed_in = at_once(
        *checks, lambda: person.signs_in(second_phone, tokens=tokens, keep=False)
    )

    assert signed_in.json()["merged"] is True
    assert [answer.status_code for answer in checked] == [200] * 6
    assert {answer.json()["user_id"] for answer in checked} <= {guest_id, account.user_id}
    assert not Session.objects.filter(user_id=guest_id, revoked_at=None).exists()
    device = Device.objects.get(device_id=second_phone.device_id)
    assert str(device.user_id) == account.user_id


def test_device_checks_at_once_on_a_phone_that_was_left_are_one_guest(account, at_once):
    account.log_out()
    body = account.check_body

    answers = at_once(*[lambda: account.post("device-check", body)] * 6)

    assert [answer.status_code for answer in answers] == [200] * 6
    assert len({answer.json()["user_id"] for answer in answers}) == 1
    assert [answer.json()["is_new"] for answer in answers].count(True) == 1
    assert {answer.json()["credits_remaining"] for answer in answers} == {0}
