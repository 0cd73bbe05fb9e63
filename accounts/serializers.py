"""Bodies in, bodies out. Fields that we do not know are left alone."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from uuid import UUID

from rest_framework import serializers

from accounts.models import Consent, ConsentKind, Device, Language, Session, ThemePreference
from accounts.queries import CurrentConsent, Profile
from accounts.services import IssuedSession
from rendio.common.fields import StrictCharField, TextUUIDField
from rendio.common.times import iso

MAX_DEVICE_TOKEN = 8192
MAX_IDENTITY_TOKEN = 16_384
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


class DeviceCheckBody(serializers.Serializer):
    device_id = TextUUIDField()
    device_token = StrictCharField(max_length=MAX_DEVICE_TOKEN)

    def validate_device_token(self, value: str) -> str:
        """As Apple wants it: base64. Phones send base64url too, and leave the padding away."""
        if not _BASE64.fullmatch(value):
            raise serializers.ValidationError("Must be base64 or base64url.")
        token = value.rstrip("=").replace("-", "+").replace("_", "/")
        return token + "=" * (-len(token) % 4)


class RefreshTokenBody(serializers.Serializer):
    refresh_token = StrictCharField(max_length=512)


class SessionIdBody(serializers.Serializer):
    session_id = TextUUIDField()


class SignInBody(serializers.Serializer):
    identity_token = StrictCharField(max_length=MAX_IDENTITY_TOKEN)
    # As it was written: the SHA-256 is over exactly this.
    nonce = StrictCharField(max_length=255, trim_whitespace=False)
    authorization_code = StrictCharField(max_length=1024, required=False, allow_null=True)


class AppleNoticeBody(serializers.Serializer):
    payload = StrictCharField(max_length=MAX_IDENTITY_TOKEN)


class ProfileBody(serializers.Serializer):
    language = serializers.ChoiceField(choices=Language.choices, required=False)
    theme_preference = serializers.ChoiceField(choices=ThemePreference.choices, required=False)
    tos_version = StrictCharField(max_length=32, required=False)


class StrictBooleanField(serializers.BooleanField):
    """true or false; REST framework's own also takes "yes", 1 and more."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class ConsentBody(serializers.Serializer):
    kind = serializers.ChoiceField(choices=ConsentKind.choices)
    version = StrictCharField(max_length=32)
    granted = StrictBooleanField(default=True)
    providers = serializers.ListField(
        child=StrictCharField(max_length=20), max_length=20, default=list
    )


def session_json(session: IssuedSession) -> dict[str, Any]:
    return {
        "access_token": session.access_token,
        "refresh_token": session.refresh_token,
        "token_type": "bearer",
        "expires_in": session.expires_in_seconds,
    }


def session_in_list(session: Session, *, current_id: UUID) -> dict[str, Any]:
    return {
        "session_id": session.id,
        "device_id": session.device_id,
        "created_at": iso(session.created_at),
        "last_used_at": iso(session.last_used_at),
        "expires_at": iso(session.expires_at),
        "current": session.id == current_id,
    }


def device_in_list(device: Device) -> dict[str, Any]:
    return {
        "device_id": device.device_id,
        "created_at": iso(device.created_at),
        "last_seen_at": iso(device.last_seen_at),
    }


def profile_json(profile: Profile, *, now: datetime) -> dict[str, Any]:
    user = profile.user
    return {
        "id": user.id,
        "email": user.email,
        "is_guest": user.is_guest,
        "tier": user.tier_at(now),
        "credits_remaining": profile.balance.balance,
        "credits_total": profile.balance.lifetime_total,
        "initial_grant_claimed": user.welcomed_at is not None,
        "language": user.language,
        "theme_preference": user.theme_preference,
        "is_admin": user.is_staff,
        "tos_version": user.tos_version,
        "created_at": iso(user.created_at),
        "updated_at": iso(user.updated_at),
    }


def consent_json(consent: CurrentConsent) -> dict[str, Any]:
    """`history` has each record as it was made, newest first."""
    current = consent_record_json(consent.latest) | {
        "granted": consent.is_granted,
        "providers": consent.providers,
    }
    return current | {"history": [consent_record_json(record) for record in consent.history]}


def consent_record_json(record: Consent) -> dict[str, Any]:
    return {
        "kind": record.kind,
        "version": record.version,
        "granted": record.granted,
        "providers": record.providers,
        "recorded_at": iso(record.recorded_at),
    }
