"""Push notifications, and the push tokens of customers' phones."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString

from accounts.models import Push, PushOutcome, PushToken
from adminops.admin.base import ReadOnlyAdmin, badge, link, link_to, user_link
from adminops.support.masking import masked

COLOURS = {
    "": "info",
    PushOutcome.SENT: "success",
    PushOutcome.REFUSED: "danger",
    PushOutcome.EXPIRED: "warning",
}


@admin.register(Push)
class PushAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "owner", "kind", "state", "reason", "tries")
    list_filter = ("kind", "outcome")
    list_select_related = ("user",)
    ordering = ("-id",)
    id_search = ("id", "user_id", "subject_id")
    search_help_text = "The ID of a push notification, a user, a job or an incident."
    fields = (
        "id",
        "owner",
        ("kind", "state", "reason"),
        ("job_link", "incident_link", "credits"),
        ("created_at", "expires_at", "ended_at"),
        ("due_at", "tries", "blocked_by_credentials"),
    )

    @admin.display(description="User")
    def owner(self, push: Push) -> SafeString | None:
        return user_link(push.user)

    @admin.display(description="Job")
    def job_link(self, push: Push) -> SafeString:
        return link(reverse("admin:generation_job_change", args=[push.job_id]), push.job_id)

    @admin.display(description="Incident")
    def incident_link(self, push: Push) -> SafeString | None:
        if push.subject_id == push.job_id:
            return None
        url = reverse("admin:adminops_incident_change", args=[push.subject_id])
        return link(url, push.subject_id)

    @admin.display(description="State")
    def state(self, push: Push) -> SafeString:
        label = push.get_outcome_display() or "Pending"
        return badge(label, COLOURS.get(push.outcome, ""))


@admin.register(PushToken)
class PushTokenAdmin(ReadOnlyAdmin):
    """The token is masked: with our key, it lets anyone notify the phone."""

    list_display = ("masked_token", "owner", "platform", "environment", "registered_at")
    list_filter = ("platform", "environment")
    list_select_related = ("user",)
    ordering = ("-id",)
    id_search = ("id", "user_id", "session_id")
    search_help_text = "A user ID or a session ID."
    fields = ("masked_token", "owner", ("platform", "environment"), "session_link", "registered_at")

    @admin.display(description="Token")
    def masked_token(self, token: PushToken) -> str | None:
        return masked(token.token)

    @admin.display(description="User")
    def owner(self, token: PushToken) -> SafeString | None:
        return user_link(token.user)

    @admin.display(description="Session")
    def session_link(self, token: PushToken) -> SafeString | None:
        return link_to(token.session, token.session_id)
