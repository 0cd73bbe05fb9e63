"""What users ordered, and what has to happen to it next."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal, Self
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Value
from django.utils import timezone

from generation.models.catalogue import Model
from generation.models.files import Upload
from rendio.common.ids import uuid7
from rendio.common.querysets import OwnedQuerySet

if TYPE_CHECKING:
    from collections.abc import Iterable


class JobStatus(models.TextChoices):
    """What the user sees."""

    PENDING = "pending"  # paid; no provider has it yet
    PROCESSING = "processing"  # a provider has it
    COMPLETED = "completed"  # its media is in our storage
    FAILED = "failed"  # it will not be made; its credits are back, perhaps less a fee
    CANCELLED = "cancelled"  # the user took it back; likewise

    @classmethod
    def terminal(cls) -> list[JobStatus]:
        return [cls.COMPLETED, cls.FAILED, cls.CANCELLED]


class Stage(models.TextChoices):
    """What has to happen next; the half line says what is true in the world until then."""

    SUBMIT = "submit"  # no provider has heard of it
    SENT = "sent"  # a submission has left or is leaving; whether it arrived is not known yet
    QUEUED = "queued"  # the provider has it and has not begun
    RUNNING = "running"  # the provider works on it
    STORE = "store"  # the provider has finished; the result is to be fetched and kept
    CONVERT = "convert"  # it is kept as it came, and is to be made one that iPhones play
    DONE = "done"  # nothing


# What a job's bar shows on its way; the rest is for storing.
PROGRESS_QUEUED, PROGRESS_RUNNING, PROGRESS_STORING = 5, 10, 95
# At a provider, or perhaps: what counts against limits of jobs at once.
IN_FLIGHT = [Stage.SENT, Stage.QUEUED, Stage.RUNNING]


class JobQuerySet(OwnedQuerySet["Job"]):
    def owned_by(self, user_id: UUID) -> Self:
        """And not deleted from history."""
        return super().owned_by(user_id).filter(deleted_at=None)

    def due(self, now: datetime, *, queue: str, stages: Iterable[Stage]) -> Self:
        return self.filter(queue=queue, stage__in=list(stages), due_at__lte=now).order_by("due_at")


class Job(models.Model):
    """One generation that a user asked for and paid."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="jobs"
    )
    # No constraint in the database: every new job would lock the one catalogue row it names.
    model = models.ForeignKey(Model, on_delete=models.DO_NOTHING, db_constraint=False)
    theme_id = models.UUIDField(null=True, blank=True)
    retry_of = models.UUIDField(null=True, blank=True, help_text="The failed job it repeats.")
    prompt = models.TextField(blank=True)
    # The picture it starts from, kept for as long as the job is there.
    upload = models.ForeignKey(
        Upload,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="jobs",
        db_index=False,
    )
    settings = models.JSONField(default=dict)
    credits = models.PositiveIntegerField(help_text="What it was sold for.")
    price_usd = models.DecimalField(max_digits=10, decimal_places=4)
    cancel_fee = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text="Credits that its user may lose by ending it after its provider has begun, as "
        "the answer to the order said.",
    )
    fee_kept = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Credits that its refund left out."
    )
    loss_usd = models.DecimalField(
        max_digits=10,
        decimal_places=4,
        null=True,
        blank=True,
        help_text="What its provider took although its user ended it, or asked for what is not "
        "allowed (generation.lifecycle.cost_rules).",
    )

    status = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.PENDING)
    stage = models.CharField(max_length=10, choices=Stage.choices, default=Stage.SUBMIT)
    queue = models.CharField(max_length=10)
    due_at = models.DateTimeField(null=True, blank=True)
    leased_until = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveIntegerField(default=0, help_text="In this stage.")
    lost_leases = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="Workers in a row who took it and told nothing."
    )
    tried_routes = models.JSONField(
        default=list,
        db_default=Value([], models.JSONField()),
        help_text="Routes that are not asked again for this job.",
    )
    progress = models.PositiveSmallIntegerField(default=0)
    expected_at = models.DateTimeField(
        null=True, blank=True, help_text="When its provider usually has such a job made."
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
        help_text="The film as its provider made it, where iPhones do not play that.",
    )
    error_code = models.CharField(max_length=10, blank=True)
    refund_entry = models.OneToOneField(
        "credits.LedgerEntry", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    # Of the order: what workers log and ask of providers for this job bears it too.
    request_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints = [
            # No failed or cancelled job without its credits back.
            models.CheckConstraint(
                condition=~Q(status__in=[JobStatus.FAILED, JobStatus.CANCELLED])
                | Q(refund_entry__isnull=False),
                name="job_ended_without_video_is_refunded",
            ),
            models.CheckConstraint(
                condition=~Q(status=JobStatus.COMPLETED)
                | ~Q(media_name="")
                | Q(deleted_at__isnull=False),
                name="job_completed_has_media",
            ),
            # Never more than was said before, nor more than was paid.
            models.CheckConstraint(
                condition=Q(fee_kept__lte=F("cancel_fee"), cancel_fee__lte=F("credits")),
                name="job_fee_was_said",
            ),
            # Nothing waits for ever: what is not done is due at some time.
            models.CheckConstraint(
                condition=Q(stage=Stage.DONE) | Q(due_at__isnull=False, deadline_at__isnull=False),
                name="job_not_done_is_due",
            ),
        ]
        indexes = [
            # The claims: what is due, oldest first. Finished jobs are not in it.
            models.Index(
                fields=["queue", "stage", "due_at"],
                condition=~Q(stage=Stage.DONE),
                name="job_due",
            ),
            # How many of a user's jobs are at a provider now.
            models.Index(
                fields=["user"], condition=Q(stage__in=IN_FLIGHT), name="job_in_flight_by_user"
            ),
            # A user's history, newest first: ids are time-ordered.
            models.Index(
                fields=["user", "-id"], condition=Q(deleted_at__isnull=True), name="job_history"
            ),
            # What a person has ordered lately, deleted jobs too (generation.exposure).
            models.Index(fields=["user", "id"], name="job_by_user"),
            # What a person's endings have cost us lately.
            models.Index(
                fields=["user", "completed_at"],
                condition=Q(loss_usd__isnull=False),
                name="job_losses_by_user",
            ),
            # How long this model's recent jobs took.
            models.Index(
                fields=["model", "-completed_at"],
                condition=Q(status=JobStatus.COMPLETED),
                name="job_recent_by_model",
            ),
            # Whether a picture is still needed; most jobs have none.
            models.Index(
                fields=["upload"], condition=Q(upload__isnull=False), name="job_by_upload"
            ),
            # Cancellations that the provider has still to be told.
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
    def media_kind(self) -> Literal["video", "image"]:
        """What it makes. Its queue tells, which outlives its model."""
        return "image" if self.queue == "medium" else "video"

    @property
    def credits_refunded(self) -> int:
        """What its refund gave back; 0 where there is none, or a fee has kept all of it."""
        return self.credits - self.fee_kept if self.refund_entry_id else 0

    @property
    def credits_kept(self) -> int:
        """What it has cost its user for good, as things are."""
        return self.credits - self.credits_refunded


class AccountMediaDeletion(models.Model):
    """A job of a deleted account, until surely nothing of it is left in storage."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="media_deletion")
    due_at = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField(null=True, help_text="When the job was first seen ended.")

    class Meta:
        db_table = "generation_erasure"

    def __str__(self) -> str:
        return str(self.job_id)
