"""retry-video-job: a new job with the inputs of a failed one, charged again."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.utils import timezone

from generation.catalogue import cache
from generation.lifecycle import settle
from generation.models import GenerationModel, Job, JobStatus
from generation.providers.base import FailureReason
from tests.helpers.job_driver import assert_completed, create_job, kinds_of
from tests.helpers.model_ids import SORA
from tests.helpers.phone import Phone, assert_refused


def retry(phone, job_id, *, key=None):
    return phone.post(
        "retry-video-job", {"job_id": str(job_id)}, Idempotency_Key=key or str(uuid4())
    )


@pytest.fixture
def failed(phone):
    """A failed job with its own prompt and settings, refunded 8 credits."""
    job = create_job(phone, prompt="A lighthouse", settings={"duration": 8, "aspect_ratio": "9:16"})
    assert settle.fail(job, FailureReason.PROVIDER_ERROR, now=timezone.now())
    assert phone.balance() == 10
    return job


def test_a_failed_job_is_ordered_again_and_becomes_a_video(phone, failed, instant_provider, life):
    answer = retry(phone, failed.id)

    job = Job.objects.get(id=answer.json()["job_id"])
    assert answer.json() == {
        "job_id": str(job.id), "status": "pending", "credits_used": 8, "credits_remaining": 2,
        "cancel_fee_after_start": 0, "settings": failed.settings,
    }  # fmt: skip
    assert (job.retry_of, job.prompt, job.settings) == (failed.id, "A lighthouse", failed.settings)
    life.run_until_done(job)
    assert_completed(job)
    assert kinds_of(failed.id) == ["charge", "refund"]
    assert phone.get("get-video-status", job_id=failed.id).json()["status"] == "failed"


def test_todays_price_is_paid(phone, failed):
    GenerationModel.objects.filter(id=SORA).update(base_price_usd="0.50")
    cache.invalidate()

    assert retry(phone, failed.id).json()["credits_used"] == 10


def test_the_same_key_pays_once(phone, failed):
    key = str(uuid4())
    first = retry(phone, failed.id, key=key)
    GenerationModel.objects.filter(id=SORA).update(is_available=False)
    cache.invalidate()

    again = retry(phone, failed.id, key=key)

    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["X-Idempotent-Replay"] == "true"
    assert phone.balance() == 2


def test_the_key_is_required_and_bound_to_its_job(phone, failed):
    key = str(uuid4())
    assert_refused(phone.post("retry-video-job", {"job_id": str(failed.id)}), 400, "ERR_4009")
    assert retry(phone, failed.id, key=key).status_code == 200

    assert_refused(retry(phone, uuid4(), key=key), 422, "ERR_4010")


@pytest.mark.parametrize("status", sorted(set(JobStatus) - {JobStatus.FAILED}))
def test_a_job_that_did_not_fail_is_not_repeated(phone, failed, status):
    Job.objects.filter(id=failed.id).update(status=status, media_name="x")

    assert_refused(retry(phone, failed.id), 409, "ERR_4019")

    Job.objects.filter(id=failed.id).update(status=JobStatus.FAILED, media_name="")
    assert retry(phone, failed.id).status_code == 200


def test_a_model_that_is_gone_is_404_and_nothing_is_charged(phone, failed):
    GenerationModel.objects.filter(id=SORA).update(is_available=False)
    cache.invalidate()

    assert_refused(retry(phone, failed.id), 404, "ERR_4002")

    assert phone.balance() == 10


def test_settings_that_the_model_no_longer_takes_are_named(phone, failed):
    only_short = {"duration": {"allowed": [4], "default": 4}}
    GenerationModel.objects.filter(id=SORA).update(settings=only_short)
    cache.invalidate()

    details = assert_refused(retry(phone, failed.id), 400, "ERR_4008")

    # Settings that are gone, and a duration that is.
    assert list(details["fields"]) == [
        "settings.resolution", "settings.aspect_ratio", "settings.duration"
    ]  # fmt: skip
    assert phone.balance() == 10


def test_a_strangers_job_and_a_deleted_one_are_nowhere(phone, failed):
    stranger = Phone().sign_in()
    assert_refused(retry(stranger, failed.id), 404, "ERR_4007")
    phone.post("delete-video-job", {"job_id": str(failed.id)})

    assert_refused(retry(phone, failed.id), 404, "ERR_4007")


def test_too_few_credits_are_told(phone, failed):
    create_job(phone, settings={"duration": 8})

    details = assert_refused(retry(phone, failed.id), 402, "ERR_4001")

    assert details == {"required": 8, "available": 2}
