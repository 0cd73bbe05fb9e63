"""What support did: who, why, and what it was before and after."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils import timezone

from rendio.common.ids import uuid7

REASON_MIN, REASON_MAX = 3, 500


class AdminAction(models.TextChoices):
    REFUND_CREDITS = "refund_credits"
    ADJUST_CREDITS = "adjust_credits"
    BAN_USER = "ban_user"
    UNBAN_USER = "unban_user"
    TOGGLE_MODEL = "toggle_model"
    ASSIGN_PURCHASE = "assign_purchase"
    RESET_PROVIDER = "reset_provider"
    SWITCH_MAINTENANCE = "switch_maintenance"
    RETRY_DEAD_LETTER = "retry_dead_letter"
    DISMISS_DEAD_LETTER = "dismiss_dead_letter"
    MAKE_CODE = "make_code"
    CHANGE_CODE = "change_code"
    TOGGLE_CODE = "toggle_code"
    RELEASE_PURCHASE = "release_purchase"
    FORGIVE_OFFENCES = "forgive_offences"
    OVERRIDE_REFUND = "override_refund"  # what Apple is told about one
    REFUND_JOB = "refund_job"
    FAIL_JOB = "fail_job"
    RETRY_JOB = "retry_job"
    REAPPLY_DELIVERY = "reapply_delivery"
    REAPPLY_NOTIFICATION = "reapply_notification"
    REAPPLY_PURCHASE = "reapply_purchase"
    DISMISS_PAYLOAD = "dismiss_payload"  # of Apple's, that cannot be read
    REVOKE_SESSIONS = "revoke_sessions"
    TOGGLE_ROUTE = "toggle_route"
    # Of any act; the values are older than that.
    REQUEST_GRANT = "request_grant", "Request approval"
    APPROVE_GRANT = "approve_grant", "Approve"
    DECLINE_GRANT = "decline_grant", "Decline"
    RUN_INCIDENT = "run_incident"
    RESET_SECOND_FACTOR = "reset_second_factor"  # of a member of staff
    EDIT_PRODUCT = "edit_product"
    EDIT_MODEL = "edit_model"  # with its routes
    EDIT_THEME = "edit_theme"


class Subject(models.TextChoices):
    USER = "user"
    MODEL = "model"
    PURCHASE = "purchase"
    PROVIDER = "provider"  # one key of ours there
    SERVICE = "service"  # all of it
    LETTER = "letter"  # a dead one
    CODE = "code"  # for promotions
    JOB = "job"
    ROUTE = "route"
    DELIVERY = "delivery"  # of a provider's webhook
    NOTICE = "notice"  # of Apple's
    PAYLOAD = "payload"  # of Apple's, that cannot be read
    INCIDENT = "incident"
    PRODUCT = "product"
    THEME = "theme"
    APPROVAL = "approval"  # of an act whose own subject does not exist yet


# Whom or what an act is upon, where that is not a user.
SUBJECTS = {
    AdminAction.TOGGLE_MODEL: Subject.MODEL,
    AdminAction.ASSIGN_PURCHASE: Subject.PURCHASE,
    AdminAction.RELEASE_PURCHASE: Subject.PURCHASE,
    AdminAction.OVERRIDE_REFUND: Subject.PURCHASE,
    AdminAction.RESET_PROVIDER: Subject.PROVIDER,
    AdminAction.SWITCH_MAINTENANCE: Subject.SERVICE,
    AdminAction.RETRY_DEAD_LETTER: Subject.LETTER,
    AdminAction.DISMISS_DEAD_LETTER: Subject.LETTER,
    AdminAction.MAKE_CODE: Subject.CODE,
    AdminAction.CHANGE_CODE: Subject.CODE,
    AdminAction.TOGGLE_CODE: Subject.CODE,
    AdminAction.REFUND_JOB: Subject.JOB,
    AdminAction.FAIL_JOB: Subject.JOB,
    AdminAction.RETRY_JOB: Subject.JOB,
    AdminAction.REAPPLY_DELIVERY: Subject.DELIVERY,
    AdminAction.REAPPLY_NOTIFICATION: Subject.NOTICE,
    AdminAction.REAPPLY_PURCHASE: Subject.PURCHASE,
    AdminAction.DISMISS_PAYLOAD: Subject.PAYLOAD,
    AdminAction.TOGGLE_ROUTE: Subject.ROUTE,
    AdminAction.RUN_INCIDENT: Subject.INCIDENT,
    AdminAction.EDIT_PRODUCT: Subject.PRODUCT,
    AdminAction.EDIT_MODEL: Subject.MODEL,
    AdminAction.EDIT_THEME: Subject.THEME,
}

SEE_SENSITIVE = "see_sensitive"


class AuditLogEntry(models.Model):
    """One act of support, written in the transaction of its effect. Appended, never updated or
    deleted: a trigger refuses both."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(default=timezone.now, editable=False)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="audit_log_entries"
    )
    action = models.CharField(max_length=20, choices=AdminAction.choices)
    # An id without a foreign key: a person may be deleted, the record stays.
    subject_type = models.CharField(max_length=10, choices=Subject.choices)
    subject_id = models.UUIDField()
    reason = models.CharField(max_length=REASON_MAX)
    before = models.JSONField()
    after = models.JSONField()
    request_id = models.CharField(max_length=64, blank=True)
    # What counts against the budget of the actor (adminops.actions.budgets): below 0 where credits
    # were taken. Null: the act moves no credits.
    credits = models.IntegerField(null=True)
    # The customer who got or lost the credits, if it was a single one.
    customer_id = models.UUIDField(null=True)
    # The most of them that any one customer may get, where nobody knows which: of a promotion code
    # or an incident.
    max_per_customer = models.IntegerField(null=True)

    class Meta:
        # The release before knows the table by this name; so do the triggers.
        db_table = "adminops_adminaction"
        verbose_name_plural = "audit log entries"
        # One for each act, and one to see what is masked else (adminops.auth.roles has who gets
        # which).
        permissions = [
            *(
                (act.value, f"Can act: {act.label.lower()}")
                for act in AdminAction
                if act not in {AdminAction.REQUEST_GRANT, AdminAction.DECLINE_GRANT}
            ),
            (SEE_SENSITIVE, "Can see e-mail addresses, devices and Apple's ids"),
        ]
        indexes = [
            # The whole record, newest first.
            models.Index(F("at").desc(), name="admin_action_newest"),
            # What was done to this user or model.
            models.Index(F("subject_id"), F("at").desc(), name="admin_action_by_subject"),
            # The budget of a member of staff: their acts of the last day that moved credits.
            models.Index(
                fields=["actor", "at"],
                name="admin_action_budget",
                condition=models.Q(credits__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()} by {self.actor}"
