"""What the sandbox has to know of the app that it serves."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ServedApp:
    bundle_id: str
    """Whom Apple's tokens are made out to."""
    public_url: str
    """Where its webhooks are, without a slash at the end."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "ServedApp":
        return cls(
            bundle_id=environment.get("APPLE_BUNDLE_ID") or "com.rendio.app",
            public_url=(environment.get("PUBLIC_URL") or "http://127.0.0.1:8000").rstrip("/"),
        )
