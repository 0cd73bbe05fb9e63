"""Serializer fields that accept only their own JSON type."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import serializers
from rest_framework.fields import empty

from rendio.common.text.visible_text import has_visible


class TextUUIDField(serializers.UUIDField):
    """A UUID as text; REST framework's field also accepts numbers."""

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class StrictCharField(serializers.CharField):
    """A text; REST framework's field also accepts numbers.

    A text of invisible characters only counts as blank. With `trim_whitespace=False` every
    character is kept.
    """

    def __init__(self, **kwargs: Any) -> None:
        if not kwargs.get("allow_blank"):
            kwargs.setdefault("min_length", 1)  # for the description: it is refused before that
        super().__init__(**kwargs)

    def run_validation(self, data: Any = empty) -> Any:
        is_unseen = self.trim_whitespace and isinstance(data, str) and not has_visible(data)
        return super().run_validation("" if is_unseen else data)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictIntegerField(serializers.IntegerField):
    """A whole number; REST framework's field also accepts texts."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    """true or false; REST framework's field also accepts "yes" and 1."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data
