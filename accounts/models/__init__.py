"""Who people are, and what their phones are told.

Only accounts.services and accounts.push write here.
"""

from __future__ import annotations

from accounts.models.people import (
    AppleIdentity,
    AppleRevocation,
    AttestedKey,
    Consent,
    ConsentKind,
    Device,
    Language,
    RevokedReason,
    Session,
    SpentToken,
    ThemePreference,
    Tier,
    User,
    WelcomeClaim,
    WelcomeClaimQuerySet,
)
from accounts.models.push import (
    MAX_TOKEN,
    ApnsEnvironment,
    Outcome,
    Platform,
    ProviderToken,
    Push,
    PushKind,
    PushToken,
)

__all__ = [
    "MAX_TOKEN",
    "ApnsEnvironment",
    "AppleIdentity",
    "AppleRevocation",
    "AttestedKey",
    "Consent",
    "ConsentKind",
    "Device",
    "Language",
    "Outcome",
    "Platform",
    "ProviderToken",
    "Push",
    "PushKind",
    "PushToken",
    "RevokedReason",
    "Session",
    "SpentToken",
    "ThemePreference",
    "Tier",
    "User",
    "WelcomeClaim",
    "WelcomeClaimQuerySet",
]
