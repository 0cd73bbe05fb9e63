"""Receivers of the signals of accounts. All run in the sender's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, Func, JSONField
from django.db.models.functions import Coalesce

from accounts import queries as account_queries
from accounts.signals import account_deleted, person_returned, users_merged
from generation.due_work import CANCEL_JOBS, DELETE_ACCOUNT_MEDIA
from generation.models import (
    NEGATIVE_PROMPT,
    AccountMediaDeletion,
    Job,
    ProviderRequest,
    Quote,
    Stage,
    TrainedModel,
    TrainingConsent,
    TrainingSet,
    Upload,
    Violation,
)
from generation.training import deletion
from generation.uploads import retention


class _WithoutNegativePrompt(Func):
    """The settings of a job without the text that the user wrote."""

    template = f"%(expressions)s - '{NEGATIVE_PROMPT}'::text"
    output_field = JSONField()


def connect() -> None:
    users_merged.connect(reassign_to_account, dispatch_uid="generation")
    account_deleted.connect(delete_user_data, dispatch_uid="generation")
    person_returned.connect(reassign_violations, dispatch_uid="generation")


def reassign_to_account(*, from_user_id: UUID, into_user_id: UUID, **_: Any) -> None:
    """Move the guest's jobs, uploads, trained models, quotes and violations to the account.

    The sender has locked both wallets: no order starts, and the end of a job waits.
    """
    Job.objects.filter(user_id=from_user_id).update(user_id=into_user_id)
    Upload.objects.owned_by(from_user_id).update(user_id=into_user_id)
    for owned in (TrainingSet, TrainingConsent, TrainedModel):
        owned.objects.filter(user_id=from_user_id).update(user_id=into_user_id)
    Quote.objects.filter(user_id=from_user_id).update(user_id=into_user_id)
    Violation.objects.filter(user_id=from_user_id).update(user_id=into_user_id)


def reassign_violations(*, user_id: UUID, former_user_ids: list[UUID], **_: Any) -> None:
    """Move the violations of a person's deleted accounts to their new account."""
    Violation.objects.filter(user_id__in=former_user_ids).update(user_id=user_id)


def delete_user_data(*, user_id: UUID, now: datetime, **_: Any) -> None:
    """Delete the user's content. Files are deleted after the commit (generation.cleanup).

    A running job is cancelled at its provider if possible. It ends in either case: the refund goes
    to the closed wallet and no video is stored. The jobs stay for the ledger, without any text of
    the user.
    """
    jobs = Job.objects.filter(user_id=user_id)
    jobs.exclude(stage=Stage.DONE).update(cancel_requested_at=now)
    jobs.update(
        deleted_at=Coalesce(F("deleted_at"), now),
        prompt="",
        settings=_WithoutNegativePrompt("settings"),
        upload=None,
        second_upload=None,
        trained_model=None,
        media_name="",
        thumbnail_name="",
        original_name="",
        images=[],
    )
    AccountMediaDeletion.objects.bulk_create(
        [
            AccountMediaDeletion(job_id=job_id, due_at=now)
            for job_id in jobs.values_list("id", flat=True)
        ],
        batch_size=1000,
    )
    ProviderRequest.objects.filter(job__user_id=user_id).update(error_detail="", raw_result="")
    _delete_trainings(user_id, now=now)
    retention.delete_uploads(Upload.objects.owned_by(user_id).select_for_update(), now=now)
    Quote.objects.filter(user_id=user_id).delete()
    violations = Violation.objects.filter(user_id=user_id)
    if account_queries.has_person_key(user_id):
        # Violations count again if the same Apple account returns. Their content is deleted.
        violations.filter(forgiven_at__isnull=False).delete()
        violations.update(categories=[], term_id=None)
    else:
        violations.delete()
    DELETE_ACCOUNT_MEDIA.wake_workers()
    CANCEL_JOBS.wake_workers()


def _delete_trainings(user_id: UUID, *, now: datetime) -> None:
    """Delete trained models, the providers' copies, images and consents. The rows of the models
    stay beside their jobs, without any text of the user."""
    trained = TrainedModel.objects.filter(user_id=user_id)
    deletion.delete_trained(trained.filter(deleted_at=None), now=now)
    deletion.delete_sets(TrainingSet.objects.owned_by(user_id), now=now)
    trained.update(consent=None)
    TrainingConsent.objects.filter(user_id=user_id).delete()
