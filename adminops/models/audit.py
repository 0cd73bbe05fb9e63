"""The audit log: who did what, why, and the state before and after."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils import timezone

from rendio.common.ids import uuid7

REASON_MIN, REASON_MAX = 3, 500


class AdminAction(models.TextChoices):
    """Everything that staff can do. Values are stored in the audit log and name the permissions, so
    some values are older than their names."""

    REFUND_CREDITS = "refund_credits", "Refund credits"
    ADJUST_CREDITS = "adjust_credits", "Adjust credits"
    BAN_USER = "ban_user", "Ban user"
    UNBAN_USER = "unban_user", "Unban user"
    TOGGLE_MODEL = "toggle_model", "Put model on or off sale"
    ASSIGN_PURCHASE = "assign_purchase", "Assign purchase"
    RESET_PROVIDER = "reset_provider", "Reset circuit breaker"
    SWITCH_MAINTENANCE = "switch_maintenance", "Stop or resume orders"
    RETRY_DEAD_LETTER = "retry_dead_letter", "Retry dead letter"
    DISMISS_DEAD_LETTER = "dismiss_dead_letter", "Dismiss dead letter"
    CREATE_CODE = "make_code", "Create promotion code"
    UPDATE_CODE = "change_code", "Change promotion code"
    TOGGLE_CODE = "toggle_code", "Stop or resume promotion code"
    RELEASE_PURCHASE = "release_purchase", "Release purchase"
    CLEAR_VIOLATIONS = "forgive_offences", "Clear violations"
    OVERRIDE_REFUND = "override_refund", "Override refund preference"
    REFUND_JOB = "refund_job", "Refund job"
    FAIL_JOB = "fail_job", "Fail job"
    RETRY_JOB = "retry_job", "Retry job"
    REPROCESS_DELIVERY = "reapply_delivery", "Reprocess webhook"
    REPROCESS_NOTIFICATION = "reapply_notification", "Reprocess notification"
    REPROCESS_PURCHASE = "reapply_purchase", "Reprocess purchase"
    DISMISS_PAYLOAD = "dismiss_payload", "Dismiss unreadable payload"
    REVOKE_SESSIONS = "revoke_sessions", "Revoke sessions"
    TOGGLE_ROUTE = "toggle_route", "Enable or disable route"
    REQUEST_APPROVAL = "request_grant", "Request approval"
    APPROVE = "approve_grant", "Approve action"
    DECLINE = "decline_grant", "Decline action"
    RUN_INCIDENT = "run_incident", "Refund jobs in bulk"
    RESET_SECOND_FACTOR = "reset_second_factor", "Reset second factor"  # of a member of staff
    EDIT_PRODUCT = "edit_product", "Edit product"
    EDIT_MODEL = "edit_model", "Edit model"  # with its routes
    EDIT_THEME = "edit_theme", "Edit theme"


class Subject(models.TextChoices):
    USER = "user"
    MODEL = "model"
    PURCHASE = "purchase"
    PROVIDER = "provider", "Provider key"
    SERVICE = "service"
    LETTER = "letter", "Dead letter"
    CODE = "code", "Promotion code"
    JOB = "job"
    ROUTE = "route"
    DELIVERY = "delivery", "Webhook"  # of a provider
    NOTICE = "notice", "Notification"  # from Apple
    PAYLOAD = "payload", "Unreadable payload"  # from Apple
    INCIDENT = "incident"
    PRODUCT = "product"
    THEME = "theme"
    APPROVAL = "approval"  # of an action whose own subject does not exist yet


# The subject type of an action, if it is not a user.
SUBJECTS = {
    AdminAction.TOGGLE_MODEL: Subject.MODEL,
    AdminAction.ASSIGN_PURCHASE: Subject.PURCHASE,
    AdminAction.RELEASE_PURCHASE: Subject.PURCHASE,
    AdminAction.OVERRIDE_REFUND: Subject.PURCHASE,
    AdminAction.RESET_PROVIDER: Subject.PROVIDER,
    AdminAction.SWITCH_MAINTENANCE: Subject.SERVICE,
    AdminAction.RETRY_DEAD_LETTER: Subject.LETTER,
    AdminAction.DISMISS_DEAD_LETTER: Subject.LETTER,
    AdminAction.CREATE_CODE: Subject.CODE,
    AdminAction.UPDATE_CODE: Subject.CODE,
    AdminAction.TOGGLE_CODE: Subject.CODE,
    AdminAction.REFUND_JOB: Subject.JOB,
    AdminAction.FAIL_JOB: Subject.JOB,
    AdminAction.RETRY_JOB: Subject.JOB,
    AdminAction.REPROCESS_DELIVERY: Subject.DELIVERY,
    AdminAction.REPROCESS_NOTIFICATION: Subject.NOTICE,
    AdminAction.REPROCESS_PURCHASE: Subject.PURCHASE,
    AdminAction.DISMISS_PAYLOAD: Subject.PAYLOAD,
    AdminAction.TOGGLE_ROUTE: Subject.ROUTE,
    AdminAction.RUN_INCIDENT: Subject.INCIDENT,
    AdminAction.EDIT_PRODUCT: Subject.PRODUCT,
    AdminAction.EDIT_MODEL: Subject.MODEL,
    AdminAction.EDIT_THEME: Subject.THEME,
}

SEE_SENSITIVE = "see_sensitive"


class AuditLogEntry(models.Model):
    """One action of a member of staff, written in the transaction of the change. Append-only: a
    trigger refuses updates and deletes."""

    id = models.UUIDField("ID", primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField("time", default=timezone.now, editable=False)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="audit_log_entries"
    )
    action = models.CharField(max_length=20, choices=AdminAction.choices)
    # Not a foreign key: the entry stays if the subject is deleted.
    subject_type = models.CharField(max_length=10, choices=Subject.choices)
    subject_id = models.UUIDField()
    reason = models.CharField(max_length=REASON_MAX)
    before = models.JSONField()
    after = models.JSONField()
    request_id = models.CharField("request ID", max_length=64, blank=True)
    # Credits that count against the budget of the actor (adminops.actions.budgets); negative if the
    # customer lost them. Null: the action moves no credits.
    credits = models.IntegerField("credits moved", null=True)
    # The customer who got or lost the credits. Null: several customers, or none.
    customer_id = models.UUIDField(null=True)
    # For a promotion code or an incident: the most credits that one customer may get.
    max_per_customer = models.IntegerField(null=True)

    class Meta:
        verbose_name = "audit log entry"
        verbose_name_plural = "audit log"
        # The release before knows the table by this name; so do the triggers.
        db_table = "adminops_adminaction"
        # One for each action, and one to see masked data. adminops.auth.roles assigns them.
        permissions = [
            *(
                (action.value, f"Can {action.label.lower()}")
                for action in AdminAction
                if action not in {AdminAction.REQUEST_APPROVAL, AdminAction.DECLINE}
            ),
            (SEE_SENSITIVE, "Can see sensitive data: e-mail addresses, devices and Apple's IDs"),
        ]
        indexes = [
            # All entries, newest first.
            models.Index(F("at").desc(), name="admin_action_newest"),
            # The entries of a subject.
            models.Index(F("subject_id"), F("at").desc(), name="admin_action_by_subject"),
            # The budget of a member of staff: entries of the last day that moved credits.
            models.Index(
                fields=["actor", "at"],
                name="admin_action_budget",
                condition=models.Q(credits__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()} by {self.actor}"
