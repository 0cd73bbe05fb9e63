"""The images of trainings: what is uploaded is judged before the charge, and goes when it is not
needed any more, or its consent is withdrawn."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.files.storage import default_storage

from credits.ledger_check import find_discrepancies
from generation import cleanup
from generation.due_work import DELETE_FILES, DELETE_TRAINING_SETS
from generation.models import FileDeletion, Job, TrainingConsent, TrainingSet
from generation.training.consent_text import TEXT_VERSION
from tests.generation.training.orders import (
    completed_or_running,
    make_set,
    only_trained_by,
    own_training,
    start,
    started,
    trained_by,
)
from tests.helpers.phone import assert_refused
from tests.helpers.training_pictures import jpeg, portrait, portraits, scene, upload


def stored(set_id):
    try:
        return len(default_storage.listdir(f"training/{set_id}")[1])
    except FileNotFoundError:
        return 0


def delete_due_sets(life, **later):
    """What the workers do so much later."""
    DELETE_TRAINING_SETS.run_batch(now=life.advance(timedelta(**later).total_seconds()).now)


def test_uploaded_images_are_judged_for_the_kind_before_the_charge(
    customer, instant_trainers, life
):
    contents = [*portraits(9), jpeg(portrait(10, faces=2)), jpeg(scene(11))]
    body = upload(customer, contents, kind="person").json()
    assert (body["usable"], body["minimum"]) == (9, 10)
    before = customer.balance()

    refused = start(customer, set_id=body["set_id"])

    fields = assert_refused(refused, 400, "ERR_4008")["fields"]
    two, none = (f"pictures.{one['picture_id']}" for one in body["pictures"][9:])
    assert fields[two] == ["The image shows several faces."]
    assert fields[none] == ["The image shows no face."]
    assert fields["set_id"] == ["10 usable images are needed, and there are 9."]
    assert customer.balance() == before
    assert not Job.objects.exists()
    assert not TrainingConsent.objects.exists()
    # Of a style they are all good.
    job = started(customer, set_id=body["set_id"], kind="style")
    life.run_until_done(job)
    assert own_training(customer, job.id)["usable"] is True
    assert find_discrepancies() == []


@pytest.mark.parametrize("keep_days", [0, 2])
def test_images_go_when_the_model_is_made(customer, instant_trainers, life, settings, keep_days):
    settings.TRAINING_KEEP_PICTURES_DAYS = keep_days
    set_id = make_set(customer)
    job = life.run_until_done(started(customer, set_id=set_id))
    if keep_days:
        delete_due_sets(life, days=1)
        assert stored(set_id) == 10

    delete_due_sets(life, days=keep_days, minutes=1)

    assert stored(set_id) == 0
    assert not TrainingSet.objects.filter(id=set_id).exists()
    assert not FileDeletion.objects.filter(name__startswith="training/").exists()
    assert own_training(customer, job.id)["usable"] is True


def test_images_stay_while_another_training_uses_them(customer, instant_trainers, life):
    set_id = make_set(customer)
    first = started(customer, set_id=set_id)
    life.submit()
    second = started(customer, set_id=set_id)
    while not trained_by(first).weights_name:
        life.advance(5).poll()
        life.store()

    delete_due_sets(life, minutes=1)

    assert stored(set_id) == 10
    life.run_until_done(second)
    assert own_training(customer, second.id)["usable"] is True
    delete_due_sets(life, minutes=1)
    assert stored(set_id) == 0


def test_images_of_a_failed_training_stay_until_they_expire(customer, instant_trainers, life):
    only_trained_by("fal")
    instant_trainers.provider(provider="fal", outcome="error")
    set_id = make_set(customer)
    job = life.run_until_done(started(customer, set_id=set_id))
    assert job.status == "failed"
    delete_due_sets(life, hours=1)

    assert start(customer, set_id=set_id).status_code == 200  # again, with the same images


def test_a_set_that_is_never_trained_is_deleted_when_it_expires(customer, life):
    set_id = make_set(customer)
    TrainingSet.objects.filter(id=set_id).update(remove_at=life.now + timedelta(hours=24))
    delete_due_sets(life, hours=23)
    assert stored(set_id) == 10

    delete_due_sets(life, hours=1)

    assert stored(set_id) == 0
    assert_refused(start(customer, set_id=set_id), 404, "ERR_4007")


@pytest.mark.parametrize("is_running", [False, True])
def test_withdrawing_a_consent_deletes_the_images_and_the_model(
    customer, instant_trainers, life, short_deadlines, is_running
):
    before = customer.balance()
    set_id = make_set(customer)
    job = completed_or_running(
        customer, life, instant_trainers, set_id=set_id, is_running=is_running
    )
    trained = trained_by(job)

    answer = customer.post(f"train/models/{trained.id}/withdraw-consent")

    assert answer.json() == {"success": True}
    assert stored(set_id) == 0
    consent = TrainingConsent.objects.get()
    assert (consent.text_version, consent.language) == (TEXT_VERSION, "en")
    assert consent.withdrawn_at is not None
    assert customer.get("train/models").json()["models"] == []
    life.run_until_done(job)
    cleanup.delete_account_media_due(now=life.advance(4000).now)
    DELETE_FILES.run_batch(now=life.now)
    assert not default_storage.exists(f"jobs/{job.id}")
    assert not trained_by(job).weights_name
    again = customer.post(f"train/models/{trained.id}/withdraw-consent")
    assert_refused(again, 404, "ERR_4007")
    exported = customer.get("export-user-data").json()
    assert exported["trained_models"][0]["deleted_at"] is not None
    assert exported["training_consents"][0]["withdrawn_at"] is not None
    assert (customer.balance() == before) is is_running
    assert find_discrepancies() == []


def test_only_a_model_of_a_person_has_a_consent_to_withdraw(customer):
    trained = trained_by(started(customer, kind="style"))

    answer = customer.post(f"train/models/{trained.id}/withdraw-consent")

    assert_refused(answer, 409, "ERR_4019")
    assert trained_by(trained.job).deleted_at is None
