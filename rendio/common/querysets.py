"""Querysets of rows that belong to a user."""

from __future__ import annotations

from typing import Self, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)


class OwnedQuerySet(QuerySet[Row]):
    """For models with the field `user`."""

    def owned_by(self, user_id: UUID) -> Self:
        """The user's own rows. Another user's row is not found, so that asking for it is a 404."""
        return self.filter(user_id=user_id)
