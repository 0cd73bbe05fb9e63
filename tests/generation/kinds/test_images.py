"""Images from text, from the order over HTTP to the files."""

from __future__ import annotations

import io
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from PIL import Image

from credits.ledger_check import find_discrepancies
from generation.catalogue import cache
from generation.lifecycle import settle
from generation.models import GenerationModel, Job, ProviderRoute
from generation.serializers import aspect_ratio
from tests.helpers.job_driver import assert_completed, create_job
from tests.helpers.model_ids import BANANA, FLUX, QWEN, SCHNELL, SORA
from tests.helpers.phone import Phone, assert_refused

RATIOS = {
    "1:1": (1024, 1024),
    "4:3": (1024, 768),
    "3:4": (768, 1024),
    "16:9": (1280, 720),
    "9:16": (720, 1280),
}


def download(url: str) -> Image.Image:
    answer = Client().get(url)
    assert answer.status_code == 200
    image = Image.open(io.BytesIO(b"".join(answer.streaming_content)))
    image.load()
    return image


def input_of(sandbox: Any) -> dict[str, Any]:
    """What the provider was asked for, the last time."""
    sent: dict[str, Any] = sandbox.jobs()[-1]["input"]
    return sent


@pytest.mark.parametrize(
    ("model", "tier", "credits"),
    [(SCHNELL, "basic", 1), (FLUX, "standard", 2), (BANANA, "high", 4)],
)
def test_each_tier_is_ordered_quoted_made_stored_and_answered(
    customer, instant_provider, life, model, tier, credits
):
    asked = {"kind": "text-to-image", "tier": tier, "settings": {"aspect_ratio": "16:9"}}
    before = customer.balance()
    quoted = customer.post("quote-video", {"prompt": "A red balloon", **asked}).json()
    job = create_job(customer, model_id=None, **asked)

    assert (job.model_id, job.queue, job.credits) == (model, "medium", credits)
    assert quoted["credits"] == credits
    assert customer.balance() == before - credits
    life.run_until_done(job)

    assert_completed(job)
    status = customer.get("get-video-status", job_id=job.id).json()
    assert status["video_url"] is None
    [made] = status["images"]
    image, thumbnail = download(made["image_url"]), download(made["thumbnail_url"])
    assert image.format == thumbnail.format == "JPEG"
    assert image.width / image.height == pytest.approx(16 / 9, rel=0.01)
    assert max(thumbnail.size) == 480
    assert find_discrepancies() == []


@pytest.mark.parametrize("ratio", RATIOS)
def test_an_image_has_the_ordered_size(customer, instant_provider, life, ratio):
    job = create_job(customer, model_id=str(FLUX), settings={"aspect_ratio": ratio})
    life.run_until_done(job)

    [made] = customer.get("get-video-status", job_id=job.id).json()["images"]
    assert download(made["image_url"]).size == RATIOS[ratio]


@pytest.mark.parametrize(
    ("size", "ratio"),
    [((1037, 691), "3:2"), ((720, 1280), "9:16"), ((2520, 1080), "7:3"), ((1, 4096), "1:4096")],
)
def test_a_ratio_is_stated_in_small_whole_numbers(size, ratio):
    assert aspect_ratio(*size) == ratio


def test_a_model_by_ratio_and_resolution_makes_both(customer, instant_provider, life):
    settings = {"aspect_ratio": "9:16", "resolution": "2K"}
    job = create_job(customer, model_id=str(BANANA), settings=settings)
    life.run_until_done(job)

    [made] = customer.get("get-video-status", job_id=job.id).json()["images"]
    assert download(made["image_url"]).size == (1152, 2048)
    assert (input_of(instant_provider)["aspect_ratio"], job.credits) == ("9:16", 4)


def test_a_4k_image_costs_twice_as_much(phone):
    settings = {"resolution": "4K"}

    assert create_job(phone, model_id=str(BANANA), settings=settings).credits == 8


def test_seed_and_negative_prompt_reach_the_provider(customer, instant_provider, life):
    settings = {"seed": 7, "negative_prompt": "blur, text"}
    job = create_job(customer, model_id=str(QWEN), settings=settings)
    life.run_until_done(job)

    sent = input_of(instant_provider)
    assert (sent["seed"], sent["negative_prompt"]) == (7, "blur, text")
    assert (sent["num_images"], sent["image_size"]) == (1, {"width": 1024, "height": 1024})
    assert job.settings == {"aspect_ratio": "1:1", "num_outputs": 1, **settings}


def test_settings_that_are_not_set_are_neither_stored_nor_sent(customer, instant_provider, life):
    unset = {"seed": None, "negative_prompt": None}
    job = create_job(customer, model_id=str(QWEN), settings=unset)
    life.run_until_done(job)

    assert job.settings == {"aspect_ratio": "1:1", "num_outputs": 1}
    assert not unset.keys() & input_of(instant_provider).keys()


@pytest.mark.parametrize(
    ("model", "chosen", "names"),
    [
        (FLUX, {"negative_prompt": "blur"}, ["settings.negative_prompt"]),
        (FLUX, {"duration": 4, "resolution": "2K"}, ["settings.duration", "settings.resolution"]),
        (SORA, {"seed": 7, "num_outputs": 2}, ["settings.seed", "settings.num_outputs"]),
        (QWEN, {"seed": -1}, ["settings.seed"]),
        (QWEN, {"seed": 2**31}, ["settings.seed"]),
        (QWEN, {"seed": 7.0}, ["settings.seed"]),
        (QWEN, {"seed": True}, ["settings.seed"]),
        (QWEN, {"seed": "7"}, ["settings.seed"]),
        (QWEN, {"negative_prompt": "x" * 501}, ["settings.negative_prompt"]),
        (QWEN, {"negative_prompt": 7}, ["settings.negative_prompt"]),
        (QWEN, {"num_outputs": 5}, ["settings.num_outputs"]),
        (QWEN, {"num_outputs": 0}, ["settings.num_outputs"]),
        (QWEN, {"aspect_ratio": "2:1"}, ["settings.aspect_ratio"]),
    ],
)
def test_a_setting_that_the_model_does_not_have_is_refused_by_name(phone, model, chosen, names):
    answer = phone.generate(model_id=str(model), settings=chosen)

    assert list(assert_refused(answer, 400, "ERR_4008")["fields"]) == names
    assert phone.balance() == 10
    assert phone.generate(model_id=str(QWEN), settings={"seed": 2**31 - 1}).status_code == 200


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"kind": "text-to-sound"}, ["kind"]),
        ({"kind": 7}, ["kind"]),
        ({"tier": "best"}, ["tier"]),
        ({"tier": "high", "model_id": str(FLUX)}, ["tier"]),
        ({"tier": "high", "kind": "text-to-image", "model_id": str(FLUX)}, ["kind", "tier"]),
    ],
)
def test_a_kind_or_tier_that_cannot_be_is_refused_by_name(phone, body, names):
    answer = phone.generate(**{"model_id": None, **body})

    assert list(assert_refused(answer, 400, "ERR_4008")["fields"]) == names


def test_a_kind_without_a_model_on_sale_is_an_unknown_model(phone):
    GenerationModel.objects.filter(tier="high").update(is_available=False)
    cache.invalidate()

    assert_refused(phone.generate(model_id=None, tier="high"), 404, "ERR_4002")
    assert phone.generate(model_id=None, tier="basic").status_code == 200


def test_a_tier_alone_means_an_image_and_a_kind_alone_the_standard_tier(phone):
    by_tier = create_job(phone, model_id=None, tier="basic")
    by_kind = create_job(phone, model_id=None, kind="text-to-image")

    assert [job.model_id for job in (by_tier, by_kind)] == [SCHNELL, FLUX]


def test_an_order_that_a_route_cannot_pass_on_does_not_go_there(phone):
    route = ProviderRoute.objects.get(model_id=QWEN)
    del route.parameters["negative_prompt"]
    route.save()
    cache.invalidate()

    refused = phone.generate(model_id=str(QWEN), settings={"negative_prompt": "blur"})

    assert_refused(refused, 503, "ERR_5002")
    assert phone.generate(model_id=str(QWEN)).status_code == 200


def test_get_models_states_tier_and_optional_settings(client, db):
    found = {model["id"]: model for model in client.get("/v1/get-models").json()["models"]}
    qwen, sora = found[str(QWEN)], found[str(SORA)]

    assert (qwen["kind"], qwen["tier"], qwen["min_credits"]) == ("text-to-image", "standard", 2)
    # An app of before reads `settings` as choices only.
    assert set(qwen["settings"]) == {"aspect_ratio", "num_outputs"}
    assert qwen["optional_settings"] == {
        "seed": {"minimum": 0, "maximum": 2147483647},
        "negative_prompt": {"max_length": 500},
    }
    assert not {"tier", "optional_settings"} & sora.keys()


def test_lists_tell_images_from_videos(phone):
    image = str(create_job(phone, model_id=str(SCHNELL)).id)
    video = str(create_job(phone).id)

    def listed(path: str, **query: str) -> list[tuple[str, str]]:
        jobs = phone.get(path, **query).json()["jobs"]
        return [(job["job_id"], job["kind"]) for job in jobs]

    assert listed("get-jobs") == [(video, "text-to-video"), (image, "text-to-image")]
    assert listed("get-video-jobs") == [(video, "text-to-video")]
    assert listed("get-jobs", kind="text-to-image") == [(image, "text-to-image")]
    assert listed("get-video-jobs", kind="image-to-video") == []
    details = assert_refused(phone.get("get-jobs", kind="sound"), 400, "ERR_4008")
    assert list(details["fields"]) == ["kind"]


def test_deletion_of_a_job_or_an_account_leaves_no_negative_prompt(customer):
    settings = {"seed": 7, "negative_prompt": "my neighbour's face"}
    jobs = [create_job(customer, model_id=str(QWEN), settings=settings) for _ in range(2)]
    settle.cancel_before_submit(jobs[0], now=jobs[0].created_at)

    assert customer.post("delete-video-job", {"job_id": str(jobs[0].id)}).status_code == 200
    assert customer.post("delete-account").status_code == 200

    left = [Job.objects.get(id=job.id).settings for job in jobs]
    assert left == [{"aspect_ratio": "1:1", "num_outputs": 1, "seed": 7}] * 2


def test_the_default_for_orders_without_a_model_makes_no_image(phone: Phone) -> None:
    GenerationModel.objects.filter(is_default=True).update(is_default=False)
    GenerationModel.objects.filter(kind="text-to-image").update(is_featured=True)
    cache.invalidate()

    model_id: UUID = create_job(phone, model_id=None).model_id
    assert GenerationModel.objects.get(id=model_id).kind == "text-to-video"
