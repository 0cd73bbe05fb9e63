"""Request bodies that code parses field by field.

A body states each field once: the parser and the description in /openapi.json follow from it.
Orders are parsed this way because their fields depend on each other, and for speed: 19 µs of
processor time, pricing included, where the validation by a serializer alone takes 159.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from rendio.common.web.api import parse_uuid
from rendio.common.web.fields import TextUUIDField

UUID_PATTERN = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

T = TypeVar("T")


class BodyField(Generic[T]):
    """One field of a `Body`.

    `read` takes the raw value, None if the field is missing, and the field's name. It returns the
    parsed value or raises a Refusal. `description` is a serializer field for /openapi.json.
    """

    name: str

    def __init__(self, read: Callable[[Any, str], T], description: serializers.Field) -> None:
        self._read = read
        self.description = description

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def parse(self, body: dict[str, Any]) -> T:
        """The value in this body. Raises as `read`."""
        return self._read(body.get(self.name), self.name)


class Body:
    """Base class of bodies. The attributes are the fields; other fields of a call are ignored."""

    @classmethod
    @cache
    def serializer(cls) -> type[serializers.Serializer]:
        """A serializer that describes the body. It does not validate."""
        fields = {
            name: field.description
            for base in reversed(cls.__mro__)
            for name, field in vars(base).items()
            if isinstance(field, BodyField)
        }
        return type(cls.__name__, (serializers.Serializer,), fields)


@extend_schema_field({"type": "string", "pattern": f"^({UUID_PATTERN})?$"})
class _OptionalUUIDField(serializers.UUIDField):
    pass


def required_id() -> BodyField[UUID]:
    """A UUID. Raises InvalidInput if the field is missing."""
    return BodyField(parse_uuid, TextUUIDField())


def optional_id(help_text: str = "") -> BodyField[UUID | None]:
    """A UUID that may be omitted; null and "" count as omitted. Raises InvalidInput."""
    text = " ".join(filter(None, [help_text, "An empty value counts as omitted."]))
    return BodyField(
        _read_optional_id, _OptionalUUIDField(required=False, allow_null=True, help_text=text)
    )


def _read_optional_id(value: Any, name: str) -> UUID | None:
    return None if value in (None, "") else parse_uuid(value, name)


class JobIdBody(Body):
    job_id = required_id()
