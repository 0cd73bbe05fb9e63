"""The background work of generation: due rows, queues, and how often beat looks.

The stages of a job have a queue of their own for each kind of media (`medium` images, `low`
videos), so that an image never waits behind videos.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db.models import QuerySet

from generation.models import (
    AccountMediaDeletion,
    FileDeletion,
    Job,
    ProviderModelDeletion,
    ProviderRequest,
    Stage,
    TrainingSet,
    Upload,
    WebhookDelivery,
)
from rendio.common.background.due_rows import DRAIN_SECONDS
from rendio.common.background.due_work import DueRows, DueWork

IMAGES, VIDEOS = "medium", "low"
# Longer than the work on a job takes in stages without a lease of their own.
JOB_LEASE = timedelta(seconds=120)
# A worker that dies with a job leaves it due again after its lease, which is longer than all that
# the worker does: ask for the result, download, inspect, moderate and keep it; or fetch the
# original, convert, inspect and keep it.
STORE_LEASE = timedelta(seconds=360)
CONVERT_LEASE = timedelta(seconds=settings.FILM_CONVERT_SECONDS + 300)
# A job in another stage is nobody's to cancel: SENT is seen again once its provider is known.
CANCELLABLE_STAGES = [Stage.SUBMIT, Stage.QUEUED, Stage.RUNNING]


def _jobs(
    *stages: Stage, queues: tuple[str, ...] = (IMAGES, VIDEOS), late_column: str = ""
) -> list[DueRows]:
    return [
        DueRows(
            f"{queue} jobs: {stage}",
            partial(_jobs_in, queue, stage),
            late_column=late_column,
            queue=queue,
        )
        for queue in queues
        for stage in stages
    ]


def _jobs_in(queue: str, stage: Stage) -> QuerySet[Job]:
    return Job.objects.filter(queue=queue, stage=stage)


def _time_limit(lease: timedelta) -> int:
    """Killed at this age, the task's leases are over too."""
    return int(lease.total_seconds()) + DRAIN_SECONDS


SUBMIT_JOBS = DueWork(
    "generation.submit_due",
    # A job that waits for its turn, or for capacity at a provider, is late only at its deadline.
    *_jobs(Stage.SUBMIT, late_column="deadline_at"),
    every_seconds=1,
    batch=50,
)
POLL_JOBS = DueWork(
    "generation.poll_due",
    *_jobs(Stage.SENT, Stage.QUEUED, Stage.RUNNING),
    every_seconds=1,
    batch=50,
)
STORE_RESULTS = DueWork(
    "generation.store_due",
    *_jobs(Stage.STORE),
    every_seconds=1,
    batch=8,
    time_limit_seconds=_time_limit(STORE_LEASE),
)
CONVERT_VIDEOS = DueWork(
    "generation.convert_due",
    *_jobs(Stage.CONVERT, queues=(VIDEOS,)),
    every_seconds=1,
    # A process is busy with one video for minutes.
    batch=1,
    time_limit_seconds=_time_limit(CONVERT_LEASE),
)
APPLY_WEBHOOKS = DueWork(
    "generation.apply_deliveries",
    DueRows(
        "deliveries",
        lambda: WebhookDelivery.objects.filter(processed_at=None),
        column="received_at",
    ),
    every_seconds=1,
    batch=50,
)
CANCEL_JOBS = DueWork(
    "generation.cancel_due",
    DueRows(
        "cancellations",
        lambda: Job.objects.filter(stage__in=CANCELLABLE_STAGES),
        column="cancel_requested_at",
    ),
    every_seconds=1,
    batch=20,
)
CANCEL_ABANDONED = DueWork(
    "generation.stop_due",
    DueRows("submissions to stop", ProviderRequest.objects.all, column="cancel_due_at"),
    every_seconds=5,
    batch=20,
)
DELETE_FILES = DueWork(
    "generation.remove_due",
    DueRows("removals", FileDeletion.objects.all),
    DueRows("pictures to remove", Upload.objects.all, column="remove_at"),
    every_seconds=60,
    batch=100,
)
DELETE_ACCOUNT_MEDIA = DueWork(
    "generation.erase_due",
    DueRows("erasures", AccountMediaDeletion.objects.all),
    every_seconds=60,
    batch=50,
)
DELETE_TRAINING_SETS = DueWork(
    "generation.delete_training_sets",
    DueRows("sets of images for trainings", TrainingSet.objects.all, column="remove_at"),
    every_seconds=60,
    batch=50,
)
DELETE_PROVIDER_MODELS = DueWork(
    "generation.delete_provider_models",
    DueRows("copies of trained models", ProviderModelDeletion.objects.all),
    every_seconds=60,
    batch=10,
)
PURGE = DueWork("generation.sweep", every_seconds=60, is_periodic=True)

_WORK_OF_STAGE = {
    Stage.SUBMIT: SUBMIT_JOBS,
    Stage.SENT: POLL_JOBS,
    Stage.QUEUED: POLL_JOBS,
    Stage.RUNNING: POLL_JOBS,
    Stage.STORE: STORE_RESULTS,
    Stage.CONVERT: CONVERT_VIDEOS,
}


def wake_workers_for(job: Job) -> None:
    """After the commit, have a worker look for jobs in the job's stage and queue."""
    _WORK_OF_STAGE[Stage(job.stage)].wake_workers(queue=job.queue)
