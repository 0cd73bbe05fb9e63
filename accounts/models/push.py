"""Push tokens, pushes and the provider token."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models.sessions import Session
from rendio.common.background.due_rows import DueRow
from rendio.common.ids import uuid7

# Apple's have 64 characters now and may grow; Google's about 160.
MAX_TOKEN = 1024


class Platform(models.TextChoices):
    IOS = "ios", "iOS"
    ANDROID = "android"  # stored, but nothing is sent


class ApnsEnvironment(models.TextChoices):
    """Apple's host that knows the token. Sandbox is for builds from Xcode."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"


class PushToken(models.Model):
    """The app on one phone, as Apple or Google names it. It belongs to the user who registered it
    last, and ends with the session that registered it."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    token = models.CharField(max_length=MAX_TOKEN)
    platform = models.CharField(max_length=10, choices=Platform.choices)
    environment = models.CharField(
        max_length=10, choices=ApnsEnvironment.choices, default=ApnsEnvironment.PRODUCTION
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="push_tokens"
    )
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="push_tokens")
    registered_at = models.DateTimeField("registered at")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["token"], name="accounts_push_token_once"),
        ]

    def __str__(self) -> str:
        return f"{self.platform} {self.environment}"


class PushKind(models.TextChoices):
    """The event of a push; part of the API."""

    JOB_COMPLETED = "job_completed", "Job completed"
    JOB_FAILED = "job_failed", "Job failed"  # its credits are back
    JOB_LATE = "job_late", "Job completed after refund"  # the user keeps result and credits
    # Of a training: its result is a model.
    MODEL_COMPLETED = "model_completed", "Model completed"
    MODEL_FAILED = "model_failed", "Training failed"
    MODEL_LATE = "model_late", "Model completed after refund"
    CREDITS_RETURNED = "credits_returned", "Credits returned"  # by support, after an incident


class PushOutcome(models.TextChoices):
    """How a push ended."""

    SENT = "sent", "Sent"  # accepted by Apple, which does not report the display
    UNREGISTERED = "unregistered", "Token not registered"
    GONE = "gone", "Device no longer belongs to the user"
    EXPIRED = "expired", "Expired before sending"
    REFUSED = "refused", "Rejected by Apple"  # our fault: see the log
    OFF = "off", "Push notifications disabled"


class Push(DueRow):
    """One notification for one phone, written in the transaction that it reports, and due until it
    has ended. Its id is the apns-id of every attempt."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="pushes", db_index=False
    )
    # No foreign key: a token may be deleted while a job ends, without either waiting.
    token_id = models.UUIDField()
    kind = models.CharField(max_length=20, choices=PushKind.choices)
    # The job or incident: on the phone a push replaces the earlier one of the same subject.
    subject_id = models.UUIDField()
    job_id = models.UUIDField()
    credits = models.PositiveIntegerField()
    is_image = models.BooleanField(help_text="The job made an image, not a video.")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    outcome = models.CharField(max_length=12, choices=PushOutcome.choices, blank=True, default="")
    reason = models.CharField(
        max_length=60, blank=True, default="", help_text="Last rejection reason from Apple."
    )
    blocked_by_credentials = models.BooleanField(
        "blocked by credentials",
        db_column="is_held",
        default=False,
        help_text="Apple rejects our key, team or topic.",
    )
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "push notification"
        verbose_name_plural = "push notifications"
        constraints = [
            # One push for each event and phone.
            models.UniqueConstraint(
                fields=["subject_id", "kind", "token_id"], name="accounts_push_once"
            ),
            models.CheckConstraint(
                condition=Q(due_at__isnull=True, ended_at__isnull=False) & ~Q(outcome="")
                | Q(due_at__isnull=False, ended_at=None, outcome=""),
                name="accounts_push_due_or_ended",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"], condition=Q(due_at__isnull=False), name="accounts_push_due"
            ),
            # A user's timeline and export; whether the user has been notified.
            models.Index(fields=["user", "-id"], name="accounts_push_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.outcome or 'waiting'}"


class ProviderToken(models.Model):
    """Our authentication token for APNs, shared by all processes: Apple refuses senders who make
    new ones often."""

    key = models.CharField(max_length=40, primary_key=True, help_text="Team ID and key ID.")
    token_encrypted = models.TextField()
    minted_at = models.DateTimeField()
    # When the token was last replaced early, as Apple called it expired.
    replaced_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.key
