"""Grants that wait for a second person."""

from __future__ import annotations

from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from adminops import grants
from adminops.admin.base import ActionVariant, ReadOnlyAdmin, badge, page_action, person
from adminops.models import Action, GrantState, PendingGrant

STATE_COLOURS = {
    GrantState.WAITING: "warning",
    GrantState.APPROVED: "success",
    GrantState.DECLINED: "danger",
}


@admin.register(PendingGrant)
class PendingGrantAdmin(ReadOnlyAdmin):
    list_display = ("requested_at", "whom", "amount", "reason", "asked_by", "state_label")
    list_filter = ("state",)
    list_select_related = ("user", "requested_by")
    ordering = ("-requested_at",)
    id_search = ("id", "user_id", "requested_by_id")
    search_help_text = "The id of a grant, of its user or of who asked for it."
    fields = (
        "id",
        ("whom", "amount"),
        ("action", "state_label"),
        "reason",
        ("asked_by", "requested_at"),
        ("second_person", "decided_at"),
    )
    actions_detail = ("approve", "decline")

    def acted_upon(self, row: PendingGrant) -> UUID:
        return row.user_id

    @admin.display(description="User")
    def whom(self, grant: PendingGrant) -> SafeString | None:
        return person(grant.user)

    @admin.display(description="Asked for by")
    def asked_by(self, grant: PendingGrant) -> SafeString | None:
        return person(grant.requested_by)

    @admin.display(description="Decided by")
    def second_person(self, grant: PendingGrant) -> SafeString | None:
        return person(grant.decided_by)

    @admin.display(description="State", ordering="state")
    def state_label(self, grant: PendingGrant) -> SafeString:
        return badge(grant.state, STATE_COLOURS[GrantState(grant.state)])

    def offered(self, request: HttpRequest, row: PendingGrant) -> list[str]:
        is_open = row.state == GrantState.WAITING and row.requested_by_id != request.user.pk
        return ["approve", "decline"] if is_open else []

    @page_action(
        act=Action.APPROVE_GRANT,
        description="Approve",
        url_path="approve",
        icon="check",
        variant=ActionVariant.PRIMARY,
    )
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        grant = self.find(request, object_id)
        return self.act(
            request,
            grant,
            grants.approve_grant,
            grant_id=grant.id,
            title="Approve",
            explanation=f"Gives {grant.amount} credits, for which {grant.requested_by} has asked: "
            f"{grant.reason}",
            done=lambda given: f"They are given. The balance is {given.balance} credits now.",
        )

    @page_action(
        act=Action.APPROVE_GRANT,
        description="Decline",
        url_path="decline",
        icon="block",
        variant=ActionVariant.DEFAULT,
    )
    def decline(self, request: HttpRequest, object_id: str) -> HttpResponse:
        grant = self.find(request, object_id)
        return self.act(
            request,
            grant,
            grants.decline_grant,
            grant_id=grant.id,
            title="Decline",
            explanation=f"Nothing of the {grant.amount} credits is given.",
            done="Nothing is given.",
        )
