"""Who people are, and what their phones are told.

Only accounts.services and accounts.push write here.
"""

from __future__ import annotations

from accounts.models.apple import AppleIdentity, AppleRevocation, SpentToken
from accounts.models.devices import AttestedKey, Device
from accounts.models.hardware import BanBit
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
from accounts.models.related_users import PersonKey
from accounts.models.sessions import RevokedReason, Session
from accounts.models.users import Consent, ConsentKind, Language, ThemePreference, Tier, User
from accounts.models.welcome import WelcomeClaim, WelcomeClaimQuerySet, WelcomeTurn

__all__ = [
    "MAX_TOKEN",
    "ApnsEnvironment",
    "AppleIdentity",
    "AppleRevocation",
    "AttestedKey",
    "BanBit",
    "Consent",
    "ConsentKind",
    "Device",
    "Language",
    "Outcome",
    "PersonKey",
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
    "WelcomeTurn",
]
