"""What moderation refuses: the words of the blocklist, edited here, and who met with a refusal."""

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
from generation.models import BlockedTerm, Offence, Step
from generation.moderation import strikes
from generation.moderation.blocklist import Term, blocklist
from rendio.common.collation import AsRead

STEP_COLOURS = {Step.NONE: "", Step.WARNING: "info", Step.HOLD: "warning", Step.BAN: "danger"}


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
    """Edited here; Django's own history says by whom."""

    form = TermForm
    actions = None
    list_display = ("text", "category", "is_enabled", "created_at")
    list_filter = ("is_enabled", ("category", SortedValuesFilter))
    ordering = (AsRead("text"),)
    collated_fields = ("text", "category")
    text_search = ("text__icontains", "category__icontains")
    search_help_text = "A part of a term or of its category, or an id."
    readonly_fields = ("id", "created_at")
    fields = ("text", "category", "is_enabled", ("id", "created_at"))

    def save_model(self, request: HttpRequest, obj: BlockedTerm, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        transaction.on_commit(blocklist.invalidate_cache)

    def delete_model(self, request: HttpRequest, obj: BlockedTerm) -> None:
        super().delete_model(request, obj)
        transaction.on_commit(blocklist.invalidate_cache)


@admin.register(Offence)
class OffenceAdmin(ReadOnlyAdmin):
    """What was refused is not here: it is kept nowhere."""

    list_display = ("at", "owner", "input", "moderator", "found", "step_label", "forgiven_at")
    list_filter = ("step", "input", "moderator", ("forgiven_at", admin.EmptyFieldListFilter))
    list_select_related = ("user",)
    ordering = ("-at",)
    id_search = ("id", "user_id")
    search_help_text = "An id, or a user's."
    fields = (
        "at",
        "owner",
        ("input", "moderator"),
        ("found", "term"),
        ("step_label", "held_until"),
        "forgiven_at",
    )
    actions_detail = ("forgive",)

    def audit_subject_id(self, row: Offence) -> UUID:
        return row.user_id

    @admin.display(description="User")
    def owner(self, offence: Offence) -> SafeString | None:
        return user_link(offence.user)

    @admin.display(description="Found")
    def found(self, offence: Offence) -> str:
        return ", ".join(offence.categories)

    @admin.display(description="Term")
    def term(self, offence: Offence) -> SafeString | str | None:
        if offence.term_id is None:
            return None
        return link_to(BlockedTerm.objects.filter(id=offence.term_id).first()) or "deleted"

    @admin.display(description="Led to", ordering="step")
    def step_label(self, offence: Offence) -> SafeString:
        step = Step(offence.step)
        return badge(step.label, STEP_COLOURS[step])

    def available_actions(self, request: HttpRequest, row: Offence) -> list[str]:
        return [] if row.forgiven_at else ["forgive"]

    @action_button(
        action=AdminAction.FORGIVE_OFFENCES,
        description="Forgive the user's offences",
        url_path="forgive",
        icon="undo",
        variant=ActionVariant.PRIMARY,
    )
    def forgive(self, request: HttpRequest, object_id: str) -> HttpResponse:
        offence = self.get_row(request, object_id)

        return self.action_page(
            request,
            offence,
            moderation.forgive_offences,
            user_id=offence.user_id,
            title="Forgive",
            explanation="All offences of this user count no more. A hold ends, and so does a ban "
            "that they led to.",
            success=_success_message,
        )


def _success_message(forgiven: strikes.ClearedStrikes) -> str:
    lifted = " The ban is lifted." if forgiven.was_banned else ""
    return f"Offences that count no more: {forgiven.offences}.{lifted}"
