"""Pages whose rows are edited by an audited action.

An edit has a reason and an entry in the audit log. Beyond the limits it needs an approval. Django's
admin does not write these rows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar, cast

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.models import User
from adminops.actions.audit import StaffAction, has_permission
from adminops.admin.action_pages import refusal_message
from adminops.admin.base import SupportAdmin, audit_log_redirect, pending_message
from adminops.admin.visible_text import VisibleTextForm
from adminops.models import REASON_MAX, REASON_MIN, AdminAction, PendingApproval
from rendio.common import clock
from rendio.common.errors import Refusal
from rendio.common.ids import uuid7

T = TypeVar("T")


class EditForm(VisibleTextForm, forms.ModelForm):
    reason = forms.CharField(
        min_length=REASON_MIN,
        max_length=REASON_MAX,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Stored in the audit log.",
    )
    # Identifies this form: a second submission is refused.
    form_id = forms.UUIDField(widget=forms.HiddenInput, initial=uuid7, label="")

    def values(self) -> dict[str, Any]:
        """The values of the row's own fields."""
        names = {field.name for field in self._meta.model._meta.concrete_fields}
        return {name: value for name, value in self.cleaned_data.items() if name in names}


def require_between(value: T, minimum: Any, maximum: Any) -> T:
    if not minimum <= value <= maximum:
        raise ValidationError(f"Must be between {minimum} and {maximum}.")
    return value


class AuditedEditAdmin(SupportAdmin):
    """A page whose form is saved by the action `edit_action`, with a reason in the audit log."""

    edit_action: AdminAction
    actions = None
    warn_unsaved_form = True

    @abstractmethod
    def save_edit(
        self,
        row: Any,
        is_new: bool,
        values: dict[str, Any],
        formsets: Any,
        staff_action: StaffAction,
    ) -> Model | PendingApproval:
        """Save the row, or request an approval."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return has_permission(request.user, self.edit_action)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return has_permission(request.user, self.edit_action)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = [*super().get_fieldsets(request, obj)]
        if self.has_change_permission(request, obj):
            fieldsets.append(("Reason", {"fields": ("reason", "form_id")}))
        return fieldsets

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Refusal as refusal:
            messages.error(request, refusal_message(refusal))
            return HttpResponseRedirect(request.get_full_path())

    # --- Hooks of Django, in the order in which Django calls them ---------------------------------

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Do nothing: `save_related` saves the row too."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save by the action, in the transaction of Django's page."""
        staff_action = StaffAction(
            actor=cast("User", request.user),
            reason=form.cleaned_data["reason"],
            now=clock.now(),
            form_id=form.cleaned_data["form_id"],
        )
        if form.instance.pk is None:
            # Django clears the id of a new row where the page has inlines.
            form.instance.pk = self.opts.pk.get_default()
        result = self.save_edit(form.instance, not change, form.values(), formsets, staff_action)
        if isinstance(result, PendingApproval):
            form.instance.pending_approval = result

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        return []

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Do nothing: the audit log has an entry."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Do nothing: the audit log has an entry."""

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._pending_response(request, obj) or super().response_add(
            request, obj, post_url_continue
        )

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        return self._pending_response(request, obj) or super().response_change(request, obj)

    def _pending_response(self, request: HttpRequest, obj: Any) -> HttpResponse | None:
        approval: PendingApproval | None = getattr(obj, "pending_approval", None)
        if approval is None:
            return None
        messages.warning(request, pending_message(approval))
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"
        return HttpResponseRedirect(reverse(name))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return audit_log_redirect(self.get_row(request, object_id).pk)


def edit_permission(action: AdminAction) -> Callable[..., bool]:
    """The permission of an inline whose rows are edited with the page's row."""

    def is_allowed(inline: Any, request: HttpRequest, obj: Any = None) -> bool:
        return has_permission(request.user, action)

    return is_allowed
