"""The catalogue: models with their routes, and themes. Edited here, without a deployment."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from adminops.actions import catalogue
from adminops.actions.audit import StaffAction
from adminops.admin.base import (
    ActionVariant,
    ReadOnlyAdmin,
    SortedValuesFilter,
    StackedInline,
    action_button,
    badge,
    link_to,
)
from adminops.admin.edit_pages import AuditedEditAdmin, edit_permission
from adminops.admin.generation.catalogue_forms import (
    ModelForm,
    ObjectField,
    RouteForm,
    RouteFormSet,
    ThemeForm,
)
from adminops.models import AdminAction, PendingApproval
from generation.models import GenerationModel, ProviderRoute, Theme
from generation.providers import provider_choices
from rendio.common.text.collation import AsRead

FIELDS: dict[type[models.Field[Any, Any]], dict[str, Any]] = {
    models.JSONField: {
        "form_class": ObjectField,
        "widget": UnfoldAdminTextareaWidget({"rows": 6}),
    },
    models.URLField: {"assume_scheme": "https"},
}


class CatalogueAdmin(AuditedEditAdmin):
    """Rows that jobs reference. They are never deleted, only taken off sale."""

    formfield_overrides = FIELDS


class RouteInline(StackedInline):
    model = ProviderRoute
    form = RouteForm
    formset = RouteFormSet
    formfield_overrides = FIELDS
    ordering = ("position",)
    readonly_fields = ("state",)
    show_change_link = True
    extra = 0
    # Provider requests reference routes.
    can_delete = False
    fields = (
        ("provider", "provider_model_id"),
        ("position", "weight", "state"),
        ("cost_usd", "cost_unit"),
        ("input_cost_usd", "max_input_megapixels"),
        "parameters",
        "constants",
        "limits",
        "training",
        "cost_multipliers",
    )

    has_add_permission = edit_permission(AdminAction.EDIT_MODEL)
    has_change_permission = edit_permission(AdminAction.EDIT_MODEL)

    @admin.display(description="State")
    def state(self, route: ProviderRoute) -> SafeString:
        return _route_state(route)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "provider":
            kwargs["widget"] = UnfoldAdminSelectWidget(choices=provider_choices())
        return super().formfield_for_dbfield(db_field, request, **kwargs)


@admin.register(GenerationModel)
class ModelAdmin(CatalogueAdmin):
    """A new model is off sale: putting it on sale has its own entry in the audit log."""

    edit_action = AdminAction.EDIT_MODEL
    form = ModelForm
    inlines = (RouteInline,)
    list_display = (
        "name",
        "on_sale",
        "kind",
        "tier",
        "category",
        "pricing_type",
        "base_price_usd",
        "is_featured",
        "is_default",
    )
    list_filter = ("is_available", "kind", "tier", "pricing_type", "is_featured")
    ordering = ("-is_featured", AsRead("name"))
    collated_fields = ("name", "category")
    text_search = ("name__icontains", "routes__provider_model_id__icontains")
    search_help_text = "A name, the provider's model ID or a model ID."
    readonly_fields = ("id", "on_sale", "created_at")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "category"),
                    ("kind", "tier"),
                    "description",
                    "thumbnail_url",
                    ("is_featured", "is_default", "on_sale"),
                )
            },
        ),
        (
            "Price and settings",
            {
                "fields": (
                    ("pricing_type", "base_price_usd"),
                    "settings",
                    "multipliers",
                    "run_deadline_seconds",
                )
            },
        ),
        ("Record", {"fields": (("id", "created_at"),)}),
    )
    actions_detail = ("take_off_sale", "put_on_sale")

    def save_edit(
        self,
        row: GenerationModel,
        is_new: bool,
        values: dict[str, Any],
        formsets: Any,
        staff_action: StaffAction,
    ) -> GenerationModel | PendingApproval:
        [routes] = formsets
        return catalogue.edit_model(
            staff_action, model_id=row.id, is_new=is_new, values=values, routes=routes.edits()
        )

    @admin.display(description="On sale", ordering="is_available")
    def on_sale(self, model: GenerationModel) -> SafeString:
        return badge("on sale", "success") if model.is_available else badge("off sale", "danger")

    def available_actions(self, request: HttpRequest, row: GenerationModel) -> list[str]:
        return ["take_off_sale" if row.is_available else "put_on_sale"]

    @action_button(
        action=AdminAction.TOGGLE_MODEL,
        description="Take off sale",
        url_path="take-off-sale",
        icon="visibility_off",
        variant=ActionVariant.DANGER,
    )
    def take_off_sale(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._toggle(
            request,
            object_id,
            is_available=False,
            title="Take off sale",
            explanation="New orders are refused within seconds. Running jobs continue.",
        )

    @action_button(
        action=AdminAction.TOGGLE_MODEL,
        description="Put on sale",
        url_path="put-on-sale",
        icon="visibility",
        variant=ActionVariant.PRIMARY,
    )
    def put_on_sale(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._toggle(
            request,
            object_id,
            is_available=True,
            title="Put on sale",
            explanation="Customers can order it within seconds, if a route is enabled.",
        )

    def _toggle(
        self, request: HttpRequest, object_id: str, *, is_available: bool, **texts: Any
    ) -> HttpResponse:
        model = self.get_row(request, object_id)
        return self.action_page(
            request,
            model,
            catalogue.toggle_model,
            model_id=model.id,
            is_available=is_available,
            success=f"{model} is {'on' if is_available else 'off'} sale.",
            dangerous=not is_available,
            **texts,
        )


@admin.register(ProviderRoute)
class RouteAdmin(ReadOnlyAdmin):
    """Edited on the page of its model, enabled and disabled here."""

    list_display = ("__str__", "model_link", "state", "position", "weight", "cost_usd", "cost_unit")
    list_filter = ("provider", "is_enabled")
    list_select_related = ("model",)
    ordering = ("model__name", "position")
    text_search = ("provider_model_id__icontains", "model__name__icontains")
    search_help_text = "The provider's model ID, a model name or a route ID."
    fields = (
        "id",
        ("provider", "provider_model_id"),
        ("model_link", "state"),
        ("position", "weight"),
        ("cost_usd", "cost_unit"),
        ("input_cost_usd", "max_input_megapixels"),
    )
    collated_fields = ("model__name",)
    actions_detail = ("disable", "enable")

    @admin.display(description="Model", ordering="model__name")
    def model_link(self, route: ProviderRoute) -> SafeString | None:
        return link_to(route.model)

    @admin.display(description="State", ordering="is_enabled")
    def state(self, route: ProviderRoute) -> SafeString:
        return _route_state(route)

    def available_actions(self, request: HttpRequest, row: ProviderRoute) -> list[str]:
        return ["disable" if row.is_enabled else "enable"]

    @action_button(
        action=AdminAction.TOGGLE_ROUTE,
        description="Disable",
        url_path="disable",
        icon="block",
        variant=ActionVariant.DANGER,
    )
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._toggle(
            request,
            object_id,
            is_enabled=False,
            title="Disable",
            explanation="New orders use the model's other routes. Without another route, the model "
            "cannot be ordered. Running jobs continue.",
        )

    @action_button(
        action=AdminAction.TOGGLE_ROUTE,
        description="Enable",
        url_path="enable",
        icon="undo",
        variant=ActionVariant.PRIMARY,
    )
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._toggle(
            request,
            object_id,
            is_enabled=True,
            title="Enable",
            explanation="New orders use this route within seconds.",
        )

    def _toggle(
        self, request: HttpRequest, object_id: str, *, is_enabled: bool, **texts: Any
    ) -> HttpResponse:
        route = self.get_row(request, object_id)
        return self.action_page(
            request,
            route,
            catalogue.toggle_route,
            route_id=route.id,
            is_enabled=is_enabled,
            success=f"{route} is {'enabled' if is_enabled else 'disabled'}.",
            dangerous=not is_enabled,
            **texts,
        )


def _route_state(route: ProviderRoute) -> SafeString:
    return badge("enabled", "success") if route.is_enabled else badge("disabled", "danger")


@admin.register(Theme)
class ThemeAdmin(CatalogueAdmin):
    edit_action = AdminAction.EDIT_THEME
    form = ThemeForm
    list_display = ("name", "category", "model_link", "is_available")
    list_filter = ("is_available", ("category", SortedValuesFilter), "model")
    list_select_related = ("model",)
    ordering = (AsRead("name"),)
    collated_fields = ("name", "category", "model__name")
    text_search = ("name__icontains", "default_prompt__icontains")
    search_help_text = "A name, part of the prompt or a theme ID."
    readonly_fields = ("id",)
    fields = (
        ("name", "category"),
        "description",
        "model",
        "default_prompt",
        "default_settings",
        "thumbnail_url",
        "is_available",
        "id",
    )

    def save_edit(
        self,
        row: Theme,
        is_new: bool,
        values: dict[str, Any],
        formsets: Any,
        staff_action: StaffAction,
    ) -> Theme | PendingApproval:
        return catalogue.edit_theme(staff_action, theme_id=row.id, is_new=is_new, values=values)

    @admin.display(description="Model", ordering="model__name")
    def model_link(self, theme: Theme) -> SafeString | None:
        return link_to(theme.model)
