"""Words that no prompt may have, and what users were refused."""

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
    """Words that no prompt may have; generation.moderation.blocklist says how they are compared."""

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

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="offences",
        db_index=False,
    )
    at = models.DateTimeField("time")
    input = models.CharField(max_length=10, choices=Input.choices)
    moderator = models.CharField(max_length=20)
    categories = models.JSONField(help_text="The moderator's categories.")
    term_id = models.UUIDField(null=True, help_text="The matching blocklist term.")
    attempt = models.CharField(
        max_length=64, help_text="Keyed hash of the request. A repeated request counts once."
    )
    step = models.CharField(max_length=10, choices=Step.choices)
    held_until = models.DateTimeField("suspended until", null=True)
    forgiven_at = models.DateTimeField("cleared at", null=True)

    objects = OffenceQuerySet.as_manager()

    class Meta:
        verbose_name = "violation"
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
