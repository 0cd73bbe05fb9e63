"""Orders of several images: each is stored, and the share of those that do not come is refunded."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import transaction

from credits.ledger_check import find_discrepancies
from credits.models import LedgerEntry
from generation.lifecycle import dead_letters, settle, store
from generation.models import Job, JobStatus
from generation.providers.base import FailureReason
from tests.generation.kinds.test_images import download
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import assert_completed, create_job, kinds_of, send_webhook
from tests.helpers.model_ids import BANANA, FLUX, QWEN
from tests.helpers.phone import Phone, assert_refused

# Each image costs two credits.
PRICE = 2


def order(phone: Phone, count: int, **body: Any) -> Job:
    return create_job(phone, model_id=str(FLUX), settings={"num_outputs": count}, **body)


def images_of(phone: Phone, job: Job) -> list[dict[str, Any]]:
    answer = phone.get("get-video-status", job_id=job.id)
    assert answer.status_code == 200, answer.content
    images: list[dict[str, Any]] = answer.json()["images"]
    return images


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_job_has_as_many_images_as_were_ordered_and_paid(customer, instant_provider, life, count):
    before = customer.balance()
    job = order(customer, count)
    quoted = customer.post(
        "quote-video",
        {"model_id": str(FLUX), "prompt": "A cat", "settings": {"num_outputs": count}},
    ).json()
    life.run_until_done(job)

    assert_completed(job)
    assert job.credits == quoted["credits"] == before - customer.balance() == PRICE * count
    assert job.requests.get().cost_usd * 1000 == 24 * count
    images = images_of(customer, job)
    assert len({image["image_url"] for image in images}) == count
    for image in images:
        assert download(image["image_url"]).size == (image["width"], image["height"])
    [listed] = customer.get("get-jobs").json()["jobs"]
    assert len(listed["images"]) == count


def test_of_four_images_three_come_and_a_quarter_is_refunded_once(customer, instant_provider, life):
    before = customer.balance()
    instant_provider.provider(outcome="images_missing")
    job = order(customer, 4)
    life.run_until_done(job)

    job.refresh_from_db()
    assert (job.status, job.credits, job.credits_refunded) == (JobStatus.COMPLETED, 8, 2)
    assert kinds_of(job.id) == ["charge", "refund"]
    assert customer.balance() == before - 6
    status = customer.get("get-video-status", job_id=job.id).json()
    assert (status["refunded"], status["credits_refunded"], status["error"]) == (True, 2, None)
    assert len(status["images"]) == 3
    assert find_discrepancies() == []
    [entry] = LedgerEntry.objects.filter(job_id=job.id, kind="refund")
    assert (entry.change, entry.reason) == (2, "1 of 4 images missing")


def test_what_is_delivered_twice_is_refunded_once(customer, sandbox, life, signer):
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False, outcome="images_missing")
    job = order(customer, 4)
    life.queue = "medium"
    life.submit()

    for _ in range(3):
        assert send_webhook(signer, job) == 200
    life.run_until_done(job)
    for _ in range(2):
        assert send_webhook(signer, job) == 200
    life.advance(5).deliver()
    life.store()

    job.refresh_from_db()
    assert (job.credits_refunded, kinds_of(job.id)) == (2, ["charge", "refund"])
    assert len(images_of(customer, job)) == 3
    assert find_discrepancies() == []


def test_two_workers_with_the_same_result_refund_once(guest, instant_provider, life):
    instant_provider.provider(outcome="images_missing")
    job = order(guest, 4)
    life.run_until_done(job, until=lambda job: job.stage == "store")
    [item] = store.start_items([job], now=life.now)
    [other] = store.start_items([job], now=life.now)
    found = {id(one): store._fetch_and_store(one) for one in (item, other)}

    at_once(*(lambda one=one: store._apply(one, found[id(one)], life.now) for one in (item, other)))

    job.refresh_from_db()
    assert (job.status, kinds_of(job.id)) == (JobStatus.COMPLETED, ["charge", "refund"])
    assert all(default_storage.exists(image["media_name"]) for image in job.images)
    assert find_discrepancies() == []


@pytest.mark.parametrize("outcome", ["images_flagged", "first_media_404"])
def test_an_image_that_cannot_be_delivered_is_refunded(customer, instant_provider, life, outcome):
    before = customer.balance()
    instant_provider.provider(outcome=outcome)
    job = order(customer, 2)
    life.run_until_done(job)

    job.refresh_from_db()
    assert (job.status, job.credits_refunded) == (JobStatus.COMPLETED, PRICE)
    assert len(images_of(customer, job)) == 1
    assert customer.balance() == before - PRICE
    assert find_discrepancies() == []


def test_without_any_image_all_is_refunded(customer, instant_provider, life):
    before = customer.balance()
    instant_provider.provider(outcome="images_flagged")
    job = order(customer, 1)
    life.run_until_done(job)

    job.refresh_from_db()
    assert (job.status, job.error_code) == (JobStatus.FAILED, "ERR_4016")
    assert customer.balance() == before
    assert images_of(customer, job) == []


def test_images_that_come_after_the_refund_are_all_free(customer, instant_provider, life):
    before = customer.balance()
    instant_provider.provider(outcome="images_missing")
    job = order(customer, 4)
    life.run_until_done(job, until=lambda job: job.stage == "store")
    assert settle.fail(job, FailureReason.TIMEOUT, now=life.now)
    with transaction.atomic():
        dead_letters.refetch_result(job.id, now=life.now)
    job.refresh_from_db()
    life.run_until_done(job)

    job.refresh_from_db()
    assert (job.status, kinds_of(job.id)) == (JobStatus.FAILED, ["charge", "refund"])
    assert customer.balance() == before
    assert len(images_of(customer, job)) == 3


def test_more_images_than_were_ordered_are_not_stored(customer, instant_provider, life):
    job = order(customer, 4)
    life.run_until_done(job, until=lambda job: job.stage == "store")
    Job.objects.filter(id=job.id).update(settings={"num_outputs": 2})
    life.run_until_done(job)

    assert len(images_of(customer, job)) == 2


def test_all_files_of_a_deleted_job_are_deleted(customer, instant_provider, life):
    job = order(customer, 3)
    life.run_until_done(job)
    job.refresh_from_db()
    names = [image[name] for image in job.images for name in ("media_name", "thumbnail_name")]
    assert len(names) == 6
    assert all(map(default_storage.exists, names))

    assert customer.post("delete-video-job", {"job_id": str(job.id)}).status_code == 200

    assert not any(map(default_storage.exists, names))
    assert Job.objects.get(id=job.id).images == []


def test_the_export_has_every_image(customer, instant_provider, life):
    job = order(customer, 2)
    life.run_until_done(job)

    exported = customer.get("export-user-data").json()["jobs"]

    assert [len(one["images"]) for one in exported] == [2]


def test_the_shares_of_a_price_by_multipliers_are_whole_credits(phone):
    settings = {"num_outputs": 2, "resolution": "4K"}
    assert_refused(phone.generate(model_id=str(BANANA), settings=settings), 402, "ERR_4001")

    assert create_job(phone, model_id=str(QWEN), settings={"num_outputs": 3}).credits == 6
