"""The price simulation page: credits and margins of a model at other prices."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html_join
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from adminops.admin.base import badge
from adminops.admin.generation.catalogue_forms import ObjectField, check_multipliers
from adminops.reports import price_simulation
from generation.catalogue.specs import to_spec
from generation.models import GenerationModel, PricingType
from rendio.common.text.collation import AsRead


class PriceForm(forms.Form):
    """A model and its new prices. An empty field keeps the current value."""

    model = forms.ModelChoiceField(
        GenerationModel.objects.order_by(AsRead("name")),
        widget=UnfoldAdminSelectWidget,
        empty_label=None,
    )
    pricing_type = forms.ChoiceField(
        choices=[("", "Current"), *PricingType.choices],
        required=False,
        widget=UnfoldAdminSelectWidget,
    )
    base_price_usd = forms.DecimalField(
        min_value=0,
        max_digits=8,
        decimal_places=4,
        required=False,
        label="Base price (USD)",
        help_text="Empty: current price.",
        widget=UnfoldAdminDecimalFieldWidget,
    )
    multipliers = ObjectField(
        required=False,
        help_text='Such as {"resolution": {"1080p": "1.5"}}. Empty: current multipliers.',
        widget=UnfoldAdminTextareaWidget({"rows": 4}),
    )

    def clean_base_price_usd(self) -> Any:
        price = self.cleaned_data["base_price_usd"]
        if price == 0:
            raise ValidationError("Must be greater than 0.")
        return price

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        model = values.get("model")
        if model and values.get("multipliers"):
            try:
                check_multipliers(values["multipliers"], model.settings)
            except ValidationError as problem:
                self.add_error("multipliers", problem)
        by_duration = values.get("pricing_type") == PricingType.DURATION
        if model and by_duration and "duration" not in model.settings:
            self.add_error("pricing_type", "This model has no setting named duration.")
        return values


def try_price(request: HttpRequest) -> HttpResponse:
    """A GET without side effects: the new prices are in the query string only."""
    if not request.user.has_perm("generation.view_generationmodel"):
        raise PermissionDenied
    form = PriceForm(request.GET or None)
    context = {
        **admin.site.each_context(request),
        "title": "Price simulation",
        "form": form,
        "table": _table(form.cleaned_data) if form.is_bound and form.is_valid() else None,
    }
    return TemplateResponse(request, "adminops/try_price.html", context)


def _table(values: dict[str, Any]) -> dict[str, Any]:
    model = to_spec(values["model"])
    names = ("pricing_type", "base_price_usd", "multipliers")
    repriced = price_simulation.with_prices(
        model, **{name: values[name] for name in names if values[name]}
    )
    return {
        "headers": [
            "Settings",
            "Current price (credits)",
            "New price (credits)",
            "Provider cost and margin",
        ],
        "rows": [_table_row(row) for row in price_simulation.simulate(model, repriced)],
    }


def _table_row(row: price_simulation.Row) -> list[Any]:
    chosen = ", ".join(f"{name} {value}" for name, value in row.chosen.items()) or "None"
    return [chosen, row.credits_now, row.credits, _margins(row.margins)]


def _margins(margins: list[price_simulation.Margin]) -> Any:
    if not margins:
        return "No route supports these settings."
    return format_html_join(
        "",
        "<div>{}</div>",
        (
            (
                badge(
                    f"{one.route.provider} ${one.cost_usd:.2f}: {one.percent:.1f} %",
                    "danger" if one.percent < 0 else "success",
                ),
            )
            for one in margins
        ),
    )
