"""What generation does when accounts tells it something: in the sender's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Coalesce

from accounts import queries as account_queries
from accounts.signals import account_deleted, person_returned, users_merged
from generation.due_work import CANCEL_JOBS, DELETE_ACCOUNT_MEDIA
from generation.models import (
    AccountMediaDeletion,
    Job,
    Offence,
    ProviderRequest,
    Quote,
    Stage,
    Upload,
)
from generation.uploads import retention


def connect() -> None:
    users_merged.connect(reassign_to_account, dispatch_uid="generation")
    account_deleted.connect(delete_user_data, dispatch_uid="generation")
    person_returned.connect(reassign_violations, dispatch_uid="generation")


def reassign_to_account(*, from_user_id: UUID, into_user_id: UUID, **_: Any) -> None:
    """The guest's jobs, running and ended, its pictures, quotes and offences are the account's.

    Both wallets are locked: nobody orders meanwhile, and a job's end waits for us.
    """
    Job.objects.filter(user_id=from_user_id).update(user_id=into_user_id)
    Upload.objects.owned_by(from_user_id).update(user_id=into_user_id)
    Quote.objects.filter(user_id=from_user_id).update(user_id=into_user_id)
    Offence.objects.filter(user_id=from_user_id).update(user_id=into_user_id)


def reassign_violations(*, user_id: UUID, former_user_ids: list[UUID], **_: Any) -> None:
    """The offences of a person's deleted accounts are this user's."""
    Offence.objects.filter(user_id__in=former_user_ids).update(user_id=user_id)


def delete_user_data(*, user_id: UUID, now: datetime, **_: Any) -> None:
    """What was asked goes at once, the files as soon as we have committed (lifecycle.erase).

    A job that runs is taken back, if its provider agrees, and ends by itself either way: its
    credits go to the closed wallet, its video is not kept. The jobs stay for the ledger, without a
    word of the person.
    """
    jobs = Job.objects.filter(user_id=user_id)
    jobs.exclude(stage=Stage.DONE).update(cancel_requested_at=now)
    jobs.update(
        deleted_at=Coalesce(F("deleted_at"), now),
        prompt="",
        upload=None,
        media_name="",
        thumbnail_name="",
        original_name="",
    )
    AccountMediaDeletion.objects.bulk_create(
        [
            AccountMediaDeletion(job_id=job_id, due_at=now)
            for job_id in jobs.values_list("id", flat=True)
        ],
        batch_size=1000,
    )
    ProviderRequest.objects.filter(job__user_id=user_id).update(error_detail="", raw_result="")
    retention.delete_uploads(Upload.objects.owned_by(user_id).select_for_update(), now=now)
    Quote.objects.filter(user_id=user_id).delete()
    offences = Offence.objects.filter(user_id=user_id)
    if account_queries.has_person_key(user_id):
        # They count for the same Apple account if it comes back; what was refused is forgotten.
        offences.filter(forgiven_at__isnull=False).delete()
        offences.update(categories=[], term_id=None)
    else:
        offences.delete()
    DELETE_ACCOUNT_MEDIA.wake_workers()
    CANCEL_JOBS.wake_workers()
