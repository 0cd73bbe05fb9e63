"""Credits that wait for a second person."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from adminops.models.acts import REASON_MAX, Action
from rendio.common.ids import uuid7


class GrantState(models.TextChoices):
    WAITING = "waiting"
    APPROVED = "approved"
    DECLINED = "declined"


class PendingGrant(models.Model):
    """Credits above SUPPORT_GRANT_LIMIT that somebody of the staff would give, until a second
    person has decided."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="pending_grants"
    )
    action = models.CharField(
        max_length=20,
        choices=[(act.value, act.label) for act in (Action.REFUND_CREDITS, Action.ADJUST_CREDITS)],
    )
    amount = models.PositiveIntegerField()
    reason = models.CharField(max_length=REASON_MAX)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    requested_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=GrantState.choices, default=GrantState.WAITING)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    decided_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            # Nobody is their own second person.
            models.CheckConstraint(
                condition=Q(state=GrantState.WAITING, decided_by=None, decided_at=None)
                | (
                    ~Q(state=GrantState.WAITING)
                    & Q(decided_by__isnull=False, decided_at__isnull=False)
                    & ~Q(decided_by=F("requested_by"))
                ),
                name="grant_decided_by_another",
            ),
        ]
        indexes = [
            # Those that wait, oldest first.
            models.Index(
                fields=["requested_at"],
                condition=Q(state=GrantState.WAITING),
                name="grant_waiting",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} credits"
