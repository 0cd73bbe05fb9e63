"""What a signed JSON of three parts says, whoever signed it."""

import base64
import json
from typing import Any


def read_unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, each empty where it cannot be read. Anyone may have written them."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}, {}
    return _decoded(parts[0]), _decoded(parts[1])


def is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _decoded(part: str) -> dict[str, Any]:
    try:
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
