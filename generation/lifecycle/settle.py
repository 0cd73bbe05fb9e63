"""The end of a job, and of its money with it. Nothing else writes a terminal status."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypedDict
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from accounts.models import PushKind
from credits import services as credit_services
from generation import exposure, queries
from generation.due_work import CONVERT_VIDEOS
from generation.lifecycle import attempts, dead_letters, notifications, remove, route_timing
from generation.lifecycle.cost_rules import (
    SubmissionOutcome,
    cost_update,
    outcome_for,
    user_caused_loss_usd,
)
from generation.models import (
    DeadKind,
    FileDeletion,
    Job,
    JobStatus,
    ProviderRequest,
    RequestState,
    Stage,
)
from generation.moderation import strikes
from generation.providers import get_provider
from generation.providers.base import FailureReason
from rendio.common.errors import InvalidState
from rendio.common.observability import metrics

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StoredMedia:
    """Names in our storage."""

    media_name: str
    thumbnail_name: str


class ProviderError(TypedDict):
    """What a provider says of a submission that came to nothing."""

    error_type: str
    detail: str
    cost_usd: Decimal | None


def complete(
    job: Job,
    media: StoredMedia,
    *,
    now: datetime,
    cost_usd: Decimal | None = None,
    attempt: FileDeletion | None = None,
) -> bool:
    """The media is kept: the job is completed. For a job that was refunded already, the status and
    the refund stand, and its owner has the video all the same; if they have deleted the job
    meanwhile, the files go again.

    `cost_usd` here and below is what the provider says it took, None where it does not say.
    `attempt` is what removes the media otherwise. Opens its own transaction. False where the job is
    no longer as it was claimed, or the media is being removed.
    """
    with transaction.atomic(durable=True):
        held = lock_if_claimed(job)
        if held is None or (attempt and not attempts.keep_files(attempt)):
            return False
        late = held.is_terminal
        outcome = SubmissionOutcome.LATE if late else SubmissionOutcome.DELIVERED
        _open_submissions(held).update(
            state=RequestState.FINISHED,
            ended_at=now,
            raw_result="",
            **cost_update(outcome, cost_usd),
        )
        if late:
            dead_letters.close_for_delivered_job(held.id, now=now)
        else:
            held.status = JobStatus.COMPLETED
            held.progress = 100
            held.completed_at = now
        discarded: list[FileDeletion] = []
        if held.deleted_at:
            discarded = _schedule_folder_deletion(held, now=now)
        else:
            held.media_name = media.media_name
            held.thumbnail_name = media.thumbnail_name
        _finish(held)
        notifications.notify_user(
            held, PushKind.JOB_LATE if late else PushKind.JOB_COMPLETED, now=now
        )
    remove.delete_now(discarded)
    logger.info("video_generation_completed", job_id=str(job.id), late=late)
    if not late:
        _observe_completed(job, now=now)
    return True


def convert_next(
    job: Job, original_name: str, attempt: FileDeletion, *, now: datetime, cost_usd: Decimal | None
) -> bool:
    """The film is kept as it came, and is converted next. Its deadline stays that of storing.

    Opens its own transaction. False as `complete`.
    """
    with transaction.atomic(durable=True):
        held = lock_if_claimed(job)
        if held is None or not attempts.keep_files(attempt):
            return False
        if cost_usd is not None:
            _open_submissions(held).update(cost_usd=cost_usd)
        held.original_name = original_name
        held.stage, held.tries, held.due_at, held.leased_until = Stage.CONVERT, 0, now, None
        held.save(update_fields=["original_name", "stage", "tries", "due_at", "leased_until"])
        CONVERT_VIDEOS.wake_workers(queue=held.queue)
    return True


def _schedule_folder_deletion(held: Job, *, now: datetime) -> list[FileDeletion]:
    """A deleted job has no files."""
    held.original_name = ""
    return remove.schedule_deletion([remove.job_folder(held.id)], now=now)


def _observe_completed(job: Job, *, now: datetime) -> None:
    """`job` as it was claimed: its deadline tells when it came into the stage STORE."""
    sent_at = job.requests.latest("id").sent_at
    made_at = (job.deadline_at or now) - timedelta(seconds=settings.JOB_STORE_DEADLINE_SECONDS)
    metrics.jobs_ended.labels(job.queue, JobStatus.COMPLETED, "").inc()
    for stage, took in {
        "waiting": sent_at - job.created_at,
        "making": made_at - sent_at,
        "storing": now - made_at,
        "all": now - job.created_at,
    }.items():
        metrics.job_seconds.labels(job.queue, stage).observe(max(took.total_seconds(), 0))


def fail(
    job: Job,
    reason: FailureReason,
    *,
    now: datetime,
    error_type: str = "",
    detail: str = "",
    cost_usd: Decimal | None = None,
    raw: str = "",
) -> bool:
    """The job will not be made: failed, with its credits back; cancelled, whatever the reason, if
    its user had taken it back. Where that is the user's own doing and cost us, a fee may be kept.

    What was made and could not be delivered is kept for a person: a dead letter, and `raw`, what
    its provider said of it.

    Opens its own transaction. False where the job is no longer as it was claimed. A job that had
    ended before only stops being due.
    """
    with transaction.atomic(durable=True):
        # The wallet before the job, as everywhere: two orders would lock each other up.
        credit_services.lock_wallet(user_id=job.user_id, through_merge=True)
        held = lock_if_claimed(job)
        if held is None:
            return False
        taken_back = is_cancel_requested(held)
        if reason == FailureReason.CANCELLED and not taken_back:
            reason = FailureReason.CANCELLED_BY_PROVIDER
        if _was_made(held, reason) and not held.deleted_at:
            # The first says most: providers forget what they have made.
            _open_submissions(held).filter(raw_result="").update(raw_result=raw)
            why = ": ".join(filter(None, [reason.value, error_type, detail]))
            dead_letters.record(DeadKind.RESULT, str(held.id), why, now=now)
        loss = close_submission(
            held, reason, now=now, error_type=error_type, detail=detail, cost_usd=cost_usd
        )
        if not held.is_terminal:
            _refund_and_close(
                held, FailureReason.CANCELLED if taken_back else reason, now=now, loss_usd=loss
            )
            if reason == FailureReason.REJECTED:
                _record_provider_refusal(held, error_type, now=now)
            if held.status == JobStatus.FAILED:
                notifications.notify_user(held, PushKind.JOB_FAILED, now=now)
        discarded = _schedule_folder_deletion(held, now=now) if held.deleted_at else []
        _finish(held)
    remove.delete_now(discarded)
    return True


def _was_made(held: Job, reason: FailureReason) -> bool:
    """Whether its provider has finished, and takes its price, as far as we know."""
    is_not_had = reason == FailureReason.TIMEOUT and held.stage in {Stage.STORE, Stage.CONVERT}
    return is_not_had or reason in {
        FailureReason.UNUSABLE,
        FailureReason.STORAGE_ERROR,
        FailureReason.RESULT_NOT_MODERATED,
    }


def fail_manually(held: Job, *, now: datetime) -> None:
    """A person waits no longer for this job, nor does its user: as at a deadline, but that its user
    is told of it by who calls.

    Joins the caller's transaction, which has the wallet and the job locked. Raises InvalidState for
    one that has ended.
    """
    if held.is_terminal:
        raise InvalidState(problem=f"This job has ended: it is {held.status}.")
    taken_back = is_cancel_requested(held)
    close_submission(held, FailureReason.TIMEOUT, now=now)
    _refund_and_close(
        held, FailureReason.CANCELLED if taken_back else FailureReason.TIMEOUT, now=now
    )
    _finish(held)


def refund_completed(held: Job, *, acting_user_id: UUID, now: datetime) -> None:
    """The video stays, its price comes back: a person has found it not worth that.

    Joins the caller's transaction, which has the wallet and the job locked. Raises InvalidState for
    a job that was not delivered, or was refunded before.
    """
    if held.refund_entry_id:
        raise InvalidState(problem="The credits of this job are back already.")
    if held.status != JobStatus.COMPLETED:
        raise InvalidState(problem="This job has not ended yet.")
    held.refund_entry_id = credit_services.refund(
        user_id=held.user_id,
        job_id=held.id,
        reason="generation refunded",
        acting_user_id=acting_user_id,
        now=now,
    ).id
    held.save(update_fields=["refund_entry"])


def cancel_before_submit(job: Job, *, now: datetime) -> bool:
    """Cancel a job that no provider has heard of, and give its credits back.

    Opens its own transaction; False where it has been handed over (or has ended) meanwhile.
    """
    with transaction.atomic(durable=True):
        credit_services.lock_wallet(user_id=job.user_id, through_merge=True)
        held = Job.objects.select_for_update(of=("self",)).get(id=job.id)
        if held.stage != Stage.SUBMIT:
            return False
        _refund_and_close(held, FailureReason.CANCELLED, now=now)
        _finish(held)
    return True


def lock_if_claimed(job: Job) -> Job | None:
    """The job locked, if it still is as it was claimed."""
    return (
        Job.objects.select_for_update(of=("self",))
        .filter(id=job.id, stage=job.stage, leased_until=job.leased_until)
        .first()
    )


def _refund_and_close(
    held: Job, reason: FailureReason, *, now: datetime, loss_usd: Decimal | None = None
) -> None:
    """`loss_usd` is what a provider took for an end that is the user's own doing. The fee that is
    kept for it is no more than that, and no more than the answer to the order said."""
    cancelled = reason == FailureReason.CANCELLED
    held.loss_usd = loss_usd
    held.fee_kept = exposure.usd_to_credits(loss_usd, most=held.cancel_fee) if loss_usd else 0
    held.refund_entry_id = credit_services.refund(
        user_id=held.user_id,
        job_id=held.id,
        reason=_refund_reason(cancelled=cancelled, fee=held.fee_kept),
        now=now,
        fee=held.fee_kept,
        cancelled=cancelled,
    ).id
    held.progress = queries.progress(held, now=now)
    held.status = JobStatus.CANCELLED if cancelled else JobStatus.FAILED
    held.error_code = "" if cancelled else reason.refusal.code
    held.completed_at = now
    ended = metrics.jobs_ended.labels(held.queue, held.status, reason.value)
    transaction.on_commit(ended.inc, robust=True)
    logger.info(
        "video_generation_cancelled" if cancelled else "video_generation_failed",
        job_id=str(held.id),
        reason=reason.value,
        refunded=held.credits - held.fee_kept,
        fee=held.fee_kept,
    )


def _record_provider_refusal(held: Job, error_type: str, *, now: datetime) -> None:
    """A provider's own moderation counts as ours does: it may close our account over such input."""
    request = held.requests.order_by("-id").first()
    if request and get_provider(request.provider).is_content_rejection(error_type):
        strikes.record_provider_rejection(
            user_id=held.user_id,
            job_id=held.id,
            provider=request.provider,
            error_type=error_type,
            now=now,
        )


def _refund_reason(*, cancelled: bool, fee: int) -> str:
    """What the history of credits says of a refund."""
    why = "generation cancelled" if cancelled else "generation failed"
    return f"{why}, less a fee of {fee}" if fee else why


def close_submission(
    held: Job,
    reason: FailureReason,
    *,
    now: datetime,
    error_type: str = "",
    detail: str = "",
    cost_usd: Decimal | None = None,
) -> Decimal | None:
    """The job's submission has come to nothing, and why. Joins the caller's transaction.

    Returns what its provider took for an end that is the user's own doing; None for others.
    """
    live = _open_submissions(held)
    request = live.first()
    began = bool(request and _may_have_started(held, request, now=now))
    # A timeout proves nothing about it: it may still run, and its result still come. Nobody waits
    # for it any more, so `stop` asks the provider to end it.
    timed_out = reason == FailureReason.TIMEOUT
    outcome = outcome_for(reason, began=began)
    changes = cost_update(outcome, cost_usd)
    if timed_out:
        live.filter(cancel_asked_at=None).exclude(provider_request_id="").update(cancel_due_at=now)
    live.update(
        state=RequestState.UNKNOWN if timed_out else RequestState.FAILED,
        ended_at=now,
        error_type="timeout" if timed_out else error_type[:80],
        error_detail=detail[:500],
        **changes,
    )
    if request is None:
        return None
    if reason == FailureReason.CANCELLED_BY_PROVIDER:
        return None  # somebody stopped it at the provider, and not our user
    return user_caused_loss_usd(outcome, changes.get("cost_usd", request.cost_usd))


def _may_have_started(held: Job, request: ProviderRequest, *, now: datetime) -> bool:
    """As far as we ever saw; and where nobody has looked, because a webhook was to come."""
    if held.started_at and held.started_at >= request.sent_at:
        return True
    unseen = held.stage == Stage.QUEUED and held.tries == 0 and request.answered_at
    return bool(unseen and now - unseen > route_timing.first_poll_delay(None))


def _open_submissions(held: Job) -> QuerySet[ProviderRequest]:
    return ProviderRequest.objects.filter(job=held, ended_at=None)


def is_cancel_requested(held: Job) -> bool:
    """Whether its user does not want it any more. The provider may have been asked to stop it, and
    have gone on."""
    return (
        held.cancel_requested_at is not None
        or _open_submissions(held).exclude(cancel_asked_at=None).exists()
    )


def _finish(held: Job) -> None:
    held.stage = Stage.DONE
    held.due_at = held.leased_until = held.deadline_at = held.queue_position = None
    held.save(
        update_fields=[
            "status", "stage", "progress", "due_at", "leased_until", "deadline_at",
            "queue_position", "media_name", "thumbnail_name", "original_name", "error_code",
            "refund_entry", "fee_kept", "loss_usd", "completed_at",
        ]
    )  # fmt: skip
