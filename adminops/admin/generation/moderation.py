"""Content moderation: the blocklist, which is edited here, and the violations of users."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from adminops.actions import moderation
from adminops.admin.base import (
    ActionVariant,
    ReadOnlyAdmin,
    SortedValuesFilter,
    SupportAdmin,
    action_button,
    badge,
    link_to,
    user_link,
)
from adminops.admin.visible_text import VisibleTextForm
from adminops.models import AdminAction
from generation.models import BlockedTerm, Sanction, Violation
from generation.moderation import sanctions
from generation.moderation.blocklist import Term, blocklist
from rendio.common.text.collation import AsRead

STEP_COLOURS = {
    Sanction.NONE: "",
    Sanction.WARNING: "info",
    Sanction.HOLD: "warning",
    Sanction.BAN: "danger",
}


class TermForm(VisibleTextForm, forms.ModelForm):
    def clean_text(self) -> str:
        text = str(self.cleaned_data["text"])
        try:
            Term.parse(text)
        except ValueError as problem:
            raise ValidationError(str(problem)) from None
        return text


@admin.register(BlockedTerm)
class BlockedTermAdmin(SupportAdmin):
    """Django's history records who edited a term."""

    form = TermForm
    actions = None
    list_display = ("text", "category", "is_enabled", "created_at")
    list_filter = ("is_enabled", ("category", SortedValuesFilter))
    ordering = (AsRead("text"),)
    collated_fields = ("text", "category")
    text_search = ("text__icontains", "category__icontains")
    search_help_text = "Part of a term or of a category, or a term ID."
    readonly_fields = ("id", "created_at")
    fields = ("text", "category", "is_enabled", ("id", "created_at"))

    def save_model(self, request: HttpRequest, obj: BlockedTerm, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        transaction.on_commit(blocklist.invalidate_cache)

    def delete_model(self, request: HttpRequest, obj: BlockedTerm) -> None:
        super().delete_model(request, obj)
        transaction.on_commit(blocklist.invalidate_cache)


@admin.register(Violation)
class ViolationAdmin(ReadOnlyAdmin):
    """The refused content is not shown, because it is not stored."""

    list_display = ("at", "owner", "input", "moderator", "found", "step_label", "forgiven_at")
    list_filter = ("step", "input", "moderator", ("forgiven_at", admin.EmptyFieldListFilter))
    list_select_related = ("user",)
    ordering = ("-at",)
    id_search = ("id", "user_id")
    search_help_text = "A violation ID or a user ID."
    fields = (
        "at",
        "owner",
        ("input", "moderator"),
        ("found", "term"),
        ("step_label", "held_until"),
        "forgiven_at",
    )
    actions_detail = ("clear",)

    def audit_subject_id(self, row: Violation) -> UUID:
        return row.user_id

    @admin.display(description="User")
    def owner(self, violation: Violation) -> SafeString | None:
        return user_link(violation.user)

    @admin.display(description="Found")
    def found(self, violation: Violation) -> str:
        return ", ".join(violation.categories)

    @admin.display(description="Term")
    def term(self, violation: Violation) -> SafeString | str | None:
        if violation.term_id is None:
            return None
        return link_to(BlockedTerm.objects.filter(id=violation.term_id).first()) or "Deleted"

    @admin.display(description="Sanction", ordering="step")
    def step_label(self, violation: Violation) -> SafeString:
        step = Sanction(violation.step)
        return badge(step.label, STEP_COLOURS[step])

    def available_actions(self, request: HttpRequest, row: Violation) -> list[str]:
        return [] if row.forgiven_at else ["clear"]

    @action_button(
        action=AdminAction.CLEAR_VIOLATIONS,
        description="Clear violations",
        url_path="forgive",
        icon="undo",
        variant=ActionVariant.PRIMARY,
    )
    def clear(self, request: HttpRequest, object_id: str) -> HttpResponse:
        violation = self.get_row(request, object_id)

        return self.action_page(
            request,
            violation,
            moderation.clear_violations,
            user_id=violation.user_id,
            title="Clear violations",
            explanation="Clears the violations of this user. Ends a hold or ban that they caused.",
            success=_success_message,
        )


def _success_message(cleared: sanctions.ClearedViolations) -> str:
    lifted = " Ban lifted." if cleared.was_banned else ""
    return f"Violations cleared: {cleared.count}.{lifted}"
