"""The served app's settings that the sandbox needs, read from the same environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServedApp:
    bundle_id: str
    """The audience of Apple's tokens."""
    app_apple_id: int
    """The app's numeric id in the App Store."""
    public_url: str
    """The app's base URL for webhooks, without a trailing slash."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ServedApp":
        """Uses the same defaults as the app's settings in development."""
        client_id, _, _ = environment.get("APPLE_CLIENT_IDS", "").partition(",")
        return cls(
            bundle_id=environment.get("APPSTORE_BUNDLE_ID") or client_id or "com.rendio.app",
            app_apple_id=int(environment.get("APPSTORE_APP_ID") or 1_234_567_890),
            public_url=(environment.get("PUBLIC_URL") or "http://127.0.0.1:8000").rstrip("/"),
        )


def find_keys_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the folder for keys that survive a restart. None: keys are in memory."""
    folder = environment.get("SANDBOX_KEYS_FOLDER")
    return Path(folder) if folder else None
