"""The record of what support did: who, why, and what it was before and after; what callers were
refused; who of our processes is there; and what was counted of each day for the dashboards."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from credits.queries import Flow
from generation.models import JobStatus
from rendio.common.due import DueRow
from rendio.common.ids import uuid7

REASON_MIN, REASON_MAX = 3, 500


class Action(models.TextChoices):
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
    REVOKE_SESSIONS = "revoke_sessions"
    TOGGLE_ROUTE = "toggle_route"
    REQUEST_GRANT = "request_grant"  # by whoever may give less of it
    APPROVE_GRANT = "approve_grant"
    DECLINE_GRANT = "decline_grant"
    RUN_INCIDENT = "run_incident"


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
    INCIDENT = "incident"


# Whom or what an act is upon, where that is not a user.
SUBJECTS = {
    Action.TOGGLE_MODEL: Subject.MODEL,
    Action.ASSIGN_PURCHASE: Subject.PURCHASE,
    Action.RELEASE_PURCHASE: Subject.PURCHASE,
    Action.OVERRIDE_REFUND: Subject.PURCHASE,
    Action.RESET_PROVIDER: Subject.PROVIDER,
    Action.SWITCH_MAINTENANCE: Subject.SERVICE,
    Action.RETRY_DEAD_LETTER: Subject.LETTER,
    Action.DISMISS_DEAD_LETTER: Subject.LETTER,
    Action.MAKE_CODE: Subject.CODE,
    Action.CHANGE_CODE: Subject.CODE,
    Action.TOGGLE_CODE: Subject.CODE,
    Action.REFUND_JOB: Subject.JOB,
    Action.FAIL_JOB: Subject.JOB,
    Action.RETRY_JOB: Subject.JOB,
    Action.REAPPLY_DELIVERY: Subject.DELIVERY,
    Action.REAPPLY_NOTIFICATION: Subject.NOTICE,
    Action.REAPPLY_PURCHASE: Subject.PURCHASE,
    Action.TOGGLE_ROUTE: Subject.ROUTE,
    Action.RUN_INCIDENT: Subject.INCIDENT,
}

SEE_SENSITIVE = "see_sensitive"
SEE_MONEY = "see_money"


class AdminAction(models.Model):
    """One act of support, written in the transaction of its effect. Appended, never updated or
    deleted: a trigger refuses both."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(default=timezone.now, editable=False)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="admin_actions"
    )
    action = models.CharField(max_length=20, choices=Action.choices)
    # An id without a foreign key: a person may be deleted, the record stays.
    subject_type = models.CharField(max_length=10, choices=Subject.choices)
    subject_id = models.UUIDField()
    reason = models.CharField(max_length=REASON_MAX)
    before = models.JSONField()
    after = models.JSONField()
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        # One for each act, and one to see what is masked else (adminops.roles has who gets which).
        permissions = [
            *(
                (act.value, f"Can act: {act.label.lower()}")
                for act in Action
                if act not in {Action.REQUEST_GRANT, Action.DECLINE_GRANT}
            ),
            (SEE_SENSITIVE, "Can see e-mail addresses, devices and Apple's ids"),
        ]
        indexes = [
            # The whole record, newest first.
            models.Index(F("at").desc(), name="admin_action_newest"),
            # What was done to this user or model.
            models.Index(F("subject_id"), F("at").desc(), name="admin_action_by_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()} by {self.actor}"


class ErrorLog(models.Model):
    """A refusal that a caller met. What was sent is not in it: neither prompts nor tokens."""

    at = models.DateTimeField()
    code = models.CharField(max_length=8)
    status = models.PositiveSmallIntegerField()
    endpoint = models.CharField(max_length=100)
    # An id without a foreign key: the user may go, and to look whether it is there costs a lock.
    user_id = models.UUIDField(null=True)
    request_id = models.CharField(max_length=64)

    class Meta:
        indexes = [
            # One code's, newest first.
            models.Index(F("code"), F("id").desc(), name="error_log_by_code"),
            # What happened to this user.
            models.Index(
                F("user_id"),
                F("id").desc(),
                name="error_log_by_user",
                condition=models.Q(user_id__isnull=False),
            ),
            # The one that a customer quotes.
            models.Index(fields=["request_id"], name="error_log_by_request"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.endpoint}"


class Alert(DueRow):
    """What a person has to hear of, once; due until it has gone out."""

    key = models.CharField(max_length=120, unique=True)
    text = models.CharField(max_length=500)
    raised_at = models.DateTimeField()
    mailed_at = models.DateTimeField(null=True, blank=True)
    called_at = models.DateTimeField(null=True, blank=True, help_text="ALERT_WEBHOOK_URL took it.")

    class Meta:
        # Those that are due.
        indexes = [models.Index(fields=["due_at"], name="alert_due")]

    def __str__(self) -> str:
        return self.key


class Heartbeat(models.Model):
    """When a process was last there in one of its roles: a queue's worker, or the scheduler."""

    process = models.CharField(max_length=200)
    role = models.CharField(max_length=20)
    beaten_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["process", "role"], name="heartbeat_one_per_role")
        ]

    def __str__(self) -> str:
        return f"{self.process} for {self.role}"


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


class Which(models.TextChoices):
    """Jobs whose credits an incident gives back. Failed ones have theirs already: the database lets
    none fail without its refund."""

    STUCK = "stuck", "Going on: end and refund them"
    DELIVERED = "delivered", "Delivered, and not worth it: refund them"


class Incident(DueRow):
    """Many jobs settled in one go, and what came of it. Due until all have been looked at."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    which = models.CharField(max_length=10, choices=Which.choices)
    # Empty: any.
    provider = models.CharField(max_length=20, blank=True)
    model = models.ForeignKey(
        "generation.Model", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    route = models.ForeignKey(
        "generation.Route", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    from_at = models.DateTimeField(help_text="Jobs that were ordered from then on,")
    until_at = models.DateTimeField(help_text="and before then.")
    reason = models.CharField(max_length=REASON_MAX)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    started_at = models.DateTimeField()
    expected_jobs = models.PositiveIntegerField()
    expected_credits = models.PositiveIntegerField()
    # Each in the transaction of the job it counts.
    settled_jobs = models.PositiveIntegerField(default=0)
    settled_credits = models.PositiveIntegerField(default=0)
    broken_jobs = models.PositiveIntegerField(default=0, help_text="Left out; the log says why.")
    after_id = models.UUIDField(null=True, help_text="The last job that was looked at.")
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="incident_due"),
        ]

    def __str__(self) -> str:
        return f"{self.which} jobs of {self.from_at:%Y-%m-%d %H:%M}"


class CountedDay(models.Model):
    """A day in UTC whose figures have been counted, and as of when they are. Whoever counts it
    holds its lock."""

    date = models.DateField(primary_key=True)
    counted_at = models.DateTimeField()
    # What all wallets held, as counted last on that day; None where nobody counted on it.
    held_bought = models.BigIntegerField(null=True)
    held_given = models.BigIntegerField(null=True)

    class Meta:
        permissions = [(SEE_MONEY, "Can see what is earned and what it costs")]

    def __str__(self) -> str:
        return str(self.date)


class JobDay(models.Model):
    """Jobs ordered on one day that went one way: so many, what they brought, at what cost."""

    day = models.ForeignKey(CountedDay, on_delete=models.CASCADE, related_name="+")
    model_id = models.UUIDField()
    route_id = models.UUIDField(null=True, help_text="Asked last; None where none was asked.")
    status = models.CharField(max_length=10, choices=JobStatus.choices)
    error_code = models.CharField(max_length=10, blank=True)
    jobs = models.IntegerField()
    credits = models.BigIntegerField(help_text="Of those whose credits have not been given back.")
    cost_usd = models.DecimalField(
        max_digits=14, decimal_places=4, help_text="Of all submissions of these jobs."
    )

    def __str__(self) -> str:
        return f"{self.day_id}: {self.jobs} {self.status}"


class CreditDay(models.Model):
    """Credits that moved in one way on one day."""

    day = models.ForeignKey(CountedDay, on_delete=models.CASCADE, related_name="+")
    flow = models.CharField(max_length=10, choices=Flow.choices)
    credits = models.BigIntegerField(help_text="Below 0 where wallets lost them.")

    def __str__(self) -> str:
        return f"{self.day_id}: {self.credits} {self.flow}"


class SaleDay(models.Model):
    """Purchases recorded on one day and paid in one currency, before the store's commission."""

    day = models.ForeignKey(CountedDay, on_delete=models.CASCADE, related_name="+")
    currency = models.CharField(max_length=3, blank=True, help_text="Empty: Apple named no price.")
    purchases = models.IntegerField()
    milliunits = models.BigIntegerField(help_text="Thousandths of the currency's unit.")

    def __str__(self) -> str:
        return f"{self.day_id}: {self.purchases} in {self.currency}"
