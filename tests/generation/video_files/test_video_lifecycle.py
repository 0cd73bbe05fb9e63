"""A film that iPhones do not play is kept as it came, converted in a stage of its own, and sold as
one that they do. What an attempt leaves half-written goes."""

from __future__ import annotations

import os
import tempfile
import time
from io import BytesIO

import av
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image

from generation import cleanup
from generation.due_work import CONVERT_LEASE
from generation.lifecycle import attempts, convert, dead_letters, poll, store
from generation.models import DeadKind, DeadLetter, FileDeletion, Job, ProviderRequest, Stage
from tests.generation.test_lifecycle_failures import HANDLE, own_fal
from tests.generation.uploads.conftest import storage
from tests.helpers.job_driver import (
    assert_completed,
    assert_refunded,
    create_job,
    kinds_of,
    send_webhook,
)
from tests.helpers.tiny_films import colours, film, picture

__all__ = ["own_fal", "storage"]  # fixtures


@pytest.fixture
def odd(instant_provider):
    """A provider whose films are VP9 and Opus in an MP4."""
    instant_provider.provider(outcome="media_unplayable")
    return instant_provider


@pytest.fixture
def kept(phone, odd, life, storage):
    """A job whose film is kept as it came."""
    job = create_job(phone)
    life.run_until_done(job, until=lambda job: job.stage == Stage.CONVERT)
    return job


def codecs(name: str) -> list[str]:
    with default_storage.open(name) as stored, av.open(BytesIO(stored.read())) as container:
        return [stream.codec_context.codec.canonical_name for stream in container.streams]


def test_it_is_converted_and_sold_and_the_original_is_kept(phone, kept, life, storage):
    assert codecs(kept.original_name) == ["vp9", "opus"]
    status = phone.get("get-video-status", job_id=kept.id).json()
    assert (status["status"], status["video_url"]) == ("processing", None)

    life.run_until_done(kept)

    assert_completed(kept)
    assert codecs(kept.media_name) == ["h264", "aac"]
    assert codecs(kept.original_name) == ["vp9", "opus"]
    with default_storage.open(kept.thumbnail_name) as thumbnail:
        assert Image.open(thumbnail).format == "JPEG"
    assert len(storage.names()) == 3
    assert ProviderRequest.objects.get(job=kept).cost_usd > 0
    assert not FileDeletion.objects.exists()
    assert phone.balance() == 6


def test_a_wrong_tag_is_mended_at_once(phone, instant_provider, life, storage):
    instant_provider.provider(outcome="media_mistagged")
    job = create_job(phone)

    life.run_until_done(job)

    assert_completed(job)
    assert job.original_name == ""
    with default_storage.open(job.media_name) as stored, av.open(BytesIO(stored.read())) as film:
        assert film.streams.video[0].codec_context.codec_tag == "hvc1"
    assert len(storage.names()) == 2


@pytest.mark.parametrize("shape", ["images", "image"])
def test_a_picture_is_found_in_each_shape_and_kept_upright(phone, own_fal, life, shape):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    content = BytesIO()
    picture().save(content, "PNG", exif=exif)
    file = {"url": f"{own_fal.url}/x.png"}
    own_fal.say(200, HANDLE).say(200, {"status": "COMPLETED"})
    own_fal.say(200, {shape: [file] if shape == "images" else file})
    own_fal.say(200, content.getvalue())
    job = create_job(phone)
    life.submit()
    Job.objects.filter(id=job.id).update(queue="medium")

    poll.poll_due(queue="medium", now=life.advance(5).now)
    store.store_due(queue="medium", now=life.advance(5).now)

    assert_completed(job)
    for name in (job.media_name, job.thumbnail_name):
        with default_storage.open(name) as stored, Image.open(stored) as image:
            assert (image.format, image.size, colours(image)) == ("JPEG", (64, 96), "brbb")


@pytest.fixture
def spoilt(kept, life):
    """A job whose film could not be converted."""
    overwrite(kept.original_name, b"no film")
    life.run_until_done(kept)
    return kept


def overwrite(name: str, content: bytes) -> None:
    default_storage.delete(name)
    assert default_storage.save(name, ContentFile(content)) == name


def test_one_that_cannot_be_converted_is_refunded_and_kept_for_a_person(phone, spoilt, storage):
    assert_refunded(spoilt, code="ERR_5002")
    assert phone.balance() == 10
    letter = DeadLetter.objects.get()
    assert (letter.kind, letter.subject) == (DeadKind.RESULT, str(spoilt.id))
    assert "film_not_converted" in letter.why
    assert storage.names() == [spoilt.original_name]
    assert ProviderRequest.objects.get(job=spoilt).cost_usd > 0


def test_a_person_has_it_converted_again_without_asking_the_provider(odd, spoilt, life):
    overwrite(spoilt.original_name, film("libvpx-vp9"))
    asked = len(odd.requests())

    dead_letters.retry(DeadLetter.objects.get(), now=life.now)
    life.run_until_done(spoilt)

    assert_refunded(spoilt, code="ERR_5002")
    assert codecs(spoilt.media_name) == ["h264"]
    assert len(odd.requests()) == asked


def test_a_process_that_is_ended_is_tried_again_and_not_for_ever(kept, life, settings):
    settings.FILM_MEMORY_MB = 10
    for _ in range(convert.MAX_BROKEN_TRIES - 1):
        life.advance(60).convert()
        kept.refresh_from_db()
        assert kept.stage == Stage.CONVERT

    life.run_until_done(kept)

    assert_refunded(kept, code="ERR_5002")


def test_films_beyond_the_most_at_once_wait_for_a_place(phone, odd, kept, life, settings):
    second = create_job(phone)
    life.run_until_done(second, until=lambda job: job.stage == Stage.CONVERT)
    now = life.advance(1).now
    [taken] = convert.claim(
        queue="low", stages=[Stage.CONVERT], now=now, limit=1, lease=CONVERT_LEASE
    )

    assert convert.convert_due(queue="low", now=now) == 0
    settings.FILM_CONVERSIONS = 2
    assert convert.convert_due(queue="low", now=now) == 1

    [other] = {kept.id, second.id} - {taken.id}
    assert_completed(Job.objects.get(id=other))


def test_storage_in_trouble_is_waited_for_until_the_deadline(kept, life, settings):
    settings.MEDIA_ROOT = "/proc/no-such-folder"
    deadline = kept.deadline_at

    life.run_until_done(kept)

    assert_refunded(kept, code="ERR_6002")
    assert life.now >= deadline


def test_news_and_a_cancellation_change_nothing_while_it_is_converted(
    phone, odd, kept, life, signer
):
    assert send_webhook(signer, kept) == 200
    life.deliver()
    assert phone.post("cancel-video-job", {"job_id": str(kept.id)}).status_code == 200

    kept.refresh_from_db()
    assert kept.stage == Stage.CONVERT
    life.run_until_done(kept)

    assert_completed(kept)
    assert len(odd.jobs()) == 1
    assert not [asked for asked in odd.requests() if asked["path"].endswith("/cancel")]


def test_all_files_go_with_the_job(phone, kept, life, storage):
    life.run_until_done(kept)

    assert phone.post("delete-video-job", {"job_id": str(kept.id)}).status_code == 200

    assert storage.names() == []
    kept.refresh_from_db()
    assert kept.original_name == ""


def test_all_files_go_with_the_account_while_a_film_is_converted(phone, kept, life, storage):
    assert phone.post("delete-account").status_code == 200

    life.run_until_done(kept)

    assert storage.names() == []
    assert kinds_of(kept.id) == ["charge"]
    assert not DeadLetter.objects.exists()
    cleanup.delete_account_media_due(now=life.now)
    assert storage.names() == []


# --- What is left half-written --------------------------------------------------------------------


def test_a_worker_that_dies_while_it_converts_leaves_nothing(kept, life, storage):
    taken = convert.claim(
        queue="low", stages=[Stage.CONVERT], now=life.advance(1).now, limit=1, lease=CONVERT_LEASE
    )
    begun = attempts.start(taken, now=life.now)
    convert._convert_and_store(convert._Item(taken[0], begun[kept.id]))

    life.advance(CONVERT_LEASE.total_seconds() + 1).convert()

    assert_completed(kept)
    cleanup.delete_due_files(now=life.advance(attempts.MAX_ATTEMPT_AGE.total_seconds()).now)
    assert sorted(storage.names()) == sorted(
        [kept.media_name, kept.thumbnail_name, kept.original_name]
    )


def test_what_was_kept_of_an_attempt_that_failed_goes(
    phone, instant_provider, life, storage, monkeypatch, settings
):
    """The film is written, and its thumbnail is not."""
    settings.JOB_STORE_DEADLINE_SECONDS = 10
    saving = type(default_storage._wrapped)._save

    def save(self, name, content):
        if name.endswith("thumbnail.jpg"):
            raise OSError("the disk is full")
        return saving(self, name, content)

    job = create_job(phone)
    with monkeypatch.context() as patch:
        patch.setattr(type(default_storage._wrapped), "_save", save)
        life.run_until_done(job)

    assert_refunded(job, code="ERR_6002")
    assert storage.names() == []
    assert not FileDeletion.objects.exists()


def test_what_killed_workers_left_in_the_machines_own_folder_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, of_others, young = (
        tmp_path / name
        for name in (f"{attempts.SCRATCH_PREFIX}a", "other-b", f"{attempts.SCRATCH_PREFIX}c")
    )
    for folder in (left, of_others, young):
        folder.mkdir()
        (folder / "media").write_bytes(b"half of a film")
    long_ago = time.time() - attempts.MAX_ATTEMPT_AGE.total_seconds() - 60
    for folder in (left, of_others):
        os.utime(folder, (long_ago, long_ago))

    with attempts.scratch_folder() as folder:
        (folder / "media").write_bytes(b"a film")

    assert sorted(tmp_path.iterdir()) == sorted([of_others, young])


def test_an_attempt_whose_removal_has_begun_is_not_taken_for_kept(
    phone, instant_provider, life, storage
):
    job = create_job(phone)
    life.run_until_done(job, until=lambda job: job.stage == Stage.STORE)
    taken = store.claim(queue="low", stages=[Stage.STORE], now=life.advance(1).now, limit=1)
    [item] = store.start_items(taken, now=life.now)
    made = store._fetch_and_store(item)
    cleanup.delete_due_files(now=life.advance(attempts.MAX_ATTEMPT_AGE.total_seconds()).now)

    store._apply(item, made, life.now)

    assert Job.objects.get(id=job.id).stage == Stage.STORE
    life.run_until_done(job)
    assert_completed(job)
    assert default_storage.exists(job.media_name)
