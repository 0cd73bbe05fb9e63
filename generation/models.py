"""The catalogue, and the life of a job.

The due row is the queue: what has to happen next to a job stands in `stage`, when in `due_at`, and
a worker finds it by an index. generation.lifecycle alone moves jobs on.
"""

from __future__ import annotations

import math
import re
import secrets
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple, Self
from uuid import UUID, uuid4

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q, Value
from django.utils import timezone

from rendio.common.due import DueRow
from rendio.common.ids import uuid7

if TYPE_CHECKING:
    from collections.abc import Iterable


class ModelKind(models.TextChoices):
    TEXT_TO_VIDEO = "text-to-video"
    IMAGE_TO_VIDEO = "image-to-video"
    TEXT_TO_IMAGE = "text-to-image"


class PricingType(models.TextChoices):
    FIXED = "fixed"  # the base price
    DURATION = "duration"  # the base price for each 4 seconds
    VARIABLE = "variable"  # the base price times the model's multipliers


class Model(models.Model):
    """What a user chooses. Which provider makes it stands in its routes."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    name = models.CharField(max_length=80, unique=True)
    category = models.CharField(max_length=40)
    kind = models.CharField(max_length=20, choices=ModelKind.choices)
    description = models.TextField(blank=True)
    thumbnail_url = models.URLField(blank=True)
    is_available = models.BooleanField(default=True)
    is_featured = models.BooleanField(default=False)
    is_default = models.BooleanField(default=False)
    pricing_type = models.CharField(max_length=10, choices=PricingType.choices)
    base_price_usd = models.DecimalField(max_digits=8, decimal_places=4)
    multipliers = models.JSONField(
        default=dict, blank=True, help_text='{"resolution": {"1080p": "1.5"}, …}'
    )
    settings = models.JSONField(
        default=dict, help_text='{"duration": {"allowed": [4, 8], "default": 4}, …}'
    )
    run_deadline_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="How long it may run; 10 minutes where left empty."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            # A request without a model has one answer.
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="model_one_default"
            ),
            # A job always has a charge, and a charge takes something.
            models.CheckConstraint(condition=Q(base_price_usd__gt=0), name="model_costs_something"),
        ]

    def __str__(self) -> str:
        return self.name


class CostUnit(models.TextChoices):
    SECOND = "second"
    PIECE = "piece"


class Route(models.Model):
    """One provider's way to make a model: its name there, what it costs us, how our words map."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="routes")
    provider = models.CharField(max_length=20)
    provider_model_id = models.CharField(max_length=120)
    position = models.PositiveSmallIntegerField(
        default=1, help_text="1 is asked first. Routes with the same number share the orders."
    )
    weight = models.PositiveSmallIntegerField(
        default=1,
        db_default=1,
        validators=[MinValueValidator(1)],
        help_text="Its share of the orders, beside routes of the same number.",
    )
    is_enabled = models.BooleanField(default=True)
    cost_usd = models.DecimalField(max_digits=8, decimal_places=4, help_text="For each unit.")
    cost_unit = models.CharField(max_length=10, choices=CostUnit.choices)
    cost_multipliers = models.JSONField(
        default=dict, blank=True, help_text='{"resolution": {"1080p": "1.6667"}}'
    )
    parameters = models.JSONField(
        help_text='{"prompt": {}, "duration": {"name": "duration", "format": "{}s"}}'
    )
    constants = models.JSONField(default=dict, blank=True, help_text="Sent as they are.")
    limits = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        blank=True,
        help_text='What it can make, where that is less than the model: {"duration": [4, 8]}',
    )

    def __str__(self) -> str:
        return f"{self.provider}: {self.provider_model_id}"


class Theme(models.Model):
    """A ready-made idea: a prompt to start from, and the model that suits it."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    name = models.CharField(max_length=80, unique=True)
    description = models.TextField(blank=True)
    category = models.CharField(max_length=40)
    default_prompt = models.TextField()
    default_settings = models.JSONField(default=dict, blank=True)
    thumbnail_url = models.URLField(blank=True)
    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="themes")
    is_available = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.name


class Quote(models.Model):
    """A price kept for a while, whatever becomes of the model's price meanwhile."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    model_id = models.UUIDField()
    settings = models.JSONField()
    credits = models.PositiveIntegerField()
    price_usd = models.DecimalField(max_digits=10, decimal_places=4)
    expires_at = models.DateTimeField()

    class Meta:
        # The sweep of expired ones.
        indexes = [models.Index(fields=["expires_at"], name="quote_expiring")]

    def __str__(self) -> str:
        return f"{self.credits} credits"


class UploadQuerySet(models.QuerySet["Upload"]):
    def owned_by(self, user_id: UUID) -> Self:
        """The user's own: a stranger's picture is not there."""
        return self.filter(user_id=user_id)


class Upload(models.Model):
    """A picture of a user's to start a video from. There is one only where its file is whole."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="uploads"
    )
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    created_at = models.DateTimeField(editable=False)
    expires_at = models.DateTimeField(help_text="Until when a new job may start from it.")
    remove_at = models.DateTimeField(
        null=True, help_text="When to see whether it may go; None while jobs keep it."
    )

    objects = UploadQuerySet.as_manager()

    class Meta:
        indexes = [
            # Those that nobody may need any longer.
            models.Index(
                fields=["remove_at"],
                condition=Q(remove_at__isnull=False),
                name="upload_to_be_removed",
            )
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def name(self) -> str:
        """In our storage."""
        return self.name_of(self.id)

    @staticmethod
    def name_of(upload_id: UUID) -> str:
        return f"uploads/{upload_id}.jpg"

    @staticmethod
    def id_in(name: str) -> UUID | None:
        """The reverse; None for the name of anything else."""
        found = re.fullmatch(r"uploads/([0-9a-f-]{36})\.jpg", name)
        try:
            return UUID(found[1]) if found else None
        except ValueError:
            return None


class Removal(DueRow):
    """A file that goes from storage once it is due.

    Written before the file where that might never be claimed, and in the transaction that lets go
    of it: at every moment a file has a row that names it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100)

    class Meta:
        # Those that are due.
        indexes = [models.Index(fields=["due_at"], name="removal_due")]

    def __str__(self) -> str:
        return self.name


class JobStatus(models.TextChoices):
    """What the user sees."""

    PENDING = "pending"  # paid; no provider has it yet
    PROCESSING = "processing"  # a provider has it
    COMPLETED = "completed"  # its media is in our storage
    FAILED = "failed"  # it will not be made; its credits are back
    CANCELLED = "cancelled"  # the user took it back; so are its credits

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
    DONE = "done"  # nothing


# What a job's bar shows on its way; the rest is for storing.
PROGRESS_QUEUED, PROGRESS_RUNNING, PROGRESS_STORING = 5, 10, 95
# At a provider, or perhaps: what counts against limits of jobs at once.
IN_FLIGHT = [Stage.SENT, Stage.QUEUED, Stage.RUNNING]


class JobQuerySet(models.QuerySet["Job"]):
    def owned_by(self, user_id: UUID) -> Self:
        """The user's own: a stranger's job is not there, and neither is one deleted from
        history."""
        return self.filter(user_id=user_id, deleted_at=None)

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


class Erasure(models.Model):
    """A job of a deleted account, until surely nothing of it is left in storage."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="erasure")
    due_at = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField(null=True, help_text="When the job was first seen ended.")

    def __str__(self) -> str:
        return str(self.job_id)


class RequestState(models.TextChoices):
    SENDING = "sending"  # leaving or just left; a crash leaves it so, and it may have arrived
    ACCEPTED = "accepted"  # the provider has it under provider_request_id
    REFUSED = "refused"  # the provider refused it; nothing runs
    DEFERRED = "deferred"  # the provider does not take it now; nothing runs
    UNKNOWN = "unknown"  # no answer: it may run
    FINISHED = "finished"  # the provider made it
    FAILED = "failed"  # the provider had it and will not make it


def new_webhook_token() -> str:
    return secrets.token_urlsafe(24)


class ProviderRequest(models.Model):
    """One submission of one job to one provider, written before it leaves."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="requests")
    route = models.ForeignKey(Route, on_delete=models.DO_NOTHING, db_constraint=False)
    provider = models.CharField(max_length=20)
    # The key that it was submitted with, and has to be followed with.
    key_label = models.CharField(max_length=30, blank=True, default="", db_default="")
    # In the webhook's URL: names this submission even when its answer never reached us.
    webhook_token = models.CharField(max_length=40, unique=True, default=new_webhook_token)
    state = models.CharField(
        max_length=10, choices=RequestState.choices, default=RequestState.SENDING
    )
    provider_request_id = models.CharField(max_length=100, blank=True)
    status_url = models.TextField(blank=True)
    response_url = models.TextField(blank=True)
    cancel_url = models.TextField(blank=True)
    cost_usd = models.DecimalField(max_digits=10, decimal_places=4, default=Decimal(0))
    error_type = models.CharField(max_length=80, blank=True)
    error_detail = models.CharField(max_length=500, blank=True)
    sent_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    is_told = models.BooleanField(
        default=False, db_default=False, help_text="A webhook has told of its end."
    )
    cancel_asked_at = models.DateTimeField(
        null=True, blank=True, help_text="When its provider was asked to stop it."
    )
    cancel_due_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When to ask that next, where its job has ended without it.",
    )

    class Meta:
        indexes = [
            # Those still to be stopped.
            models.Index(
                fields=["cancel_due_at"],
                condition=Q(cancel_due_at__isnull=False),
                name="request_to_be_stopped",
            ),
            # How long a route takes.
            models.Index(
                fields=["route", "-ended_at"],
                condition=Q(state=RequestState.FINISHED),
                name="request_recent_by_route",
            ),
            # How many are at a provider under each key.
            models.Index(
                fields=["provider", "key_label"],
                condition=Q(ended_at__isnull=True),
                name="request_in_flight",
            ),
            # What was spent since then.
            models.Index(fields=["sent_at"], name="request_by_time"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "provider_request_id"],
                condition=~Q(provider_request_id=""),
                name="request_one_per_provider_id",
            ),
            # Never two live submissions of one job.
            models.UniqueConstraint(
                fields=["job"],
                condition=Q(state__in=[RequestState.SENDING, RequestState.ACCEPTED]),
                name="request_one_live_per_job",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.provider_request_id or self.state}"


class SpendDay(models.Model):
    """What one provider's submissions of one day cost us, as far as they have been counted.
    generation.spend adds what was submitted since."""

    provider = models.CharField(max_length=20)
    date = models.DateField(help_text="In UTC.")
    usd = models.DecimalField(max_digits=14, decimal_places=4)
    counted_until = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider", "date"], name="spend_one_per_day")
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.date}"


class ProviderKey(NamedTuple):
    """One of our keys at one provider: what has a breaker and a limit of its own."""

    provider: str
    label: str


class Breaker(models.TextChoices):
    CLOSED = "closed"  # whatever is due is sent
    OPEN = "open"  # nothing is, until `open_until`; then one, to see
    HALF_OPEN = "half open"  # that one, the probe, is on its way; until `open_until` it is alone


class ProviderHealth(models.Model):
    """How submissions under one key of a provider have gone lately. generation.lifecycle.breaker
    writes it; the claim of what to submit reads it under its lock."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    provider = models.CharField(max_length=20)
    key_label = models.CharField(max_length=30)
    state = models.CharField(max_length=10, choices=Breaker.choices, default=Breaker.CLOSED)
    failures = models.PositiveIntegerField(
        default=0, help_text="Since the window began; each success takes one away."
    )
    window_began_at = models.DateTimeField(null=True, blank=True)
    open_until = models.DateTimeField(null=True, blank=True)
    probe_id = models.UUIDField(null=True, blank=True, help_text="The request that is to show it.")
    paused_until = models.DateTimeField(
        null=True, blank=True, help_text="The provider asked us not to come before (429)."
    )
    last_error = models.CharField(max_length=200, blank=True)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "provider health"
        constraints = [
            models.UniqueConstraint(fields=["provider", "key_label"], name="health_one_per_key")
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.key_label}: {self.state}"

    @property
    def key(self) -> ProviderKey:
        return ProviderKey(self.provider, self.key_label)

    def is_shut(self, now: datetime) -> bool:
        """Whether orders that only this key could take are refused."""
        return self.open_until is not None and self.open_until > now

    def takes(self, now: datetime) -> float:
        """How many submissions may go now: none, one as a probe, or any number."""
        if self.is_shut(now) or (self.paused_until and self.paused_until > now):
            return 0
        return math.inf if self.state == Breaker.CLOSED else 1


MAINTENANCE_ID = UUID("00000000-0000-4000-8000-0000000000c0")


class Maintenance(models.Model):
    """The one row of the switch that stops new orders. What was ordered goes on."""

    id = models.UUIDField(primary_key=True, default=MAINTENANCE_ID, editable=False)
    is_on = models.BooleanField(default=False)
    reason = models.CharField(max_length=500, blank=True)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "maintenance"
        constraints = [
            models.CheckConstraint(condition=Q(id=MAINTENANCE_ID), name="maintenance_one_row")
        ]

    def __str__(self) -> str:
        return "Maintenance is on" if self.is_on else "Orders are taken"


class WebhookDelivery(models.Model):
    """One genuine webhook call as it came in, stored before it is believed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    provider = models.CharField(max_length=20)
    provider_request_id = models.CharField(max_length=100)
    webhook_token = models.CharField(max_length=40, blank=True)
    body = models.TextField()
    received_at = models.DateTimeField(default=timezone.now, editable=False)
    processed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=80, blank=True)

    class Meta:
        verbose_name_plural = "webhook deliveries"
        indexes = [
            models.Index(
                fields=["received_at"],
                condition=Q(processed_at__isnull=True),
                name="delivery_unprocessed",
            ),
            # The sweep of old ones.
            models.Index(fields=["processed_at"], name="delivery_processed"),
            # When a provider called last.
            models.Index(F("provider"), F("received_at").desc(), name="delivery_last"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.provider_request_id}"


class DeadKind(models.TextChoices):
    JOB = "job"  # no worker could carry it on; it was refunded
    DELIVERY = "delivery"  # a webhook call that could not be applied
    TASK = "task"  # a Celery task that raised, or was killed


class DeadState(models.TextChoices):
    OPEN = "open"
    RETRIED = "retried"
    DISMISSED = "dismissed"


class DeadLetter(models.Model):
    """What failed for good, kept for a person."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=10, choices=DeadKind.choices)
    subject = models.CharField(max_length=100, help_text="The row's id, or the task and its queue.")
    why = models.CharField(max_length=500)
    times = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=DeadState.choices, default=DeadState.OPEN)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            # The same trouble again is counted, not listed again.
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(state=DeadState.OPEN),
                name="dead_letter_one_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


class BlockedTerm(models.Model):
    """Words that no prompt may have; generation.moderation.blocklist says how they are compared."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    text = models.CharField(
        max_length=100,
        unique=True,
        help_text="A word or several in a row. * stands for any letters, ? for one: "
        "kill* is killer too. Large or small letters are all one; accents are not.",
    )
    category = models.CharField(max_length=40, blank=True, help_text="For support's lists.")
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.text


class Input(models.TextChoices):
    """What of a user's is moderated, by its name in the API."""

    PROMPT = "prompt"
    IMAGE = "image"


class Step(models.TextChoices):
    """What an offence led to."""

    NONE = "none"  # it was refused
    WARNING = "warning"  # and the user was told what comes next
    HOLD = "hold"  # and the user starts nothing for a time
    BAN = "ban"  # and the account is suspended


class OffenceQuerySet(models.QuerySet["Offence"]):
    def standing(self, user_id: UUID) -> Self:
        """The user's, but for those that support has forgiven."""
        return self.filter(user_id=user_id, forgiven_at=None)


class Offence(models.Model):
    """An input of a user's that moderation refused. The input itself is kept nowhere."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="offences",
        db_index=False,
    )
    at = models.DateTimeField()
    input = models.CharField(max_length=10, choices=Input.choices)
    moderator = models.CharField(max_length=20)
    categories = models.JSONField(help_text="By the moderator's names.")
    term_id = models.UUIDField(null=True, help_text="The term of the blocklist that it met.")
    attempt = models.CharField(
        max_length=64, help_text="A keyed hash: the same request again is one offence."
    )
    step = models.CharField(max_length=10, choices=Step.choices)
    held_until = models.DateTimeField(null=True)
    forgiven_at = models.DateTimeField(null=True)

    objects = OffenceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "attempt"], name="offence_one_per_attempt"),
            models.CheckConstraint(
                condition=Q(step=Step.HOLD, held_until__isnull=False)
                | (~Q(step=Step.HOLD) & Q(held_until__isnull=True)),
                name="offence_hold_has_an_end",
            ),
        ]
        indexes = [
            # How many a user has in the window.
            models.Index(fields=["user", "at"], name="offence_by_user"),
            # Whether a user is held: asked with every order, and nearly nobody is.
            models.Index(
                fields=["user", "held_until"],
                condition=Q(held_until__isnull=False),
                name="offence_holding",
            ),
            # The sweep of old ones.
            models.Index(fields=["at"], name="offence_oldest"),
        ]

    def __str__(self) -> str:
        return f"{self.input} refused by {self.moderator}"

    def step_at(self, now: datetime) -> Step:
        """What it leads to now: nothing once it is forgiven, or its hold is over."""
        is_over = self.forgiven_at or (self.held_until and self.held_until <= now)
        return Step.NONE if is_over else Step(self.step)
