"""Concurrent requests to real web processes, with real commits."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import requests
from django.db import connection, transaction
from django.utils import timezone

from credits import ledger_check
from credits import services as credit_services
from credits.models import IdempotencyRecord, LedgerEntry
from generation.models import Job
from rendio.local.data_dir import DataDir
from rendio.local.stack import Stack
from tests.helpers.job_driver import serves, stack_environment
from tests.helpers.model_ids import SORA
from tests.helpers.phone import Phone
from tests.helpers.wait import wait_for


@pytest.fixture(scope="module")
def web(committed_database):
    """The URL of web processes as in production. Without a worker, so jobs stay pending."""
    environment = stack_environment(committed_database, LOG_LEVEL="WARNING")
    with Stack(data_dir=DataDir.from_environment(), env=environment) as stack:
        stack.start("web")
        wait_for(lambda: serves(stack.url), describe=lambda: stack.log("web"))
        yield stack.url


@pytest.fixture
def guest(committed, sandbox):
    """A committed guest with 10 credits. Its jobs are cancelled at the end."""
    guest = Phone().sign_in()
    yield guest
    for job in Job.objects.filter(user_id=guest.user_id, status="pending"):
        assert guest.post("cancel-video-job", {"job_id": str(job.id)}).json()["refunded"]
    assert not [d for d in ledger_check.find_discrepancies() if d.wallet_id == wallet_of(guest)]


def wallet_of(guest):
    return LedgerEntry.objects.filter(wallet__user_id=guest.user_id).first().wallet_id


def order_at_once(web, guest, keys, **body):
    """Send one request for each key at the same moment."""
    barrier = threading.Barrier(len(keys))
    order = {"model_id": str(SORA), "prompt": "A red balloon over the sea"} | body

    def post(key):
        barrier.wait(timeout=60)
        return requests.post(
            f"{web}/v1/generate-video",
            json=order,
            headers={
                "Authorization": f"Bearer {guest.session['access_token']}",
                "Idempotency-Key": key,
            },
            timeout=60,
        )

    with ThreadPoolExecutor(len(keys)) as pool:
        return list(pool.map(post, keys))


def test_fifty_requests_with_one_key_are_one_charge_and_fifty_equal_answers(web, guest):
    answers = order_at_once(web, guest, [str(uuid4())] * 50)

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    replays = Counter(answer.headers.get("X-Idempotent-Replay") for answer in answers)
    assert replays == {"true": 49, None: 1}
    assert guest.balance() == 6
    assert Job.objects.filter(user_id=guest.user_id).count() == 1


def test_sixty_keys_on_ten_credits_at_four_each_are_two_jobs(web, guest):
    answers = order_at_once(web, guest, [str(uuid4()) for _ in range(60)])

    assert Counter(answer.status_code for answer in answers) == {200: 2, 402: 58}
    refused = [answer.json()["error"] for answer in answers if answer.status_code == 402]
    assert all(error["details"] == {"required": 4, "available": 2} for error in refused)
    assert guest.balance() == 2
    assert Job.objects.filter(user_id=guest.user_id).count() == 2
    assert IdempotencyRecord.objects.filter(user_id=guest.user_id).count() == 2


def test_the_refused_of_a_race_get_through_with_their_keys_once_credits_have_come(web, guest):
    keys = [str(uuid4()) for _ in range(6)]
    first = order_at_once(web, guest, keys)
    with transaction.atomic():
        credit_services.grant(
            user_id=guest.user_id, amount=14, source=credit_services.Source.SUPPORT,
            reason="test", now=timezone.now(),
        )  # fmt: skip

    second = order_at_once(web, guest, keys)

    assert {answer.status_code for answer in second} == {200}
    assert guest.balance() == 0
    for before, after in zip(first, second, strict=True):
        assert (before.status_code == 200) == ("X-Idempotent-Replay" in after.headers)
    assert Job.objects.filter(user_id=guest.user_id).count() == 6


def test_two_bodies_under_one_key_at_once_are_one_job(web, guest):
    key = str(uuid4())
    with ThreadPoolExecutor(2) as pool:
        answers = [
            answer
            for batch in pool.map(
                lambda prompt: order_at_once(web, guest, [key] * 10, prompt=prompt),
                ["A red balloon", "A blue balloon"],
            )
            for answer in batch
        ]

    assert Counter(answer.status_code for answer in answers) == {200: 10, 422: 10}
    assert guest.balance() == 6


def test_a_job_cancelled_by_many_at_once_is_refunded_once(web, guest):
    job_id = order_at_once(web, guest, [str(uuid4())])[0].json()["job_id"]
    barrier = threading.Barrier(20)

    def cancel(_):
        barrier.wait(timeout=60)
        return requests.post(
            f"{web}/v1/cancel-video-job",
            json={"job_id": job_id},
            headers={"Authorization": f"Bearer {guest.session['access_token']}"},
            timeout=60,
        )

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(cancel, range(20)))

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert guest.get("get-video-status", job_id=job_id).json()["refunded"] is True
    assert guest.balance() == 10
    assert LedgerEntry.objects.filter(job_id=job_id, kind="refund").count() == 1


def test_a_transaction_that_fails_leaves_no_record_and_its_key_works_afterwards(guest):
    """The database rejects the job's row at the end of the transaction."""
    key = str(uuid4())
    with connection.cursor() as cursor:
        cursor.execute(
            """CREATE FUNCTION test_refuse_job() RETURNS trigger LANGUAGE plpgsql AS $$
               BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = 'disk_full'; END $$;
               CREATE TRIGGER test_refuse_job BEFORE INSERT ON generation_job
               FOR EACH ROW EXECUTE FUNCTION test_refuse_job()"""
        )
    try:
        failed = guest.generate(key=key)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION test_refuse_job CASCADE")

    assert (failed.status_code, failed.json()["error"]["code"]) == (503, "ERR_6001")
    assert guest.balance() == 10
    assert not IdempotencyRecord.objects.filter(user_id=guest.user_id).exists()
    assert guest.generate(key=key).status_code == 200


def test_a_request_that_waits_too_long_for_the_first_is_409(guest):
    """Another connection holds the wallet's lock longer than lock_timeout."""
    held, release = threading.Event(), threading.Event()

    def hold():
        try:
            with transaction.atomic():
                credit_services.lock_wallet(user_id=guest.user_id)
                held.set()
                release.wait(timeout=60)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(timeout=30)
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        key = str(uuid4())
        answer = guest.generate(key=key)
    finally:
        release.set()
        holder.join()
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "ERR_4011")
    assert int(answer.headers["Retry-After"]) > 0
    assert guest.generate(key=key).status_code == 200
