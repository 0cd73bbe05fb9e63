"""Choice of a model's routes for an order, and their order.

A route is usable if it supports the settings and leaves enough margin:

    margin = (credits x price of a credit x (1 - the store's commission) - the route's cost)
             / (credits x price of a credit x (1 - the store's commission))

A model's price is calculated for its routes of the lowest position. Routes of other positions must
keep MARGIN_FLOOR_PERCENT.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings

from generation.catalogue import cache
from generation.catalogue.orders import Order
from generation.catalogue.specs import ModelSpec, RouteSpec
from generation.errors import InMaintenance, ProviderUnavailable
from generation.models import Job, ProviderKey, TrainedModel
from generation.providers import find_provider

logger = structlog.get_logger(__name__)


def provider_keys(provider_name: str) -> list[ProviderKey]:
    """Our API keys at a provider. Empty for an unknown provider."""
    provider = find_provider(provider_name)
    return [ProviderKey(provider_name, label) for label in provider.key_labels] if provider else []


def untried_routes(job: Job) -> list[RouteSpec]:
    """Usable routes that have not failed this job yet, first choice first. None for a job whose
    trained model is deleted."""
    model = cache.find_model(job.model_id)
    if model is None:
        return []
    base_family = ""
    if job.trained_model_id:
        trained = TrainedModel.objects.usable().filter(id=job.trained_model_id).first()
        if trained is None:
            return []
        base_family = trained.base_family
    left = _usable_routes(
        model.routes,
        chosen=job.settings,
        images=model.kind.images,
        credits=job.credits,
        base_family=base_family,
    )
    tried = {UUID(route_id) for route_id in job.tried_routes}
    return _weighted_order([route for route in left if route.id not in tried], seed=job.id)


def has_other_route(job: Job, *, exclude: UUID, now: datetime) -> bool:
    """Whether a route other than `exclude` could take the job now."""
    others = [route for route in untried_routes(job) if route.id != exclude]
    return bool(others) and _wait_seconds(others, now=now) == 0


def require_available(order: Order, *, now: datetime) -> None:
    """Raises InMaintenance, and ProviderUnavailable if no available route supports the order."""
    if cache.current().availability.in_maintenance:
        raise InMaintenance
    routes = _usable_routes(
        order.model.routes,
        chosen=order.settings,
        images=order.model.kind.images,
        credits=order.price.credits,
        base_family=order.base_family,
    )
    if wait_seconds := _wait_seconds(routes, now=now):
        raise ProviderUnavailable(retry_after=wait_seconds)


def _wait_seconds(routes: Iterable[RouteSpec], *, now: datetime) -> int:
    keys = [key for route in routes for key in provider_keys(route.provider)]
    if not keys:
        return settings.BREAKER_OPEN_SECONDS
    return cache.current().availability.wait_seconds(keys, now)


def _usable_routes(
    routes: Sequence[RouteSpec],
    *,
    chosen: dict[str, Any],
    images: tuple[str, ...],
    credits: int,
    base_family: str = "",
) -> list[RouteSpec]:
    first = min((route.position for route in routes), default=0)

    def fits(route: RouteSpec) -> bool:
        return route.supports(chosen, images=images, base_family=base_family) and (
            route.position == first or margin_percent(route, chosen, credits) >= _margin_floor()
        )

    return [route for route in routes if _is_usable(route, fits)]


def _is_usable(route: RouteSpec, fits: Callable[[RouteSpec], bool]) -> bool:
    """False, and logged, for an invalid catalogue row: the other routes stay in use."""
    try:
        return fits(route)
    except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError):
        logger.exception("route_unusable", route_id=str(route.id))
        return False


def max_cost_usd(model: ModelSpec, chosen: dict[str, Any], *, credits: int) -> Decimal:
    """The highest cost of the order on any usable route, 0 without a usable route."""
    routes = _usable_routes(model.routes, chosen=chosen, images=model.kind.images, credits=credits)
    return max((route.cost(chosen) for route in routes), default=Decimal(0))


def margin_percent(route: RouteSpec, chosen: dict[str, Any], credits: int) -> Decimal:
    """Margin as a percentage of the revenue."""
    revenue = revenue_usd(credits)
    return (revenue - route.cost(chosen)) / revenue * 100


def revenue_usd(credits: int) -> Decimal:
    """The App Store's payout for these credits, after its commission."""
    commission = Decimal(settings.STORE_COMMISSION_PERCENT) / 100
    return credits * Decimal(settings.CREDIT_PRICE_USD) * (1 - commission)


def _margin_floor() -> Decimal:
    return Decimal(settings.MARGIN_FLOOR_PERCENT)


def _weighted_order(routes: list[RouteSpec], *, seed: UUID) -> list[RouteSpec]:
    """Sort by position; shuffle equal positions by weight.

    `seed` is the job's id, so a job always gets the same order. (Efraimidis and Spirakis,
    "Weighted random sampling with a reservoir".)
    """
    chance = random.Random(seed.int)  # noqa: S311
    drawn = [(route.position, -(chance.random() ** (1 / route.weight)), route) for route in routes]
    return [route for *_, route in sorted(drawn, key=lambda draw: draw[:2])]
