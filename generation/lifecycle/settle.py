"""The end of a job and of its charge. Only this module writes a terminal status.

`claimed` is a job as a worker claimed it; `job` is the row under a lock. A function that takes
`claimed` opens its own transaction and returns False if another process changed the job first.

Locks: wallet, job, provider request, in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
from generation import cleanup, exposure, queries
from generation.catalogue.kinds import num_outputs
from generation.lifecycle import attempts, dead_letters, notifications, route_timing, transitions
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
from generation.moderation import sanctions
from generation.providers import get_provider
from generation.providers.base import FailureReason
from generation.training import deletion, weights
from generation.training.weights import StoredWeights
from rendio.common.errors import InvalidState
from rendio.common.observability import metrics

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StoredImage:
    """Names in our storage, and the size in pixels."""

    media_name: str
    thumbnail_name: str
    width: int
    height: int


@dataclass(frozen=True)
class StoredMedia:
    """Names in our storage. `images` are all files of an image job, the first one included."""

    media_name: str
    thumbnail_name: str
    images: tuple[StoredImage, ...] = ()

    @classmethod
    def of_images(cls, images: Sequence[StoredImage]) -> StoredMedia:
        """`images` is not empty."""
        return cls(images[0].media_name, images[0].thumbnail_name, tuple(images))


class ProviderError(TypedDict):
    """The provider's account of a failed submission. `cost_usd` is None if it states no cost."""

    error_type: str
    detail: str
    cost_usd: Decimal | None


def complete(
    claimed: Job,
    media: StoredMedia | StoredWeights,
    *,
    now: datetime,
    cost_usd: Decimal | None = None,
    attempt: FileDeletion | None = None,
) -> bool:
    """Complete a job with its stored files. The share of images that did not come is refunded.

    A job that was refunded before keeps its status and its refund, and its user gets the video. If
    the user deleted the job meanwhile, the files are deleted again.

    `cost_usd` here and below is the cost that the provider states, None if it states none.
    `attempt` is the scheduled deletion of the files, which this transaction cancels; False also if
    that deletion has begun.
    """
    images = media.images if isinstance(media, StoredMedia) else ()
    missing = num_outputs(claimed.settings) - len(images) if images else 0
    with transaction.atomic(durable=True):
        if missing > 0:
            # The wallet before the job, as in all code: another order of locks would deadlock.
            credit_services.lock_wallet(user_id=claimed.user_id, through_merge=True)
        job = lock_if_claimed(claimed)
        if job is None or (attempt and not attempts.keep_files(attempt)):
            return False
        late = job.is_terminal
        outcome = SubmissionOutcome.LATE if late else SubmissionOutcome.DELIVERED
        unended_submissions(job).update(
            state=RequestState.FINISHED,
            ended_at=now,
            raw_result="",
            **cost_update(outcome, cost_usd),
        )
        if late:
            dead_letters.close_for_delivered_job(job.id, now=now)
        else:
            job.status = JobStatus.COMPLETED
            job.progress = 100
            job.completed_at = now
            if missing > 0:
                _refund_missing(job, missing, now=now)
        discarded: list[FileDeletion] = []
        if job.deleted_at:
            discarded = _schedule_folder_deletion(job, now=now)
        elif isinstance(media, StoredWeights):
            weights.record(job, media)
        else:
            job.media_name = media.media_name
            job.thumbnail_name = media.thumbnail_name
            job.images = [asdict(image) for image in images]
        _to_done(job, now=now)
        notifications.notify_user(
            job, PushKind.JOB_LATE if late else PushKind.JOB_COMPLETED, now=now
        )
    cleanup.delete_now(discarded)
    logger.info("video_generation_completed", job_id=str(claimed.id), late=late)
    if not late:
        _observe_completed(claimed, now=now)
    return True


def _refund_missing(job: Job, missing: int, *, now: datetime) -> None:
    """Refund the share of `missing` images to a job that the caller has locked with its wallet."""
    ordered = num_outputs(job.settings)
    job.fee_kept = job.credits * (ordered - missing) // ordered
    job.refund_entry_id = credit_services.refund(
        user_id=job.user_id,
        job_id=job.id,
        reason=f"{missing} of {ordered} images missing",
        now=now,
        fee=job.fee_kept,
    ).id
    logger.warning(
        "images_missing",
        job_id=str(job.id),
        missing=missing,
        ordered=ordered,
        refunded=job.credits - job.fee_kept,
    )


def convert_next(
    claimed: Job,
    original_name: str,
    attempt: FileDeletion,
    *,
    now: datetime,
    cost_usd: Decimal | None,
) -> bool:
    """Convert the stored file next. The deadline of the stage STORE stays.

    `attempt` is the scheduled deletion of the file, as in `complete`.
    """
    with transaction.atomic(durable=True):
        job = lock_if_claimed(claimed)
        if job is None or not attempts.keep_files(attempt):
            return False
        if cost_usd is not None:
            unended_submissions(job).update(cost_usd=cost_usd)
        transitions.to_convert(job, now=now, original_name=original_name)
    return True


def _schedule_folder_deletion(job: Job, *, now: datetime) -> list[FileDeletion]:
    """Schedule the deletion of the job's folder. A deleted job keeps no files."""
    job.original_name = ""
    return cleanup.schedule_deletion([cleanup.job_folder(job.id)], now=now)


def _observe_completed(job: Job, *, now: datetime) -> None:
    """Metrics of a completed job, as it was claimed: its deadline dates the start of STORE."""
    sent_at = job.requests.latest("id").sent_at
    made_at = (job.deadline_at or now) - timedelta(seconds=settings.JOB_STORE_DEADLINE_SECONDS)
    metrics.jobs_ended.labels(job.queue, JobStatus.COMPLETED, "").inc()
    for stage, took in {
        "waiting": sent_at - job.created_at,
        "making": made_at - sent_at,
        "storing": now - made_at,
        "all": now - job.created_at,
    }.items():
        # A training takes longer than any video, and is no sign that videos do.
        queue = "training" if job.is_training else job.queue
        metrics.job_seconds.labels(queue, stage).observe(max(took.total_seconds(), 0))


def fail(
    claimed: Job,
    reason: FailureReason,
    *,
    now: datetime,
    error_type: str = "",
    detail: str = "",
    cost_usd: Decimal | None = None,
    raw: str = "",
) -> bool:
    """Fail a job and refund it. If its user had requested a cancellation, it ends as cancelled.

    The refund may leave out a fee if the user caused the failure and the provider charges us
    (generation.exposure). A result that was made and could not be delivered becomes a dead letter;
    `raw` is the provider's answer about that result.

    A job that had ended before only becomes done.
    """
    with transaction.atomic(durable=True):
        # The wallet before the job, as in all code: another order of locks would deadlock.
        credit_services.lock_wallet(user_id=claimed.user_id, through_merge=True)
        job = lock_if_claimed(claimed)
        if job is None:
            return False
        submissions = unended_submissions(job)
        cancel_requested = is_cancel_requested(job, submissions)
        if reason == FailureReason.CANCELLED and not cancel_requested:
            reason = FailureReason.CANCELLED_BY_PROVIDER
        if _was_made(job, reason) and not job.deleted_at:
            # The first answer says most: providers delete their results.
            submissions.filter(raw_result="").update(raw_result=raw)
            why = ": ".join(filter(None, [reason.value, error_type, detail]))
            dead_letters.record(DeadKind.RESULT, str(job.id), why, now=now)
        loss = close_submission(
            job,
            reason,
            submissions=submissions,
            now=now,
            error_type=error_type,
            detail=detail,
            cost_usd=cost_usd,
        )
        if not job.is_terminal:
            _refund_and_close(
                job, FailureReason.CANCELLED if cancel_requested else reason, now=now, loss_usd=loss
            )
            if reason == FailureReason.REJECTED:
                _record_provider_refusal(job, error_type, now=now)
            if job.status == JobStatus.FAILED:
                notifications.notify_user(job, PushKind.JOB_FAILED, now=now)
        discarded = _schedule_folder_deletion(job, now=now) if job.deleted_at else []
        _to_done(job, now=now)
    cleanup.delete_now(discarded)
    return True


def refund_missing_result(claimed: Job, *, now: datetime, due_at: datetime) -> bool:
    """Refund a job whose result its provider cannot give, and go on trying at `due_at`.

    The job fails as by a timeout, or is cancelled if its user had requested that. The submission
    stays open until the deadline of STORE. A result that comes until then is the user's, and the
    refund stands.
    """
    with transaction.atomic(durable=True):
        credit_services.lock_wallet(user_id=claimed.user_id, through_merge=True)
        job = lock_if_claimed(claimed)
        if job is None:
            return False
        cancelled = is_cancel_requested(job, unended_submissions(job))
        _refund_and_close(
            job, FailureReason.CANCELLED if cancelled else FailureReason.TIMEOUT, now=now
        )
        if job.status == JobStatus.FAILED:
            notifications.notify_user(job, PushKind.JOB_FAILED, now=now)
        transitions.keep_storing(job, due_at=due_at)
    return True


def cancel_missing_result(job_id: UUID, *, user_id: UUID, now: datetime) -> bool:
    """Cancel and refund, without a fee, a job whose result its provider could not give.

    False for any other job. A worker that is fetching the result meanwhile discards it.
    """
    with transaction.atomic(durable=True):
        credit_services.lock_wallet(user_id=user_id, through_merge=True)
        job = Job.objects.select_for_update(of=("self",)).get(id=job_id)
        submissions = unended_submissions(job)
        is_missing = any(one.fetch_failed_at for one in submissions)
        if job.stage != Stage.STORE or job.is_terminal or not is_missing:
            return False
        close_submission(job, FailureReason.TIMEOUT, submissions=submissions, now=now)
        # The provider has finished: there is nothing to stop.
        ProviderRequest.objects.filter(job=job).update(cancel_due_at=None)
        _refund_and_close(job, FailureReason.CANCELLED, now=now)
        _to_done(job, now=now)
    return True


def _was_made(job: Job, reason: FailureReason) -> bool:
    """Whether the provider made the result and charges for it, as far as we know."""
    is_unavailable = reason == FailureReason.TIMEOUT and job.stage in {Stage.STORE, Stage.CONVERT}
    return is_unavailable or reason in {
        FailureReason.UNUSABLE,
        FailureReason.STORAGE_ERROR,
        FailureReason.RESULT_NOT_MODERATED,
    }


def fail_manually(job: Job, *, now: datetime) -> None:
    """Staff fail the job, exactly as a timeout would. The caller must notify the user.

    Joins the caller's transaction, which has locked the wallet and the job. Raises InvalidState for
    a job that has ended.
    """
    if job.is_terminal:
        raise InvalidState(problem=f"This job has ended: it is {job.status}.")
    submissions = unended_submissions(job)
    cancel_requested = is_cancel_requested(job, submissions)
    close_submission(job, FailureReason.TIMEOUT, submissions=submissions, now=now)
    _refund_and_close(
        job, FailureReason.CANCELLED if cancel_requested else FailureReason.TIMEOUT, now=now
    )
    _to_done(job, now=now)


def refund_completed(job: Job, *, acting_user_id: UUID, now: datetime) -> None:
    """Refund a completed job. The user keeps the video.

    Joins the caller's transaction, which has locked the wallet and the job. Raises InvalidState for
    a job that is not completed, or refunded already.
    """
    if job.refund_entry_id:
        raise InvalidState(problem="This job is already refunded.")
    if job.status != JobStatus.COMPLETED:
        raise InvalidState(problem="This job has not ended yet.")
    job.refund_entry_id = credit_services.refund(
        user_id=job.user_id,
        job_id=job.id,
        reason="generation refunded",
        acting_user_id=acting_user_id,
        now=now,
    ).id
    job.save(update_fields=["refund_entry"])


def cancel_before_submit(claimed: Job, *, now: datetime) -> bool:
    """Cancel and refund a job that was never submitted. False if it was submitted meanwhile."""
    with transaction.atomic(durable=True):
        credit_services.lock_wallet(user_id=claimed.user_id, through_merge=True)
        job = Job.objects.select_for_update(of=("self",)).get(id=claimed.id)
        if job.stage != Stage.SUBMIT:
            return False
        _refund_and_close(job, FailureReason.CANCELLED, now=now)
        _to_done(job, now=now)
    return True


def _to_done(job: Job, *, now: datetime) -> None:
    transitions.to_done(job)
    if job.is_training:
        deletion.training_ended(job, now=now)


def lock_if_claimed(claimed: Job) -> Job | None:
    """Lock the job. None if its stage or lease changed since the claim."""
    return transitions.as_claimed(claimed).select_for_update(of=("self",)).first()


def _refund_and_close(
    job: Job, reason: FailureReason, *, now: datetime, loss_usd: Decimal | None = None
) -> None:
    """Refund the job and set its terminal status.

    `loss_usd` is the provider's charge for an end that the user caused. The fee covers it at most,
    and is at most the `cancel_fee` that the response to the order stated.
    """
    cancelled = reason == FailureReason.CANCELLED
    job.loss_usd = loss_usd
    job.fee_kept = exposure.usd_to_credits(loss_usd, most=job.cancel_fee) if loss_usd else 0
    job.refund_entry_id = credit_services.refund(
        user_id=job.user_id,
        job_id=job.id,
        reason=_refund_reason(cancelled=cancelled, fee=job.fee_kept),
        now=now,
        fee=job.fee_kept,
        cancelled=cancelled,
    ).id
    job.progress = queries.progress(job, now=now)
    job.status = JobStatus.CANCELLED if cancelled else JobStatus.FAILED
    job.error_code = "" if cancelled else reason.refusal.code
    job.completed_at = now
    ended = metrics.jobs_ended.labels(job.queue, job.status, reason.value)
    transaction.on_commit(ended.inc, robust=True)
    logger.info(
        "video_generation_cancelled" if cancelled else "video_generation_failed",
        job_id=str(job.id),
        reason=reason.value,
        refunded=job.credits - job.fee_kept,
        fee=job.fee_kept,
    )


def _record_provider_refusal(job: Job, error_type: str, *, now: datetime) -> None:
    """Count a refusal by the provider's moderation like our own: a provider may close our
    account because of such input."""
    request = job.requests.order_by("-id").first()
    if request and get_provider(request.provider).is_content_rejection(error_type):
        sanctions.record_provider_rejection(
            user_id=job.user_id,
            job_id=job.id,
            provider=request.provider,
            error_type=error_type,
            now=now,
        )


def _refund_reason(*, cancelled: bool, fee: int) -> str:
    """The text of the refund in the credit history."""
    why = "generation cancelled" if cancelled else "generation failed"
    return f"{why}, less a fee of {fee}" if fee else why


def close_submission(
    job: Job,
    reason: FailureReason,
    *,
    now: datetime,
    submissions: QuerySet[ProviderRequest] | None = None,
    error_type: str = "",
    detail: str = "",
    cost_usd: Decimal | None = None,
) -> Decimal | None:
    """Record that the job's open submission failed, and why. Joins the caller's transaction.

    `submissions`: those of `unended_submissions`, if the caller has read them. Returns the
    provider's charge if the user caused the failure, else None.
    """
    if submissions is None:
        submissions = unended_submissions(job)
    request = next(iter(submissions), None)
    began = bool(request and _may_have_started(job, request, now=now))
    # After a timeout the submission may still run and deliver. Nobody waits for the result any
    # more, so lifecycle.cancel asks the provider to stop.
    timed_out = reason == FailureReason.TIMEOUT
    outcome = outcome_for(reason, began=began)
    changes = cost_update(outcome, cost_usd)
    if timed_out:
        submissions.filter(cancel_asked_at=None).exclude(provider_request_id="").update(
            cancel_due_at=now
        )
    submissions.update(
        state=RequestState.UNKNOWN if timed_out else RequestState.FAILED,
        ended_at=now,
        error_type="timeout" if timed_out else error_type[:80],
        error_detail=detail[:500],
        **changes,
    )
    if request is None:
        return None
    if reason == FailureReason.CANCELLED_BY_PROVIDER:
        return None  # cancelled at the provider, not by our user
    return user_caused_loss_usd(outcome, changes.get("cost_usd", request.cost_usd))


def _may_have_started(job: Job, request: ProviderRequest, *, now: datetime) -> bool:
    """Whether the provider reported a start, or was not polled because a webhook was expected."""
    if job.started_at and job.started_at >= request.sent_at:
        return True
    unseen = job.stage == Stage.QUEUED and job.tries == 0 and request.answered_at
    return bool(unseen and now - unseen > route_timing.first_poll_delay(None))


def unended_submissions(job: Job) -> QuerySet[ProviderRequest]:
    """The job's submissions that have not ended. Keeps what it has read."""
    return ProviderRequest.objects.filter(job=job, ended_at=None).order_by("id")


def is_cancel_requested(job: Job, submissions: QuerySet[ProviderRequest]) -> bool:
    """Whether the user requested a cancellation, even if the provider did not stop.

    `submissions`: those of `unended_submissions`.
    """
    return job.cancel_requested_at is not None or any(one.cancel_asked_at for one in submissions)
