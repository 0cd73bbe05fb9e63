"""The staff's pages, by topic. Money and jobs can only be looked at; buttons call the services."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

from adminops.admin import (
    billing,
    catalogue,
    codes,
    fraud,
    jobs,
    moderation,
    money,
    operations,
    people,
    record,
    refunds,
    refusals,
    subscriptions,
)

__all__ = [
    "billing",
    "catalogue",
    "codes",
    "environment_label",
    "fraud",
    "jobs",
    "moderation",
    "money",
    "operations",
    "people",
    "record",
    "refunds",
    "refusals",
    "subscriptions",
]


def environment_label(request: HttpRequest) -> list[str]:
    """The ribbon at the top: where one is, and how much care that asks for."""
    return ["Production", "danger"] if settings.PRODUCTION else ["Development", "info"]
