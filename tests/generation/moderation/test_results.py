"""Results under moderation: looked at before their owner sees them, and never for ever."""

from __future__ import annotations

from decimal import Decimal

import pytest

from generation.models import ProviderRequest, Stage, Violation
from tests.helpers.job_driver import assert_completed, assert_refunded, create_job, send_webhook

pytestmark = pytest.mark.usefixtures("short_deadlines")

COST = Decimal("0.40")  # four seconds of Sora 2 at fal


@pytest.fixture
def judged(openai, settings):
    """Results are judged by OpenAI; a call says how it answers."""
    settings.MODERATION_OUTPUT_FRAMES = 3
    return openai


def pictures_shown(sandbox):
    inputs = [part for asked in sandbox.requests("openai") for part in asked["body"]["input"]]
    return [part["image_url"]["url"] for part in inputs if part["type"] == "image_url"]


def cost_of(job):
    return ProviderRequest.objects.get(job=job).cost_usd


def test_frames_from_all_over_the_video_are_shown_and_then_it_is_kept(
    phone, instant_provider, life, judged, storage
):
    job = create_job(phone)

    life.run_until_done(job)

    assert_completed(job)
    assert len(set(pictures_shown(instant_provider))) == 3
    assert len(storage.names()) == 2


def test_a_refused_video_is_refunded_booked_and_nowhere_kept(
    phone, instant_provider, life, judged, storage
):
    job = create_job(phone)
    judged(flag_images=True, category="sexual")

    life.run_until_done(job)

    assert_refunded(job, code="ERR_4016")
    assert phone.balance() == 10
    assert cost_of(job) == COST
    assert ProviderRequest.objects.get(job=job).error_detail == "sexual"
    assert storage.names() == []
    status = phone.get("get-video-status", job_id=str(job.id)).json()
    assert (status["error"]["type"], status["video_url"]) == ("CONTENT_REJECTED", None)
    assert len(pictures_shown(instant_provider)) == 1  # the first objection is enough
    # Its owner did not draw it.
    assert not Violation.objects.exists()


def test_without_frames_or_without_moderation_no_result_is_judged(
    phone, instant_provider, life, judged, settings
):
    settings.MODERATION_OUTPUT_FRAMES = 0
    judged(flag_images=True)
    job = create_job(phone)
    life.run_until_done(job)
    assert_completed(job)

    settings.MODERATION_OUTPUT_FRAMES, settings.MODERATION = 3, []
    job = create_job(phone)
    life.run_until_done(job)

    assert_completed(job)
    assert pictures_shown(instant_provider) == []


def test_an_outage_delays_a_video_until_it_is_over(phone, instant_provider, life, judged, storage):
    job = create_job(phone)
    judged(status=503)
    life.run_until_done(job, until=lambda job: job.stage == Stage.STORE)
    for _ in range(3):
        life.store()
        job.refresh_from_db()
        assert (job.stage, storage.names()) == (Stage.STORE, [])
        life.now = job.due_at
    judged()

    life.run_until_done(job)

    assert_completed(job)


def test_an_outage_that_lasts_ends_at_the_deadline_with_a_refund(
    phone, instant_provider, life, judged, settings
):
    settings.JOB_STORE_DEADLINE_SECONDS = 90
    job = create_job(phone)
    judged(status=503)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5002")
    assert phone.balance() == 10
    assert cost_of(job) == COST


def test_where_an_outage_allows_the_video_is_kept_unjudged(
    phone, instant_provider, life, judged, settings
):
    settings.MODERATION_WHEN_UNREACHABLE = "allow"
    job = create_job(phone)
    judged(status=503)

    life.run_until_done(job)

    assert_completed(job)


def test_a_judge_that_breaks_on_it_ends_at_the_deadline_too(
    phone, instant_provider, life, judged, settings
):
    """In a way that nobody thought of."""
    settings.JOB_STORE_DEADLINE_SECONDS = 30
    job = create_job(phone)
    settings.MODERATION = ["nobody"]

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5001")


def test_a_late_video_that_is_refused_leaves_the_refund_as_it_is(
    phone, instant_provider, life, judged, signer, storage
):
    instant_provider.provider(outcome="submit_lost")
    job = create_job(phone)
    life.run_until_done(job)
    assert_refunded(job, code="ERR_5001")
    judged(flag_images=True)

    assert send_webhook(signer, job) == 200
    life.advance(1).deliver()
    life.run_until_done(job)

    assert len(pictures_shown(instant_provider)) == 1
    assert_refunded(job, code="ERR_5001")
    assert storage.names() == []
    assert phone.balance() == 10
