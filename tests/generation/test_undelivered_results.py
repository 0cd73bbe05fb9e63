"""Results that cannot be delivered: the user is refunded, and a dead letter lets staff deliver the
video later."""

from __future__ import annotations

import json

import pytest

from generation.lifecycle import dead_letters
from generation.models import DeadKind, DeadLetter, DeadState, ProviderRequest, RequestState
from tests.generation.test_lifecycle_failures import HANDLE, a_video, own_fal
from tests.helpers.job_driver import assert_refunded, create_job

pytestmark = pytest.mark.usefixtures("short_deadlines")

__all__ = ["own_fal"]  # a fixture


@pytest.fixture
def undelivered(phone, own_fal, life):
    """A refunded job whose video is on a host that was not allowed."""
    result = {"video": {"url": "https://new-host.example/x.mp4"}}
    own_fal.say(200, HANDLE).say(200, {"status": "COMPLETED"}).say(200, result)
    job = create_job(phone)
    life.run_until_done(job)
    assert_refunded(job, code="ERR_5002")
    return job


def test_a_result_in_an_unknown_shape_is_refunded_and_kept_whole(phone, instant_provider, life):
    instant_provider.provider(outcome="result_odd")
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5002")
    assert phone.balance() == 10
    request = ProviderRequest.objects.get(job=job)
    assert request.cost_usd > 0
    assert json.loads(request.raw_result)["film"]["href"].endswith(".mp4")
    letter = DeadLetter.objects.get()
    assert (letter.kind, letter.subject) == (DeadKind.RESULT, str(job.id))
    assert letter.why == "unusable: no_media: no URL in the result"


@pytest.mark.parametrize(
    ("outcome", "is_kept"),
    [("media_not_video", True), ("result_404", True), ("error", False), ("hang", False)],
)
def test_only_what_was_made_is_kept(phone, instant_provider, life, outcome, is_kept):
    instant_provider.provider(outcome=outcome)
    job = create_job(phone)

    life.run_until_done(job)

    assert DeadLetter.objects.filter(kind=DeadKind.RESULT).exists() == is_kept


def test_once_understood_it_is_the_users_and_the_refund_stands(phone, own_fal, life, undelivered):
    """The provider has deleted the result, but its stored answer is used."""
    moved = {"video": {"url": f"{own_fal.url}/x.mp4"}}
    ProviderRequest.objects.filter(job=undelivered).update(raw_result=json.dumps(moved))
    own_fal.say(404, {"status": "NOT_FOUND"}).say(200, a_video())

    dead_letters.retry(DeadLetter.objects.get(), now=life.now)
    life.run_until_done(undelivered)

    assert_refunded(undelivered, code="ERR_5002")
    assert undelivered.media_name
    assert phone.balance() == 10
    request = ProviderRequest.objects.get(job=undelivered)
    assert (request.state, request.raw_result) == (RequestState.FINISHED, "")


def test_a_second_try_that_fails_keeps_the_first_answer_and_a_new_letter(
    own_fal, life, undelivered
):
    own_fal.say(200, {"video": None})

    dead_letters.retry(DeadLetter.objects.get(), now=life.now)
    life.run_until_done(undelivered)

    letters = DeadLetter.objects.order_by("id").values_list("state", flat=True)
    assert list(letters) == [DeadState.RETRIED, DeadState.OPEN]
    assert "new-host" in ProviderRequest.objects.get(job=undelivered).raw_result


def test_a_letter_is_closed_by_the_video_that_comes_by_another_way(own_fal, life, undelivered):
    own_fal.say(200, {"video": {"url": f"{own_fal.url}/x.mp4"}}).say(200, a_video())

    dead_letters.refetch_result(undelivered.id, now=life.now)
    life.run_until_done(undelivered)

    assert undelivered.media_name
    assert DeadLetter.objects.get().state == DeadState.RETRIED


def test_a_deleted_job_leaves_nothing_that_was_said_of_it(phone, undelivered):
    assert phone.post("delete-video-job", {"job_id": str(undelivered.id)}).status_code == 200

    assert ProviderRequest.objects.get(job=undelivered).raw_result == ""
