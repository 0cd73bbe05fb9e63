"""Trained models are deleted with their weights, their images and the providers' copies: by their
owner, and with the account."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.files.storage import default_storage
from django.db import connection, transaction

from credits.ledger_check import find_discrepancies
from generation import cleanup
from generation.due_work import DELETE_PROVIDER_MODELS
from generation.models import (
    FileDeletion,
    Job,
    ProviderModelDeletion,
    TrainingConsent,
    TrainingSet,
)
from tests.generation.training.orders import (
    completed_or_running,
    make_set,
    only_trained_by,
    started,
    trained_by,
)
from tests.helpers.concurrency import waiting_for_locks
from tests.helpers.job_driver import JobDriver, assert_refunded, grant
from tests.helpers.phone import Phone, assert_refused
from tests.helpers.sandbox_control import Sandbox
from tests.helpers.wait import PATIENCE_SECONDS, wait_for


def files_of(*folders: str) -> list[str]:
    """All files in these folders."""
    found = []
    for folder in folders:
        try:
            folders_in, names = default_storage.listdir(folder)
        except FileNotFoundError:
            continue
        found += [f"{folder}{name}" for name in names]
        found += files_of(*(f"{folder}{name}/" for name in folders_in))
    return found


def clean_up(life: JobDriver) -> None:
    """What the workers do about deletions, at their times."""
    for _ in range(3):
        life.advance(4000)
        cleanup.delete_account_media_due(now=life.now)
        cleanup.delete_due_files(now=life.now)
        DELETE_PROVIDER_MODELS.run_batch(now=life.now)


def deleted_at(sandbox: Sandbox, provider: str = "replicate") -> list[str]:
    return [asked["path"] for asked in sandbox.requests(provider) if asked["method"] == "DELETE"]


@pytest.fixture
def made(customer: Phone, instant_trainers: Sandbox, life: JobDriver) -> tuple[Job, str]:
    """A training that Replicate has completed, and its set."""
    only_trained_by("replicate")
    set_id = make_set(customer)
    job = started(customer, set_id=set_id)
    life.run_until_done(job)
    return job, set_id


def test_an_owner_deletes_a_model(customer, made, sandbox, life):
    job, set_id = made
    trained, balance = trained_by(job), customer.balance()
    folders = f"jobs/{job.id}/", f"training/{set_id}/"
    assert len(files_of(*folders)) == 12  # weights, zip, ten images

    answer = customer.delete(f"train/models/{trained.id}")

    assert answer.json() == {"success": True}
    assert files_of(*folders) == []  # at once
    for gone in (
        customer.get(f"train/{job.id}"),
        customer.post(f"train/{job.id}/cancel"),
        customer.delete(f"train/models/{trained.id}"),
    ):
        assert_refused(gone, 404, "ERR_4007")
    assert customer.get("train/models").json()["models"] == []
    clean_up(life)
    copy = trained.provider_model.partition(":")[0]
    assert any(path.endswith(f"/models/{copy}") for path in deleted_at(sandbox))
    assert not ProviderModelDeletion.objects.exists()
    assert not TrainingSet.objects.filter(id=set_id).exists()
    # A model that was made is not refunded.
    assert customer.balance() == balance
    assert find_discrepancies() == []


def test_a_model_is_deleted_at_the_moment_at_which_its_images_are(committed, sandbox):
    phone = Phone().sign_in()
    grant(phone.user_id, 100)
    set_id = make_set(phone)
    job = started(phone, set_id=set_id)
    phone.post(f"train/{job.id}/cancel")
    path = f"train/models/{trained_by(job).id}"

    def delete():
        try:
            return phone.delete(path)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            # As deletion.delete_due_sets does.
            due = TrainingSet.objects.select_for_update().filter(id=set_id)
            assert len(due) == 1
            answer = pool.submit(delete)
            wait_for(lambda: waiting_for_locks("generation_trainingset"))
            due.delete()
        assert answer.result(PATIENCE_SECONDS).status_code == 200


def test_a_training_that_runs_is_cancelled_by_the_deletion_of_its_model(
    customer, instant_trainers, life, short_deadlines
):
    instant_trainers.provider(provider="replicate", run_seconds=3600)
    only_trained_by("replicate")
    before = customer.balance()
    job = started(customer)
    life.submit()

    customer.delete(f"train/models/{trained_by(job).id}")

    life.run_until_done(job)
    assert_refunded(job, status="cancelled")
    assert customer.balance() == before
    clean_up(life)
    assert deleted_at(instant_trainers)
    assert files_of(f"jobs/{job.id}/") == []
    assert not ProviderModelDeletion.objects.exists()


def test_a_failed_training_leaves_no_copy_at_its_provider(customer, instant_trainers, life):
    instant_trainers.provider(provider="replicate", outcome="error")
    only_trained_by("replicate")
    job = started(customer)
    life.run_until_done(job)
    DELETE_PROVIDER_MODELS.run_batch(now=life.now)
    assert deleted_at(instant_trainers) == []  # a late result would be read there

    clean_up(life)

    assert any(f"training-{job.id}" in path for path in deleted_at(instant_trainers))
    assert not ProviderModelDeletion.objects.exists()


def test_a_provider_that_cannot_delete_now_is_asked_again(customer, made, sandbox, life):
    job, _ = made
    customer.delete(f"train/models/{trained_by(job).id}")
    sandbox.provider(provider="replicate", outcome="status_500")
    DELETE_PROVIDER_MODELS.run_batch(now=life.advance(10).now)
    [row] = ProviderModelDeletion.objects.all()
    assert (row.tries, row.due_at > life.now) == (1, True)

    sandbox.provider(provider="replicate", outcome="ok")
    clean_up(life)

    assert not ProviderModelDeletion.objects.exists()


@pytest.mark.parametrize("is_running", [False, True])
def test_an_account_deletion_deletes_models_here_and_at_the_provider(
    customer, instant_trainers, life, short_deadlines, is_running
):
    only_trained_by("replicate")
    set_id = make_set(customer)
    job = completed_or_running(
        customer, life, instant_trainers, set_id=set_id, is_running=is_running
    )

    assert customer.post("delete-account", {"confirm": True}).status_code == 200

    life.run_until_done(job)
    clean_up(life)
    assert files_of(f"jobs/{job.id}/", f"training/{set_id}/") == []
    assert any(f"training-{job.id}" in path for path in deleted_at(instant_trainers))
    trained = trained_by(job)
    assert (trained.name, trained.weights_name, trained.provider_model) == ("", "", "")
    assert trained.deleted_at is not None
    assert not TrainingSet.objects.exists()
    assert not TrainingConsent.objects.exists()
    assert not FileDeletion.objects.exists()
    assert not ProviderModelDeletion.objects.exists()
    job.refresh_from_db()
    assert (job.refund_entry_id is not None) is is_running
    assert find_discrepancies() == []
