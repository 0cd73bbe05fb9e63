"""Request bodies and responses. Unknown fields of a body are ignored."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework import serializers

from accounts import queries
from accounts.installations import is_public_id
from accounts.models import (
    MAX_TOKEN,
    ApnsEnvironment,
    Consent,
    ConsentKind,
    Device,
    Language,
    Platform,
    Session,
    ThemePreference,
    Tier,
)
from accounts.services import AssertedCall, CheckedDevice, IssuedSession, SignedIn
from rendio.common.times import iso
from rendio.common.web.fields import StrictBooleanField, StrictCharField, TextUUIDField

MAX_DEVICE_TOKEN = 8192
MAX_IDENTITY_TOKEN = 16_384
# Apple's have some 7,500 and 250 characters.
MAX_ATTESTATION, MAX_ASSERTION = 16_384, 4096
KEY_ID_BYTES = 32
PUBLIC_ID_HELP = "A short id that stands for the device. The device_id itself is not shown."
# 32 bytes now; Apple says that the length may change.
_APNS_TOKEN = re.compile(r"(?:[0-9a-f]{2}){32,100}")
_ANY_TOKEN = re.compile(r"[!-~]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


class Base64Field(StrictCharField):
    """Bytes in base64 or base64url, with or without padding; exactly `size_bytes` if given."""

    def __init__(self, *, size_bytes: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size_bytes = size_bytes

    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        if not _BASE64.fullmatch(text):
            raise serializers.ValidationError(_("Must be base64 or base64url."))
        bare = text.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            value = base64.b64decode(bare + "=" * (-len(bare) % 4))
        except ValueError:
            raise serializers.ValidationError(_("Must be base64 or base64url.")) from None
        if self.size_bytes not in (None, len(value)):
            problem = _("Must be %(size)s bytes long.") % {"size": self.size_bytes}
            raise serializers.ValidationError(problem)
        return value


class InstallationSecretField(StrictCharField):
    """A secret that the app generates once for its installation."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_length=32, max_length=128, trim_whitespace=False, **kwargs)


class DeviceIdBody(serializers.Serializer):
    device_id = TextUUIDField()


class ListedDeviceBody(serializers.Serializer):
    """A device by its public id or by its own UUID."""

    device_id = StrictCharField(max_length=36)

    def validate_device_id(self, value: str) -> UUID | str:
        return value if is_public_id(value) else TextUUIDField().to_internal_value(value)


class AttestBody(serializers.Serializer):
    device_id = TextUUIDField()
    installation_secret = InstallationSecretField()
    key_id = Base64Field(max_length=64, size_bytes=KEY_ID_BYTES)
    challenge = StrictCharField(max_length=512)
    attestation = Base64Field(max_length=MAX_ATTESTATION)


class AssertionBody(serializers.Serializer):
    key_id = Base64Field(max_length=64, size_bytes=KEY_ID_BYTES)
    challenge = StrictCharField(max_length=512)
    assertion = Base64Field(max_length=MAX_ASSERTION)


class DeviceCheckBody(serializers.Serializer):
    device_id = TextUUIDField()
    device_token = Base64Field(max_length=MAX_DEVICE_TOKEN)
    installation_secret = InstallationSecretField()
    app_attest = AssertionBody(required=False, allow_null=True, default=None)

    def validate_device_token(self, value: bytes) -> str:
        """The token in canonical base64: it identifies hardware."""
        return base64.b64encode(value).decode()

    def validate_app_attest(self, value: dict[str, Any] | None) -> AssertedCall | None:
        return AssertedCall(**value) if value else None


class RefreshTokenBody(serializers.Serializer):
    refresh_token = StrictCharField(max_length=512)


class SessionIdBody(serializers.Serializer):
    session_id = TextUUIDField()


class SignInBody(serializers.Serializer):
    identity_token = StrictCharField(max_length=MAX_IDENTITY_TOKEN)
    # Unchanged: the SHA-256 is over exactly this text.
    nonce = StrictCharField(max_length=255, trim_whitespace=False)
    authorization_code = StrictCharField(max_length=1024, required=False, allow_null=True)


class AppleNoticeBody(serializers.Serializer):
    payload = StrictCharField(max_length=MAX_IDENTITY_TOKEN)


class ProfileBody(serializers.Serializer):
    language = serializers.ChoiceField(choices=Language.choices, required=False)
    theme_preference = serializers.ChoiceField(choices=ThemePreference.choices, required=False)
    tos_version = StrictCharField(max_length=32, required=False)


class ConsentBody(serializers.Serializer):
    kind = serializers.ChoiceField(choices=ConsentKind.choices)
    version = StrictCharField(max_length=32)
    granted = StrictBooleanField(default=True)
    providers = serializers.ListField(
        child=StrictCharField(max_length=20), max_length=20, default=list
    )


class PushTokenBody(serializers.Serializer):
    token = StrictCharField(max_length=MAX_TOKEN)
    platform = serializers.ChoiceField(choices=Platform.choices)
    environment = serializers.ChoiceField(
        choices=ApnsEnvironment.choices, default=ApnsEnvironment.PRODUCTION
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Apple's tokens in lower case, so that one token is one row."""
        if attrs["platform"] == Platform.IOS:
            attrs["token"] = attrs["token"].lower()
            if not _APNS_TOKEN.fullmatch(attrs["token"]):
                raise serializers.ValidationError({"token": [_("Must be a device token in hex.")]})
        elif not _ANY_TOKEN.fullmatch(attrs["token"]):
            raise serializers.ValidationError({"token": [_("Must be a device token.")]})
        return attrs


class PushTokenOnlyBody(serializers.Serializer):
    token = StrictCharField(max_length=MAX_TOKEN)


# --- Responses: for each, the serializer that describes it and its builder ------------------------


class SessionTokens(serializers.Serializer):
    access_token = serializers.CharField()
    refresh_token = serializers.CharField(help_text="Valid for one refresh.")
    token_type = serializers.ChoiceField(choices=["bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds.")


def session_json(session: IssuedSession) -> dict[str, Any]:
    return {
        "access_token": session.access_token,
        "refresh_token": session.refresh_token,
        "token_type": "bearer",
        "expires_in": session.expires_in_seconds,
    }


class DeviceCheckAnswer(serializers.Serializer):
    user_id = serializers.UUIDField()
    credits_remaining = serializers.IntegerField(min_value=0)
    is_new = serializers.BooleanField()
    is_guest = serializers.BooleanField()
    session = SessionTokens()


def device_check_json(checked: CheckedDevice) -> dict[str, Any]:
    return {
        "user_id": checked.user_id,
        "credits_remaining": checked.credits_remaining,
        "is_new": checked.is_new,
        "is_guest": checked.is_guest,
        "session": session_json(checked.session),
    }


class ChallengeAnswer(serializers.Serializer):
    challenge = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="Seconds.")


def challenge_json(challenge: str) -> dict[str, Any]:
    return {"challenge": challenge, "expires_in": settings.APP_ATTEST_CHALLENGE_SECONDS}


class RefreshAnswer(serializers.Serializer):
    session = SessionTokens()


def refresh_json(session: IssuedSession) -> dict[str, Any]:
    return {"session": session_json(session)}


class SignInAnswer(serializers.Serializer):
    user_id = serializers.UUIDField()
    is_guest = serializers.ChoiceField(choices=[False])
    merged = serializers.BooleanField()
    credits_remaining = serializers.IntegerField(min_value=0)
    session = SessionTokens()


def sign_in_json(signed_in: SignedIn) -> dict[str, Any]:
    return {
        "user_id": signed_in.user_id,
        "is_guest": False,
        "merged": signed_in.merged,
        "credits_remaining": signed_in.credits_remaining,
        "session": session_json(signed_in.session),
    }


class SessionInList(serializers.Serializer):
    session_id = serializers.UUIDField()
    device_id = serializers.CharField(allow_null=True, help_text=PUBLIC_ID_HELP)
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    current = serializers.BooleanField()


def session_in_list(session: Session, *, current_id: UUID) -> dict[str, Any]:
    return {
        "session_id": session.id,
        "device_id": session.device.public_id if session.device else None,
        "created_at": iso(session.created_at),
        "last_used_at": iso(session.last_used_at),
        "expires_at": iso(session.expires_at),
        "current": session.id == current_id,
    }


class SessionsAnswer(serializers.Serializer):
    sessions = SessionInList(many=True)


def sessions_json(sessions: Iterable[Session], *, current_id: UUID) -> dict[str, Any]:
    return {"sessions": [session_in_list(one, current_id=current_id) for one in sessions]}


class DeviceInList(serializers.Serializer):
    device_id = serializers.CharField(help_text=PUBLIC_ID_HELP)
    created_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()


def device_in_list(device: Device) -> dict[str, Any]:
    return {
        "device_id": device.public_id,
        "created_at": iso(device.created_at),
        "last_seen_at": iso(device.last_seen_at),
    }


class DevicesAnswer(serializers.Serializer):
    devices = DeviceInList(many=True)


def devices_json(devices: Iterable[Device]) -> dict[str, Any]:
    return {"devices": [device_in_list(device) for device in devices]}


class Profile(serializers.Serializer):
    id = serializers.UUIDField()
    email = serializers.CharField(allow_null=True)
    is_guest = serializers.BooleanField()
    tier = serializers.ChoiceField(choices=Tier.choices)
    credits_remaining = serializers.IntegerField(min_value=0)
    credits_total = serializers.IntegerField(min_value=0)
    initial_grant_claimed = serializers.BooleanField()
    language = serializers.ChoiceField(choices=Language.choices)
    theme_preference = serializers.ChoiceField(choices=ThemePreference.choices)
    is_admin = serializers.BooleanField()
    tos_version = serializers.CharField(allow_null=True, allow_blank=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


def profile_json(profile: queries.Profile, *, now: datetime) -> dict[str, Any]:
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


class ConsentRecord(serializers.Serializer):
    kind = serializers.ChoiceField(choices=ConsentKind.choices)
    version = serializers.CharField()
    granted = serializers.BooleanField()
    providers = serializers.ListField(child=serializers.CharField())
    recorded_at = serializers.DateTimeField()


def consent_record_json(record: Consent) -> dict[str, Any]:
    return {
        "kind": record.kind,
        "version": record.version,
        "granted": record.granted,
        "providers": record.providers,
        "recorded_at": iso(record.recorded_at),
    }


class CurrentConsent(ConsentRecord):
    history = ConsentRecord(many=True, help_text="All records, newest first.")


def consent_json(consent: queries.CurrentConsent) -> dict[str, Any]:
    current = consent_record_json(consent.latest) | {
        "granted": consent.is_granted,
        "providers": consent.providers,
    }
    return current | {"history": [consent_record_json(record) for record in consent.history]}


class ConsentsAnswer(serializers.Serializer):
    consents = CurrentConsent(many=True)


def consents_json(consents: Iterable[queries.CurrentConsent]) -> dict[str, Any]:
    return {"consents": [consent_json(consent) for consent in consents]}


class RecordedConsentAnswer(ConsentsAnswer):
    success = serializers.ChoiceField(choices=[True])


def recorded_consent_json(consents: Iterable[queries.CurrentConsent]) -> dict[str, Any]:
    return {"success": True, **consents_json(consents)}
