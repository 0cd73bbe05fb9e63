"""Blocked terms, and violations: content that moderation refused."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from rendio.common.ids import uuid7


class BlockedTerm(models.Model):
    """A term that no prompt may contain. generation.moderation.blocklist compares them."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    text = models.CharField(
        "term",
        max_length=100,
        unique=True,
        help_text="One or more consecutive words. * matches any letters, ? matches one letter: "
        "kill* also matches killer. Case is ignored, accents are not.",
    )
    category = models.CharField(max_length=40, blank=True, help_text="Shown in lists only.")
    is_enabled = models.BooleanField("enabled", default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.text


class InputKind(models.TextChoices):
    """The kind of moderated input, by its name in the API."""

    PROMPT = "prompt"
    IMAGE = "image"


class Sanction(models.TextChoices):
    """The consequence of a violation."""

    NONE = "none"  # the request was refused
    WARNING = "warning"  # and the user was warned
    HOLD = "hold"  # and the user cannot order for a time
    BAN = "ban"  # and the account was suspended


class ViolationQuerySet(models.QuerySet["Violation"]):
    def active(self, user_id: UUID) -> Self:
        """The user's violations that support has not cleared."""
        return self.filter(user_id=user_id, forgiven_at=None)


class Violation(models.Model):
    """An input that moderation refused. The input itself is not stored."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="violations",
        db_index=False,
    )
    at = models.DateTimeField("time")
    input = models.CharField(max_length=10, choices=InputKind.choices)
    moderator = models.CharField(max_length=20)
    categories = models.JSONField(help_text="The moderator's categories.")
    term_id = models.UUIDField(null=True, help_text="The matching blocklist term.")
    attempt = models.CharField(
        max_length=64, help_text="Keyed hash of the request. A repeated request counts once."
    )
    step = models.CharField(max_length=10, choices=Sanction.choices)
    held_until = models.DateTimeField("on hold until", null=True)
    forgiven_at = models.DateTimeField("cleared at", null=True)

    objects = ViolationQuerySet.as_manager()

    class Meta:
        db_table = "generation_offence"
        verbose_name = "violation"
        constraints = [
            models.UniqueConstraint(fields=["user", "attempt"], name="offence_one_per_attempt"),
            models.CheckConstraint(
                condition=Q(step=Sanction.HOLD, held_until__isnull=False)
                | (~Q(step=Sanction.HOLD) & Q(held_until__isnull=True)),
                name="offence_hold_has_an_end",
            ),
        ]
        indexes = [
            # The number of a user's violations in the window.
            models.Index(fields=["user", "at"], name="offence_by_user"),
            # Whether a user is on hold: queried by each order, and rarely true.
            models.Index(
                fields=["user", "held_until"],
                condition=Q(held_until__isnull=False),
                name="offence_holding",
            ),
            # The purge of old violations.
            models.Index(fields=["at"], name="offence_oldest"),
        ]

    def __str__(self) -> str:
        return f"{self.input} refused by {self.moderator}"

    def sanction_at(self, now: datetime) -> Sanction:
        """The sanction in force: NONE if support has cleared it, or its hold is over."""
        is_over = self.forgiven_at or (self.held_until and self.held_until <= now)
        return Sanction.NONE if is_over else Sanction(self.step)
