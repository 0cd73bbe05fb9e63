"""Descriptions of the API's account calls. Bodies and responses are in serializers.py."""

from __future__ import annotations

from accounts import api
from accounts.errors import IdentityServiceUnavailable, InvalidDevice, InvalidIdentity
from accounts.serializers import (
    AppleNoticeBody,
    AttestBody,
    ChallengeAnswer,
    ConsentBody,
    ConsentsAnswer,
    DeviceCheckAnswer,
    DeviceCheckBody,
    DeviceIdBody,
    DevicesAnswer,
    ListedDeviceBody,
    Profile,
    ProfileBody,
    PushTokenBody,
    PushTokenOnlyBody,
    RecordedConsentAnswer,
    RefreshAnswer,
    RefreshTokenBody,
    SessionIdBody,
    SessionsAnswer,
    SignInAnswer,
    SignInBody,
)
from credits.errors import AccountSuspended
from rendio.common.errors import InvalidState, NotFound, RateLimited, Unauthorized
from rendio.common.web.openapi import SUCCESS, Done, Operation, Operations, Tag

USER_ID = "3f0c1a52-5f2e-4a07-9f0e-0e0c5a1f7b11"
DEVICE_ID = "5f0c1a52-5f2e-4a07-9f0e-0e0c5a1f7b11"
INSTALLATION_SECRET = "one-of-32-characters-or-more-of-your-own"  # noqa: S105
PUBLIC_ID = "1f6a2c9be04d7358"
KEY_ID = "bNkQvZIIVOdYqbWhZjKfqQ1dA3c0l2rWQ3VbAF0sFbI="
PUSH_TOKEN = "00fc13ad" * 8
SESSION = {
    "access_token": "eyJhbGciOiJIUzI1NiIsImtpZCI6IjEifQ.eyJ9.c2lnbmVk",
    "refresh_token": "01a1fc8991ea73fa84154b583de90bfb.c2lnbmVk",
    "token_type": "bearer",
    "expires_in": 3600,
}


PROFILE = {
    "id": USER_ID,
    "email": None,
    "is_guest": True,
    "tier": "free",
    "credits_remaining": 6,
    "credits_total": 10,
    "initial_grant_claimed": True,
    "language": "en",
    "theme_preference": "system",
    "is_admin": False,
    "tos_version": "3",
    "created_at": "2026-11-21T05:17:16Z",
    "updated_at": "2026-11-21T05:17:16Z",
}
CONSENT = {
    "kind": "ai_providers",
    "version": "3",
    "granted": True,
    "providers": ["fal"],
    "recorded_at": "2026-11-21T05:17:16Z",
}
CONSENTS = {"consents": [{**CONSENT, "history": [CONSENT]}]}

OPERATIONS: Operations = {
    api.DeviceCheck: Operation(
        tag=Tag.IDENTITY,
        summary="Sign in a device",
        text="A device that Apple confirms gets its existing user or a new guest, with welcome "
        "credits unless this hardware had them before. The app generates `installation_secret` "
        "once and keeps it in the Keychain. The first check stores a keyed hash of the secret; "
        "later checks need the same secret. Otherwise `details.problem` is "
        "`installation_unproven`, and the app registers a new installation with another "
        "`device_id`. A `device_id` of an earlier release has no secret: send the access token of "
        "its session in `Authorization` to store one.",
        body=DeviceCheckBody,
        request_example={
            "device_id": DEVICE_ID,
            "device_token": "c2FuZGJveC1yZWFkbWU=",
            "installation_secret": INSTALLATION_SECRET,
        },
        response=DeviceCheckAnswer,
        response_example={
            "user_id": USER_ID,
            "credits_remaining": 10,
            "is_new": True,
            "is_guest": True,
            "session": SESSION,
        },
        refusals=(
            Unauthorized,
            InvalidDevice,
            AccountSuspended,
            IdentityServiceUnavailable,
        ),
    ),
    api.AttestChallenge: Operation(
        tag=Tag.IDENTITY,
        summary="Get a challenge for App Attest",
        body=DeviceIdBody,
        request_example={"device_id": DEVICE_ID},
        response=ChallengeAnswer,
        response_example={"challenge": "eyJkZXZpY2UiOi4uLn0:1tMx2b:c2lnbmVk", "expires_in": 300},
        refusals=(IdentityServiceUnavailable,),
    ),
    api.AttestDevice: Operation(
        tag=Tag.IDENTITY,
        summary="Attest a device's key",
        text="The key is valid for device checks with the same `installation_secret`.",
        body=AttestBody,
        request_example={
            "device_id": DEVICE_ID,
            "installation_secret": INSTALLATION_SECRET,
            "key_id": KEY_ID,
            "challenge": "eyJkZXZpY2UiOi4uLn0:1tMx2b:c2lnbmVk",
            "attestation": "o2NmbXRvYXBwbGUtYXBwYXR0ZXN0",
        },
        response=Done,
        response_example=SUCCESS,
        refusals=(InvalidDevice, IdentityServiceUnavailable),
    ),
    api.Refresh: Operation(
        tag=Tag.IDENTITY,
        summary="Refresh the tokens of a session",
        text="Each refresh token is valid once. The previous one is accepted for 30 more seconds, "
        "in case the response was lost. Any other reuse ends the session.",
        body=RefreshTokenBody,
        request_example={"refresh_token": SESSION["refresh_token"]},
        response=RefreshAnswer,
        response_example={"session": SESSION},
        refusals=(Unauthorized, AccountSuspended),
    ),
    api.Logout: Operation(
        tag=Tag.IDENTITY,
        summary="End the session of a refresh token",
        body=RefreshTokenBody,
        request_example={"refresh_token": SESSION["refresh_token"]},
        response=Done,
        response_example=SUCCESS,
    ),
    api.SignInWithApple: Operation(
        tag=Tag.IDENTITY,
        summary="Sign in with Apple",
        text="The guest becomes an account, or is merged into the existing account. `nonce` is the "
        "raw value; Apple got its SHA-256 in hex.",
        body=SignInBody,
        request_example={
            "identity_token": "eyJraWQiOiIxIiwiYWxnIjoiUlMyNTYifQ.eyJ9.c2lnbmVk",
            "nonce": "a-random-text-of-the-app",
            "authorization_code": "c1f2.0.mrxq.abc",
        },
        response=SignInAnswer,
        response_example={
            "user_id": USER_ID,
            "is_guest": False,
            "merged": False,
            "credits_remaining": 10,
            "session": SESSION,
        },
        refusals=(
            InvalidIdentity,
            AccountSuspended,
            InvalidState,
            IdentityServiceUnavailable,
        ),
    ),
    api.AppleAccountEvent: Operation(
        tag=Tag.WEBHOOKS,
        summary="Receive events about Apple accounts",
        text="Called by Apple: consent withdrawn, account deleted, mail relay changed.",
        body=AppleNoticeBody,
        body_type="*/*",
        request_example={"payload": "eyJraWQiOiIxIiwiYWxnIjoiUlMyNTYifQ.eyJ9.c2lnbmVk"},
        response=Done,
        response_example=SUCCESS,
        refusals=(Unauthorized, RateLimited, IdentityServiceUnavailable),
    ),
    api.GetSessions: Operation(
        tag=Tag.IDENTITY,
        summary="List the user's sessions",
        response=SessionsAnswer,
        response_example={
            "sessions": [
                {
                    "session_id": "7f0c1a52-5f2e-4a07-9f0e-0e0c5a1f7b11",
                    "device_id": PUBLIC_ID,
                    "created_at": "2026-11-21T05:17:16Z",
                    "last_used_at": "2026-11-21T05:17:16Z",
                    "expires_at": "2027-01-20T05:17:16Z",
                    "current": True,
                }
            ]
        },
    ),
    api.RevokeSession: Operation(
        tag=Tag.IDENTITY,
        summary="End one of the user's sessions",
        body=SessionIdBody,
        request_example={"session_id": "7f0c1a52-5f2e-4a07-9f0e-0e0c5a1f7b11"},
        response=Done,
        response_example=SUCCESS,
        refusals=(NotFound,),
    ),
    api.GetDevices: Operation(
        tag=Tag.IDENTITY,
        summary="List the user's devices",
        response=DevicesAnswer,
        response_example={
            "devices": [
                {
                    "device_id": PUBLIC_ID,
                    "created_at": "2026-11-21T05:17:16Z",
                    "last_seen_at": "2026-11-21T05:17:16Z",
                }
            ]
        },
    ),
    api.RevokeDevice: Operation(
        tag=Tag.IDENTITY,
        summary="Unlink one of the user's devices",
        text="Takes the `device_id` from the list of devices, or the device's own id.",
        body=ListedDeviceBody,
        request_example={"device_id": PUBLIC_ID},
        response=Done,
        response_example=SUCCESS,
        refusals=(NotFound,),
    ),
    api.RegisterPushToken: Operation(
        tag=Tag.IDENTITY,
        summary="Register this phone for push notifications",
        text="Call it at each start of the app, as Apple advises. A phone gets the pushes of the "
        "user who registered it last, until the session ends. iPhones get a push when a job "
        "completes, fails and is refunded, completes after its refund, or when support returns "
        "credits. `kind` (`job_completed`, `job_failed`, `job_late`, `credits_returned`) and "
        "`job_id` are beside `aps`. Android tokens are stored, but get no pushes. `environment` is "
        "Apple's: `sandbox` for builds from Xcode.",
        body=PushTokenBody,
        request_example={"token": PUSH_TOKEN, "platform": "ios", "environment": "production"},
        response=Done,
        response_example=SUCCESS,
    ),
    api.UnregisterPushToken: Operation(
        tag=Tag.IDENTITY,
        summary="Unregister this phone from push notifications",
        text="Succeeds for an unregistered phone too.",
        body=PushTokenOnlyBody,
        request_example={"token": PUSH_TOKEN},
        response=Done,
        response_example=SUCCESS,
    ),
    api.GetProfile: Operation(
        tag=Tag.IDENTITY, summary="Get the profile", response=Profile, response_example=PROFILE
    ),
    api.UpdateProfile: Operation(
        tag=Tag.IDENTITY,
        summary="Update the profile",
        body=ProfileBody,
        request_example={"language": "tr", "tos_version": "3"},
        response=Profile,
        response_example={**PROFILE, "language": "tr"},
    ),
    api.DeleteAccount: Operation(
        tag=Tag.IDENTITY,
        summary="Delete the account",
        text="Sessions end, personal data and media are deleted, and Apple's token is revoked.",
        response=Done,
        response_example=SUCCESS,
        refusals=(AccountSuspended,),
    ),
    api.ExportUserData: Operation(
        tag=Tag.IDENTITY,
        summary="Export the user's data",
        text="A section for each kind of data.",
        response={"type": "object", "additionalProperties": True},
        response_example={
            "exported_at": "2026-11-21T05:17:16Z",
            "profile": {"id": USER_ID},
            "jobs": [],
        },
        headers={"Content-Disposition": "The file name."},
    ),
    api.GetConsents: Operation(
        tag=Tag.IDENTITY,
        summary="List the user's consents",
        response=ConsentsAnswer,
        response_example=CONSENTS,
    ),
    api.RecordConsent: Operation(
        tag=Tag.IDENTITY,
        summary="Record or withdraw a consent",
        text="`providers` is for the kind `ai_providers` only, and required if that is granted.",
        body=ConsentBody,
        request_example={"kind": "ai_providers", "version": "3", "providers": ["fal"]},
        response=RecordedConsentAnswer,
        response_example={"success": True, **CONSENTS},
    ),
}
