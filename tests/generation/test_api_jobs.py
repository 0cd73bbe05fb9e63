"""A user's jobs and ledger entries: status, pages of history, cancel and delete."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.core import signing
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.utils import timezone

from credits import services as credit_services
from credits.services import Source
from generation import cleanup, media
from generation.models import Job, JobStatus, Stage
from tests.helpers.phone import Phone, assert_refused

STATUS_FIELDS = {
    "job_id", "status", "progress", "queue_position", "eta_seconds", "video_url", "thumbnail_url",
    "credits_used", "refunded", "error", "poll_after_seconds", "created_at", "completed_at",
    "ai_generated",
}  # fmt: skip
HISTORY_FIELDS = {
    "job_id", "kind", "prompt", "model_name", "credits_used", "status", "video_url",
    "thumbnail_url", "created_at", "completed_at", "error", "ai_generated",
}  # fmt: skip
ENTRY_FIELDS = {"id", "change", "kind", "reason", "job_id", "balance_after", "created_at"}


def order(phone, **body):
    answer = phone.generate(**body)
    assert answer.status_code == 200, answer.content
    return answer.json()["job_id"]


def fund(phone, amount):
    credit_services.grant(
        user_id=phone.user_id, amount=amount, source=Source.SUPPORT, reason="test",
        now=timezone.now(),
    )  # fmt: skip


def end(job_id, status=JobStatus.COMPLETED):
    """End a job as a worker does."""
    name = default_storage.save(f"test/{job_id}.mp4", ContentFile(b"film"))
    Job.objects.filter(id=job_id).update(
        status=status, stage=Stage.DONE, progress=100, media_name=name, completed_at=timezone.now(),
        due_at=None, deadline_at=None,
    )  # fmt: skip
    return name


# --- Status -----------------------------------------------------------------------------------


def test_a_new_job_is_pending_and_says_when_to_ask_again(phone):
    job_id = order(phone)

    answer = phone.get("get-video-status", job_id=job_id)

    body = answer.json()
    assert set(body) == STATUS_FIELDS
    assert (body["status"], body["progress"], body["credits_used"]) == ("pending", 0, 4)
    assert (body["refunded"], body["error"], body["video_url"]) == (False, None, None)
    assert (body["poll_after_seconds"], answer.headers["Retry-After"]) == (2, "2")


@pytest.mark.parametrize(("age", "seconds"), [(0, 2), (12, 2), (60, 10), (180, 30), (86_400, 30)])
def test_the_older_a_job_the_longer_until_it_is_asked_about(phone, age, seconds):
    job_id = order(phone)
    Job.objects.filter(id=job_id).update(created_at=timezone.now() - timedelta(seconds=age))

    assert phone.get("get-video-status", job_id=job_id).json()["poll_after_seconds"] == seconds


def test_a_completed_job_has_its_video_at_a_url_that_works(phone):
    job_id = order(phone)
    end(job_id)

    body = phone.get("get-video-status", job_id=job_id).json()

    assert (body["status"], body["progress"], body["eta_seconds"]) == ("completed", 100, None)
    served = phone.client.get("/media/" + body["video_url"].rpartition("/")[2])
    assert b"".join(served.streaming_content) == b"film"


@pytest.mark.parametrize("job_id", ["", "7", "../etc", "\x00", "0" * 5000, None])
def test_a_job_id_that_is_none_is_400(phone, job_id):
    query = {} if job_id is None else {"job_id": job_id}

    details = assert_refused(phone.get("get-video-status", **query), 400, "ERR_4008")

    assert list(details["fields"]) == ["job_id"]


def test_another_users_job_is_nowhere(phone):
    job_id = order(phone)
    stranger = Phone().sign_in()
    unknown = str(uuid4())

    for named in (job_id, unknown):
        assert_refused(stranger.get("get-video-status", job_id=named), 404, "ERR_4007")
        assert_refused(stranger.post("cancel-video-job", {"job_id": named}), 404, "ERR_4007")
        assert_refused(stranger.post("delete-video-job", {"job_id": named}), 404, "ERR_4007")
    assert stranger.get("get-video-jobs").json()["jobs"] == []
    assert phone.get("get-video-status", job_id=job_id).json()["status"] == "pending"


# --- Cancelling and deleting ------------------------------------------------------------------


def test_a_pending_job_is_cancelled_and_refunded_at_once(phone):
    job_id = order(phone)

    answer = phone.post("cancel-video-job", {"job_id": job_id})

    assert answer.json() == {"job_id": job_id, "status": "cancelled", "refunded": True}
    assert phone.balance() == 10
    body = phone.get("get-video-status", job_id=job_id).json()
    assert (body["status"], body["refunded"], body["error"]) == ("cancelled", True, None)


def test_cancelling_twice_refunds_once(phone):
    job_id = order(phone)
    first = phone.post("cancel-video-job", {"job_id": job_id})

    again = phone.post("cancel-video-job", {"job_id": job_id})

    assert (again.status_code, again.json()) == (200, first.json())
    assert phone.balance() == 10


def test_what_has_finished_is_not_cancelled(phone):
    job_id = order(phone)
    end(job_id)

    assert_refused(phone.post("cancel-video-job", {"job_id": job_id}), 409, "ERR_4019")

    assert phone.balance() == 6


def test_a_running_job_is_not_deleted_and_an_ended_one_is_with_its_media(phone):
    job_id = order(phone)
    assert_refused(phone.post("delete-video-job", {"job_id": job_id}), 409, "ERR_4019")
    name = end(job_id)

    answer = phone.post("delete-video-job", {"job_id": job_id})

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert not default_storage.exists(name)
    assert phone.get("get-video-jobs").json()["jobs"] == []
    assert_refused(phone.get("get-video-status", job_id=job_id), 404, "ERR_4007")
    assert_refused(phone.post("delete-video-job", {"job_id": job_id}), 404, "ERR_4007")
    assert Job.objects.get(id=job_id).prompt == ""
    assert job_id in {e["job_id"] for e in phone.get("get-credit-history").json()["entries"]}


def test_storage_that_fails_keeps_no_job_in_history_and_its_media_goes_later(phone, monkeypatch):
    def fails(*_):
        raise OSError("storage is gone")

    job_id = order(phone)
    name = end(job_id)
    with monkeypatch.context() as patch:
        patch.setattr(type(default_storage._wrapped), "delete", fails)
        answer = phone.post("delete-video-job", {"job_id": job_id})

    assert answer.status_code == 200, answer.content
    assert phone.get("get-video-jobs").json()["jobs"] == []
    assert default_storage.exists(name)
    cleanup.delete_due_files(now=timezone.now())
    assert not default_storage.exists(name)


def test_storage_is_not_waited_for_under_the_lock_of_the_job(committed, monkeypatch):
    phone = Phone().sign_in()
    job_id = order(phone)
    name = end(job_id)
    delete, locked = type(default_storage._wrapped).delete, []

    def looks(storage, file):
        locked.append(connection.in_atomic_block)
        delete(storage, file)

    monkeypatch.setattr(type(default_storage._wrapped), "delete", looks)
    assert phone.post("delete-video-job", {"job_id": job_id}).status_code == 200

    assert locked == [False]
    assert not default_storage.exists(name)


@pytest.mark.parametrize("path", ["cancel-video-job", "delete-video-job"])
def test_a_body_without_a_job_id_is_400(phone, path):
    for body in ({}, {"job_id": None}, {"job_id": 7}, {"job_id": ["a"]}, {"job_id": 10**70}):
        details = assert_refused(phone.post(path, body), 400, "ERR_4008")
        assert list(details["fields"]) == ["job_id"]


# --- Pages ------------------------------------------------------------------------------------


def jobs_page(phone, **query):
    body = phone.get("get-video-jobs", **query).json()
    return [job["job_id"] for job in body["jobs"]], body["next_cursor"]


def entries_page(phone, **query):
    body = phone.get("get-credit-history", **query).json()
    return [entry["id"] for entry in body["entries"]], body["next_cursor"]


PAGES = [("get-video-jobs", jobs_page), ("get-credit-history", entries_page)]


def test_jobs_have_the_fields_of_the_contract_newest_first(phone):
    first, second = order(phone), order(phone)

    body = phone.get("get-video-jobs").json()

    assert [job["job_id"] for job in body["jobs"]] == [second, first]
    assert set(body["jobs"][0]) == HISTORY_FIELDS
    assert (body["jobs"][0]["model_name"], body["next_cursor"]) == ("Sora 2", None)


def test_entries_have_the_fields_of_the_contract_newest_first(phone):
    job_id = order(phone)
    phone.post("cancel-video-job", {"job_id": job_id})

    entries = phone.get("get-credit-history").json()["entries"]

    assert [(e["kind"], e["change"], e["balance_after"]) for e in entries] == [
        ("refund", 4, 10), ("charge", -4, 6), ("grant", 10, 10)
    ]  # fmt: skip
    assert set(entries[0]) == ENTRY_FIELDS
    assert entries[0]["job_id"] == entries[1]["job_id"] == job_id


@pytest.mark.parametrize(("path", "page"), PAGES)
def test_a_cursor_meets_each_row_once_while_rows_are_added(phone, path, page):
    fund(phone, 90)
    for _ in range(5):
        order(phone)
    before, _ = page(phone)

    seen, cursor = page(phone, limit=2)
    while cursor:
        order(phone)
        rows, cursor = page(phone, limit=2, cursor=cursor)
        seen += rows

    assert seen == before


@pytest.mark.parametrize(("path", "page"), PAGES)
def test_an_offset_skips_rows(phone, path, page):
    fund(phone, 90)
    for _ in range(3):
        order(phone)
    rows, _ = page(phone)

    assert page(phone, offset=1)[0] == rows[1:]
    assert page(phone, offset=1, limit=1)[0] == rows[1:2]
    assert page(phone, offset=100) == ([], None)


@pytest.mark.parametrize(("path", "page"), PAGES)
def test_a_full_last_page_has_no_cursor(phone, path, page):
    fund(phone, 90)
    for _ in range(3):
        order(phone)
    rows, _ = page(phone)

    assert page(phone, limit=len(rows)) == (rows, None)
    assert page(phone, limit=100) == (rows, None)


@pytest.mark.parametrize(("path", "page"), PAGES)
def test_nonsense_in_a_page_is_400(phone, path, page):
    wrong = [
        ("limit", value) for value in ("0", "101", "abc", "-1", "1.5", "", " 5", "²", "9" * 5000)
    ]
    wrong += [("offset", value) for value in ("-1", "abc", "1e3", "", "9" * 20)]
    wrong += [("cursor", value) for value in ("abc", "!!!", "é", "x" * 5000, "\x00", str(uuid4()))]
    for name, value in wrong:
        details = assert_refused(phone.get(path, **{name: value}), 400, "ERR_4008")
        assert list(details["fields"]) == [name], value


def test_jobs_are_filtered_by_status(phone):
    pending, done = order(phone), order(phone)
    end(done)

    assert jobs_page(phone, status="pending")[0] == [pending]
    assert jobs_page(phone, status="completed")[0] == [done]
    details = assert_refused(phone.get("get-video-jobs", status="lost"), 400, "ERR_4008")
    assert list(details["fields"]) == ["status"]


# --- Media ------------------------------------------------------------------------------------


@pytest.fixture
def film(db, client):
    """Requests a stored file of ten bytes."""
    name = default_storage.save("test/film.mp4", ContentFile(b"0123456789"))
    path = "/media/" + media.signed_url(name).rpartition("/")[2]

    def ask(range_header=None, *, method="get", path=path, **conditions):
        headers = {name.replace("_", "-"): value for name, value in conditions.items()}
        if range_header:
            headers["Range"] = range_header
        return getattr(client, method)(path, headers=headers)

    yield ask
    default_storage.delete(name)


def content(answer):
    return b"".join(answer.streaming_content)


def test_a_signed_url_serves_the_file(film):
    answer = film()

    assert (answer.status_code, content(answer)) == (200, b"0123456789")
    assert answer.headers["Content-Type"] == "video/mp4"
    assert (answer.headers["Accept-Ranges"], answer.headers["Content-Length"]) == ("bytes", "10")


@pytest.mark.parametrize(
    ("asked", "got", "content_range"),
    [
        ("bytes=0-1", b"01", "bytes 0-1/10"),
        ("bytes=3-5", b"345", "bytes 3-5/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=0-", b"0123456789", "bytes 0-9/10"),
        ("bytes=0-9", b"0123456789", "bytes 0-9/10"),
        ("bytes=8-999", b"89", "bytes 8-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-999", b"0123456789", "bytes 0-9/10"),
        ("Bytes=0-1", b"01", "bytes 0-1/10"),
    ],
)
def test_a_byte_range_is_served_alone(film, asked, got, content_range):
    answer = film(asked)

    assert (answer.status_code, content(answer)) == (206, got)
    assert answer.headers["Content-Range"] == content_range
    assert answer.headers["Content-Length"] == str(len(got))


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_behind_the_end_is_416(film, asked):
    answer = film(asked)

    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */10")


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=5-3",
        "bytes=-",
        "bytes=a-b",
        "lines=0-1",
        "bytes=0-1,3-4",
        "bytes=0-0,-1",
        "bytes=" + ",".join(["0-"] * 1000),
        "bytes=\u0663-\u0665",
    ],
)
def test_a_range_that_is_none_is_ignored(film, asked):
    answer = film(asked)

    assert (answer.status_code, content(answer)) == (200, b"0123456789")


def test_head_tells_the_length_and_sends_nothing(film):
    answer = film("bytes=0-1", method="head")

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == "10"


def test_a_part_is_continued_only_where_it_is_of_the_same_file(film):
    first = film("bytes=0-4")
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]

    for known in (etag, modified):
        answer = film("bytes=5-", If_Range=known)
        assert (answer.status_code, content(answer)) == (206, b"56789"), known
    others = (
        '"another"', f"W/{etag}", etag.strip('"'), "Wed, 21 Oct 2015 07:28:00 GMT", "yesterday",
    )  # fmt: skip
    for known in others:
        answer = film("bytes=5-", If_Range=known)
        assert (answer.status_code, content(answer)) == (200, b"0123456789"), known
        assert "Content-Range" not in answer.headers
    # The whole file is what there is, so no range can lie behind its end.
    assert film("bytes=99-", If_Range='"another"').status_code == 200


def test_another_file_of_the_same_name_and_size_has_another_validator(film):
    before = film().headers["ETag"]
    default_storage.delete("test/film.mp4")
    default_storage.save("test/film.mp4", ContentFile(b"9876543210"))

    answer = film("bytes=5-", If_Range=before)

    assert (answer.status_code, content(answer)) == (200, b"9876543210")
    assert answer.headers["ETag"] != before


def test_who_has_the_file_is_told_that_it_is_unchanged(film):
    etag = film().headers["ETag"]

    for method in ("get", "head"):
        unchanged = film(method=method, If_None_Match=f'"other", {etag}')
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["ETag"] == etag
    assert film(If_None_Match='"other"').status_code == 200
    assert film(If_Match='"other"').status_code == 412
    assert film("bytes=0-1", If_Match=etag).status_code == 206


def test_media_is_only_read(film):
    assert film(method="post").status_code == 405


def test_an_expired_url_is_403(film, settings):
    settings.MEDIA_URL_TTL_SECONDS = -1
    expired = urlsplit(media.signed_url("test/film.mp4")).path

    assert_refused(film(path=expired), 403, "ERR_4006")


def test_a_url_that_is_not_ours_is_403(film, client):
    token = media.signed_url("test/film.mp4").rpartition("/")[2]
    signature_last = "A" if token[-1] != "A" else "B"

    for forged in (token[:-2] + signature_last * 2, "x" + token, "garbage", "a:b:c", "é"):
        assert_refused(film(path=f"/media/{forged}"), 403, "ERR_4006")


@pytest.mark.parametrize("name", ["test/film.mp4", 'test/é "\\ \u2028😀.mp4'])
def test_a_signature_is_djangos(settings, name):
    token = media.signed_url(name).rpartition("/media/")[2]
    signer = signing.Signer(salt="rendio.media.until")
    signed_name, until = signer.unsign_object(token)
    rotated = signing.Signer(
        key="new", salt="rendio.media.until", fallback_keys=[settings.SECRET_KEY]
    )

    assert signed_name == name
    assert token == signer.sign_object([name, until])
    assert rotated.unsign_object(token)[0] == name


def test_a_path_out_of_the_folder_is_not_served(film, client):
    for path in ("/media/..%2F..%2Fetc%2Fpasswd", "/media/../../etc/passwd", "/media//etc/passwd"):
        assert film(path=path).status_code in {403, 404}
    # Not even when signed: the storage itself stays in its folder.
    for name in ("../../etc/passwd", "/etc/passwd"):
        signed = media.signed_url(name).rpartition("/")[2]
        assert film(path=f"/media/{signed}").status_code == 400


def test_a_file_that_has_gone_is_404(film, client):
    gone = media.signed_url("test/gone.mp4").rpartition("/")[2]

    assert_refused(film(path=f"/media/{gone}"), 404, "ERR_4007")
