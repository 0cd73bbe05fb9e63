"""Incidents: select jobs, preview their number and credits, and refund all of them."""

from __future__ import annotations

from typing import Any

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

from adminops.actions import incidents
from adminops.actions.incidents import JobFilter
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
from adminops.models import AdminAction, Incident, IncidentKind, PendingApproval
from generation.models import GenerationModel, ProviderRoute
from generation.providers import provider_choices
from rendio.common import clock
from rendio.common.errors import Refusal
from rendio.common.ids import uuid7
from rendio.common.text.collation import AsRead


def _datetime(label: str) -> forms.DateTimeField:
    return forms.DateTimeField(
        label=label,
        help_text="Order time in UTC, for example 2026-12-24 18:00.",
        widget=UnfoldAdminTextInputWidget,
    )


class JobFilterForm(forms.Form):
    kind = forms.ChoiceField(
        choices=IncidentKind.choices, label="Jobs", widget=UnfoldAdminSelectWidget
    )
    provider = forms.ChoiceField(
        choices=lambda: [("", "Any"), *provider_choices()],
        required=False,
        widget=UnfoldAdminSelectWidget,
    )
    model = forms.ModelChoiceField(
        GenerationModel.objects.order_by(AsRead("name")),
        required=False,
        empty_label="Any",
        widget=UnfoldAdminSelectWidget,
    )
    route = forms.ModelChoiceField(
        ProviderRoute.objects.order_by("provider", "provider_model_id"),
        required=False,
        empty_label="Any",
        widget=UnfoldAdminSelectWidget,
    )
    from_at = _datetime("From")
    until_at = _datetime("Until")

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        begin, end = values.get("from_at"), values.get("until_at")
        if begin and end and not begin < end <= clock.now():
            self.add_error("until_at", "Must be after From and not in the future.")
        return values

    @property
    def job_filter(self) -> JobFilter:
        """The selection of the valid form."""
        names = JobFilter.__dataclass_fields__
        values = {name: self.cleaned_data[name] for name in names}
        return JobFilter(**values | {"kind": IncidentKind(values["kind"])})


class RunForm(ReasonForm, JobFilterForm):
    """The previewed selection, the reason, and whether to notify customers."""

    notify = forms.BooleanField(
        label="Notify customers",
        help_text="Sends each customer one push notification about the refund, in the customer's "
        "language.",
        initial=True,
        required=False,
        widget=UnfoldBooleanSwitchWidget,
    )


@admin.register(Incident)
class IncidentAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "kind", "chosen", "progress", "state_label", "by")
    list_filter = ("kind",)
    list_select_related = ("model", "route", "started_by")
    ordering = ("-started_at",)
    code_fields = ("reason",)
    fields = (
        "id",
        ("kind", "state_label"),
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
        return badge("done", "success") if incident.ended_at else badge("running", "warning")

    @admin.display(description="Filter")
    def chosen(self, incident: Incident) -> str:
        named = [incident.provider, incident.model, incident.route]
        return ", ".join(str(one) for one in named if one) or "All providers and models"

    @admin.display(description="Processed")
    def progress(self, incident: Incident) -> str:
        return (
            f"{incident.settled_jobs} of {incident.expected_jobs} jobs, "
            f"{incident.settled_credits} of {incident.expected_credits} credits"
        )

    @admin.display(description="Started by")
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
        description="Refund jobs in bulk",
        url_path="begin",
        icon="emergency",
        variant=ActionVariant.DANGER,
    )
    def begin(self, request: HttpRequest) -> HttpResponse:
        """A GET previews the selected jobs. A POST with a reason starts the incident."""
        run_form = RunForm(request.POST) if request.method == "POST" else None
        if run_form and run_form.is_valid():
            try:
                return self._start(request, run_form)
            except Refusal as refusal:
                messages.error(request, refusal_message(refusal))
        form = JobFilterForm((request.POST if run_form else request.GET) or None)
        is_chosen = form.is_bound and form.is_valid()
        context = {
            **self.admin_site.each_context(request),
            "title": "Refund jobs in bulk",
            "opts": self.opts,
            "form": form,
            "preview": incidents.preview(form.job_filter) if is_chosen else None,
            "reason_form": _reason_form(run_form, form) if is_chosen else None,
        }
        return TemplateResponse(request, "adminops/incident.html", context)

    def _start(self, request: HttpRequest, form: RunForm) -> HttpResponse:
        result = incidents.start(
            form.staff_action(request),
            job_filter=form.job_filter,
            notify=form.cleaned_data["notify"],
        )
        if isinstance(result, PendingApproval):
            messages.warning(request, pending_message(result))
            return HttpResponseRedirect(reverse("admin:adminops_incident_changelist"))
        messages.success(request, "Incident started. This page shows the progress.")
        return HttpResponseRedirect(reverse("admin:adminops_incident_change", args=[result.id]))


def _reason_form(sent: RunForm | None, chosen: JobFilterForm) -> RunForm:
    """The form with the reason. Hidden fields keep the previewed selection for the POST."""
    initial = {name: chosen.data.get(name, "") for name in chosen.fields}
    form = sent or RunForm(initial={**initial, "form_id": uuid7()})
    for name in chosen.fields:
        form.fields[name].widget = forms.HiddenInput()
    return form
