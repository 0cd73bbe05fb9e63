"""generate/image, generate/video, generate/{id}: further names of the same services."""

from __future__ import annotations

import statistics
import time
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from generation.models import Job, Stage
from tests.generation.kinds.orders import SORA_FROM_PICTURE
from tests.helpers.job_driver import JobDriver, assert_completed, create_job, grant
from tests.helpers.model_ids import BANANA, FLUX, SORA, VEO
from tests.helpers.phone import Phone, assert_refused


def generate(phone: Phone, what: str, *, key: str = "", **body: Any) -> Any:
    order = {"prompt": "A red balloon"} | body
    return phone.post(f"generate/{what}", order, Idempotency_Key=key or str(uuid4()))


@pytest.mark.parametrize(
    ("what", "body", "model"),
    [
        ("image", {}, FLUX),
        ("image", {"tier": "high"}, BANANA),
        ("image", {"model_id": str(BANANA)}, BANANA),
        ("video", {}, VEO),
        ("video", {"model_id": str(SORA)}, SORA),
        ("video", {"kind": "text-to-video"}, SORA),
    ],
)
def test_an_order_without_a_model_gets_one_that_makes_it(phone, what, body, model):
    answer = generate(phone, what, **body)

    assert answer.status_code == 200, answer.content
    assert Job.objects.get(id=answer.json()["job_id"]).model_id == model


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("image", {"model_id": str(SORA)}),
        ("image", {"kind": "text-to-video"}),
        ("video", {"model_id": str(FLUX)}),
        ("video", {"tier": "high"}),
        ("video", {"kind": "text-to-image"}),
    ],
)
def test_an_order_of_a_model_that_makes_something_else_is_refused(phone, what, body):
    assert_refused(generate(phone, what, **body), 404, "ERR_4002")
    assert phone.balance() == 10


def test_an_idempotency_key_is_good_for_one_order_of_images(phone):
    key = str(uuid4())
    first, again = generate(phone, "image", key=key), generate(phone, "image", key=key)

    assert first.content == again.content
    assert again.headers["X-Idempotent-Replay"] == "true"
    assert phone.balance() == 8
    assert_refused(generate(phone, "image", key=key, tier="high"), 422, "ERR_4010")
    assert_refused(phone.post("generate/image", {"prompt": "A cat"}), 400, "ERR_4009")


def test_a_video_by_either_name_is_one_order(phone):
    key, order = str(uuid4()), {"model_id": str(SORA), "prompt": "A red balloon"}
    first = generate(phone, "video", key=key, **order)
    again = phone.generate(key=key, **order)

    assert (first.status_code, first.content) == (200, again.content)


def test_an_image_is_followed_and_cancelled_by_its_path(phone):
    job_id = generate(phone, "image").json()["job_id"]

    by_path = phone.get(f"generate/{job_id}")
    assert by_path.json() == phone.get("get-video-status", job_id=job_id).json()
    assert by_path.headers["Retry-After"] == "2"
    assert (by_path.json()["status"], by_path.json()["images"]) == ("pending", [])
    assert phone.post(f"generate/{job_id}/cancel").json()["status"] == "cancelled"
    assert phone.balance() == 10


@pytest.mark.parametrize("path", ["generate/{}", "generate/{}/cancel"])
def test_an_id_that_is_none_is_refused(phone, path):
    method = phone.post if path.endswith("cancel") else phone.get

    assert_refused(method(path.format("nonsense")), 400, "ERR_4008")
    assert_refused(method(path.format(uuid4())), 404, "ERR_4007")


def test_the_quote_of_an_image_is_its_price(phone):
    order = {"prompt": "A red balloon", "tier": "high", "settings": {"resolution": "4K"}}
    quoted = phone.post("quote-video", order).json()

    answer = generate(phone, "image", **order, quote_id=quoted["quote_id"]).json()

    assert answer["credits_used"] == quoted["credits"] == 8


def test_an_image_model_from_pictures_is_not_taken_for_one_from_text(phone):
    answer = generate(phone, "video", model_id=SORA_FROM_PICTURE)

    assert list(assert_refused(answer, 400, "ERR_4008")["fields"]) == ["image_url"]


WAITING_VIDEOS = 200
COPY = """
INSERT INTO generation_job ({columns})
SELECT {values} FROM generation_job, generate_series(1, %s) WHERE id = %s
"""


def test_a_flood_of_videos_does_not_slow_images(customer, instant_provider, life, settings):
    settings.PERSON_DAILY_USD = 0
    grant(customer.user_id, 1000)

    def seconds_of_an_image(driver: JobDriver) -> float:
        job = create_job(customer, model_id=None, tier="basic")
        began = time.monotonic()
        driver.run_until_done(job)
        took = time.monotonic() - began
        assert_completed(job)
        return took

    empty = [seconds_of_an_image(life) for _ in range(3)]
    video = create_job(customer)
    columns = [field.column for field in Job._meta.local_concrete_fields]
    with connection.cursor() as cursor:
        cursor.execute(
            COPY.format(
                columns=", ".join(columns),
                values=", ".join(
                    "gen_random_uuid()" if column == "id" else column for column in columns
                ),
            ),
            [WAITING_VIDEOS - 1, video.id],
        )

    flooded = [seconds_of_an_image(life) for _ in range(5)]

    waiting = Job.objects.filter(queue="low", stage=Stage.SUBMIT)
    assert waiting.count() == WAITING_VIDEOS
    assert statistics.median(flooded) < statistics.median(empty) + 1
