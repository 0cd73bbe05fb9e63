"""The forms of staff actions, and the message of a refusal."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.http import HttpRequest
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.models import User
from adminops.actions.audit import StaffAction
from adminops.actions.credits import MAX_AMOUNT
from adminops.admin.visible_text import VisibleTextForm
from adminops.models import REASON_MAX, REASON_MIN
from billing.models import RefundPolicy
from credits.errors import InsufficientCredits
from rendio.common import clock
from rendio.common.errors import InvalidInput, Refusal


class ReasonForm(VisibleTextForm, forms.Form):
    reason = forms.CharField(
        min_length=REASON_MIN,
        max_length=REASON_MAX,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Stored in the audit log. The customer does not see it.",
    )
    # Identifies this form: a second submit does not repeat the action.
    form_id = forms.UUIDField(widget=forms.HiddenInput)

    def staff_action(self, request: HttpRequest) -> StaffAction:
        """Who submits the valid form, why and when."""
        return StaffAction(
            actor=cast("User", request.user),
            reason=self.cleaned_data["reason"],
            now=clock.now(),
            form_id=self.cleaned_data["form_id"],
        )

    def values(self) -> dict[str, Any]:
        """The values of the other fields."""
        shared = {"reason", "form_id"}
        return {name: value for name, value in self.cleaned_data.items() if name not in shared}


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
