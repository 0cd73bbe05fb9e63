"""Acts that edit what is sold: products, models with their routes, themes.

Each is one transaction with a record of the whole row before and after. One member of staff moves
prices, costs and credits within a margin around what two people agreed on last
(adminops.actions.catalogue_limits); more, and whatever is new, waits for a second person. What they
agreed on is the row of the last approval on record, else the row before its first edit there: small
steps do not add up to a large one.

These functions join the transaction of the page that edits (Django's admin opens one) or open
their own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Unpack, cast
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models, transaction

from adminops.actions import approvals, catalogue_limits
from adminops.actions.approvals import Effect, Intent, Kind, Stake, carry_out
from adminops.actions.audit import Who, admitted
from adminops.models import AdminAction, AuditLogEntry, PendingApproval
from billing import services as billing_services
from billing.models import Product
from generation.catalogue import cache
from generation.models import Model, Route, Theme
from rendio.common.errors import InvalidInput, InvalidState, NotFound
from rendio.common.ids import uuid7

Row = dict[str, Any]


@dataclass(frozen=True)
class RouteEdit:
    """New values of a route; `route_id` is None for a new route."""

    route_id: UUID | None
    values: Row


@transaction.atomic
def edit_product(
    *, product_id: UUID, is_new: bool, values: Row, **who: Unpack[Who]
) -> Product | PendingApproval:
    """Give a product these values, by the names of its fields. Raises Forbidden, InvalidInput,
    NotFound, InvalidState."""
    return cast(
        "Product | PendingApproval",
        _edit(AdminAction.EDIT_PRODUCT, product_id, is_new, _as_json(Product, values), {}, who),
    )


@transaction.atomic
def edit_model(
    *,
    model_id: UUID,
    is_new: bool,
    values: Row,
    routes: Iterable[RouteEdit] = (),
    **who: Unpack[Who],
) -> Model | PendingApproval:
    """Give a model and its routes these values; a new model is off sale. Raises Forbidden,
    InvalidInput, NotFound, InvalidState."""
    of_routes = {str(route.route_id or uuid7()): _as_json(Route, route.values) for route in routes}
    return cast(
        "Model | PendingApproval",
        _edit(AdminAction.EDIT_MODEL, model_id, is_new, _as_json(Model, values), of_routes, who),
    )


@transaction.atomic
def edit_theme(
    *, theme_id: UUID, is_new: bool, values: Row, **who: Unpack[Who]
) -> Theme | PendingApproval:
    """Give a theme these values. A theme has no price. Raises Forbidden, InvalidInput, NotFound,
    InvalidState."""
    return cast(
        "Theme | PendingApproval",
        _edit(AdminAction.EDIT_THEME, theme_id, is_new, _as_json(Theme, values), {}, who),
    )


def _edit(
    action: AdminAction, row_id: UUID, is_new: bool, values: Row, routes: dict[str, Row], who: Who
) -> Any:
    who = admitted(action, who)
    seen = None if is_new else _read(action, row_id)
    arguments: dict[str, Any] = {
        "is_new": is_new,
        # What is approved later is what was seen: otherwise it is asked for anew.
        "seen": _fingerprint(seen),
        "values": _differing(values, seen),
        "routes": {
            route_id: differing
            for route_id, route in routes.items()
            if (differing := _differing(route, (seen or {}).get("routes", {}).get(route_id)))
        },
    }
    arguments["told"] = _in_words(row_id, seen, _edited(seen, arguments))
    return carry_out(action, who, subject_id=row_id, arguments=arguments)


def _differing(values: Row, seen: Row | None) -> Row:
    if seen is None:
        return values
    return {name: value for name, value in values.items() if value != seen[name]}


# --- Rows as JSON ---------------------------------------------------------------------------------

_MODELS: dict[AdminAction, type[models.Model]] = {
    AdminAction.EDIT_PRODUCT: Product,
    AdminAction.EDIT_MODEL: Model,
    AdminAction.EDIT_THEME: Theme,
}


# A route keeps its model, and to put something on sale is an act of its own.
_NOT_EDITED: dict[type[models.Model], tuple[str, ...]] = {
    Model: ("is_available",),
    Route: ("is_enabled", "model"),
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
        # As the database keeps it, so that 0.4 is no change of 0.4000.
        return f"{Decimal(value):.{field.decimal_places}f}"
    return value


def _row_as_json(row: models.Model) -> Row:
    names = [
        field.name
        for field in row._meta.concrete_fields
        if field.editable and field.name not in _NOT_EDITED.get(type(row), ())
    ]
    values = {name: getattr(row, row._meta.get_field(name).attname) for name in names}  # type: ignore[union-attr]
    return _as_json(type(row), values)


def _read(action: AdminAction, row_id: UUID) -> Row:
    """The row as it is, locked until the transaction ends. Raises NotFound."""
    rows = _MODELS[action]._default_manager.select_for_update(no_key=True)
    row = rows.filter(pk=row_id).first()
    if row is None:
        raise NotFound
    read = _row_as_json(row)
    if isinstance(row, Model):
        routes = Route.objects.select_for_update(no_key=True).filter(model=row).order_by("id")
        read["routes"] = {str(route.id): _row_as_json(route) for route in routes}
    return read


def _fingerprint(row: Row | None) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


# --- What a second person decides -----------------------------------------------------------------


def _stake(action: AdminAction, reasons: Callable[[Row | None, Row], list[str]]) -> Any:
    def stake(intent: Intent) -> Stake:
        before = None if intent.arguments["is_new"] else _read(action, intent.subject)
        if _fingerprint(before) != intent.arguments["seen"]:
            raise InvalidState(
                problem="It was edited since: what was asked for may not fit any more. Decline it,"
                " and let it be asked for anew."
            )
        after = _edited(before, intent.arguments)
        _check(action, after)
        agreed = before and (agreed_on(intent.subject) or before)
        return Stake(second_person=" ".join(reasons(agreed, after)))

    return stake


def _edited(before: Row | None, arguments: dict[str, Any]) -> Row:
    after = {**(before or {}), **arguments["values"]}
    if arguments["routes"] or "routes" in after:
        after["routes"] = dict(after.get("routes", {}))
        for route_id, values in arguments["routes"].items():
            after["routes"][route_id] = {**after["routes"].get(route_id, {}), **values}
    return after


def agreed_on(row_id: UUID) -> Row | None:
    """The row as two people agreed on it last, else as it was before its first edit on record;
    None where there was no edit."""
    acts = AuditLogEntry.objects.filter(subject_id=row_id)
    approved = acts.filter(action=AdminAction.APPROVE_GRANT, after__has_key="row").order_by("-at")
    if found := approved.values_list("after", flat=True).first():
        return cast("Row", found["row"])
    edited = acts.filter(action__in=_MODELS, before__has_key="row").order_by("at")
    first = edited.values_list("before", flat=True).first()
    return cast("Row", first["row"]) if first else None


def _check(action: AdminAction, after: Row) -> None:
    """What nobody may do, not even two. Raises InvalidInput."""
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


# --- How they are done ----------------------------------------------------------------------------


def _do(action: AdminAction) -> Callable[[Intent, Who], Effect]:
    def do(intent: Intent, who: Who) -> Effect:
        arguments = intent.arguments
        is_new = arguments["is_new"]
        before = {} if is_new else {"row": _read(action, intent.subject)}
        row = _MODELS[action](pk=intent.subject)
        if not is_new:
            row = _MODELS[action]._default_manager.get(pk=intent.subject)
        elif isinstance(row, Model):
            row.is_available = False
        try:
            _save(row, arguments["values"])
            if isinstance(row, Model):
                _save_routes(row, arguments["routes"])
        except ValidationError as error:
            raise InvalidState(problem=" ".join(error.messages)) from None
        _tell_others(row, intent)
        return Effect(intent.subject, before, {"row": _read(action, intent.subject)}, row)

    return do


def _save(row: models.Model, values: Row) -> None:
    """Raises ValidationError for what the database would refuse."""
    for name, value in values.items():
        field = row._meta.get_field(name)
        assert isinstance(field, models.Field)  # noqa: S101 (all names are those of columns)
        setattr(row, field.attname, field.to_python(value))
    row.full_clean(exclude=["id"])
    if row._state.adding:
        row.save(force_insert=True)
    elif values:
        row.save(update_fields=[*values])


def _save_routes(model: Model, routes: dict[str, Row]) -> None:
    """A new route of a model that is on sale takes orders once somebody has switched it on."""
    for route_id, values in routes.items():
        route = Route.objects.filter(id=route_id, model=model).first()
        if route is None:
            route = Route(id=route_id, model=model, is_enabled=not model.is_available)
        _save(route, values)


def _tell_others(row: models.Model, intent: Intent) -> None:
    if isinstance(row, Product):
        billing_services.on_product_saved(row, now=intent.now)
    else:
        transaction.on_commit(cache.invalidate)


# --- What the second person reads -----------------------------------------------------------------


def _in_words(row_id: UUID, seen: Row | None, after: Row) -> list[tuple[str, str]]:
    """Each field, as two people agreed on it last and as it would be: also what one person has
    changed alone since."""
    agreed = (seen and agreed_on(row_id)) or seen or {}
    told = _compared(agreed, after)
    for route_id, route in after.get("routes", {}).items():
        name = f"Route {route['provider']}: "
        told += _compared(agreed.get("routes", {}).get(route_id, {}), route, name)
    return told


def _compared(agreed: Row, after: Row, prefix: str = "") -> list[tuple[str, str]]:
    return [
        (
            f"{prefix}{name}",
            f"{_told(agreed.get(name))} → {_told(value)}" if agreed else _told(value),
        )
        for name, value in after.items()
        if name != "routes" and (not agreed or agreed.get(name) != value)
    ]


def _told(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _details(approval: PendingApproval) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in approval.arguments["told"]]


def _no_reasons(agreed: Row | None, after: Row) -> list[str]:
    return []


for _action, _reasons in (
    (AdminAction.EDIT_PRODUCT, catalogue_limits.of_product),
    (AdminAction.EDIT_MODEL, catalogue_limits.of_model),
    (AdminAction.EDIT_THEME, _no_reasons),
):
    approvals.register(_action, Kind(_stake(_action, _reasons), _do(_action), _details))
