"""Deletion of trained models: our files, the images of the training, and the providers' copies.

Whatever is to be deleted is a due row, written in the transaction that drops its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Coalesce, Greatest, Least

from generation import cleanup
from generation.due_work import DELETE_FILES, DELETE_PROVIDER_MODELS, DELETE_TRAINING_SETS
from generation.models import (
    FileDeletion,
    Job,
    JobStatus,
    ProviderModelDeletion,
    ProviderRequest,
    Stage,
    TrainedModel,
    TrainingSet,
)
from generation.providers import get_provider
from generation.training.submission import destination
from rendio.common.background.due_work import due_batch, due_work

logger = structlog.get_logger(__name__)

# A result that comes after the refund is the user's; it is read from the provider's copy.
LATE_RESULT_DELAY = timedelta(hours=1)


class ProviderKeepsModel(Exception):
    """The provider has not deleted its copy yet."""


def training_ended(job: Job, *, now: datetime) -> None:
    """A training is done: its images are not needed any more, and without a model of use neither is
    the provider's copy. Joins the transaction that ends the job."""
    if job.deleted_at:
        schedule_provider_deletion([job], due_at=now)
    elif job.status != JobStatus.COMPLETED:
        schedule_provider_deletion([job], due_at=now + LATE_RESULT_DELAY)
    release_set(job, now=now)


def release_set(job: Job, *, now: datetime) -> None:
    """Have the images of an ended training deleted: TRAINING_KEEP_PICTURES_DAYS after a success,
    otherwise when the set expires, because its owner may try again. Joins the caller's
    transaction."""
    used = TrainingSet.objects.filter(trained_models__job=job)
    if job.status == JobStatus.COMPLETED:
        keep_until = now + timedelta(days=settings.TRAINING_KEEP_PICTURES_DAYS)
        used.update(remove_at=keep_until, expires_at=Least(F("expires_at"), keep_until))
        DELETE_TRAINING_SETS.wake_workers()
    else:
        used.update(remove_at=Greatest(F("expires_at"), now))


@due_batch(DELETE_TRAINING_SETS)
def delete_due_sets(*, now: datetime) -> int:
    """Delete due sets with their images, up to a batch. Returns how many were due.

    A set that another training uses stays until that training ends.
    """
    with transaction.atomic(durable=True):
        due = list(
            TrainingSet.objects.filter(remove_at__lte=now)
            .order_by("remove_at")
            .select_for_update(skip_locked=True)[: DELETE_TRAINING_SETS.batch]
        )
        unfinished = TrainedModel.objects.filter(training_set__in=due).exclude(
            job__stage=Stage.DONE
        )
        needed = set(unfinished.values_list("training_set_id", flat=True))
        TrainingSet.objects.filter(id__in=needed).update(remove_at=None)
        unneeded = [one.id for one in due if one.id not in needed]
        files = delete_sets(TrainingSet.objects.filter(id__in=unneeded), now=now)
    cleanup.delete_now(files)
    return len(due)


def schedule_provider_deletion(jobs: Iterable[Job], *, due_at: datetime) -> None:
    """Have the providers' copies of these trainings deleted. Joins the caller's transaction."""
    requests = ProviderRequest.objects.filter(job__in=list(jobs)).values_list(
        "job_id", "provider", "key_label"
    )
    known = dict(
        TrainedModel.objects.filter(job__in=list(jobs))
        .exclude(provider_model="")
        .values_list("job_id", "provider_model")
    )
    ProviderModelDeletion.objects.bulk_create(
        [
            ProviderModelDeletion(
                provider=provider,
                key_label=key_label,
                provider_model=known.get(job_id, destination(job_id)),
                due_at=due_at,
            )
            for job_id, provider, key_label in requests.distinct()
        ]
    )
    DELETE_PROVIDER_MODELS.wake_workers()


@due_work(DELETE_PROVIDER_MODELS)
def delete_provider_model(row: ProviderModelDeletion, *, now: datetime) -> None:
    """Ask the provider to delete its copy. May run twice: a copy that is gone counts as deleted."""
    provider = get_provider(row.provider)
    if not provider.delete_model(row.provider_model, key_label=row.key_label):
        raise ProviderKeepsModel(row.provider_model)
    row.delete()
    logger.info("provider_model_deleted", provider=row.provider)


def delete_trained(models: QuerySet[TrainedModel], *, now: datetime) -> list[FileDeletion]:
    """Delete these models with their weights, their images and the providers' copies. The jobs stay
    for the ledger.

    Joins the caller's transaction, which has locked the jobs. The caller then calls
    `cleanup.delete_now` outside the transaction.
    """
    found = list(models.select_related("job"))
    set_ids = [one.training_set_id for one in found if one.training_set_id]
    # Sets before models, as the deletion of a due set: another order of locks would deadlock.
    list(TrainingSet.objects.filter(id__in=set_ids).order_by("id").select_for_update())
    jobs = [one.job for one in found]
    schedule_provider_deletion([job for job in jobs if job.is_terminal], due_at=now)
    Job.objects.filter(id__in=[job.id for job in jobs]).update(
        deleted_at=Coalesce(F("deleted_at"), now)
    )
    models.filter(id__in=[one.id for one in found]).update(
        deleted_at=Coalesce(F("deleted_at"), now),
        name="",
        weights_name="",
        provider_model="",
        training_set=None,
    )
    files = cleanup.schedule_deletion([cleanup.job_folder(job.id) for job in jobs], now=now)
    return files + delete_sets(unused_sets().filter(id__in=set_ids), now=now)


def unused_sets() -> QuerySet[TrainingSet]:
    """The sets that no model needs any more."""
    return TrainingSet.objects.filter(
        ~Exists(TrainedModel.objects.filter(training_set=OuterRef("id"), deleted_at=None))
    )


def delete_sets(sets: QuerySet[TrainingSet], *, now: datetime) -> list[FileDeletion]:
    """Delete sets with their images: the rows at once, the files after the commit. Joins the
    caller's transaction."""
    found = list(sets)
    files = cleanup.schedule_deletion([one.folder for one in found], now=now)
    TrainingSet.objects.filter(id__in=[one.id for one in found]).delete()
    DELETE_FILES.wake_workers()
    return files
