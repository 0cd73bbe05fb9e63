"""What the sandbox has to know of the app that it serves, from the variables that the app reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServedApp:
    bundle_id: str
    """Whom Apple's tokens are made out to."""
    app_apple_id: int
    """Its number in the App Store."""
    public_url: str
    """Where its webhooks are, without a slash at the end."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ServedApp":
        """With the same defaults as the app's settings have in development."""
        client_id, _, _ = environment.get("APPLE_CLIENT_IDS", "").partition(",")
        return cls(
            bundle_id=environment.get("APPSTORE_BUNDLE_ID") or client_id or "com.rendio.app",
            app_apple_id=int(environment.get("APPSTORE_APP_ID") or 1_234_567_890),
            public_url=(environment.get("PUBLIC_URL") or "http://127.0.0.1:8000").rstrip("/"),
        )


def find_keys_folder(environment: Mapping[str, str]) -> Path | None:
    """Where the keys are kept that outlive a restart; None keeps them in memory."""
    folder = environment.get("SANDBOX_KEYS_FOLDER")
    return Path(folder) if folder else None
