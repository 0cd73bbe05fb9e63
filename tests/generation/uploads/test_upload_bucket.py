"""Pictures in a bucket: moto's S3 over HTTP, asked with the client that production has."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from itertools import product
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import botocore.auth
import pytest
import requests
from django.core.files.storage import default_storage
from storages.backends.s3 import S3Storage

from generation import cleanup
from generation.bucket import Bucket
from generation.models import FileDeletion, Job, Upload
from tests.helpers import pictures
from tests.helpers.job_driver import assert_completed, create_job, submissions
from tests.helpers.phone import Phone, assert_refused
from tests.helpers.pictures import uploaded

SORA_FROM_PICTURE = "00000000-0000-4000-8000-000000000004"
HOUR = 3600
SIGNED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def s3():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3, settings):
    """An empty bucket that the application stores in."""
    settings.MEDIA_BUCKET = f"rendio-{uuid4()}"
    options = {
        "bucket_name": settings.MEDIA_BUCKET,
        "endpoint_url": s3,
        "access_key": "key",
        "secret_key": "secret",
        "region_name": "us-east-1",
        "signature_version": "s3v4",
        "querystring_expire": settings.MEDIA_URL_TTL_SECONDS,
    }
    backend = {"BACKEND": "generation.bucket.Bucket", "OPTIONS": options}
    settings.STORAGES = settings.STORAGES | {"default": backend}
    default_storage.bucket.create()
    return default_storage.bucket


def names(bucket):
    return [stored.key for stored in bucket.objects.all()]


def started(phone):
    answer = phone.post("start-direct-upload")
    assert answer.status_code == 201, answer.content
    return answer.json()


def send(form, content):
    return requests.post(
        form["url"], data=form["fields"], files={"file": content}, timeout=30
    ).status_code


def finish(phone, form):
    return phone.post("finish-direct-upload", {"direct_id": form["direct_id"]})


# --- Through us -----------------------------------------------------------------------------------


def test_a_picture_in_a_bucket_is_ordered_fetched_and_removed(
    phone, bucket, instant_provider, life, settings
):
    picture = uploaded(phone)
    answer = phone.generate(model_id=SORA_FROM_PICTURE, image_url=picture["image_url"])
    assert answer.status_code == 200, answer.content

    life.submit()

    assert str(Job.objects.get().upload_id) == picture["upload_id"]
    given = submissions(instant_provider)[0]["body"]["image_url"]
    lives = settings.JOB_START_DEADLINE_SECONDS + 600
    assert parse_qs(urlsplit(given).query)["X-Amz-Expires"] == [str(lives)]
    assert requests.get(given, timeout=30).content.startswith(b"\xff\xd8\xff")
    Job.objects.update(upload=None)
    cleanup.delete_due_files(now=life.advance(24 * HOUR).now)
    assert names(bucket) == []


def test_what_is_no_upload_in_our_bucket_is_refused(phone, bucket, s3):
    url = uploaded(phone)["image_url"]
    for foreign in (
        url.replace(bucket.name, "x" * len(bucket.name)),
        url.replace(s3, "https://elsewhere.example"),
        url.replace("/uploads/", "/incoming/uploads/"),
    ):
        answer = phone.generate(model_id=SORA_FROM_PICTURE, image_url=foreign)

        assert list(assert_refused(answer, 400, "ERR_4008")["fields"]) == ["image_url"], foreign


# --- Signatures -----------------------------------------------------------------------------------

OPTIONS = {
    "bucket_name": "films",
    "access_key": "AKIDEXAMPLE",
    "secret_key": "a secret key",
    "signature_version": "s3v4",
}


@pytest.mark.parametrize(
    "options",
    [
        {"region_name": "eu-central-1"},
        {"region_name": "us-east-1", "addressing_style": "virtual"},
        {"endpoint_url": "https://account.r2.example", "region_name": "auto"},
        {"endpoint_url": "http://127.0.0.1:9000", "addressing_style": "path"},
        {"region_name": "eu-central-1", "security_token": "a/token+of=a role"},
    ],
    ids=lambda options: " ".join(options),
)
def test_a_signature_is_that_of_boto3(options, monkeypatch, subtests):
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: SIGNED_AT)
    monkeypatch.setattr(time, "gmtime", lambda: SIGNED_AT.timetuple())
    ours, theirs = Bucket(**OPTIONS | options), S3Storage(**OPTIONS | options)

    for name, seconds in product(["jobs/a/video.mp4", "a b/ü~+(1)'*.jpg"], [60, 3600]):
        with subtests.test(name=name, seconds=seconds):
            signed, expected = (
                urlsplit(storage.url(name, expire=seconds)) for storage in (ours, theirs)
            )

            assert signed[:3] == expected[:3]
            assert parse_qs(signed.query) == parse_qs(expected.query)


def test_each_signature_has_its_own_time(monkeypatch):
    storage = Bucket(**OPTIONS, region_name="eu-central-1")
    dates = []
    for seconds in (0, 86_400):
        moment = SIGNED_AT + timedelta(seconds=seconds)
        monkeypatch.setattr(time, "gmtime", moment.timetuple)
        dates += parse_qs(urlsplit(storage.url("a")).query)["X-Amz-Date"]

    assert dates == ["20260102T030405Z", "20260103T030405Z"]


# --- Straight to the bucket -----------------------------------------------------------------------


def test_a_picture_sent_straight_to_the_bucket_is_checked_and_drawn_anew(phone, bucket, life):
    form = started(phone)
    assert send(form, pictures.talkative()) == 204

    answer = finish(phone, form)

    assert answer.status_code == 201, answer.content
    assert (answer.json()["width"], answer.json()["height"]) == pictures.SIZE
    cleanup.delete_due_files(now=life.now)
    assert names(bucket) == [Upload.objects.get().name]
    assert b"Secret" not in requests.get(answer.json()["image_url"], timeout=30).content


def test_a_form_is_for_one_name_a_bounded_size_and_ten_minutes(phone, bucket):
    form = started(phone)

    policy = json.loads(base64.b64decode(form["fields"]["policy"]))["conditions"]
    assert ["content-length-range", 1, 10_000_000] in policy
    assert {"key": f"incoming/{phone.user_id}/{form['direct_id']}"} in policy
    assert "x-amz-signature" in form["fields"]


def test_a_form_sent_again_after_its_check_leaves_nothing_for_good(phone, bucket, life):
    form = started(phone)
    send(form, pictures.talkative())
    finish(phone, form)
    cleanup.delete_due_files(now=life.now)
    kept = [Upload.objects.get().name]
    assert names(bucket) == kept

    send(form, pictures.talkative())

    cleanup.delete_due_files(now=life.advance(HOUR).now)
    assert names(bucket) == kept
    assert not FileDeletion.objects.exists()


def test_what_is_no_picture_is_refused_and_goes_within_the_hour(phone, bucket, life):
    form = started(phone)
    send(form, pictures.jpeg() + pictures.zipped())

    assert_refused(finish(phone, form), 400, "ERR_4017")

    assert not Upload.objects.exists()
    cleanup.delete_due_files(now=life.advance(HOUR).now)
    assert names(bucket) == []
    assert not FileDeletion.objects.exists()


def test_what_a_bucket_let_in_beyond_the_limit_is_413(phone, bucket, settings):
    settings.MAX_UPLOAD_BYTES = 100
    form = started(phone)
    send(form, pictures.jpeg())

    assert_refused(finish(phone, form), 413, "ERR_4008")


def test_nobody_finishes_what_another_sent_or_what_never_came(phone, bucket):
    form = started(phone)
    assert_refused(finish(phone, form), 404, "ERR_4007")
    send(form, pictures.jpeg())

    assert_refused(finish(Phone().sign_in(), form), 404, "ERR_4007")

    assert finish(phone, form).status_code == 201


def test_a_bucket_that_is_gone_is_503(phone, bucket):
    bucket.delete()

    assert_refused(pictures.upload(phone), 503, "ERR_6002")


def test_without_a_bucket_there_is_no_form(phone):
    assert_refused(phone.post("start-direct-upload"), 409, "ERR_4019")
    for nonsense in (None, 7, "x"):
        answer = phone.post("finish-direct-upload", {"direct_id": nonsense})
        assert_refused(answer, 400, "ERR_4008")
    assert_refused(finish(phone, {"direct_id": str(uuid4())}), 404, "ERR_4007")


# --- Videos in a bucket ---------------------------------------------------------------------------


def test_a_video_and_the_parts_of_one_that_was_never_whole_go_with_their_job(
    phone, bucket, instant_provider, life
):
    job = create_job(phone)
    life.run_until_done(job)
    assert sorted(names(bucket)) == sorted([job.media_name, job.thumbnail_name])
    # Of a worker that died.
    client = bucket.meta.client
    folder = cleanup.job_folder(job.id)
    client.create_multipart_upload(Bucket=bucket.name, Key=f"{folder}deadbeef/video.mp4")
    client.create_multipart_upload(Bucket=bucket.name, Key="jobs/another/video.mp4")

    assert phone.post("delete-video-job", {"job_id": str(job.id)}).status_code == 200

    assert names(bucket) == []
    left = client.list_multipart_uploads(Bucket=bucket.name)["Uploads"]
    assert [upload["Key"] for upload in left] == ["jobs/another/video.mp4"]


def test_a_film_in_a_bucket_is_converted(phone, bucket, instant_provider, life):
    instant_provider.provider(outcome="media_unplayable")
    job = create_job(phone)

    life.run_until_done(job)

    assert_completed(job)
    assert len(names(bucket)) == 3
