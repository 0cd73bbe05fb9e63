"""train/upload: each image is judged at once, and the phone is told what is wrong with which."""

from __future__ import annotations

import resource
from contextlib import contextmanager
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.utils import timezone
from PIL import Image

from generation.models import FileDeletion, Job, TrainingPicture, TrainingSet
from generation.uploads import concurrency
from tests.helpers import pictures, training_pictures
from tests.helpers.phone import assert_refused
from tests.helpers.training_pictures import blurred, jpeg, portrait, portraits, scene, upload

pytestmark = pytest.mark.django_db


def uploaded(answer):
    assert answer.status_code == 201, answer.content
    return answer.json()


def problems(body):
    return [[one["problem"] for one in picture["problems"]] for picture in body["pictures"]]


def test_a_set_of_good_images_is_usable_and_stored_small_without_metadata(phone, storage):
    large = scene(99, (2600, 1950))
    exif = Image.Exif()
    exif[0x010F] = "SecretCameraMaker"
    contents = [*portraits(11), pictures.saved(large, "JPEG", exif=exif.tobytes())]

    body = uploaded(upload(phone, contents))

    assert problems(body) == [[]] * 12
    assert (body["usable"], body["minimum"]) == (12, None)
    assert [one["file_name"] for one in body["pictures"][:2]] == ["IMG_00.jpg", "IMG_01.jpg"]
    folder = f"training/{body['set_id']}"
    names = [f"{folder}/{one['picture_id']}.jpg" for one in body["pictures"]]
    assert storage.names() == sorted(names)
    assert not FileDeletion.objects.exists()
    stored = storage.read(names[-1])
    assert Image.open(BytesIO(stored)).size == (2048, 1536)
    assert b"SecretCameraMaker" not in stored


@contextmanager
def memory_left(size_bytes):
    """This process gets so much more memory and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_strip_takes_no_more_memory_than_another_image(phone, storage):
    strip = pictures.saved(Image.new("RGB", (16, 20_000)), "PNG")

    with memory_left(500_000_000):
        body = uploaded(upload(phone, [strip]))

    assert "too_small" in problems(body)[0]


def test_what_is_wrong_with_which_image_is_said_and_costs_nothing(phone, storage):
    twin = portrait(2).resize((1200, 1133))
    sent = {
        "good": portrait(1),
        "small": portrait(3).resize((480, 453)),
        "soft": blurred(portrait(4)),
        "black": Image.new("RGB", training_pictures.SIZE, (3, 3, 3)),
        "white": Image.new("RGB", training_pictures.SIZE, (252, 252, 252)),
        "first": portrait(2),
        "twin": twin,
        "two": portrait(5, faces=2),
        "none": scene(6),
    }
    contents = [jpeg(picture) for picture in sent.values()]

    body = uploaded(upload(phone, [*contents, b"no image", jpeg(portrait(7))], kind="person"))

    assert dict(zip([*sent, "broken", "last"], problems(body), strict=True)) == {
        "good": [],
        "small": ["too_small"],
        "soft": ["blurred"],
        "black": ["too_dark", "blurred", "no_face"],
        "white": ["too_bright", "blurred", "no_face"],
        "first": [],
        "twin": ["duplicate"],
        "two": ["several_faces"],
        "none": ["no_face"],
        "broken": ["unreadable"],
        "last": [],
    }
    assert body["usable"] == 3
    assert [one["usable"] for one in body["pictures"]].count(True) == 3
    broken = body["pictures"][-2]
    assert (broken["picture_id"], broken["width"]) == (None, None)
    assert broken["problems"][0]["message"] == "This file cannot be used: not an image, or damaged."
    assert body["pictures"][1]["problems"][0]["message"] == "The image is too small."
    assert phone.balance() == 10
    assert not Job.objects.exists()
    # Faces matter to a person only.
    assert uploaded(upload(phone, contents[-1:], set_id=body["set_id"]))["usable"] == 5


def test_a_set_takes_forty_images_over_several_calls_and_a_file_once(phone, storage, settings):
    settings.MAX_UPLOAD_BYTES = 200_000
    first = uploaded(upload(phone, portraits(3)))
    fill(first["set_id"], up_to=39)
    large = pictures.saved(scene(1, (1000, 1000)), "PNG")
    assert len(large) > 200_000

    again = [*portraits(5)[2:], large]
    body = uploaded(upload(phone, again, set_id=first["set_id"]))

    assert problems(body) == [[], [], ["set_full"], ["too_large"]]
    assert body["usable"] == 40
    assert body["pictures"][0]["picture_id"] == first["pictures"][2]["picture_id"]
    assert (body["set_id"], body["expires_at"]) == (first["set_id"], first["expires_at"])
    positions = TrainingPicture.objects.order_by("position").values_list("position", flat=True)
    assert list(positions) == list(range(1, 41))


def fill(set_id, *, up_to):
    """Rows as of usable images. Drawing and judging so many takes seconds."""
    have = TrainingPicture.objects.filter(set_id=set_id).count()
    sizes = {"width": 576, "height": 544, "size_bytes": 1}
    TrainingPicture.objects.bulk_create(
        TrainingPicture(set_id=set_id, position=position, checks={"hash": "0" * 16}, **sizes)
        for position in range(have + 1, up_to + 1)
    )


def test_refused_calls_store_nothing(phone, new_guest, storage, subtests, settings):
    good = portraits(1)
    own = uploaded(upload(phone, good))["set_id"]
    stranger = new_guest()

    def refused(status, code, *, by=phone, contents=good, **fields):
        return assert_refused(upload(by, contents, **fields), status, code)

    with subtests.test("nothing sent"):
        assert list(refused(400, "ERR_4008", contents=[])["fields"]) == ["files"]
    with subtests.test("too many"):
        assert list(refused(400, "ERR_4008", contents=[b"x"] * 41)["fields"]) == ["files"]
    with subtests.test("unknown kind"):
        assert list(refused(400, "ERR_4008", kind="cat")["fields"]) == ["kind"]
    with subtests.test("another user's set"):
        refused(404, "ERR_4007", by=stranger, set_id=own)
        refused(404, "ERR_4007", set_id=str(uuid4()))
    with subtests.test("no session"):
        assert phone.client.post("/v1/train/upload", {}).status_code == 401
    with subtests.test("a training uses the set"):
        TrainingSet.objects.filter(id=own).update(remove_at=None)
        assert list(refused(400, "ERR_4008", set_id=own)["fields"]) == ["set_id"]
    with subtests.test("expired"):
        past = timezone.now() - timedelta(seconds=1)
        TrainingSet.objects.filter(id=own).update(remove_at=past, expires_at=past)
        assert list(refused(400, "ERR_4008", set_id=own)["fields"]) == ["set_id"]
    with subtests.test("more bytes than a call may have"):
        settings.MAX_TRAINING_UPLOAD_BYTES = 1000
        refused(413, "ERR_4008", contents=[bytes(80_000)])
    assert TrainingSet.objects.count() == TrainingPicture.objects.count() == 1
    assert len(storage.names()) == 1


def test_a_user_sends_one_call_at_a_time_and_all_a_few(phone, new_guest, storage):
    content, other = portraits(1), new_guest()
    with concurrency.training_slot(phone.user_id):
        assert_refused(upload(phone, content), 429, "ERR_4004")
        assert upload(other, content).status_code == 201

        with concurrency.training_slot(uuid4()):
            busy = upload(other, content)

    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "5")
    assert upload(phone, content).status_code == 201


def test_what_the_storage_does_not_take_is_sent_again(phone, storage, settings):
    one, two = portraits(2)
    own = uploaded(upload(phone, [one]))["set_id"]
    good, settings.MEDIA_ROOT = settings.MEDIA_ROOT, f"{settings.MEDIA_ROOT}/{storage.names()[0]}"

    assert_refused(upload(phone, [two], set_id=own), 503, "ERR_6002")
    assert problems(uploaded(upload(phone, [one, two], set_id=own))) == [[], ["not_checked"]]

    assert TrainingPicture.objects.count() == 1
    names = FileDeletion.objects.values_list("name", flat=True)
    assert {name.startswith(f"training/{own}/") for name in names} == {True}
    settings.MEDIA_ROOT = good
    assert uploaded(upload(phone, [one, two], set_id=own))["usable"] == 2


def test_a_user_stores_so_many_sets_and_bytes(phone, storage, settings):
    one, two = portraits(2)
    settings.TRAINING_SETS_PER_USER = 1
    own = uploaded(upload(phone, [one]))["set_id"]

    assert_refused(upload(phone, [two]), 429, "ERR_4004")
    settings.TRAINING_BYTES_PER_USER = TrainingPicture.objects.get().size_bytes + 1
    refused = upload(phone, [two], set_id=own)

    assert_refused(refused, 429, "ERR_4004")
    assert int(refused.headers["Retry-After"]) > 70 * 3600
    settings.TRAINING_BYTES_PER_USER, settings.TRAINING_BYTES_IN_ALL = 0, 1
    assert upload(phone, [two], set_id=own).status_code == 503


def test_what_takes_too_long_is_for_the_next_call(phone, storage, settings):
    one, two = portraits(2)
    own = uploaded(upload(phone, [one]))["set_id"]
    settings.TRAINING_UPLOAD_SECONDS = 0
    body = uploaded(upload(phone, [two], set_id=own))
    assert problems(body) == [["not_checked"]]
    assert TrainingPicture.objects.filter(set_id=UUID(own)).count() == 1
