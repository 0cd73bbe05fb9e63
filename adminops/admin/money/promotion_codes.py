"""Promotion codes: made, changed, stopped by acts, and watched. The classes come by name: only
credits imports them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.apps import apps
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from adminops.actions import promotion_codes
from adminops.actions.audit import may
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
from credits.services import CodeTerms, get_terms
from rendio.common import clock

if TYPE_CHECKING:
    from credits.models import PromotionCode, Redemption


def _number(label: str, help_text: str, *, required: bool = False) -> forms.IntegerField:
    return forms.IntegerField(
        min_value=1,
        required=required,
        label=label,
        help_text=help_text,
        widget=UnfoldAdminIntegerFieldWidget,
    )


def _moment(label: str, help_text: str) -> forms.DateTimeField:
    return forms.DateTimeField(
        required=False,
        label=label,
        help_text=f"UTC, such as 2026-12-24 18:00. {help_text}",
        widget=UnfoldAdminTextInputWidget,
    )


class TermsForm(ReasonForm):
    field_order = (*CodeTerms.__dataclass_fields__, "reason")
    credits = _number("Credits", "What one redemption gives.", required=True)
    starts_at = _moment("From", "Empty: at once.")
    ends_at = _moment("Until", "Empty: without an end.")
    max_redemptions = _number(
        "Redemptions in all",
        "Empty: no limit. It is counted by Apple account, and by phone for guests.",
    )
    max_per_user = _number("Redemptions by one user", "Usually 1.", required=True)
    lot_days = _number("Days until what is left lapses", "From each redemption. Empty: never.")


class NewCodeForm(TermsForm):
    field_order = ("code", *TermsForm.field_order)
    code = forms.CharField(
        max_length=64,
        widget=UnfoldAdminTextInputWidget,
        help_text="Letters and digits. How users type it, large, small or with spaces, is all one.",
    )


def _with_terms(values: dict[str, Any]) -> dict[str, Any]:
    """The form's values, with those of the terms as one."""
    names = CodeTerms.__dataclass_fields__
    rest = {name: value for name, value in values.items() if name not in names}
    return {**rest, "terms": CodeTerms(**{name: values[name] for name in names})}


@admin.register(apps.get_model("credits", "PromotionCode"))
class PromotionCodeAdmin(ReadOnlyAdmin):
    """Never edited as a row: what moves credits, or could, has a reason on record."""

    list_display = ("code", "standing", "credits", "redeemed", "starts_at", "ends_at", "lot_days")
    list_filter = ("is_active",)
    ordering = ("-created_at",)
    text_search = ("code__icontains",)
    search_help_text = "A part of a code, or its id."
    fields = (
        ("code", "standing"),
        ("credits", "lot_days"),
        ("starts_at", "ends_at"),
        ("redeemed", "max_per_user"),
        "related",
        ("id", "created_at"),
    )
    actions_detail = ("set_terms", "stop", "go_on")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return may(request.user, AdminAction.MAKE_CODE)

    @admin.display(description="Standing")
    def standing(self, code: PromotionCode) -> SafeString:
        now = clock.now()
        if not code.is_active:
            return badge("stopped", "danger")
        if code.ends_at and code.ends_at <= now:
            return badge("over", "warning")
        if code.max_redemptions is not None and code.redemption_count >= code.max_redemptions:
            return badge("used up", "warning")
        if code.starts_at and code.starts_at > now:
            return badge("to come", "info")
        return badge("running", "success")

    @admin.display(description="Redeemed", ordering="redemption_count")
    def redeemed(self, code: PromotionCode) -> str:
        limit = "" if code.max_redemptions is None else f" of {code.max_redemptions}"
        return f"{code.redemption_count}{limit}"

    @admin.display(description="Look at")
    def related(self, code: PromotionCode) -> SafeString:
        url = reverse("admin:credits_redemption_changelist")
        return link(f"{url}?q={code.id}", "Redemptions")

    # --- Acts -----------------------------------------------------------------------------------

    def add_view(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied

        return self.action_page(
            request,
            None,
            lambda **values: promotion_codes.make_code(**_with_terms(values)),
            title="Make a code",
            explanation="Whoever knows it gets its credits, from its start on.",
            success=lambda made: f"The code {made} was made.",
            button="Make it",
            form_class=NewCodeForm,
            initial={"max_per_user": 1},
        )

    def available_actions(self, request: HttpRequest, row: PromotionCode) -> list[str]:
        return ["set_terms", "stop" if row.is_active else "go_on"]

    @action_button(
        action=AdminAction.CHANGE_CODE,
        description="Change",
        url_path="terms",
        icon="tune",
        variant=ActionVariant.DEFAULT,
    )
    def set_terms(self, request: HttpRequest, object_id: str) -> HttpResponse:
        code = self.get_row(request, object_id)

        return self.action_page(
            request,
            code,
            lambda **values: promotion_codes.change_code(**_with_terms(values)),
            code_id=code.id,
            title=f"Change {code}",
            explanation="From now on. What was redeemed stays as it is.",
            success=f"The code {code} was changed.",
            button="Change it",
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
            explanation="Nobody can redeem it any more. What was redeemed stays.",
        )

    @action_button(
        action=AdminAction.TOGGLE_CODE,
        description="Let it go on",
        url_path="go-on",
        icon="undo",
        variant=ActionVariant.PRIMARY,
    )
    def go_on(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._toggle(
            request,
            object_id,
            is_active=True,
            title="Let it go on",
            explanation="It can be redeemed again, within its time and limits.",
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
            success=f"The code {code} {'goes on' if is_active else 'is stopped'}.",
            dangerous=not is_active,
            **texts,
        )


@admin.register(apps.get_model("credits", "Redemption"))
class RedemptionAdmin(ReadOnlyAdmin):
    list_display = ("redeemed_at", "code_link", "credits", "owner", "entry_link")
    list_select_related = ("code", "entry", "wallet__user")
    ordering = ("-id",)
    text_search = ("code__code__exact",)
    search_help_text = "A code, or the id of one, of a redemption, a wallet or a user."
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

    @admin.display(description="Its grant")
    def entry_link(self, redemption: Redemption) -> SafeString | None:
        return link_to(redemption.entry)
