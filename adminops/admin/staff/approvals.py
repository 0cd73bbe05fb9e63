"""Approvals: actions that one member of staff may not take alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from adminops.actions import approvals
from adminops.actions.budgets import UNLIMITED
from adminops.actions.credits import GrantResult
from adminops.admin.base import ActionVariant, ReadOnlyAdmin, action_button, badge, link, user_link
from adminops.admin.staff.audit_log import SUBJECT_PAGES
from adminops.models import SUBJECTS, AdminAction, ApprovalState, PendingApproval
from adminops.support.masking import BULLETS, may_see_codes

STATE_COLOURS = {
    ApprovalState.WAITING: "warning",
    ApprovalState.APPROVED: "success",
    ApprovalState.DECLINED: "danger",
}


@admin.register(PendingApproval)
class PendingApprovalAdmin(ReadOnlyAdmin):
    list_display = (
        "requested_at",
        "action_label",
        "size",
        "customer",
        "reason",
        "asked_by",
        "state_label",
    )
    list_filter = ("state", "action")
    list_select_related = ("user", "requested_by")
    ordering = ("-requested_at",)
    id_search = ("id", "user_id", "subject_id", "requested_by_id")
    code_fields = ("reason",)
    search_help_text = "The ID of an approval, a user, a subject or a requester."
    actions_detail = ("approve", "decline")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        # A code that does not exist yet cannot be masked by its value.
        effect = "effect" if may_see_codes(request.user) else "effect_without_codes"
        fields = (
            "id",
            ("action_label", "state_label"),
            ("customer", "subject"),
            effect,
            "size",
            "approval_reason",
            *self.visible_fields(request, ("reason",)),
            ("asked_by", "requested_at"),
            ("second_person", "decided_at"),
        )
        return ((None, {"fields": fields}),)

    def audit_subject_id(self, row: PendingApproval) -> UUID:
        return approvals.audit_subject_id(row)

    @admin.display(description="Action", ordering="action")
    def action_label(self, approval: PendingApproval) -> str:
        return approval.get_action_display().capitalize()

    @admin.display(description="Credits", ordering="amount")
    def size(self, approval: PendingApproval) -> str:
        return "Unlimited" if approval.amount >= UNLIMITED else f"{approval.amount:,}"

    @admin.display(description="User")
    def customer(self, approval: PendingApproval) -> SafeString | None:
        return user_link(approval.user)

    @admin.display(description="Subject")
    def subject(self, approval: PendingApproval) -> SafeString | None:
        subject_type = SUBJECTS.get(AdminAction(approval.action))
        if subject_type is None or approval.subject_id is None:
            return None
        if approval.arguments.get("is_new") and approval.state != ApprovalState.APPROVED:
            return None  # the row does not exist
        url = reverse(SUBJECT_PAGES[subject_type], args=[approval.subject_id])
        return link(url, f"{subject_type} {approval.subject_id}")

    @admin.display(description="Effect")
    def effect(self, approval: PendingApproval) -> SafeString:
        return _lines(approvals.details(approval))

    @admin.display(description="Effect")
    def effect_without_codes(self, approval: PendingApproval) -> SafeString:
        return _lines(_details_without_codes(approval))

    @admin.display(description="Requested by")
    def asked_by(self, approval: PendingApproval) -> SafeString | None:
        return user_link(approval.requested_by)

    @admin.display(description="Decided by")
    def second_person(self, approval: PendingApproval) -> SafeString | None:
        return user_link(approval.decided_by)

    @admin.display(description="State", ordering="state")
    def state_label(self, approval: PendingApproval) -> SafeString:
        return badge(
            approval.get_state_display().lower(), STATE_COLOURS[ApprovalState(approval.state)]
        )

    def available_actions(self, request: HttpRequest, row: PendingApproval) -> list[str]:
        is_open = _is_waiting(row) and row.requested_by_id != request.user.pk
        return ["approve", "decline"] if is_open else []

    @action_button(
        action=AdminAction.APPROVE,
        description="Approve",
        url_path="approve",
        icon="check",
        variant=ActionVariant.PRIMARY,
    )
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        approval = self.get_row(request, object_id)
        return self.action_page(
            request,
            approval,
            approvals.approve,
            approval_id=approval.id,
            title="Approve",
            explanation=f"Requested by {approval.requested_by}: {approval.reason} The action is"
            " taken at once. The audit log shows both of you.",
            success=_success_message,
            details=_details(request, approval),
        )

    @action_button(
        action=AdminAction.APPROVE,
        description="Decline",
        url_path="decline",
        icon="block",
        variant=ActionVariant.DEFAULT,
    )
    def decline(self, request: HttpRequest, object_id: str) -> HttpResponse:
        approval = self.get_row(request, object_id)
        return self.action_page(
            request,
            approval,
            approvals.decline,
            approval_id=approval.id,
            title="Decline",
            explanation="The requested action is not taken.",
            success="Request declined.",
            details=_details(request, approval),
        )


def _is_waiting(approval: PendingApproval) -> bool:
    return approval.state == ApprovalState.WAITING


def _details(request: HttpRequest, approval: PendingApproval) -> list[tuple[str, Any]]:
    if may_see_codes(request.user):
        return approvals.details(approval)
    return _details_without_codes(approval)


def _details_without_codes(approval: PendingApproval) -> list[tuple[str, Any]]:
    return [
        (name, BULLETS if name == "Code" else value) for name, value in approvals.details(approval)
    ]


def _lines(details: list[tuple[str, Any]]) -> SafeString:
    return format_html_join("", "<div>{}: {}</div>", details)


def _success_message(result: Any) -> str:
    if isinstance(result, GrantResult):
        return f"Approved. New balance: {result.balance} credits."
    return "Approved."
