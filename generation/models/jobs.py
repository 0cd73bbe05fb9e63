"""Jobs: one for each paid generation."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal, Self
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Value
from django.utils import timezone

from generation.models.catalogue import GenerationModel
from generation.models.files import Upload
from generation.video_files.media_info import SourceType
from rendio.common.ids import uuid7
from rendio.common.querysets import OwnedQuerySet

if TYPE_CHECKING:
    from collections.abc import Iterable


class JobStatus(models.TextChoices):
    """The status that the user sees."""

    PENDING = "pending"  # paid; not submitted yet
    PROCESSING = "processing"  # a provider has it
    COMPLETED = "completed"  # its media is in our storage
    FAILED = "failed"  # ended without a video; refunded, perhaps less a fee
    CANCELLED = "cancelled"  # cancelled by the user; refunded, perhaps less a fee

    @classmethod
    def terminal(cls) -> list[JobStatus]:
        return [cls.COMPLETED, cls.FAILED, cls.CANCELLED]


class Stage(models.TextChoices):
    """The next step of a job. The comments state what is true in each stage."""

    SUBMIT = "submit"  # not sent to any provider
    SENT = "sent"  # a submission is being sent; its outcome is not known yet
    QUEUED = "queued"  # accepted by the provider, not started
    RUNNING = "running"  # started by the provider
    STORE = "store"  # finished by the provider; the result is to be downloaded and stored
    CONVERT = "convert"  # stored, but iPhones cannot play the file; to be converted
    DONE = "done"  # ended


# Progress in percent on entering a state.
PROGRESS_QUEUED, PROGRESS_RUNNING, PROGRESS_STORING = 5, 10, 95
# At a provider, or perhaps. Counts towards concurrency limits.
IN_FLIGHT = [Stage.SENT, Stage.QUEUED, Stage.RUNNING]


# The name of the setting that is a text of the user.
NEGATIVE_PROMPT = "negative_prompt"


def credits_refunded(credits: int, fee_kept: int, *, is_refunded: bool) -> int:
    """Refunded credits. 0 without a refund, or if the fee was the whole price. Of a completed job:
    all of the price, or the share of the images that did not come."""
    return credits - fee_kept if is_refunded else 0


def media_kind(queue: str) -> Literal["video", "image"]:
    """The kind of the media of a job that is no training, from its queue: the model may be
    deleted."""
    return "image" if queue == "medium" else "video"


class JobQuerySet(OwnedQuerySet["Job"]):
    def owned_by(self, user_id: UUID) -> Self:
        """The user's jobs that are not deleted from history."""
        return super().owned_by(user_id).filter(deleted_at=None)

    def due(self, now: datetime, *, queue: str, stages: Iterable[Stage]) -> Self:
        return self.filter(queue=queue, stage__in=list(stages), due_at__lte=now).order_by("due_at")


class Job(models.Model):
    """One generation that a user ordered and paid for."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="jobs"
    )
    # No constraint in the database: every new job would lock the one catalogue row it names.
    model = models.ForeignKey(GenerationModel, on_delete=models.DO_NOTHING, db_constraint=False)
    theme_id = models.UUIDField(null=True, blank=True)
    retry_of = models.UUIDField(
        null=True, blank=True, help_text="The failed job that this job retries."
    )
    prompt = models.TextField(blank=True)
    # The source image. Kept as long as the job.
    upload = models.ForeignKey(
        Upload,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="jobs",
        db_index=False,
    )
    second_upload = models.ForeignKey(
        Upload,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="second_jobs",
        db_index=False,
        help_text="The mask, or the last keyframe.",
    )
    settings = models.JSONField(default=dict)
    is_training = models.BooleanField(
        "training",
        default=False,
        db_default=False,
        help_text="The result is the weights of a trained model, not media.",
    )
    # Of the user. No constraint in the database, and no index: deletion looks for no jobs.
    trained_model = models.ForeignKey(
        "generation.TrainedModel",
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="jobs",
        help_text="The trained model that the images are made with.",
    )
    credits = models.PositiveIntegerField("price (credits)", help_text="Price in credits.")
    price_usd = models.DecimalField("price (USD)", max_digits=10, decimal_places=4)
    cancel_fee = models.PositiveIntegerField(
        "maximum cancellation fee (credits)",
        default=0,
        db_default=0,
        help_text="Maximum fee in credits if the user cancels after the provider has started.",
    )
    fee_kept = models.PositiveIntegerField(
        "fee charged (credits)",
        default=0,
        db_default=0,
        help_text="Credits that the refund left out: a fee, or the price of the delivered images.",
    )
    loss_usd = models.DecimalField(
        "loss (USD)",
        max_digits=10,
        decimal_places=4,
        null=True,
        blank=True,
        help_text="Provider cost of a job that the user cancelled, or whose content was refused.",
    )

    status = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.PENDING)
    stage = models.CharField(max_length=10, choices=Stage.choices, default=Stage.SUBMIT)
    queue = models.CharField(max_length=10)
    due_at = models.DateTimeField(null=True, blank=True)
    leased_until = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveIntegerField("attempts", default=0, help_text="Attempts in this stage.")
    lost_leases = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="Consecutive leases that expired without a result."
    )
    tried_routes = models.JSONField(
        default=list,
        db_default=Value([], models.JSONField()),
        help_text="Routes already tried, which are not tried again.",
    )
    progress = models.PositiveSmallIntegerField("progress (%)", default=0)
    expected_at = models.DateTimeField(
        null=True, blank=True, help_text="Usual completion time at the provider."
    )
    queue_position = models.PositiveIntegerField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)

    media_name = models.CharField(max_length=100, blank=True)
    thumbnail_name = models.CharField(max_length=100, blank=True)
    original_name = models.CharField(
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="The provider's file, if iPhones cannot play it.",
    )
    images = models.JSONField(
        default=list,
        db_default=Value([], models.JSONField()),
        blank=True,
        help_text="The files of an image job: media_name, thumbnail_name, width and height of "
        "each. The first is the job's own.",
    )
    error_code = models.CharField(max_length=10, blank=True)
    refund_entry = models.OneToOneField(
        "credits.LedgerEntry", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    # Of the order's API request. Workers log it and send it to providers.
    request_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints = [
            # No failed or cancelled job without a refund.
            models.CheckConstraint(
                condition=~Q(status__in=[JobStatus.FAILED, JobStatus.CANCELLED])
                | Q(refund_entry__isnull=False),
                name="job_ended_without_video_is_refunded",
            ),
            models.CheckConstraint(
                condition=~Q(status=JobStatus.COMPLETED)
                | ~Q(media_name="")
                | Q(is_training=True)
                | Q(deleted_at__isnull=False),
                name="job_completed_has_media",
            ),
            # Never more than the order stated, nor more than the price. A completed job keeps the
            # price of what was delivered, if that is not all of it.
            models.CheckConstraint(
                condition=Q(cancel_fee__lte=F("credits"))
                & (
                    Q(fee_kept__lte=F("cancel_fee"))
                    | Q(status=JobStatus.COMPLETED, fee_kept__lt=F("credits"))
                ),
                name="job_fee_was_said",
            ),
            # No job waits forever: a job that is not done is due at some time.
            models.CheckConstraint(
                condition=Q(stage=Stage.DONE) | Q(due_at__isnull=False, deadline_at__isnull=False),
                name="job_not_done_is_due",
            ),
        ]
        indexes = [
            # Claims: due jobs, oldest first, without finished jobs.
            models.Index(
                fields=["queue", "stage", "due_at"],
                condition=~Q(stage=Stage.DONE),
                name="job_due",
            ),
            # The number of a user's jobs in flight.
            models.Index(
                fields=["user"], condition=Q(stage__in=IN_FLIGHT), name="job_in_flight_by_user"
            ),
            # A user's history, newest first: ids are time-ordered.
            models.Index(
                fields=["user", "-id"], condition=Q(deleted_at__isnull=True), name="job_history"
            ),
            # A person's recent orders, deleted jobs included (generation.exposure).
            models.Index(fields=["user", "id"], name="job_by_user"),
            # A person's recent losses (generation.exposure).
            models.Index(
                fields=["user", "completed_at"],
                condition=Q(loss_usd__isnull=False),
                name="job_losses_by_user",
            ),
            # Durations of a model's recent jobs.
            models.Index(
                fields=["model", "-completed_at"],
                condition=Q(status=JobStatus.COMPLETED),
                name="job_recent_by_model",
            ),
            # Whether an upload is still needed. Most jobs have none.
            models.Index(
                fields=["upload"], condition=Q(upload__isnull=False), name="job_by_upload"
            ),
            models.Index(
                fields=["second_upload"],
                condition=Q(second_upload__isnull=False),
                name="job_by_second_upload",
            ),
            # Cancellations to send to a provider.
            models.Index(
                fields=["cancel_requested_at"],
                condition=Q(cancel_requested_at__isnull=False) & ~Q(stage=Stage.DONE),
                name="job_cancelling",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.status})"

    @property
    def is_terminal(self) -> bool:
        return self.status in JobStatus.terminal()

    @property
    def media_kind(self) -> Literal["video", "image", "weights"]:
        """What the provider makes."""
        return "weights" if self.is_training else media_kind(self.queue)

    @property
    def source_type(self) -> SourceType:
        """IPTC's term for the result. An image made of a user's image is an edit; the frames of a
        video are all new."""
        is_edit = self.media_kind == "image" and self.upload_id is not None
        return SourceType.EDITED if is_edit else SourceType.GENERATED

    @property
    def credits_refunded(self) -> int:
        return credits_refunded(
            self.credits, self.fee_kept, is_refunded=self.refund_entry_id is not None
        )

    @property
    def credits_kept(self) -> int:
        """Net cost to the user in credits."""
        return self.credits - self.credits_refunded


class AccountMediaDeletion(models.Model):
    """A job of a deleted account, until all its files are certainly deleted."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="media_deletion")
    due_at = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField(null=True, help_text="When the job was first seen ended.")

    class Meta:
        db_table = "generation_erasure"

    def __str__(self) -> str:
        return str(self.job_id)
