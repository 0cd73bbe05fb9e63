"""What Apple asks about purchases whose refund was asked for, what it was told, and saying
otherwise."""

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
        "standing",
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
    search_help_text = "Apple's id of the transaction, or ours of the purchase."
    fields = (
        "id",
        ("purchase_link", "owner"),
        ("standing", "reason", "override"),
        ("requested_at", "deadline_at", "answered_at"),
        ("outcome", "answer"),
        ("due_at", "tries"),
    )
    actions_detail = ("decide",)

    def audit_subject_id(self, row: ConsumptionRequest) -> UUID:
        return row.purchase_id

    @admin.display(description="Purchase")
    def purchase_link(self, row: ConsumptionRequest) -> SafeString | None:
        return link_to(row.purchase)

    @admin.display(description="User")
    def owner(self, row: ConsumptionRequest) -> SafeString | None:
        return user_link(row.purchase.user)

    @admin.display(description="Standing")
    def standing(self, row: ConsumptionRequest) -> SafeString:
        if row.due_at:
            return badge("will be answered", "info")
        return badge("answered", "success") if row.answered_at else badge("not answered", "warning")

    def available_actions(self, request: HttpRequest, row: ConsumptionRequest) -> list[str]:
        return ["decide"] if row.deadline_at > clock.now() else []

    @action_button(
        action=AdminAction.OVERRIDE_REFUND,
        description="Decide otherwise",
        url_path="decide",
        icon="gavel",
        variant=ActionVariant.PRIMARY,
    )
    def decide(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_row(request, object_id)

        return self.action_page(
            request,
            row,
            purchases.override_refund_policy,
            request_id=row.id,
            title="Decide otherwise",
            explanation="Apple decides about the refund; this is what we would like. The facts go "
            "with it, and all of it again if Apple was told before.",
            success="Apple is told so, if the customer has agreed that it hears anything.",
            button="Tell Apple",
            form_class=RefundPolicyForm,
        )
