"""Actions that need the approval of a second person."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Value

from adminops.models.audit import REASON_MAX, AdminAction
from rendio.common.ids import uuid7


class ApprovalState(models.TextChoices):
    WAITING = "waiting", "Pending"
    APPROVED = "approved"
    DECLINED = "declined"


class PendingApproval(models.Model):
    """An action that needs a second person's approval, and the decision."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    action = models.CharField(max_length=20, choices=AdminAction.choices)
    # The customer who gets or loses credits. Null: several customers, or none.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="pending_approvals",
    )
    # The row that the action changes. Null: the action creates the row, or changes the user only.
    subject_id = models.UUIDField(null=True)
    arguments = models.JSONField(default=dict, db_default=Value({}, models.JSONField()))
    amount = models.PositiveIntegerField(
        "credits", help_text="Credits that count against the budget."
    )
    approval_reason = models.CharField(
        "approval required because",
        max_length=500,
        default="",
        db_default="",
        db_column="why",
        help_text="Why an approval is required.",
    )
    reason = models.CharField(max_length=REASON_MAX)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    requested_at = models.DateTimeField()
    state = models.CharField(
        max_length=10, choices=ApprovalState.choices, default=ApprovalState.WAITING
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    decided_at = models.DateTimeField(null=True)

    class Meta:
        # The name from the time when only grants needed an approval.
        db_table = "adminops_pendinggrant"
        constraints = [
            # The approver is not the requester.
            models.CheckConstraint(
                condition=Q(state=ApprovalState.WAITING, decided_by=None, decided_at=None)
                | (
                    ~Q(state=ApprovalState.WAITING)
                    & Q(decided_by__isnull=False, decided_at__isnull=False)
                    & ~Q(decided_by=F("requested_by"))
                ),
                name="grant_decided_by_another",
            ),
        ]
        indexes = [
            # Open approvals, oldest first.
            models.Index(
                fields=["requested_at"],
                condition=Q(state=ApprovalState.WAITING),
                name="grant_waiting",
            ),
        ]

    def __str__(self) -> str:
        return self.get_action_display().lower()
