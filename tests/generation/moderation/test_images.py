"""Pictures under moderation: refused before they are kept."""

from __future__ import annotations

import base64
from io import BytesIO

import pytest
from django.utils import timezone
from PIL import Image

from generation.models import FileDeletion, InputKind, TrainingPicture, Upload, Violation
from tests.helpers import training_pictures
from tests.helpers.phone import assert_refused
from tests.helpers.pictures import jpeg, saved, two_halves, upload, uploaded

IMAGE_TO_VIDEO = "00000000-0000-4000-8000-000000000002"


def test_a_refused_picture_is_not_kept_and_counts(phone, openai, storage):
    openai(flag_images=True, category="sexual")

    details = assert_refused(upload(phone), 422, "ERR_4016")

    assert details == {"input": "image", "step": "none"}
    assert storage.names() == []
    assert not Upload.objects.exists()
    assert not FileDeletion.objects.exists()
    violation = Violation.objects.get(user_id=phone.user_id)
    assert (violation.input, violation.categories) == (InputKind.IMAGE, ["sexual"])
    openai()
    assert uploaded(phone)["upload_id"]


def test_the_same_picture_sent_again_is_one_violation(phone, openai, storage):
    openai(flag_images=True)

    for picture in (jpeg(), jpeg(), saved(two_halves((48, 64)), "PNG")):
        assert_refused(upload(phone, picture), 422, "ERR_4016")

    assert Violation.objects.filter(user_id=phone.user_id).count() == 2


def test_the_same_picture_after_its_hold_is_refused_and_no_more(phone, openai, storage, settings):
    settings.MODERATION_WARN_AFTER, settings.MODERATION_HOLD_AFTER = 0, 1
    openai(flag_images=True)
    assert assert_refused(upload(phone), 422, "ERR_4016")["step"] == "hold"
    assert_refused(upload(phone), 403, "ERR_4018")
    Violation.objects.update(held_until=timezone.now())

    assert assert_refused(upload(phone), 422, "ERR_4016") == {"input": "image", "step": "none"}


def test_a_refused_image_of_a_training_does_not_fail_the_others_until_a_hold(
    phone, openai, storage, settings
):
    settings.MODERATION_WARN_AFTER, settings.MODERATION_HOLD_AFTER = 0, 2
    good, other, third = training_pictures.portraits(3)
    assert training_pictures.upload(phone, [good]).json()["pictures"][0]["usable"]
    openai(flag_images=True)

    answer = training_pictures.upload(phone, [other, b"no image"])

    [refused, broken] = answer.json()["pictures"]
    assert (refused["picture_id"], refused["usable"]) == (None, False)
    assert [one["problem"] for one in refused["problems"]] == ["not_allowed"]
    assert [one["problem"] for one in broken["problems"]] == ["unreadable"]
    assert Violation.objects.filter(user_id=phone.user_id).count() == 1
    details = assert_refused(training_pictures.upload(phone, [third, other]), 422, "ERR_4016")
    assert details["step"] == "hold"
    assert Violation.objects.filter(user_id=phone.user_id).count() == 2
    assert len(storage.names()) == TrainingPicture.objects.count() == 1
    openai(status=500)
    assert_refused(training_pictures.upload(phone, [good]), 403, "ERR_4018")


def test_openai_gets_one_small_jpeg(phone, openai, sandbox, storage):
    uploaded(phone, saved(two_halves((3000, 2000)), "PNG"))

    [request] = sandbox.requests("openai")
    [part] = request["body"]["input"]
    kind, _, data = part["image_url"]["url"].partition(",")
    assert (part["type"], kind) == ("image_url", "data:image/jpeg;base64")
    shown = Image.open(BytesIO(base64.b64decode(data)))
    assert (shown.format, shown.size) == ("JPEG", (768, 512))


def test_a_file_that_is_no_picture_is_refused_as_that_and_shown_to_nobody(phone, openai, sandbox):
    assert_refused(upload(phone, b"GIF89a"), 400, "ERR_4017")

    assert sandbox.requests("openai") == []


def test_out_of_reach_is_as_the_setting_says(phone, openai, settings, storage):
    openai(status=500)
    assert_refused(upload(phone), 503, "ERR_5002")
    assert storage.names() == []

    settings.MODERATION_WHEN_UNREACHABLE = "allow"

    assert uploaded(phone)["upload_id"]


def test_a_picture_that_lies_elsewhere_is_judged_once_it_is_here(
    phone, openai, stub_server, settings, storage
):
    settings.ALLOW_EXTERNAL_IMAGE_URLS = True
    stub_server.say(200, jpeg(), Content_Type="image/jpeg")
    openai(flag_images=True)
    order = {"model_id": IMAGE_TO_VIDEO, "image_url": f"{stub_server.url}/red.jpg"}

    details = assert_refused(phone.generate(**order), 422, "ERR_4016")

    assert details["input"] == "image"
    assert phone.balance() == 10
    assert storage.names() == []


def test_a_picture_goes_to_openai_only_with_consent(phone, openai, sandbox, settings, storage):
    settings.REQUIRE_AI_CONSENT = True
    assert_refused(upload(phone), 403, "ERR_4021")
    assert sandbox.requests("openai") == []

    phone.post("record-consent", {"kind": "ai_providers", "version": "1", "providers": ["openai"]})

    assert uploaded(phone)["upload_id"]


@pytest.mark.parametrize("moderation", [[], ["blocklist"]])
def test_who_does_not_judge_pictures_lets_them_in(phone, settings, storage, sandbox, moderation):
    settings.MODERATION = moderation

    assert uploaded(phone)["upload_id"]
    assert sandbox.requests("openai") == []
