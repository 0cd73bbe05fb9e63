"""Descriptions of operations for /openapi.json: request, response and refusals.

Each app has a table of them in its `openapi.py`, apart from the views. rendio.openapi adds what is
common to all operations: authentication, limits, the error envelope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from rendio.common.errors import Refusal
from rendio.common.web.api import CURSOR, DEFAULT_LIMIT, MAX_LIMIT, ApiView
from rendio.common.web.body import Body

JSON = "application/json"


class Tag(StrEnum):
    IDENTITY = "Identity"
    CREDITS = "Credits and purchases"
    CATALOGUE = "Catalogue"
    GENERATION = "Generation"
    TRAINING = "Training"
    SUPPORT = "Support"
    WEBHOOKS = "Webhooks"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation. `response` and `body` are serializers (`body` also a `Body`), or JSON schemas
    where no serializer describes them. `request_example` and `response_example` are those of the
    sandbox's customer."""

    tag: Tag
    # The name in generated clients; made from the path if empty.
    id: str = ""
    summary: str
    text: str = ""
    response: type[serializers.Serializer] | dict[str, Any]
    response_example: Any
    status: int = 200
    media_type: str = JSON
    body: type[serializers.Serializer] | type[Body] | dict[str, Any] | None = None
    body_type: str = JSON
    request_example: Any = None
    parameters: tuple[OpenApiParameter, ...] = ()
    # Response headers: name → description.
    headers: Mapping[str, str] = field(default_factory=dict)
    # Further statuses that are not refusals: status → description.
    other_statuses: Mapping[int, str] = field(default_factory=dict)
    # In addition to the codes that every operation of its kind can return.
    refusals: tuple[type[Refusal], ...] = ()


Operations = dict[type[ApiView], Operation]


class Done(serializers.Serializer):
    success = serializers.ChoiceField(choices=[True])


SUCCESS = {"success": True}


def query(name: str, type_: Any, text: str, *, required: bool = False, **more: Any) -> Any:
    """A query parameter."""
    return OpenApiParameter(name, type_, description=text, required=required, **more)


PAGE = (
    query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        "Maximum number of rows.",
    ),
    query(
        "offset",
        {"type": "integer", "minimum": 0, "maximum": 100_000, "default": 0},
        "Number of rows to skip, counted from the cursor if there is one.",
    ),
    query(
        "cursor",
        {"type": "string", "pattern": f"^({CURSOR})?$"},
        "The `next_cursor` of the previous page. New rows do not shift the pages. Empty: the first "
        "page.",
    ),
)
JOB_ID = query("job_id", OpenApiTypes.UUID, "One of the caller's jobs.", required=True)


def idempotency_key(*, required: bool) -> Any:
    return OpenApiParameter(
        "Idempotency-Key",
        OpenApiTypes.UUID,
        OpenApiParameter.HEADER,
        required=required,
        description="A new key for each order or purchase, the same key for each retry. For 24 "
        "hours the same request gets the first response again.",
    )


REPLAYED = {"X-Idempotent-Replay": "`true` if this is the response of an earlier attempt."}
