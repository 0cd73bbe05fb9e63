"""Incident mode: choose jobs, see how many and what they cost, and settle all of them."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from accounts.models import User
from adminops.actions import incidents
from adminops.actions.incidents import Choice
from adminops.admin.action_pages import ReasonForm, refusal_message
from adminops.admin.base import (
    ActionVariant,
    ReadOnlyAdmin,
    action_button,
    badge,
    link_to,
    pending_message,
    user_link,
)
from adminops.models import AdminAction, Incident, PendingApproval, Which
from generation.models import Model, Route
from generation.providers import provider_choices
from rendio.common import clock
from rendio.common.collation import AsRead
from rendio.common.errors import Refusal
from rendio.common.ids import uuid7


def _moment(label: str) -> forms.DateTimeField:
    return forms.DateTimeField(
        label=label,
        help_text="When they were ordered. UTC, such as 2026-12-24 18:00.",
        widget=UnfoldAdminTextInputWidget,
    )


class ChoiceForm(forms.Form):
    which = forms.ChoiceField(
        choices=Which.choices, label="Which jobs", widget=UnfoldAdminSelectWidget
    )
    provider = forms.ChoiceField(
        choices=lambda: [("", "Any"), *provider_choices()],
        required=False,
        widget=UnfoldAdminSelectWidget,
    )
    model = forms.ModelChoiceField(
        Model.objects.order_by(AsRead("name")),
        required=False,
        empty_label="Any",
        widget=UnfoldAdminSelectWidget,
    )
    route = forms.ModelChoiceField(
        Route.objects.order_by("provider", "provider_model_id"),
        required=False,
        empty_label="Any",
        widget=UnfoldAdminSelectWidget,
    )
    from_at = _moment("From")
    until_at = _moment("Until")

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        begin, end = values.get("from_at"), values.get("until_at")
        if begin and end and not begin < end <= clock.now():
            self.add_error("until_at", "It must begin before it ends, and end before now.")
        return values

    @property
    def choice(self) -> Choice:
        """What the valid form chooses."""
        names = Choice.__dataclass_fields__
        values = {name: self.cleaned_data[name] for name in names}
        return Choice(**values | {"which": Which(values["which"])})


class RunForm(ReasonForm, ChoiceForm):
    """The choice that was tried out, why it is to be done, and whether its customers hear of it."""

    notify = forms.BooleanField(
        label="Notify the customers",
        help_text="Each is told once, on the iPhone and in its language, that credits are back.",
        initial=True,
        required=False,
        widget=UnfoldBooleanSwitchWidget,
    )


@admin.register(Incident)
class IncidentAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "which", "chosen", "progress", "state_label", "by")
    list_filter = ("which",)
    list_select_related = ("model", "route", "started_by")
    ordering = ("-started_at",)
    code_fields = ("reason",)
    fields = (
        "id",
        ("which", "state_label"),
        ("provider", "model_link", "route_link"),
        ("from_at", "until_at"),
        "reason",
        ("by", "started_at", "ended_at"),
        ("expected_jobs", "expected_credits"),
        ("settled_jobs", "settled_credits", "broken_jobs"),
        ("notify", "told_customers"),
    )
    actions_list = ("begin",)

    @admin.display(description="State")
    def state_label(self, incident: Incident) -> SafeString:
        return badge("done", "success") if incident.ended_at else badge("at work", "warning")

    @admin.display(description="Jobs of")
    def chosen(self, incident: Incident) -> str:
        named = [incident.provider, incident.model, incident.route]
        return ", ".join(str(one) for one in named if one) or "any provider and model"

    @admin.display(description="Settled")
    def progress(self, incident: Incident) -> str:
        return (
            f"{incident.settled_jobs} of {incident.expected_jobs} jobs, "
            f"{incident.settled_credits} of {incident.expected_credits} credits"
        )

    @admin.display(description="By")
    def by(self, incident: Incident) -> SafeString | None:
        return user_link(incident.started_by)

    @admin.display(description="Model")
    def model_link(self, incident: Incident) -> SafeString | None:
        return link_to(incident.model)

    @admin.display(description="Route")
    def route_link(self, incident: Incident) -> SafeString | None:
        return link_to(incident.route)

    @action_button(
        action=AdminAction.RUN_INCIDENT,
        description="Settle many jobs",
        url_path="begin",
        icon="emergency",
        variant=ActionVariant.DANGER,
    )
    def begin(self, request: HttpRequest) -> HttpResponse:
        """A GET chooses and counts, a POST with a reason does it."""
        run_form = RunForm(request.POST) if request.method == "POST" else None
        if run_form and run_form.is_valid():
            try:
                return self._start(request, run_form)
            except Refusal as refusal:
                messages.error(request, refusal_message(refusal))
        form = ChoiceForm((request.POST if run_form else request.GET) or None)
        is_chosen = form.is_bound and form.is_valid()
        context = {
            **self.admin_site.each_context(request),
            "title": "Settle many jobs",
            "opts": self.opts,
            "form": form,
            "trial": incidents.try_out(form.choice) if is_chosen else None,
            "reason_form": _reason_form(run_form, form) if is_chosen else None,
        }
        return TemplateResponse(request, "adminops/incident.html", context)

    def _start(self, request: HttpRequest, form: RunForm) -> HttpResponse:
        came = incidents.start(
            choice=form.choice,
            notify=form.cleaned_data["notify"],
            reason=form.cleaned_data["reason"],
            act_id=form.cleaned_data["act_id"],
            acting_user=cast("User", request.user),
            now=clock.now(),
        )
        if isinstance(came, PendingApproval):
            messages.warning(request, pending_message(came))
            return HttpResponseRedirect(reverse("admin:adminops_incident_changelist"))
        messages.success(request, "The workers are at it. This page tells how far they are.")
        return HttpResponseRedirect(reverse("admin:adminops_incident_change", args=[came.id]))


def _reason_form(sent: RunForm | None, chosen: ChoiceForm) -> RunForm:
    """The form with the reason; what was chosen goes along unseen, so that what is done is what was
    counted."""
    initial = {name: chosen.data.get(name, "") for name in chosen.fields}
    form = sent or RunForm(initial={**initial, "act_id": uuid7()})
    for name in chosen.fields:
        form.fields[name].widget = forms.HiddenInput()
    return form
