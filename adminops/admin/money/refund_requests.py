"""Apple's questions about refunds that customers requested, and our answers.

Support can override the refund preference that Apple gets.
"""

from __future__ import annotations

from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from adminops.actions import purchases
from adminops.admin.action_pages import RefundPolicyForm
from adminops.admin.base import (
    ActionVariant,
    ReadOnlyAdmin,
    action_button,
    badge,
    link_to,
    user_link,
)
from adminops.models import AdminAction
from billing.models import ConsumptionRequest
from rendio.common import clock


@admin.register(ConsumptionRequest)
class ConsumptionRequestAdmin(ReadOnlyAdmin):
    list_display = (
        "purchase_link",
        "status",
        "reason",
        "owner",
        "override",
        "requested_at",
        "deadline_at",
    )
    list_filter = ("reason", "override", ("answered_at", admin.EmptyFieldListFilter))
    list_select_related = ("purchase__user",)
    ordering = ("-id",)
    id_search = ("id", "purchase_id")
    text_search = ("purchase__transaction_id__exact",)
    search_help_text = "Apple's transaction ID, or the ID of a request or a purchase."
    fields = (
        "id",
        ("purchase_link", "owner"),
        ("status", "reason", "override"),
        ("requested_at", "deadline_at", "answered_at"),
        ("outcome", "answer"),
        ("due_at", "tries"),
    )
    actions_detail = ("override_preference",)

    def audit_subject_id(self, row: ConsumptionRequest) -> UUID:
        return row.purchase_id

    @admin.display(description="Purchase")
    def purchase_link(self, row: ConsumptionRequest) -> SafeString | None:
        return link_to(row.purchase)

    @admin.display(description="User")
    def owner(self, row: ConsumptionRequest) -> SafeString | None:
        return user_link(row.purchase.user)

    @admin.display(description="Status")
    def status(self, row: ConsumptionRequest) -> SafeString:
        if row.due_at:
            return badge("pending", "info")
        return badge("answered", "success") if row.answered_at else badge("not answered", "warning")

    def available_actions(self, request: HttpRequest, row: ConsumptionRequest) -> list[str]:
        return ["override_preference"] if row.deadline_at > clock.now() else []

    @action_button(
        action=AdminAction.OVERRIDE_REFUND,
        description="Override preference",
        url_path="decide",
        icon="gavel",
        variant=ActionVariant.PRIMARY,
    )
    def override_preference(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_row(request, object_id)

        return self.action_page(
            request,
            row,
            purchases.override_refund_policy,
            request_id=row.id,
            title="Override refund preference",
            explanation="Apple decides about the refund. Your preference is sent to Apple with the "
            "consumption data, also if Apple already has an answer.",
            success="Saved. It is sent to Apple if the customer has consented.",
            button="Send to Apple",
            form_class=RefundPolicyForm,
        )
