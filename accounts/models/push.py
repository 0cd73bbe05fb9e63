"""Which phones may be told something, what they are to be told, and what has become of it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models.sessions import Session
from rendio.common.due import DueRow
from rendio.common.ids import uuid7

# Apple's have 64 characters now and may grow; Google's some 160.
MAX_TOKEN = 1024


class Platform(models.TextChoices):
    IOS = "ios"
    ANDROID = "android"  # kept, and sent nothing


class ApnsEnvironment(models.TextChoices):
    """Which of Apple's two hosts knows the token: sandbox is for builds from Xcode."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"


class PushToken(models.Model):
    """The app on one phone, as Apple or Google names it. It is whose who registered it last, and
    ends with the session that it was registered in."""

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
    """What is told; the app goes by these words."""

    JOB_COMPLETED = "job_completed"
    JOB_FAILED = "job_failed"  # its credits are back
    JOB_LATE = "job_late"  # its video came after its credits had gone back, and both are kept
    CREDITS_RETURNED = "credits_returned"  # by support, after something went wrong


class PushOutcome(models.TextChoices):
    """How it ended."""

    SENT = "sent", "Sent"  # Apple took it; whether the phone showed it, Apple does not tell
    UNREGISTERED = "unregistered", "Token not registered"
    GONE = "gone", "Device no longer belongs to the user"
    EXPIRED = "expired", "Expired before sending"
    REFUSED = "refused", "Rejected by Apple"  # a fault of ours: the log has it
    OFF = "off", "Push notifications disabled"


class Push(DueRow):
    """One thing that one phone is to be told: written in the transaction of what it tells, due
    until it has ended. Its id is Apple's apns-id, however often it is sent."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="pushes", db_index=False
    )
    # No foreign key: a phone may leave while its job ends, and neither waits for the other.
    token_id = models.UUIDField()
    kind = models.CharField(max_length=20, choices=PushKind.choices)
    # The job, or the incident: on the phone, news of one replaces what was told of it before.
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
            # Nothing is told to one phone twice.
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
            # A user's story and export; whether the user has been told.
            models.Index(fields=["user", "-id"], name="accounts_push_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.outcome or 'waiting'}"


class ProviderToken(models.Model):
    """Who we are to APNs, one for all processes: Apple refuses whoever makes new ones often."""

    key = models.CharField(max_length=40, primary_key=True, help_text="Team ID and key ID.")
    token_encrypted = models.TextField()
    minted_at = models.DateTimeField()
    # When Apple last found one expired before its time, and it was replaced.
    replaced_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.key
