"""Provider health, the maintenance switch, and dead letters."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from adminops.actions import operations
from adminops.admin.base import ActionVariant, ReadOnlyAdmin, action_button, badge, link
from adminops.models import AdminAction
from generation.models import (
    Breaker,
    DeadKind,
    DeadLetter,
    DeadState,
    Maintenance,
    ProviderHealth,
)

BREAKER_COLOURS = {
    Breaker.CLOSED: "success",
    Breaker.HALF_OPEN: "warning",
    Breaker.OPEN: "danger",
}
DEAD_LETTER_COLOURS = {
    DeadState.OPEN: "danger",
    DeadState.RETRIED: "info",
    DeadState.DISMISSED: "",
}
PAGES = {
    DeadKind.JOB: "generation_job",
    DeadKind.RESULT: "generation_job",
    DeadKind.DELIVERY: "generation_webhookdelivery",
}


@admin.register(ProviderHealth)
class ProviderHealthAdmin(ReadOnlyAdmin):
    list_display = (
        "provider",
        "key_label",
        "state_label",
        "failures",
        "open_until",
        "paused_until",
        "last_error",
        "changed_at",
    )
    list_filter = ("state", "provider")
    ordering = ("provider", "key_label")
    fields = (
        ("provider", "key_label"),
        "state_label",
        ("failures", "window_began_at"),
        ("open_until", "probe_id"),
        "paused_until",
        "last_error",
        "changed_at",
    )
    actions_detail = ("reset",)

    @admin.display(description="Circuit breaker", ordering="state")
    def state_label(self, health: ProviderHealth) -> SafeString:
        state = Breaker(health.state)
        return badge(state.label, BREAKER_COLOURS[state])

    def available_actions(self, request: HttpRequest, row: ProviderHealth) -> list[str]:
        is_new = row.state == Breaker.CLOSED and not row.failures and not row.paused_until
        return [] if is_new else ["reset"]

    @action_button(
        action=AdminAction.RESET_PROVIDER,
        description="Reset",
        url_path="reset",
        icon="restart_alt",
        variant=ActionVariant.PRIMARY,
    )
    def reset(self, request: HttpRequest, object_id: str) -> HttpResponse:
        health = self.get_row(request, object_id)
        return self.action_page(
            request,
            health,
            operations.reset_provider,
            health_id=health.id,
            title="Reset",
            explanation="Submissions to this provider resume at once. If requests still fail, the "
            "circuit breaker opens again.",
            success="Circuit breaker closed.",
        )


@admin.register(Maintenance)
class MaintenanceAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "reason", "changed_at")
    code_fields = ("reason",)
    fields = ("state_label", "reason", "changed_at")
    actions_detail = ("stop_orders", "resume_orders")

    @admin.display(description="State")
    def state_label(self, switch: Maintenance) -> SafeString:
        return badge(str(switch), "danger" if switch.is_on else "success")

    def available_actions(self, request: HttpRequest, row: Maintenance) -> list[str]:
        return ["resume_orders"] if row.is_on else ["stop_orders"]

    @action_button(
        action=AdminAction.SWITCH_MAINTENANCE,
        description="Stop new orders",
        url_path="stop-orders",
        icon="pause_circle",
        variant=ActionVariant.DANGER,
    )
    def stop_orders(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.action_page(
            request,
            self.get_row(request, object_id),
            operations.switch_maintenance,
            is_on=True,
            title="Stop new orders",
            explanation="New orders are refused within seconds and not charged. Running jobs "
            "continue.",
            success="New orders stopped.",
            dangerous=True,
        )

    @action_button(
        action=AdminAction.SWITCH_MAINTENANCE,
        description="Resume orders",
        url_path="take-orders",
        icon="play_circle",
        variant=ActionVariant.PRIMARY,
    )
    def resume_orders(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.action_page(
            request,
            self.get_row(request, object_id),
            operations.switch_maintenance,
            is_on=False,
            title="Resume orders",
            explanation="Customers can order again within seconds.",
            success="Orders resumed.",
        )


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = ("last_at", "kind", "subject_link", "why", "times", "state_label")
    list_filter = ("state", "kind")
    ordering = ("-last_at",)
    text_search = ("subject__exact",)
    search_help_text = "A dead letter ID or its subject: a job ID or a task name."
    fields = (
        "id",
        ("kind", "subject_link"),
        "why",
        ("times", "first_at", "last_at"),
        ("state_label", "closed_at"),
    )
    actions_detail = ("retry", "dismiss")

    @admin.display(description="State", ordering="state")
    def state_label(self, letter: DeadLetter) -> SafeString:
        state = DeadState(letter.state)
        return badge(state.value, DEAD_LETTER_COLOURS[state])

    @admin.display(description="Subject")
    def subject_link(self, letter: DeadLetter) -> SafeString | str:
        page = PAGES.get(DeadKind(letter.kind))
        if page is None:
            return letter.subject
        return link(reverse(f"admin:{page}_change", args=[letter.subject]), letter.subject)

    def available_actions(self, request: HttpRequest, row: DeadLetter) -> list[str]:
        return ["retry", "dismiss"] if row.state == DeadState.OPEN else []

    @action_button(
        action=AdminAction.RETRY_DEAD_LETTER,
        description="Retry",
        url_path="retry",
        icon="replay",
        variant=ActionVariant.PRIMARY,
    )
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        letter = self.get_row(request, object_id)
        return self.action_page(
            request,
            letter,
            operations.retry_dead_letter,
            letter_id=letter.id,
            title="Retry",
            explanation="Processes the delivery or runs the task again. For a job, which was "
            "refunded, the video is fetched from the provider, or else from the URL in the "
            "provider's result.",
            success="Retry started.",
        )

    @action_button(
        action=AdminAction.DISMISS_DEAD_LETTER,
        description="Dismiss",
        url_path="dismiss",
        icon="done",
        variant=ActionVariant.DEFAULT,
    )
    def dismiss(self, request: HttpRequest, object_id: str) -> HttpResponse:
        letter = self.get_row(request, object_id)
        return self.action_page(
            request,
            letter,
            operations.dismiss_dead_letter,
            letter_id=letter.id,
            title="Dismiss",
            explanation="Closes the dead letter without a retry. The same failure again opens a "
            "new one.",
            success="Dead letter dismissed.",
        )
