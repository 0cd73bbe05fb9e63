"""Failures of one job do not affect others, and every job ends."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage

from generation import cleanup
from generation.catalogue import cache
from generation.lifecycle import store, webhooks
from generation.models import (
    GenerationModel,
    Job,
    ProviderRequest,
    ProviderRoute,
    RequestState,
    Stage,
    WebhookDelivery,
)
from tests.helpers.job_driver import (
    assert_completed,
    assert_refunded,
    create_job,
    override_provider,
    send_webhook,
    submissions,
)
from tests.helpers.model_ids import SORA
from tests.helpers.tiny_films import film

pytestmark = pytest.mark.usefixtures("short_deadlines")

HANDLE = {"request_id": "id-1", "queue_position": 0}


@pytest.fixture
def own_fal(stub_server, settings):
    """fal with prepared answers."""
    override_provider(
        settings, "fal", url=stub_server.url, media_hosts=["127.0.0.1", "*.fal.media"]
    )
    return stub_server


@pytest.fixture
def sold_model():
    """A model that a test may change."""
    model = GenerationModel.objects.get(id=SORA)
    route = model.routes.first()
    model.pk, model.name, model.is_default, model._state.adding = None, "Spoilt", False, True
    from uuid import uuid4

    model.id = uuid4()
    model.save()
    route.pk, route.model, route._state.adding = uuid4(), model, True
    route.save()
    cache.invalidate()
    return model


def test_a_model_deleted_meanwhile_costs_only_its_own_job(
    phone, instant_provider, life, sold_model
):
    orphan = create_job(phone, model_id=str(sold_model.id))
    sound = create_job(phone)
    ProviderRoute.objects.filter(model=sold_model).delete()
    GenerationModel.objects.filter(id=sold_model.id).delete()
    cache.invalidate()

    life.run_until_done(sound)

    assert_refunded(orphan, code="ERR_5002")
    assert_completed(sound)


def test_a_model_deleted_while_its_job_breaks_ends_it_at_once(
    phone, instant_provider, life, sold_model
):
    instant_provider.provider(outcome="error")
    orphan = create_job(phone, model_id=str(sold_model.id))
    life.submit()
    ProviderRoute.objects.filter(model=sold_model).delete()
    GenerationModel.objects.filter(id=sold_model.id).delete()
    cache.invalidate()

    life.run_until_done(orphan)

    assert_refunded(orphan, code="ERR_5002")
    assert (life.now - orphan.created_at).total_seconds() < 30


def test_a_route_that_cannot_be_followed_costs_only_its_own_job(
    phone, instant_provider, life, sold_model
):
    spoilt = create_job(phone, model_id=str(sold_model.id))
    sound = create_job(phone)
    ProviderRoute.objects.filter(model=sold_model).update(
        parameters={"duration": {"name": "duration", "format": "{nothing}"}}
    )
    cache.invalidate()

    life.run_until_done(sound)

    assert_refunded(spoilt, code="ERR_5002")
    assert_completed(sound)
    assert len(submissions(instant_provider)) == 1


def test_a_provider_we_do_not_speak_to_costs_only_its_own_job(
    phone, instant_provider, life, sold_model
):
    spoilt = create_job(phone, model_id=str(sold_model.id))
    sound = create_job(phone)
    ProviderRoute.objects.filter(model=sold_model).update(provider="nobody")
    cache.invalidate()

    life.run_until_done(sound)

    assert_refunded(spoilt, code="ERR_5002")
    assert_completed(sound)


@pytest.mark.parametrize(
    "said",
    [
        {"detail": "no \x00 such thing", "error_type": "bad_\x00request"},
        {"detail": "half of a pair: \ud800"},
        {"detail": [{"msg": "\x00", "type": "\ud800"}]},
        {"detail": [{"msg": 7, "type": None}]},
        {"detail": "x" * 5000, "error_type": "y" * 5000},
    ],
)
@pytest.mark.parametrize("when", ["submit", "result"])
def test_whatever_an_error_says_the_job_ends(phone, own_fal, life, said, when):
    if when == "result":
        own_fal.say(200, HANDLE).say(200, {"status": "COMPLETED"})
    own_fal.say(422, said)
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5003")


@pytest.mark.parametrize(
    "accepted",
    [
        {**HANDLE, "queue_position": 2**40},
        {**HANDLE, "queue_position": -1},
        {**HANDLE, "queue_position": "seven"},
        {**HANDLE, "status_url": None, "response_url": 7, "cancel_url": "\x00"},
        {**HANDLE, "status_url": "http://127.0.0.1:9/elsewhere/status"},
    ],
)
def test_an_answer_with_odd_fields_is_an_acceptance_all_the_same(phone, own_fal, life, accepted):
    own_fal.say(200, accepted)
    job = create_job(phone)

    life.submit()

    job.refresh_from_db()
    assert job.stage == Stage.QUEUED
    request = ProviderRequest.objects.get(job=job)
    assert request.state == RequestState.ACCEPTED
    assert request.status_url == f"{own_fal.url}/fal-ai/sora-2/requests/id-1/status"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b"{}", b'{"request_id": 7}', b'{"request_id": "\\u0000"}',
             b'{"request_id": "../../x"}', json.dumps({"request_id": "x" * 200}).encode()],
)  # fmt: skip
def test_an_acceptance_without_an_id_is_waited_for_and_never_sent_again(phone, own_fal, life, body):
    own_fal.say(200, body)
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5001")
    assert [asked[0] for asked in own_fal.asked] == ["POST"]


def test_our_key_goes_only_to_fals_queue(phone, own_fal, stub_server, life, settings):
    override_provider(settings, "fal", url=f"{stub_server.url}/queue")
    elsewhere = f"{stub_server.url}/elsewhere"
    stub_server.say(
        200, HANDLE | {f"{name}_url": elsewhere for name in ("status", "response", "cancel")}
    )
    job = create_job(phone)

    life.submit()
    life.run_until_done(job, until=lambda job: len(stub_server.asked) >= 3)

    assert all(path.startswith("/queue/") for _, path, _ in stub_server.asked)


@pytest.mark.parametrize(
    "url",
    [
        "http://[half-an-address",
        "http://127.0.0.1:99999999/x.mp4",
        "https://" + "a" * 70 + ".fal.media/x.mp4",
        "http://127.0.0.1/\ud800.mp4",
        "http://127.0.0.1/\x00.mp4",
        "file:///etc/passwd",
        "http://user:password@127.0.0.1/x.mp4",
        "http://169.254.169.254/latest/meta-data",
        "",
    ],
)
def test_a_result_with_a_url_that_cannot_be_fetched_ends_its_job(phone, own_fal, life, url):
    own_fal.say(200, HANDLE).say(200, {"status": "COMPLETED"})
    own_fal.otherwise = (200, {}, json.dumps({"video": {"url": url}}).encode())
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5002")
    assert (life.now - job.created_at).total_seconds() < 60


def test_a_queue_position_beyond_an_integer_is_no_position(phone, own_fal, life):
    own_fal.say(200, HANDLE).say(202, {"status": "IN_QUEUE", "queue_position": 2**40})
    job = create_job(phone)

    life.submit()
    life.advance(3).poll()

    job.refresh_from_db()
    assert (job.tries, job.queue_position, job.leased_until) == (1, None, None)


def test_trouble_before_the_file_does_not_use_up_the_tries_for_the_file(
    phone, instant_provider, life, settings
):
    """Polls of an unfinished result do not count as attempts to download the file."""
    settings.JOB_STORE_DEADLINE_SECONDS = 600
    instant_provider.provider(outcome="media_404")
    job = create_job(phone)
    life.run_until_done(job, until=lambda job: job.stage == Stage.STORE)
    job.refresh_from_db()
    for _ in range(3):
        job = store.claim(queue="low", stages=[Stage.STORE], now=life.advance(40).now, limit=1)[0]
        store._apply(store.start_items([job], now=life.now)[0], store.Unknown("not yet"), life.now)
    life.advance(40).store()

    job.refresh_from_db()
    assert (job.stage, job.tries) == (Stage.STORE, 1)


def test_a_media_host_in_trouble_is_waited_for(phone, own_fal, life):
    own_fal.say(200, HANDLE).say(200, {"status": "COMPLETED"})
    result = {"video": {"url": f"{own_fal.url}/x.mp4"}}
    for _ in range(6):
        own_fal.say(200, result).say(503)
    own_fal.say(200, result).say(200, a_video())
    job = create_job(phone)

    life.run_until_done(job)

    assert_completed(job)


def test_one_result_that_could_not_be_read_fails_no_job(phone, instant_provider, own_fal, life):
    own_fal.say(200, HANDLE).say(200, {"status": "COMPLETED"})
    own_fal.say(500, {"detail": "The result could not be read.", "error_type": "internal_error"})
    own_fal.say(200, {"status": "COMPLETED"})
    own_fal.say(200, b"<html>Back in a minute</html>")
    own_fal.say(200, {"video": {"url": f"{own_fal.url}/x.mp4"}}).say(200, a_video())
    job = create_job(phone)

    life.run_until_done(job)

    assert_completed(job)


def test_storage_in_trouble_is_waited_for_and_told_at_the_deadline(
    phone, instant_provider, life, settings
):
    job = create_job(phone)
    life.run_until_done(job, until=lambda job: job.stage == Stage.STORE)
    settings.MEDIA_ROOT = "/proc/no-such-folder"
    Job.objects.filter(id=job.id).update(deadline_at=life.now + timedelta(seconds=60))

    life.store()
    job.refresh_from_db()
    assert job.stage == Stage.STORE
    life.run_until_done(job)

    assert_refunded(job, code="ERR_6002")


def test_deliveries_that_cannot_be_applied_keep_back_none_of_the_others(
    phone, instant_provider, signer, life, sold_model
):
    instant_provider.provider(run_seconds=600)
    job = create_job(phone)
    life.submit()
    lost = create_job(phone, model_id=str(sold_model.id))
    instant_provider.provider(outcome="submit_lost")
    life.submit()
    # Before the other, and a whole batch: what they need to be applied is broken.
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(
            provider="nobody",
            provider_request_id="x",
            webhook_token=ProviderRequest.objects.get(job=lost).webhook_token,
            received_at=job.created_at,
        )
        for _ in range(webhooks.BATCH)
    )
    ProviderRequest.objects.filter(job=lost).update(provider="nobody")
    assert send_webhook(signer, job) == 200

    life.advance(1).deliver()
    life.deliver()

    job.refresh_from_db()
    assert job.stage == Stage.STORE
    waiting = WebhookDelivery.objects.filter(processed_at=None)
    assert waiting.count() == webhooks.BATCH
    life.advance(3700).deliver()
    assert not waiting.exists()


def test_a_video_that_comes_for_a_deleted_job_is_not_kept(
    phone, instant_provider, signer, life, monkeypatch
):
    def fails(*_):
        raise OSError("storage is gone")

    instant_provider.provider(outcome="submit_lost")
    job = create_job(phone)
    life.run_until_done(job)
    assert_refunded(job, code="ERR_5001")
    assert send_webhook(signer, job) == 200
    life.deliver()
    claimed = store.claim(queue="low", stages=[Stage.STORE], now=life.now, limit=1)
    assert phone.post("delete-video-job", {"job_id": str(job.id)}).status_code == 200

    [item] = store.start_items(claimed, now=life.now)
    stored = store._fetch_and_store(item)
    assert default_storage.exists(stored.media.media_name)
    with monkeypatch.context() as patch:
        patch.setattr(type(default_storage._wrapped), "delete", fails)
        store._apply(item, stored, life.now)

    job.refresh_from_db()
    assert (job.stage, job.media_name) == (Stage.DONE, "")
    cleanup.delete_due_files(now=life.now)
    assert not default_storage.exists(stored.media.media_name)
    assert not default_storage.exists(stored.media.thumbnail_name)


# --- Files --------------------------------------------------------------------------------------


def a_video(*, frames: int = 8) -> bytes:
    return film(frames=frames)


def test_a_video_file_without_a_frame_ends_its_job(phone, own_fal, life):
    own_fal.say(200, HANDLE).say(200, {"status": "COMPLETED"})
    for _ in range(8):
        own_fal.say(200, {"video": {"url": f"{own_fal.url}/x.mp4"}}).say(200, a_video(frames=0))
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5002")
