"""Users, devices, sessions, Apple's identities and pushes.

Only accounts.services and accounts.push write here.
"""

from __future__ import annotations

from accounts.models.apple import AppleIdentity, AppleRevocation, UsedToken
from accounts.models.devices import AttestedKey, Device
from accounts.models.hardware import BanBit
from accounts.models.push import (
    MAX_TOKEN,
    ApnsEnvironment,
    Platform,
    ProviderToken,
    Push,
    PushKind,
    PushOutcome,
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
    "PersonKey",
    "Platform",
    "ProviderToken",
    "Push",
    "PushKind",
    "PushOutcome",
    "PushToken",
    "RevokedReason",
    "Session",
    "ThemePreference",
    "Tier",
    "UsedToken",
    "User",
    "WelcomeClaim",
    "WelcomeClaimQuerySet",
    "WelcomeTurn",
]
