"""Images that are made with a model that their customer has trained."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from credits import services as credit_services
from credits.ledger_check import find_discrepancies
from credits.models import Wallet
from generation.models import Job, TrainedModel
from tests.generation.kinds.test_images import download, input_of
from tests.helpers.concurrency import at_once, waiting_for_locks
from tests.helpers.job_driver import assert_completed, assert_refunded, submissions
from tests.helpers.phone import Phone, assert_refused
from tests.helpers.trained_weights import trained_model
from tests.helpers.wait import wait_for

FLUX_DEV, FLUX_2 = (f"00000000-0000-4000-8000-0000000000{number}" for number in ("1b", "11"))
NOT_FOUND, INVALID = (404, "ERR_4007"), (400, "ERR_4008")
PATHS = ("generate/image", "generate/video", "generate-video", "quote-video")


def ordered(phone: Phone, trained: TrainedModel, **body: Any) -> Job:
    answer = asked(phone, "generate/image", trained.id, **body)
    assert answer.status_code == 200, answer.content
    return Job.objects.get(id=answer.json()["job_id"])


def asked(phone: Phone, path: str, trained_model_id: Any, **body: Any) -> Any:
    order = {"prompt": "a photo of a cup", "trained_model_id": str(trained_model_id)} | body
    return phone.post(path, order, Idempotency_Key=str(uuid4()))


def corner(phone: Phone, job: Job) -> Any:
    [image] = phone.get(f"generate/{job.id}").json()["images"]
    return download(image["image_url"]).convert("RGB").getpixel((8, 8))


def test_an_image_shows_what_was_trained(customer, instant_provider, life):
    trained, before = trained_model(customer.user_id), customer.balance()
    quoted = asked(customer, "quote-video", trained.id).json()
    job = ordered(customer, trained)

    life.run_until_done(job)

    assert_completed(job)
    # The first model that can load it, at its price.
    assert (str(job.model_id), job.trained_model_id) == (FLUX_DEV, trained.id)
    assert before - customer.balance() == quoted["credits"] == job.credits
    sent = input_of(instant_provider)
    assert (sent["prompt"], job.prompt) == ("zqcup, a photo of a cup", "a photo of a cup")
    [lora] = sent["loras"]
    assert (sorted(lora), lora["scale"]) == (["path", "scale"], 1)
    assert customer.get(f"provenance/{job.id}").json()["trained_model_id"] == str(trained.id)
    red, green, blue = corner(customer, job)
    assert green > 180 > max(red, blue) + 120


def test_the_trigger_word_is_added_only_where_it_is_missing(customer, instant_provider, life):
    trained = trained_model(customer.user_id)

    life.run_until_done(ordered(customer, trained, prompt="a zqcup on a table"))

    assert input_of(instant_provider)["prompt"] == "a zqcup on a table"


def test_without_a_trained_model_the_same_model_makes_an_image(customer, instant_provider, life):
    answer = customer.post(
        "generate/image", {"prompt": "A cup", "model_id": FLUX_DEV}, Idempotency_Key=str(uuid4())
    )
    job = Job.objects.get(id=answer.json()["job_id"])

    life.run_until_done(job)

    assert_completed(job)
    assert "loras" not in input_of(instant_provider)
    assert "trained_model_id" not in customer.get(f"provenance/{job.id}").json()


def test_models_say_whether_they_use_trained_models(customer):
    models = customer.get("get-models").json()["models"]

    users = [model["id"] for model in models if "uses_trained_models" in model]
    assert users == [FLUX_DEV]


@pytest.mark.parametrize("path", PATHS)
def test_strangers_deleted_and_unknown_models_are_not_found(customer, new_guest, path):
    stranger, before = new_guest(), customer.balance()
    deleted = trained_model(customer.user_id, deleted_at=timezone.now())
    ids = [trained_model(stranger.user_id).id, deleted.id, uuid4()]

    for trained_model_id in ids:
        for model_id in (None, FLUX_DEV, FLUX_2):
            answer = asked(customer, path, trained_model_id, model_id=model_id)
            assert_refused(answer, *NOT_FOUND)

    assert customer.balance() == before
    assert not Job.objects.filter(user_id=customer.user_id, is_training=False).exists()


@pytest.mark.parametrize(
    ("fields", "body", "problem"),
    [
        ({"is_trained": False}, {}, "is not trained"),
        ({}, {"model_id": FLUX_2}, "cannot use"),
        ({}, {"tier": "high"}, "cannot use"),
        ({"base_family": "flux-2"}, {"model_id": FLUX_DEV}, "cannot use"),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_charge(customer, fields, body, problem):
    trained, before = trained_model(customer.user_id, **fields), customer.balance()

    details = assert_refused(asked(customer, "generate/image", trained.id, **body), *INVALID)

    assert problem in details["fields"]["trained_model_id"][0]
    assert customer.balance() == before


def test_of_a_family_that_no_model_loads_no_model_is_found(customer):
    trained = trained_model(customer.user_id, base_family="flux-2")

    assert_refused(asked(customer, "generate/image", trained.id), 404, "ERR_4002")


def test_a_model_that_is_deleted_before_the_submission_costs_nothing(
    customer, instant_provider, life
):
    trained, before = trained_model(customer.user_id), customer.balance()
    job = ordered(customer, trained)
    TrainedModel.objects.filter(id=trained.id).update(deleted_at=timezone.now(), weights_name="")

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5002")
    assert (customer.balance(), submissions(instant_provider)) == (before, [])
    assert find_discrepancies() == []


def test_a_model_that_is_deleted_while_it_is_ordered_is_not_found(guest):
    """The order has read the model, and waits for the wallet that the deletion has locked."""
    trained, before = trained_model(guest.user_id), guest.balance()

    def delete():
        with transaction.atomic():
            credit_services.lock_wallet(user_id=guest.user_id)
            wait_for(lambda: waiting_for_locks("credits_wallet"))
            TrainedModel.objects.filter(id=trained.id).update(deleted_at=timezone.now())

    def order():
        wait_for(lambda: not _is_free(guest))
        return asked(guest, "generate/image", trained.id)

    _, answer = at_once(delete, order)

    assert_refused(answer, *NOT_FOUND)
    assert guest.balance() == before


def _is_free(guest):
    with transaction.atomic():
        return (
            Wallet.objects.select_for_update(skip_locked=True).filter(user=guest.user_id).exists()
        )


def test_a_failed_image_is_ordered_again_with_the_same_model(customer, instant_provider, life):
    trained = trained_model(customer.user_id)
    instant_provider.provider(outcome="error", times=1)
    failed = ordered(customer, trained)
    life.run_until_done(failed)

    again = customer.post(
        "retry-video-job", {"job_id": str(failed.id)}, Idempotency_Key=str(uuid4())
    )

    job = Job.objects.get(id=again.json()["job_id"])
    life.run_until_done(job)
    assert_completed(job)
    assert job.trained_model_id == trained.id


def test_a_failed_image_is_not_ordered_again_without_its_model(customer, instant_provider, life):
    trained = trained_model(customer.user_id)
    instant_provider.provider(outcome="error", times=1)
    failed = ordered(customer, trained)
    life.run_until_done(failed)
    TrainedModel.objects.filter(id=trained.id).update(deleted_at=timezone.now(), weights_name="")

    again = customer.post(
        "retry-video-job", {"job_id": str(failed.id)}, Idempotency_Key=str(uuid4())
    )

    assert_refused(again, *NOT_FOUND)
