"""JWS encoding by hand, because invalid tokens are needed that no library produces."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any


def base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def encode(
    header: Mapping[str, Any], claims: Mapping[str, Any], sign: Callable[[bytes], bytes]
) -> str:
    signed = ".".join(
        base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)
    )
    return f"{signed}.{base64url(sign(signed.encode()))}"


def decode_unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims without verification. Each is empty if it cannot be read."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}, {}
    return _decode_part(parts[0]), _decode_part(parts[1])


def is_nonempty_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _decode_part(part: str) -> dict[str, Any]:
    try:
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
