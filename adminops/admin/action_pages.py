"""The page of an action: its effect, a form with a reason, and a button. Services do the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from adminops.actions.credits import MAX_AMOUNT
from adminops.admin.visible_text import VisibleTextForm
from adminops.models import REASON_MAX, REASON_MIN
from billing.models import RefundPolicy
from credits.errors import InsufficientCredits
from rendio.common.errors import InvalidInput, Refusal
from rendio.common.ids import uuid7

if TYPE_CHECKING:
    from adminops.admin.base import ModelAdmin


class ReasonForm(VisibleTextForm, forms.Form):
    reason = forms.CharField(
        min_length=REASON_MIN,
        max_length=REASON_MAX,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Stored in the audit log. The customer does not see it.",
    )
    # Identifies this form: a second submit does not repeat the action.
    act_id = forms.UUIDField(widget=forms.HiddenInput)


class RefundForm(ReasonForm):
    field_order = ("amount", "reason")
    amount = forms.IntegerField(
        min_value=1,
        max_value=MAX_AMOUNT,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Number of credits to grant.",
    )


class AdjustForm(ReasonForm):
    field_order = ("amount", "reason")
    amount = forms.IntegerField(
        min_value=-MAX_AMOUNT,
        max_value=MAX_AMOUNT,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Number of credits to add. A negative number debits. The balance cannot go "
        "below 0.",
    )


class AssignForm(ReasonForm):
    field_order = ("user_id", "reason")
    user_id = forms.UUIDField(
        widget=UnfoldAdminTextInputWidget,
        label="User ID",
        help_text="The user who gets the credits.",
    )


class RefundPolicyForm(ReasonForm):
    field_order = ("policy", "reason")
    policy = forms.TypedChoiceField(
        coerce=RefundPolicy,
        choices=[
            (RefundPolicy.DECLINE, "Decline the refund"),
            (RefundPolicy.GRANT, "Grant the refund"),
            (RefundPolicy.BY_SHARE, "Grant a prorated refund"),
            (RefundPolicy.NONE, "No preference"),
        ],
        widget=UnfoldAdminSelectWidget,
        label="Preference",
    )


@dataclass(frozen=True)
class ActionPage:
    """The texts and the form of an action. `submit` performs the action and returns the message
    about its result."""

    title: str
    explanation: str
    button: str
    form_class: type[ReasonForm]
    submit: Callable[[dict[str, Any]], str]
    dangerous: bool = False
    initial: dict[str, Any] = field(default_factory=dict)
    details: list[tuple[str, Any]] = field(default_factory=list)


def render_action_page(
    model_admin: ModelAdmin, request: HttpRequest, row: Model | None, page: ActionPage
) -> HttpResponse:
    """Show the form, or perform the action and redirect to the row's page. Without a row, redirect
    to the list."""
    form = page.form_class(request.POST or None, initial={"act_id": uuid7(), **page.initial})
    opts = model_admin.opts
    name = f"admin:{opts.app_label}_{opts.model_name}"
    row_url = reverse(f"{name}_change", args=[row.pk]) if row else reverse(f"{name}_changelist")
    if request.method == "POST" and form.is_valid():
        try:
            messages.success(request, page.submit(form.cleaned_data))
        except Refusal as refusal:
            messages.error(request, refusal_message(refusal))
        else:
            return HttpResponseRedirect(row_url)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": page.title,
        "page": page,
        "form": form,
        "opts": opts,
        "original": row,
        "row_url": row_url,
    }
    return TemplateResponse(request, "adminops/action.html", context)


def refusal_message(refusal: Refusal) -> str:
    """The message for staff. The messages of the error catalogue are for customers."""
    details = refusal.details
    if isinstance(refusal, InsufficientCredits):
        return (
            f"Not enough credits: {details['available']} available, {details['required']} required."
        )
    if isinstance(refusal, InvalidInput):
        return " ".join(problem for problems in details["fields"].values() for problem in problems)
    return str(details.get("problem") or refusal.text)
