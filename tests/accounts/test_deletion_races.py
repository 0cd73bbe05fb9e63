"""Deletion against what happens at the same moment, with real commits."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import connections, transaction

from accounts.models import AppleIdentity, Session, User
from credits import ledger_check
from credits import services as credit_services
from generation.models import AccountMediaDeletion, Job, JobStatus
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import JobDriver, kinds_of
from tests.helpers.phone import Phone
from tests.helpers.wait import wait_for


def test_a_job_ordered_while_the_account_goes_is_refused_or_taken_back(committed, sandbox):
    for _ in range(5):
        phone, life = Phone().sign_in(), JobDriver()

        ordered, deleted = at_once(
            lambda phone=phone: phone.generate(settings={"duration": 4}),
            lambda phone=phone: phone.post("delete-account", {}),
        )

        assert deleted.status_code == 200
        assert ordered.status_code in {200, 401}
        for job in Job.objects.filter(user_id=phone.user_id):
            life.run_until_done(job)
            assert job.status == JobStatus.CANCELLED
            assert kinds_of(job.id) == ["charge", "refund"]
            assert AccountMediaDeletion.objects.filter(job=job).exists()
    assert ledger_check.find_discrepancies() == []


def test_of_two_deletions_at_once_one_does_it(committed, sandbox):
    phone = Phone().sign_in()

    answers = at_once(*[lambda: phone.post("delete-account", {})] * 2)

    assert sorted(answer.status_code for answer in answers) == [200, 401]
    assert User.objects.get(id=phone.user_id).closed_at is not None


@pytest.fixture
def while_locked(committed, lock_waiters):
    """Holds a lock while calls are made one after the other, each until it waits."""

    def run(lock, *calls):
        with ThreadPoolExecutor(len(calls)) as pool:
            with transaction.atomic():
                lock()
                started = []
                for number, call in enumerate(calls, start=1):
                    started.append(pool.submit(closing, call))
                    wait_for(lambda number=number: lock_waiters("") == number)
            return [one.result() for one in started]

    return run


def closing(call):
    try:
        return call()
    finally:
        connections.close_all()


NO_LOCK_UP = {(401, "ERR_4005"), (401, "ERR_4020"), (503, "ERR_5004")}


def test_a_deletion_between_two_sign_ins_locks_nobody_up(
    committed_guest, person, while_locked, refusal
):
    """The second sign-in holds the Apple identity, which the deletion has not seen, and waits for
    the wallet, which the deletion holds."""
    tokens = [person.tokens() for _ in range(2)]

    first, deleted, second = while_locked(
        lambda: credit_services.lock_wallet(user_id=committed_guest.user_id),
        lambda: person.signs_in(committed_guest, tokens=tokens[0], keep=False),
        lambda: committed_guest.post("delete-account", {}),
        lambda: person.signs_in(committed_guest, tokens=tokens[1], keep=False),
    )

    assert (first.status_code, deleted.status_code) == (200, 200)
    assert second.status_code == 200 or refusal(second) in NO_LOCK_UP
    assert User.objects.get(id=committed_guest.user_id).closed_at is not None
    assert not AppleIdentity.objects.filter(sub=person.sub).exists()


def test_a_device_check_that_waits_for_a_deletion_is_refused_and_the_next_is_a_new_guest(
    committed_guest, while_locked, refusal
):
    sessions = Session.objects.filter(user_id=committed_guest.user_id).select_for_update()
    user_id = committed_guest.user_id

    deleted, checked = while_locked(
        lambda: list(sessions),
        lambda: committed_guest.post("delete-account", {}),
        committed_guest.check,
    )

    assert deleted.status_code == 200
    assert refusal(checked) == (401, "ERR_4005")
    assert committed_guest.signed_in().user_id != user_id
    assert committed_guest.balance() == 0


def test_sign_ins_checks_and_deletions_at_once_lock_nobody_up(
    committed, new_installation, new_person, refusal
):
    for _ in range(4):
        person, account, guest = new_person(), *(new_installation().signed_in() for _ in "ag")
        person.signs_in(account)
        calls = [
            *(partial(phone.post, "delete-account", {}) for phone in (account, guest)),
            *(
                partial(person.signs_in, phone, tokens=person.tokens(), keep=False)
                for phone in (account, guest, guest)
            ),
            *(phone.check for phone in (account, guest)),
            account.refresh,
        ]

        answers = at_once(*calls)

        # 409: a sign-in that finds the account before its deletion and its Apple account after.
        expected = NO_LOCK_UP | {(409, "ERR_4019")}
        for answer in answers:
            assert answer.status_code == 200 or refusal(answer) in expected, answer.content
        assert 200 in {answer.status_code for answer in answers[:2]}
    assert ledger_check.find_discrepancies() == []
