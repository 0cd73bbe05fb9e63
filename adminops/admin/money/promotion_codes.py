"""Promotion codes and their redemptions. Codes are created and changed by audited actions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from adminops.actions import promotion_codes
from adminops.actions.audit import has_permission
from adminops.admin.action_pages import ReasonForm
from adminops.admin.base import (
    ActionVariant,
    ReadOnlyAdmin,
    action_button,
    badge,
    link,
    link_to,
    user_link,
)
from adminops.admin.money.ledger import wallets_of
from adminops.models import AdminAction
from credits.models import PromotionCode, Redemption
from credits.services import CodeTerms, get_terms
from rendio.common import clock


def _number(label: str, help_text: str, *, required: bool = False) -> forms.IntegerField:
    return forms.IntegerField(
        min_value=1,
        required=required,
        label=label,
        help_text=help_text,
        widget=UnfoldAdminIntegerFieldWidget,
    )


def _datetime(label: str, help_text: str) -> forms.DateTimeField:
    return forms.DateTimeField(
        required=False,
        label=label,
        help_text=f"UTC, for example 2026-12-24 18:00. {help_text}",
        widget=UnfoldAdminTextInputWidget,
    )


class TermsForm(ReasonForm):
    field_order = (*CodeTerms.__dataclass_fields__, "reason")
    credits = _number("Credits per redemption", "", required=True)
    starts_at = _datetime("Starts at", "Empty: immediately.")
    ends_at = _datetime("Ends at", "Empty: no end.")
    max_redemptions = _number(
        "Maximum redemptions",
        "Empty: no limit. Counted per Apple account, and per device for guests.",
    )
    max_per_user = _number("Maximum redemptions per user", "Usually 1.", required=True)
    lot_days = _number("Credits expire after (days)", "Counted from each redemption. Empty: never.")

    def values(self) -> dict[str, Any]:
        """The terms as one value, beside the code of a new one."""
        values = super().values()
        terms = CodeTerms(**{name: values.pop(name) for name in CodeTerms.__dataclass_fields__})
        return {**values, "terms": terms}


class NewCodeForm(TermsForm):
    field_order = ("code", *TermsForm.field_order)
    code = forms.CharField(
        max_length=64,
        widget=UnfoldAdminTextInputWidget,
        help_text="Letters and digits. Case and spaces do not matter.",
    )


@admin.register(PromotionCode)
class PromotionCodeAdmin(ReadOnlyAdmin):
    """Not edited as a row: each change has a reason in the audit log."""

    list_display = ("code", "status", "credits", "redeemed", "starts_at", "ends_at", "lot_days")
    list_filter = ("is_active",)
    ordering = ("-created_at",)
    text_search = ("code__icontains",)
    search_help_text = "Part of a code, or a code ID."
    fields = (
        ("code", "status"),
        ("credits", "lot_days"),
        ("starts_at", "ends_at"),
        ("redeemed", "max_per_user"),
        "related",
        ("id", "created_at"),
    )
    actions_detail = ("change_terms", "stop", "resume")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return has_permission(request.user, AdminAction.CREATE_CODE)

    @admin.display(description="Status")
    def status(self, code: PromotionCode) -> SafeString:
        now = clock.now()
        if not code.is_active:
            return badge("stopped", "danger")
        if code.ends_at and code.ends_at <= now:
            return badge("ended", "warning")
        if code.max_redemptions is not None and code.redemption_count >= code.max_redemptions:
            return badge("used up", "warning")
        if code.starts_at and code.starts_at > now:
            return badge("scheduled", "info")
        return badge("active", "success")

    @admin.display(description="Redeemed", ordering="redemption_count")
    def redeemed(self, code: PromotionCode) -> str:
        limit = "" if code.max_redemptions is None else f" of {code.max_redemptions}"
        return f"{code.redemption_count}{limit}"

    @admin.display(description="Related")
    def related(self, code: PromotionCode) -> SafeString:
        url = reverse("admin:credits_redemption_changelist")
        return link(f"{url}?q={code.id}", "Redemptions")

    # --- Actions ----------------------------------------------------------------------------------

    def add_view(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied

        return self.action_page(
            request,
            None,
            promotion_codes.create_code,
            title="Create a code",
            explanation="Anyone who enters the code gets its credits, from its start on.",
            success=lambda code: f"Code {code} created.",
            button="Create",
            form_class=NewCodeForm,
            initial={"max_per_user": 1},
        )

    def available_actions(self, request: HttpRequest, row: PromotionCode) -> list[str]:
        return ["change_terms", "stop" if row.is_active else "resume"]

    @action_button(
        action=AdminAction.UPDATE_CODE,
        description="Change",
        url_path="terms",
        icon="tune",
        variant=ActionVariant.DEFAULT,
    )
    def change_terms(self, request: HttpRequest, object_id: str) -> HttpResponse:
        code = self.get_row(request, object_id)

        return self.action_page(
            request,
            code,
            promotion_codes.update_code,
            code_id=code.id,
            title=f"Change {code}",
            explanation="Applies to future redemptions. Past redemptions stay unchanged.",
            success=f"Code {code} changed.",
            button="Change",
            form_class=TermsForm,
            initial=asdict(get_terms(code)),
        )

    @action_button(
        action=AdminAction.TOGGLE_CODE,
        description="Stop",
        url_path="stop",
        icon="block",
        variant=ActionVariant.DANGER,
    )
    def stop(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._toggle(
            request,
            object_id,
            is_active=False,
            title="Stop",
            explanation="The code can no longer be redeemed. Past redemptions stay unchanged.",
        )

    @action_button(
        action=AdminAction.TOGGLE_CODE,
        description="Resume",
        url_path="go-on",
        icon="undo",
        variant=ActionVariant.PRIMARY,
    )
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._toggle(
            request,
            object_id,
            is_active=True,
            title="Resume",
            explanation="The code can be redeemed again, within its dates and limits.",
        )

    def _toggle(
        self, request: HttpRequest, object_id: str, *, is_active: bool, **texts: Any
    ) -> HttpResponse:
        code = self.get_row(request, object_id)
        return self.action_page(
            request,
            code,
            promotion_codes.toggle_code,
            code_id=code.id,
            is_active=is_active,
            success=f"Code {code} {'resumed' if is_active else 'stopped'}.",
            dangerous=not is_active,
            **texts,
        )


@admin.register(Redemption)
class RedemptionAdmin(ReadOnlyAdmin):
    list_display = ("redeemed_at", "code_link", "credits", "owner", "entry_link")
    list_select_related = ("code", "entry", "wallet__user")
    ordering = ("-id",)
    text_search = ("code__code__exact",)
    search_help_text = "A code, or the ID of a code, a redemption, a wallet or a user."
    fields = ("id", "redeemed_at", "code_link", "credits", "owner", "entry_link")

    def id_filter(self, searched: UUID) -> Q:
        return Q(id=searched) | Q(code_id=searched) | Q(wallet_id__in=wallets_of(searched))

    @admin.display(description="Code")
    def code_link(self, redemption: Redemption) -> SafeString | None:
        return link_to(redemption.code)

    @admin.display(description="Credits")
    def credits(self, redemption: Redemption) -> int:
        return redemption.entry.change - redemption.entry.debt_change

    @admin.display(description="User")
    def owner(self, redemption: Redemption) -> SafeString | None:
        return user_link(redemption.wallet.user)

    @admin.display(description="Ledger entry")
    def entry_link(self, redemption: Redemption) -> SafeString | None:
        return link_to(redemption.entry)
