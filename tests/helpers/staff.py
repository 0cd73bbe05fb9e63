"""Staff actions, for tests that call the services of adminops/actions directly."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Model

from accounts.models import User
from adminops.actions.audit import StaffAction
from rendio.common import clock


def staff_action(
    actor: User,
    reason: str = "The video came out black",
    *,
    now: datetime | None = None,
    form_id: UUID | None = None,
) -> StaffAction:
    return StaffAction(actor, reason, now or clock.now(), form_id)


def registered_rows() -> dict[type[Model], set[Any]]:
    """The primary keys of all rows, by each model of the admin."""
    return {
        model: set(model._default_manager.values_list("pk", flat=True))
        for model in admin.site._registry
    }


def rows_to_open(model: type[Model], before: dict[type[Model], set[Any]]) -> list[Model]:
    """The rows that were made since `before`, and one of those before: a page for each kind."""
    rows = model._default_manager
    return [*rows.exclude(pk__in=before[model]), *rows.filter(pk__in=before[model])[:1]]
