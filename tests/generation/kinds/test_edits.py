"""Kinds that are made from a customer's images: edits, masks, enlargements, keyframes."""

from __future__ import annotations

import io
from typing import Any
from uuid import uuid4

import av
import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.utils import timezone
from PIL import Image, ImageChops, ImageStat

from credits.ledger_check import find_discrepancies
from generation import cleanup
from generation.catalogue import cache
from generation.models import (
    FileDeletion,
    Job,
    ModelKind,
    ProviderRequest,
    ProviderRoute,
    Upload,
)
from rendio.common.signing_identity import parse
from tests.generation.kinds.orders import BODIES, SIZE, left_half, masked, order, sources
from tests.generation.kinds.test_images import download, input_of
from tests.helpers import pictures
from tests.helpers.content_credentials import active_manifest, certificate_and_key
from tests.helpers.job_driver import assert_completed, assert_refunded, create_job, submissions
from tests.helpers.phone import assert_refused

KLEIN = "00000000-0000-4000-8000-00000000001c"
LEFT, RIGHT = (0, 0, SIZE[0] // 2 - 4, SIZE[1]), (SIZE[0] // 2 + 4, 0, *SIZE)


def made(phone: Any, job: Job) -> Image.Image:
    assert_completed(job)
    [image] = phone.get(f"generate/{job.id}").json()["images"]
    downloaded = download(image["image_url"])
    assert downloaded.size == (image["width"], image["height"])
    return downloaded


def difference(one: Image.Image, other: Image.Image, box: tuple[int, ...]) -> float:
    """The mean difference of the two in this box, of 255."""
    found = ImageChops.difference(one.convert("RGB").crop(box), other.convert("RGB").crop(box))
    return sum(ImageStat.Stat(found).mean) / 3


@pytest.mark.parametrize("kind", BODIES)
def test_the_price_is_the_quoted_one_and_the_media_are_of_the_kind(
    customer, instant_provider, life, kind
):
    before = customer.balance()
    body = {"prompt": "A cat"} | BODIES[kind] | sources(customer, kind)
    quoted = customer.post("quote-video", body).json()
    job = order(customer, kind)

    life.run_until_done(job)

    assert_completed(job)
    assert quoted["credits"] == job.credits == before - customer.balance()
    [listed] = customer.get("get-jobs", kind=kind).json()["jobs"]
    assert (listed["kind"], "images" in listed) == (kind, job.media_kind == "image")
    assert job.queue == ("medium" if job.media_kind == "image" else "low")
    assert find_discrepancies() == []


def test_an_edit_has_the_size_of_its_image(customer, instant_provider, life):
    job = order(customer, ModelKind.IMAGE_EDIT)
    life.run_until_done(job)

    image = made(customer, job)
    assert image.size == SIZE
    assert difference(image, pictures.two_halves(SIZE), (0, 0, *SIZE)) > 20
    # "auto" is the image's own shape, which this model has without a ratio.
    assert job.settings["aspect_ratio"] == "auto"
    for answer in (
        customer.get(f"generate/{job.id}").json(),
        *customer.get("get-jobs").json()["jobs"],
    ):
        assert [image["aspect_ratio"] for image in answer["images"]] == ["16:9"]
    assert "aspect_ratio" not in input_of(instant_provider)


def test_the_megapixels_of_the_image_are_booked_where_the_provider_charges_them(
    customer, instant_provider, life
):
    ProviderRoute.objects.filter(model_id=KLEIN).update(max_input_megapixels=3)
    cache.invalidate()
    costs = []
    for size in [SIZE, (1400, 1000), (2000, 2000)]:
        content = pictures.saved(pictures.two_halves(size), "JPEG")
        asked = {
            "model_id": KLEIN,
            "prompt": "A cat",
            "upload_id": pictures.uploaded(customer, content)["upload_id"],
            "settings": {"aspect_ratio": "16:9", "num_outputs": 2},
        }
        job = create_job(customer, **asked)
        life.run_until_done(job)
        assert_completed(job)
        # The price is for the most that count, whatever the image.
        assert job.credits == customer.post("quote-video", asked).json()["credits"] == 2
        costs.append(job.requests.get().cost_usd * 1000)

    assert costs == [22 + 11 * megapixels for megapixels in (1, 2, 3)]
    images = customer.get(f"generate/{job.id}").json()["images"]
    assert [download(image["image_url"]).size for image in images] == [(1280, 720)] * 2


def test_an_edit_may_have_another_ratio(customer, instant_provider, life):
    job = order(customer, ModelKind.IMAGE_EDIT, settings={"aspect_ratio": "1:1"})
    life.run_until_done(job)

    assert made(customer, job).size == (320, 320)


def test_only_the_white_part_of_the_mask_changes(customer, instant_provider, life):
    job = order(customer, ModelKind.INPAINT)
    life.run_until_done(job)

    image, before = made(customer, job), pictures.two_halves(SIZE)
    assert image.size == SIZE
    assert difference(image, before, LEFT) > 40
    assert difference(image, before, RIGHT) < 5


MASK_ROUTES = {
    "black": ("fal-ai/ideogram/v3/edit", {}),
    "transparent": (
        "fal-ai/gpt-image-1.5/edit",
        {
            "image_url": {"name": "image_urls", "list": True},
            "mask_url": {"name": "mask_image_url", "changes": "transparent"},
        },
    ),
}


@pytest.mark.parametrize("changes", MASK_ROUTES)
def test_a_mask_is_converted_for_a_provider_that_reads_it_in_another_way(
    customer, instant_provider, life, changes
):
    provider_model_id, parameters = MASK_ROUTES[changes]
    route = ProviderRoute.objects.get(model__kind=ModelKind.INPAINT)
    route.provider_model_id = provider_model_id
    route.parameters |= {"mask_url": {"name": "mask_url", "changes": changes}} | parameters
    route.save()
    cache.invalidate()
    job = order(customer, ModelKind.INPAINT)
    life.run_until_done(job)

    image, before = made(customer, job), pictures.two_halves(SIZE)
    assert difference(image, before, LEFT) > 40
    assert difference(image, before, RIGHT) < 5
    # The customer's mask stays as it was, and the converted one goes by itself.
    with default_storage.open(job.second_upload.name) as file:
        assert Image.open(file).getpixel((10, 10)) == 255
    converted = f"jobs/{job.id}/{job.requests.get().id}.png"
    scheduled = FileDeletion.objects.get(name=converted)
    assert default_storage.exists(converted)
    assert scheduled.due_at > life.now
    cleanup.delete_due_files(now=scheduled.due_at)
    assert not default_storage.exists(converted)


def test_a_mask_that_cannot_be_converted_is_refunded_and_blames_no_provider(
    customer, instant_provider, life
):
    route = ProviderRoute.objects.get(model__kind=ModelKind.INPAINT)
    route.parameters["mask_url"]["changes"] = "black"
    route.save()
    cache.invalidate()
    before = customer.balance()
    job = order(customer, ModelKind.INPAINT)
    default_storage.delete(job.second_upload.name)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_6003")
    assert (customer.balance(), submissions(instant_provider)) == (before, [])
    assert find_discrepancies() == []


@pytest.mark.parametrize(("resolution", "credits"), [("1080p", 1), ("2160p", 3)])
def test_an_image_is_enlarged_without_a_prompt(
    customer, instant_provider, life, resolution, credits
):
    asked = {"prompt": None, "settings": {"resolution": resolution}}
    job = order(customer, ModelKind.UPSCALE, **asked)
    life.run_until_done(job)

    image = made(customer, job)
    assert min(image.size) == int(resolution.removesuffix("p"))
    assert difference(image.resize(SIZE), pictures.two_halves(SIZE), RIGHT) < 5
    assert (job.credits, job.prompt) == (credits, "")


def test_keyframes_are_the_first_and_the_last_frame(customer, instant_provider, life):
    job = order(customer, ModelKind.KEYFRAMES_TO_VIDEO)
    life.run_until_done(job)

    assert_completed(job)
    url = customer.get(f"generate/{job.id}").json()["video_url"]
    content = b"".join(Client().get(url).streaming_content)
    with av.open(io.BytesIO(content)) as film:
        frames = [frame.to_image() for frame in film.decode(video=0)]
    assert difference(frames[0], pictures.two_halves(frames[0].size), RIGHT) < 12
    green = Image.new("RGB", frames[-1].size, (0, 200, 0))
    assert difference(frames[-1], green, (0, 0, *SIZE)) < 12


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (ModelKind.IMAGE_EDIT, "upload_id"),
        (ModelKind.UPSCALE, "upload_id"),
        (ModelKind.INPAINT, "mask_upload_id"),
        (ModelKind.KEYFRAMES_TO_VIDEO, "last_upload_id"),
    ],
)
def test_a_missing_or_foreign_image_is_refused(phone, new_guest, kind, field):
    body = {"prompt": "A cat"} | BODIES[kind] | sources(phone, kind)
    name = "image_url" if field == "upload_id" else field
    stranger = new_guest()
    theirs = pictures.uploaded(stranger)["upload_id"]
    before = phone.balance()

    missing = phone.generate(**{**body, field: None})
    assert list(assert_refused(missing, 400, "ERR_4008")["fields"]) == [name]
    for upload_id in (theirs, str(uuid4())):
        assert_refused(phone.generate(**{**body, field: upload_id}), 404, "ERR_4007")
        assert_refused(phone.post("quote-video", {**body, field: upload_id}), 404, "ERR_4007")
    assert phone.balance() == before
    assert phone.post("quote-video", body).status_code == 200


def test_a_mask_is_good_for_its_image_alone(phone):
    body = {"prompt": "A cat"} | BODIES[ModelKind.INPAINT] | sources(phone, ModelKind.INPAINT)
    other = pictures.uploaded(phone)["upload_id"]

    for changes, field in (
        ({"upload_id": other}, "mask_upload_id"),
        ({"mask_upload_id": other}, "mask_upload_id"),
        ({"upload_id": body["mask_upload_id"]}, "upload_id"),
    ):
        answer = phone.generate(**{**body, **changes})
        assert field in assert_refused(answer, 400, "ERR_4008")["fields"]
    assert phone.generate(**body).status_code == 200


@pytest.mark.parametrize(
    "mask",
    [
        left_half(),
        left_half((640, 360)),
        left_half(mode="RGBA"),
        left_half(mode="1"),
        left_half(mode="LA"),
    ],
    ids=["grey", "larger", "transparent", "two colours", "grey and transparent"],
)
def test_a_mask_is_stored_as_black_and_white_of_the_images_size(phone, mask):
    halves = pictures.saved(pictures.two_halves(SIZE), "JPEG")
    image_id = pictures.uploaded(phone, halves)["upload_id"]

    answer = masked(phone, image_id, pictures.saved(mask, "PNG"))

    assert answer.status_code == 201, answer.content
    upload = Upload.objects.get(id=answer.json()["upload_id"])
    with default_storage.open(upload.name) as file:
        stored = Image.open(io.BytesIO(file.read()))
    assert (stored.format, stored.mode, stored.size) == ("PNG", "L", SIZE)
    assert stored.getpixel((10, 10)) == 255
    assert stored.getpixel((SIZE[0] - 10, 10)) == 0
    assert {value for _, value in stored.getcolors()} == {0, 255}


def test_a_mask_follows_the_rotation_of_the_image(phone):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = pictures.saved(pictures.two_halves(SIZE), "JPEG", exif=exif)
    image_id = pictures.uploaded(phone, turned)["upload_id"]

    upright = masked(phone, image_id, pictures.saved(left_half((180, 320)), "PNG"))
    lying = masked(phone, image_id)

    assert (upright.json()["width"], upright.json()["height"]) == (180, 320)
    assert_refused(lying, 400, "ERR_4017")


@pytest.mark.parametrize(
    "content",
    [
        pictures.saved(Image.new("L", SIZE, 0), "PNG"),
        pictures.saved(left_half((200, 180)), "PNG"),
        b"no mask",
    ],
    ids=["black", "other shape", "nonsense"],
)
def test_a_mask_that_cannot_be_used_is_refused(phone, content):
    halves = pictures.saved(pictures.two_halves(SIZE), "JPEG")
    image_id = pictures.uploaded(phone, halves)["upload_id"]

    assert_refused(masked(phone, image_id, content), 400, "ERR_4017")
    assert masked(phone, image_id).status_code == 201


def test_a_mask_of_anothers_image_is_refused(phone, new_guest):
    theirs = pictures.uploaded(new_guest())["upload_id"]

    assert_refused(masked(phone, theirs), 404, "ERR_4007")
    assert_refused(masked(phone, uuid4()), 404, "ERR_4007")
    assert_refused(masked(phone, "nonsense"), 400, "ERR_4008")


def test_both_images_of_a_job_stay_as_long_as_the_job(customer, instant_provider, life):
    job = order(customer, ModelKind.INPAINT)
    life.run_until_done(job)
    names = [Upload.objects.get(id=id_).name for id_ in (job.upload_id, job.second_upload_id)]
    later = timezone.now() + (job.upload.expires_at - job.created_at) * 2

    cleanup.delete_due_files(now=later)
    assert all(map(default_storage.exists, names))
    assert customer.post("delete-video-job", {"job_id": str(job.id)}).status_code == 200
    cleanup.delete_due_files(now=later)
    cleanup.delete_due_files(now=later)

    assert not any(map(default_storage.exists, names))


def test_a_deleted_account_leaves_no_mask(customer):
    job = order(customer, ModelKind.INPAINT)
    names = [Upload.objects.get(id=id_).name for id_ in (job.upload_id, job.second_upload_id)]

    assert customer.post("delete-account").status_code == 200
    cleanup.delete_due_files(now=timezone.now())

    assert not any(map(default_storage.exists, names))
    job.refresh_from_db()
    assert (job.upload_id, job.second_upload_id) == (None, None)


def test_a_failed_job_with_two_images_is_ordered_again(customer, instant_provider, life):
    instant_provider.provider(outcome="error", times=1)
    job = order(customer, ModelKind.INPAINT)
    life.run_until_done(job)

    answer = customer.post("retry-video-job", {"job_id": str(job.id)}, Idempotency_Key=str(uuid4()))
    again = Job.objects.get(id=answer.json()["job_id"])
    life.run_until_done(again)

    assert again.second_upload_id == job.second_upload_id
    assert made(customer, again).size == SIZE
    assert ProviderRequest.objects.filter(job=again).count() == 1


COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
IMAGES_OF_IMAGES = [ModelKind.IMAGE_EDIT, ModelKind.INPAINT, ModelKind.UPSCALE]


@pytest.mark.parametrize("kind", IMAGES_OF_IMAGES)
def test_a_changed_image_is_marked_as_a_composite(customer, instant_provider, life, settings, kind):
    settings.C2PA_SIGNER = parse(*certificate_and_key("Rendio's owner"))
    job = order(customer, kind)
    life.run_until_done(job)

    answer = customer.get(f"generate/{job.id}").json()

    assert answer["ai_generated"] is True
    [image] = answer["images"]
    for url in (image["image_url"], image["thumbnail_url"]):
        content = Client().get("/media/" + url.rpartition("/")[2]).getvalue()
        assert f">{COMPOSITE}<" in Image.open(io.BytesIO(content)).info["xmp"].decode()
        [action] = active_manifest(content)["assertions"][0]["data"]["actions"]
        assert action["digitalSourceType"] == COMPOSITE
    assert customer.get(f"provenance/{job.id}").json()["digital_source_type"] == COMPOSITE


@pytest.mark.parametrize("kind", sorted(set(BODIES) - set(IMAGES_OF_IMAGES)))
def test_what_is_new_in_every_pixel_is_no_composite(customer, kind):
    job = order(customer, kind)

    origin = customer.get(f"provenance/{job.id}").json()

    assert origin["digital_source_type"].endswith("/trainedAlgorithmicMedia")
