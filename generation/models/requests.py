"""Requests to providers, and their webhook deliveries."""

from __future__ import annotations

import secrets
from decimal import Decimal

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from generation.models.catalogue import ProviderRoute
from generation.models.jobs import Job
from rendio.common.ids import uuid7


class RequestState(models.TextChoices):
    SENDING = "sending"  # being sent; after a crash it may or may not have arrived
    ACCEPTED = "accepted"  # accepted, with a provider_request_id
    REFUSED = "refused"  # refused; nothing runs
    DEFERRED = "deferred"  # not accepted at this time; nothing runs
    UNKNOWN = "unknown"  # no answer; may run
    FINISHED = "finished"  # finished by the provider
    FAILED = "failed"  # accepted and then failed


# The submission may still deliver: a job has one at most.
LIVE_STATES = [RequestState.SENDING, RequestState.ACCEPTED]
# A webhook for the submission is still of use.
OPEN_STATES = [*LIVE_STATES, RequestState.UNKNOWN]


def new_webhook_token() -> str:
    return secrets.token_urlsafe(24)


class ProviderRequest(models.Model):
    """One submission of one job to one provider, stored before it is sent."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="requests")
    route = models.ForeignKey(ProviderRoute, on_delete=models.DO_NOTHING, db_constraint=False)
    provider = models.CharField(max_length=20)
    # The API key of the submission, also used to poll and cancel.
    key_label = models.CharField(max_length=30, blank=True, default="", db_default="")
    # Part of the webhook URL. Identifies the submission even if its answer was lost.
    webhook_token = models.CharField(max_length=40, unique=True, default=new_webhook_token)
    state = models.CharField(
        max_length=10, choices=RequestState.choices, default=RequestState.SENDING
    )
    provider_request_id = models.CharField("provider request ID", max_length=100, blank=True)
    status_url = models.TextField("status URL", blank=True)
    response_url = models.TextField("response URL", blank=True)
    cancel_url = models.TextField("cancel URL", blank=True)
    cost_usd = models.DecimalField(
        "cost (USD)", max_digits=10, decimal_places=4, default=Decimal(0)
    )
    error_type = models.CharField(max_length=80, blank=True)
    error_detail = models.CharField(max_length=500, blank=True)
    raw_result = models.TextField(
        blank=True,
        default="",
        db_default="",
        help_text="The provider's answer, if the result could not be delivered.",
    )
    sent_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    webhook_received = models.BooleanField(
        default=False,
        db_default=False,
        db_column="is_told",
        help_text="A webhook reported the end.",
    )
    webhook_delivery_id = models.UUIDField(
        "webhook delivery ID",
        null=True,
        blank=True,
        help_text="The latest webhook about this submission.",
    )
    fetch_failed_at = models.DateTimeField(
        null=True, blank=True, help_text="Time of the first failed fetch of the finished result."
    )
    cancel_asked_at = models.DateTimeField(
        null=True, blank=True, help_text="Time of the cancel request to the provider."
    )
    cancel_due_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Next cancel request, if the job has ended without this result.",
    )

    class Meta:
        indexes = [
            # Abandoned submissions to cancel.
            models.Index(
                fields=["cancel_due_at"],
                condition=Q(cancel_due_at__isnull=False),
                name="request_to_be_stopped",
            ),
            # Durations of a route's recent submissions.
            models.Index(
                fields=["route", "-ended_at"],
                condition=Q(state=RequestState.FINISHED),
                name="request_recent_by_route",
            ),
            # The number of submissions in flight for each key.
            models.Index(
                fields=["provider", "key_label"],
                condition=Q(ended_at__isnull=True),
                name="request_in_flight",
            ),
            # Spend since the last rollup.
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
                condition=Q(state__in=LIVE_STATES),
                name="request_one_live_per_job",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.provider_request_id or self.state}"


class WebhookDelivery(models.Model):
    """One verified webhook call, stored before it is processed."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    provider = models.CharField(max_length=20)
    provider_request_id = models.CharField("provider request ID", max_length=100)
    webhook_token = models.CharField(max_length=40, blank=True)
    body = models.TextField()
    received_at = models.DateTimeField(default=timezone.now, editable=False)
    # Time of the next attempt after a failure. None without a failure.
    retry_at = models.DateTimeField(db_column="again_at", null=True, blank=True)
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
            # The purge of old deliveries.
            models.Index(fields=["processed_at"], name="delivery_processed"),
            # A provider's latest webhook.
            models.Index(F("provider"), F("received_at").desc(), name="delivery_last"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.provider_request_id}"
