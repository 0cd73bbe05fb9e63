"""Rows that belong to a user: the one way to what a caller may see of them."""

from __future__ import annotations

from typing import Self, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)


class OwnedQuerySet(QuerySet[Row]):
    """Of a model with the field `user`."""

    def owned_by(self, user_id: UUID) -> Self:
        """The user's own: a stranger's is not there, so that asking for it is a 404."""
        return self.filter(user_id=user_id)
