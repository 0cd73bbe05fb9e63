"""How long a picture stays, whose it is, and that no crash leaves a file that nothing names."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import services as account_services
from generation import cleanup
from generation.lifecycle import settle
from generation.models import FileDeletion, Job, Upload
from generation.providers.base import FailureReason
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import JobDriver, assert_completed, submissions
from tests.helpers.phone import Phone, assert_refused
from tests.helpers.pictures import upload, uploaded

SORA_FROM_PICTURE = "00000000-0000-4000-8000-000000000004"
DAY = 24 * 3600


@pytest.fixture
def picture(phone, storage):
    return uploaded(phone)


def order(phone: Phone, picture, **body):
    return phone.generate(model_id=SORA_FROM_PICTURE, upload_id=picture["upload_id"], **body)


def ordered(phone: Phone, picture) -> Job:
    answer = order(phone, picture)
    assert answer.status_code == 200, answer.content
    job = Job.objects.get(id=answer.json()["job_id"])
    assert str(job.upload_id) == picture["upload_id"]
    return job


def cancelled(phone: Phone, job: Job) -> Job:
    assert phone.post("cancel-video-job", {"job_id": str(job.id)}).json()["refunded"] is True
    return job


def delete(phone: Phone, job: Job) -> None:
    answer = phone.post("delete-video-job", {"job_id": str(job.id)})
    assert answer.status_code == 200, answer.content


def removes(life: JobDriver, *, after_seconds: float = 0) -> None:
    cleanup.delete_due_files(now=life.advance(after_seconds).now)


# --- Ordering from it -----------------------------------------------------------------------------


def test_a_provider_can_fetch_the_picture_for_as_long_as_the_job_may_take(
    phone, picture, storage, instant_provider, life, settings
):
    settings.MEDIA_URL_TTL_SECONDS = 1
    job = ordered(phone, picture)
    life.submit()

    asked_for = submissions(instant_provider)[0]["body"]
    assert asked_for["prompt"] == job.prompt
    shown = phone.client.get(asked_for["image_url"])
    assert b"".join(shown.streaming_content) == storage.read(storage.names()[0])
    lives = settings.JOB_START_DEADLINE_SECONDS + 600
    assert shown.headers["Cache-Control"] in {f"private, max-age={lives - s}" for s in range(5)}
    assert_completed(life.run_until_done(job))


def test_the_image_url_of_an_upload_is_as_good_as_its_id(phone, picture, settings):
    quote = phone.post(
        "quote-video",
        {"model_id": SORA_FROM_PICTURE, "prompt": "Waves", "image_url": picture["image_url"]},
    )
    assert quote.status_code == 200, quote.content

    answer = phone.generate(model_id=SORA_FROM_PICTURE, image_url=picture["image_url"])

    assert str(Job.objects.get().upload_id) == picture["upload_id"]
    assert answer.json()["credits_used"] == 4


@pytest.mark.parametrize("call", ["quote-video", "generate-video"])
def test_another_users_picture_is_nowhere(phone, picture, call):
    stranger = Phone().sign_in()
    for field in ("upload_id", "image_url"):
        body = {"model_id": SORA_FROM_PICTURE, "prompt": "Waves", field: picture[field]}

        answer = stranger.post(call, body, Idempotency_Key=str(uuid4()))

        assert_refused(answer, 404, "ERR_4007")
        assert phone.post(call, body, Idempotency_Key=str(uuid4())).status_code == 200
    assert stranger.balance() == 10


@pytest.mark.parametrize("nonsense", ["cat", 7, True, ["x"], {"a": 1}, "0" * 5000, "\x00"])
def test_an_upload_id_that_is_none_is_400(phone, nonsense):
    answer = phone.generate(model_id=SORA_FROM_PICTURE, upload_id=nonsense)

    fields = assert_refused(answer, 400, "ERR_4008")["fields"]
    assert list(fields) in (["upload_id"], ["body"])  # a NUL is no JSON text of ours


def test_an_order_from_a_picture_takes_one_trip_more(phone, picture):
    phone.get("get-models")
    with CaptureQueriesContext(connection) as trips:
        ordered(phone, picture)

    # Savepoints of the test stand for BEGIN and COMMIT; the last reads the job for the test.
    assert len(trips.captured_queries) - 1 <= 7, trips.captured_queries


# --- A day, or as long as a job needs it ------------------------------------------------------


def test_a_picture_that_nobody_used_goes_after_a_day(phone, picture, storage, life):
    removes(life, after_seconds=DAY - 60)
    assert len(storage.names()) == 1

    removes(life, after_seconds=60)

    assert storage.names() == []
    assert not Upload.objects.exists()
    assert not FileDeletion.objects.exists()
    assert_refused(order(phone, picture), 404, "ERR_4007")


def test_after_a_day_nothing_new_starts_from_a_picture_that_is_still_kept(phone, picture):
    Upload.objects.update(expires_at=timezone.now())
    for call in ("quote-video", "generate-video"):
        body = {"model_id": SORA_FROM_PICTURE, "prompt": "Waves", "upload_id": picture["upload_id"]}

        answer = phone.post(call, body, Idempotency_Key=str(uuid4()))

        details = assert_refused(answer, 400, "ERR_4008")
        assert details["fields"] == {"upload_id": ["This image has expired."]}
    assert phone.balance() == 10


def test_a_picture_stays_until_the_last_of_its_jobs_is_deleted(phone, picture, storage, life):
    first, second = ordered(phone, picture), ordered(phone, picture)
    removes(life, after_seconds=DAY)
    removes(life, after_seconds=DAY)
    assert len(storage.names()) == 1

    delete(phone, cancelled(phone, first))
    removes(life)
    assert len(storage.names()) == 1
    delete(phone, cancelled(phone, second))
    removes(life)

    assert storage.names() == []
    assert not Upload.objects.exists()


def test_a_job_deleted_within_the_day_leaves_its_picture_for_the_next(
    phone, picture, storage, life
):
    delete(phone, cancelled(phone, ordered(phone, picture)))
    removes(life)

    assert ordered(phone, picture)
    assert len(storage.names()) == 1


def test_a_failed_job_is_repeated_from_its_picture_also_after_a_day(
    phone, picture, instant_provider, storage, life
):
    job = ordered(phone, picture)
    assert settle.fail(job, FailureReason.PROVIDER_ERROR, now=timezone.now())
    Upload.objects.update(expires_at=timezone.now(), remove_at=timezone.now())
    removes(life)

    answer = phone.post("retry-video-job", {"job_id": str(job.id)}, Idempotency_Key=str(uuid4()))

    again = Job.objects.get(id=answer.json()["job_id"])
    assert again.upload_id == job.upload_id
    assert_completed(life.run_until_done(again))
    assert b"".join(
        phone.client.get(submissions(instant_provider)[0]["body"]["image_url"]).streaming_content
    ).startswith(b"\xff\xd8\xff")


# --- People ---------------------------------------------------------------------------------------


def test_a_deleted_accounts_pictures_go_at_once(phone, picture, storage, life):
    kept_by_a_job = uploaded(phone)
    job = ordered(phone, kept_by_a_job)
    stranger = Phone().sign_in()
    uploaded(stranger)

    assert phone.post("delete-account").status_code == 200

    assert list(Upload.objects.values_list("user_id", flat=True)) == [stranger.user_id]
    job.refresh_from_db()
    assert job.upload_id is None
    removes(life)
    assert storage.names() == [Upload.objects.get().name]


def test_an_export_has_the_pictures(phone, picture):
    data = phone.get("export-user-data").json()

    assert [row["upload_id"] for row in data["uploads"]] == [picture["upload_id"]]
    assert phone.client.get(data["uploads"][0]["image_url"]).status_code == 200


# --- Crashes and troubles -------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


def test_storage_that_fails_is_503_and_the_picture_can_be_sent_again(phone, storage, settings):
    settings.MEDIA_ROOT = "/proc/no-such-folder"

    refused = upload(phone)

    assert_refused(refused, 503, "ERR_6002")
    assert refused.headers["Retry-After"]
    settings.MEDIA_ROOT = str(storage.folder)
    uploaded(phone)


def test_a_process_that_dies_once_the_file_is_written_leaves_none(
    phone, storage, life, monkeypatch
):
    save = default_storage.save

    def dies(*arguments):
        save(*arguments)
        raise Killed

    monkeypatch.setattr(default_storage, "save", dies)
    with pytest.raises(Killed):
        upload(phone)
    assert len(storage.names()) == 1

    removes(life, after_seconds=600)

    assert storage.names() == []
    assert not FileDeletion.objects.exists()


def test_a_process_that_dies_while_removing_leaves_it_to_the_next(
    phone, picture, storage, life, monkeypatch
):
    def dies(name):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(default_storage, "delete", dies)
        with pytest.raises(Killed):
            removes(life, after_seconds=DAY)
    assert len(storage.names()) == 1

    removes(life, after_seconds=600)

    assert storage.names() == []
    assert not FileDeletion.objects.exists()


def test_storing_that_took_so_long_that_its_removal_began_is_503(phone, storage, life, monkeypatch):
    save = default_storage.save

    def slow(*arguments):
        save(*arguments)
        removes(life, after_seconds=600)

    monkeypatch.setattr(default_storage, "save", slow)

    assert_refused(upload(phone), 503, "ERR_6002")

    assert not Upload.objects.exists()
    assert storage.names() == []


def test_a_picture_sent_while_its_account_is_deleted_does_not_stay(
    phone, storage, life, monkeypatch
):
    save = default_storage.save

    def leaves_meanwhile(*arguments):
        account_services.delete_account(user_id=phone.user_id, now=timezone.now())
        return save(*arguments)

    monkeypatch.setattr(default_storage, "save", leaves_meanwhile)

    assert_refused(upload(phone), 401, "ERR_4005")

    assert not Upload.objects.exists()
    removes(life, after_seconds=600)
    assert storage.names() == []


def test_an_order_at_the_moment_of_the_removal_has_its_picture_or_is_refused(guest, storage):
    for _ in range(5):
        picture = uploaded(guest)
        gone = timezone.now() + timedelta(days=1)

        answer, _ = at_once(
            lambda picture=picture: order(guest, picture),
            lambda gone=gone: cleanup.delete_due_files(now=gone),
        )

        is_kept = Upload.objects.filter(id=picture["upload_id"]).exists()
        assert (answer.status_code, is_kept) in {(200, True), (404, False)}, answer.content
        if is_kept:
            assert len(storage.names()) == 1
            delete(guest, cancelled(guest, Job.objects.get(id=answer.json()["job_id"])))
            cleanup.delete_due_files(now=gone)
        assert storage.names() == []


def test_removals_at_once_do_each_thing_once(guest, storage):
    uploads = [uploaded(guest) for _ in range(6)]
    gone = timezone.now() + timedelta(days=1)

    at_once(*[lambda: cleanup.delete_due_files(now=gone)] * 4)
    cleanup.delete_due_files(now=gone + timedelta(minutes=5))

    assert not Upload.objects.filter(id__in=[one["upload_id"] for one in uploads]).exists()
    assert storage.names() == []
