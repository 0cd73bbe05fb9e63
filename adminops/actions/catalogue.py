"""Edit products, models with their routes, and themes; put models and routes on or off sale.

The audit log has the whole row before and after an edit. One member of staff may change prices,
costs and credits within a margin around the approved baseline (adminops.actions.catalogue_limits).
Larger changes and new rows need a second person. The baseline is the row of the last approval in
the audit log, else the row before its first edit there: small steps cannot add up to a large one.

The edit functions join the transaction of the admin's edit page, or open their own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models, transaction

from adminops.actions import approvals, catalogue_limits
from adminops.actions.approvals import (
    ActionHandler,
    ActionRequest,
    ActionResult,
    CreditImpact,
    perform_or_request_approval,
)
from adminops.actions.audit import StaffAction, authorize, log_action
from adminops.models import AdminAction, AuditLogEntry, PendingApproval
from billing import services as billing_services
from billing.models import Product
from generation.catalogue import cache
from generation.errors import InvalidModel
from generation.models import GenerationModel, ProviderRoute, Theme
from rendio.common.errors import InvalidInput, InvalidState, NotFound
from rendio.common.ids import uuid7

Row = dict[str, Any]


@dataclass(frozen=True)
class RouteEdit:
    """New values of a route; `route_id` is None for a new route."""

    route_id: UUID | None
    values: Row


def toggle_model(staff_action: StaffAction, *, model_id: UUID, is_available: bool) -> None:
    """Put a model on sale or take it off sale; jobs in progress continue. A call that changes
    nothing is logged too. Raises Forbidden, InvalidInput, InvalidModel."""
    with log_action(AdminAction.TOGGLE_MODEL, staff_action, subject_id=model_id) as log:
        model = GenerationModel.objects.select_for_update(no_key=True).filter(id=model_id).first()
        if model is None:
            raise InvalidModel
        log.before = {"is_available": model.is_available}
        model.is_available = is_available
        model.save(update_fields=["is_available"])
        log.after = {"is_available": is_available}
        transaction.on_commit(cache.invalidate)


def toggle_route(staff_action: StaffAction, *, route_id: UUID, is_enabled: bool) -> None:
    """Enable or disable a route for new orders; jobs in progress continue. Raises Forbidden,
    InvalidInput, NotFound."""
    with log_action(AdminAction.TOGGLE_ROUTE, staff_action, subject_id=route_id) as log:
        route = ProviderRoute.objects.select_for_update(no_key=True).filter(id=route_id).first()
        if route is None:
            raise NotFound
        log.before = {"route": str(route), "is_enabled": route.is_enabled}
        route.is_enabled = is_enabled
        route.save(update_fields=["is_enabled"])
        log.after = {"route": str(route), "is_enabled": is_enabled}
        transaction.on_commit(cache.invalidate)


@transaction.atomic
def edit_product(
    staff_action: StaffAction, *, product_id: UUID, is_new: bool, values: Row
) -> Product | PendingApproval:
    """Set these fields of a product, or create it. Raises Forbidden, InvalidInput, NotFound,
    InvalidState."""
    return cast(
        "Product | PendingApproval",
        _edit(
            AdminAction.EDIT_PRODUCT, staff_action, product_id, is_new, _as_json(Product, values)
        ),
    )


@transaction.atomic
def edit_model(
    staff_action: StaffAction,
    *,
    model_id: UUID,
    is_new: bool,
    values: Row,
    routes: Iterable[RouteEdit] = (),
) -> GenerationModel | PendingApproval:
    """Set these fields of a model and its routes, or create it, off sale. Raises Forbidden,
    InvalidInput, NotFound, InvalidState."""
    route_values = {
        str(route.route_id or uuid7()): _as_json(ProviderRoute, route.values) for route in routes
    }
    return cast(
        "GenerationModel | PendingApproval",
        _edit(
            AdminAction.EDIT_MODEL,
            staff_action,
            model_id,
            is_new,
            _as_json(GenerationModel, values),
            route_values,
        ),
    )


@transaction.atomic
def edit_theme(
    staff_action: StaffAction, *, theme_id: UUID, is_new: bool, values: Row
) -> Theme | PendingApproval:
    """Set these fields of a theme, or create it. Raises Forbidden, InvalidInput, NotFound,
    InvalidState."""
    return cast(
        "Theme | PendingApproval",
        _edit(AdminAction.EDIT_THEME, staff_action, theme_id, is_new, _as_json(Theme, values)),
    )


def _edit(
    action: AdminAction,
    staff_action: StaffAction,
    row_id: UUID,
    is_new: bool,
    values: Row,
    routes: dict[str, Row] | None = None,
) -> Any:
    authorize(action, staff_action)
    current = None if is_new else _lock_row(action, row_id)
    arguments: dict[str, Any] = {
        "is_new": is_new,
        # An approval is refused if the row was edited since: the request may not fit any more.
        "seen": _fingerprint(current),
        "values": _changed_values(values, current),
        "routes": {
            route_id: changed
            for route_id, route in (routes or {}).items()
            if (changed := _changed_values(route, (current or {}).get("routes", {}).get(route_id)))
        },
    }
    arguments["told"] = _describe_changes(row_id, current, _edited(current, arguments))
    return perform_or_request_approval(
        action, staff_action, subject_id=row_id, arguments=arguments, durable=False
    )


def _changed_values(values: Row, current: Row | None) -> Row:
    if current is None:
        return values
    return {name: value for name, value in values.items() if value != current[name]}


# --- Rows as JSON ---------------------------------------------------------------------------------

_MODELS: dict[AdminAction, type[models.Model]] = {
    AdminAction.EDIT_PRODUCT: Product,
    AdminAction.EDIT_MODEL: GenerationModel,
    AdminAction.EDIT_THEME: Theme,
}


# A route keeps its model; toggle_model and toggle_route put rows on sale.
_EXCLUDED_FIELDS: dict[type[models.Model], tuple[str, ...]] = {
    GenerationModel: ("is_available",),
    ProviderRoute: ("is_enabled", "model"),
}


def _as_json(model: type[models.Model], values: Row) -> Row:
    return {
        field.name: _value_as_json(field, values[field.name])
        for field in model._meta.concrete_fields
        if field.name in values
    }


def _value_as_json(field: models.Field[Any, Any], value: Any) -> Any:
    if isinstance(field, models.ForeignKey):
        return str(getattr(value, "pk", value))
    if isinstance(field, models.DecimalField) and value is not None:
        # As the database stores it: 0.4 equals 0.4000.
        return f"{Decimal(value):.{field.decimal_places}f}"
    return value


def _row_as_json(row: models.Model) -> Row:
    names = [
        field.name
        for field in row._meta.concrete_fields
        if field.editable and field.name not in _EXCLUDED_FIELDS.get(type(row), ())
    ]
    values = {name: getattr(row, row._meta.get_field(name).attname) for name in names}  # type: ignore[union-attr]
    return _as_json(type(row), values)


def _lock_row(action: AdminAction, row_id: UUID) -> Row:
    """The row as JSON, locked until the transaction ends. Raises NotFound."""
    rows = _MODELS[action]._default_manager.select_for_update(no_key=True)
    row = rows.filter(pk=row_id).first()
    if row is None:
        raise NotFound
    values = _row_as_json(row)
    if isinstance(row, GenerationModel):
        routes = (
            ProviderRoute.objects.select_for_update(no_key=True).filter(model=row).order_by("id")
        )
        values["routes"] = {str(route.id): _row_as_json(route) for route in routes}
    return values


def _fingerprint(row: Row | None) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


# --- Credit impact --------------------------------------------------------------------------------


def _impact(
    action: AdminAction, approval_reasons: Callable[[Row | None, Row], list[str]]
) -> Callable[[ActionRequest], CreditImpact]:
    def impact(request: ActionRequest) -> CreditImpact:
        before = None if request.arguments["is_new"] else _lock_row(action, request.subject)
        if _fingerprint(before) != request.arguments["seen"]:
            raise InvalidState(
                problem="The row was edited since. Decline the request and make a new one."
            )
        after = _edited(before, request.arguments)
        _check_bounds(action, after)
        baseline = before and (find_approved_baseline(request.subject) or before)
        return CreditImpact(approval_reason=" ".join(approval_reasons(baseline, after)))

    return impact


def _edited(before: Row | None, arguments: dict[str, Any]) -> Row:
    after = {**(before or {}), **arguments["values"]}
    if arguments["routes"] or "routes" in after:
        after["routes"] = dict(after.get("routes", {}))
        for route_id, values in arguments["routes"].items():
            after["routes"][route_id] = {**after["routes"].get(route_id, {}), **values}
    return after


def find_approved_baseline(row_id: UUID) -> Row | None:
    """The row as last approved by a second person, else before its first edit in the audit log.
    None if the row was never edited."""
    entries = AuditLogEntry.objects.filter(subject_id=row_id)
    approved = entries.filter(action=AdminAction.APPROVE, after__has_key="row").order_by("-at")
    if found := approved.values_list("after", flat=True).first():
        return cast("Row", found["row"])
    edited = entries.filter(action__in=_MODELS, before__has_key="row").order_by("at")
    first = edited.values_list("before", flat=True).first()
    return cast("Row", first["row"]) if first else None


def _check_bounds(action: AdminAction, after: Row) -> None:
    """Raises InvalidInput beyond the bounds that even two people may not exceed."""
    if action == AdminAction.EDIT_PRODUCT:
        _check_between("credits", after["credits"], 1, catalogue_limits.MAX_PRODUCT_CREDITS)
    if action == AdminAction.EDIT_MODEL:
        price = Decimal(after["base_price_usd"])
        _check_between(
            "base_price_usd", price, catalogue_limits.MIN_PRICE_USD, catalogue_limits.MAX_PRICE_USD
        )


def _check_between(name: str, value: Any, least: Any, most: Any) -> None:
    if not least <= value <= most:
        raise InvalidInput(fields={name: [f"{name}: must be from {least} to {most}."]})


# --- Changes --------------------------------------------------------------------------------------


def _perform(action: AdminAction) -> Callable[[ActionRequest, StaffAction], ActionResult]:
    def perform(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
        arguments = request.arguments
        is_new = arguments["is_new"]
        before = {} if is_new else {"row": _lock_row(action, request.subject)}
        row = _MODELS[action](pk=request.subject)
        if not is_new:
            row = _MODELS[action]._default_manager.get(pk=request.subject)
        elif isinstance(row, GenerationModel):
            row.is_available = False
        try:
            _save(row, arguments["values"])
            if isinstance(row, GenerationModel):
                _save_routes(row, arguments["routes"])
        except ValidationError as error:
            raise InvalidState(problem=" ".join(error.messages)) from None
        _on_saved(row, request)
        return ActionResult(
            request.subject, before, {"row": _lock_row(action, request.subject)}, row
        )

    return perform


def _save(row: models.Model, values: Row) -> None:
    """Raises ValidationError for values that the database would refuse."""
    for name, value in values.items():
        field = row._meta.get_field(name)
        assert isinstance(field, models.Field)  # noqa: S101 (all names are columns)
        setattr(row, field.attname, field.to_python(value))
    row.full_clean(exclude=["id"])
    if row._state.adding:
        row.save(force_insert=True)
    elif values:
        row.save(update_fields=[*values])


def _save_routes(model: GenerationModel, routes: dict[str, Row]) -> None:
    """A new route of a model on sale is disabled until a member of staff enables it."""
    for route_id, values in routes.items():
        route = ProviderRoute.objects.filter(id=route_id, model=model).first()
        if route is None:
            route = ProviderRoute(id=route_id, model=model, is_enabled=not model.is_available)
        _save(route, values)


def _on_saved(row: models.Model, request: ActionRequest) -> None:
    if isinstance(row, Product):
        billing_services.on_product_saved(row, now=request.now)
    else:
        transaction.on_commit(cache.invalidate)


# --- Details for the second person ----------------------------------------------------------------


def _describe_changes(row_id: UUID, current: Row | None, after: Row) -> list[tuple[str, str]]:
    """(name, "old → new") of each field that differs from the approved baseline. This includes the
    changes that one person has made alone since then."""
    baseline = (current and find_approved_baseline(row_id)) or current or {}
    changes = _compare(baseline, after)
    for route_id, route in after.get("routes", {}).items():
        name = f"Route {route['provider']}: "
        changes += _compare(baseline.get("routes", {}).get(route_id, {}), route, name)
    return changes


def _compare(baseline: Row, after: Row, prefix: str = "") -> list[tuple[str, str]]:
    return [
        (
            f"{prefix}{name}",
            f"{_as_text(baseline.get(name))} → {_as_text(value)}" if baseline else _as_text(value),
        )
        for name, value in after.items()
        if name != "routes" and (not baseline or baseline.get(name) != value)
    ]


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _details(approval: PendingApproval) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in approval.arguments["told"]]


def _no_approval(baseline: Row | None, after: Row) -> list[str]:
    return []


for _action, _reasons in (
    (AdminAction.EDIT_PRODUCT, catalogue_limits.product_approval_reasons),
    (AdminAction.EDIT_MODEL, catalogue_limits.model_approval_reasons),
    (AdminAction.EDIT_THEME, _no_approval),
):
    approvals.register(
        _action, ActionHandler(_impact(_action, _reasons), _perform(_action), _details)
    )
