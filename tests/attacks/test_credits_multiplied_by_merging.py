"""An attacker puts the welcomes and codes of many phones into jobs, merges the phones into one
account, and ends the jobs there."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.apple import identity_tokens
from credits import ledger_check
from credits import services as credit_services
from generation.lifecycle import settle
from generation.models import Job
from generation.providers.base import FailureReason
from tests.accounts.conftest import Installation, Person, sign_in
from tests.helpers.job_driver import JobDriver
from tests.helpers.model_ids import SORA
from tests.helpers.sandbox_control import Sandbox

WELCOME, CODE = 10, 50
ORDER = {
    "model_id": str(SORA),
    "prompt": "A red balloon over the sea",
    "settings": {"duration": 12},
}


@pytest.fixture
def thief(db, sandbox):
    sandbox.provider(queue_seconds=600, webhooks=False)
    identity_tokens.keys.clear()
    terms = credit_services.CodeTerms(credits=CODE)
    credit_services.create_code(code="SPRING", terms=terms, now=timezone.now())
    return Person(sandbox)


def phone_with_a_code():
    phone = sign_in(Installation(), Sandbox())
    assert phone.post("redeem-code", {"code": "spring"}).status_code == 200
    assert phone.balance() == WELCOME + CODE
    return phone


def spend_all(phone):
    """Five jobs of 12 credits each, whose ids are returned."""
    answers = [phone.post("generate-video", ORDER, idempotency_key=str(uuid4())) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert phone.balance() == 0
    return [answer.json()["job_id"] for answer in answers]


def merged(thief, phone):
    """The phone becomes part of the account, with jobs on the way."""
    job_ids = spend_all(phone)
    assert thief.signs_in(phone).json()["merged"] is True
    return job_ids


def cancel(account, job_ids):
    for job_id in job_ids:
        answer = account.post("cancel-video-job", {"job_id": job_id})
        assert answer.json()["status"] == "cancelled"


def fail(sandbox, job_ids):
    sandbox.provider(queue_seconds=0, run_seconds=0, outcome="error", webhooks=False)
    life = JobDriver()
    for job_id in job_ids:
        life.run_until_done(Job.objects.get(id=job_id))


@pytest.fixture
def account(thief):
    account = phone_with_a_code()
    assert thief.signs_in(account).status_code == 200
    return account


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
def test_jobs_of_merged_phones_return_nothing_beside_what_the_account_holds(
    thief, account, sandbox, ending
):
    job_ids = [job_id for _ in range(2) for job_id in merged(thief, phone_with_a_code())]

    if ending == "cancelled":
        cancel(account, job_ids)
    else:
        fail(sandbox, job_ids)

    assert account.balance() == WELCOME + CODE
    assert ledger_check.find_discrepancies() == []


def test_cancelled_jobs_of_merged_phones_return_nothing_to_an_empty_account(thief, account):
    job_ids = [job_id for _ in range(2) for job_id in merged(thief, phone_with_a_code())]
    own = spend_all(account)

    cancel(account, job_ids)
    assert account.balance() == 0
    cancel(account, own)

    assert account.balance() == WELCOME + CODE
    assert ledger_check.find_discrepancies() == []


@pytest.mark.parametrize("own_first", [True, False])
def test_failed_jobs_of_merged_phones_and_of_the_account_add_up_to_one_of_each(
    thief, account, sandbox, own_first
):
    own = spend_all(account)
    job_ids = merged(thief, phone_with_a_code())

    fail(sandbox, own + job_ids if own_first else job_ids + own)

    assert account.balance() == WELCOME + CODE
    assert ledger_check.find_discrepancies() == []


def test_what_failed_jobs_returned_is_not_put_aside_in_a_new_job(thief, account):
    own = spend_all(account)
    for job_id in merged(thief, phone_with_a_code()):
        job = Job.objects.get(id=job_id)
        assert settle.fail(job, FailureReason.PROVIDER_ERROR, now=timezone.now())
    assert account.balance() == WELCOME + CODE
    aside = spend_all(account)

    cancel(account, own)
    cancel(account, aside)

    assert account.balance() == WELCOME + CODE
    assert ledger_check.find_discrepancies() == []
