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
        summary="Sign a device in",
        text="A device that Apple vouches for gets its user, or a new guest: with credits, unless "
        "this hardware had them before. The app makes `installation_secret` once and keeps it in "
        "the Keychain: the first check stores its keyed hash, later ones need the same, else "
        "`details.problem` is `installation_unproven` and the app starts anew with another "
        "`device_id`. A `device_id` of an earlier release has no secret: send its session's access "
        "token along in `Authorization` to store one.",
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
        summary="A challenge for App Attest",
        body=DeviceIdBody,
        request_example={"device_id": DEVICE_ID},
        response=ChallengeAnswer,
        response_example={"challenge": "eyJkZXZpY2UiOi4uLn0:1tMx2b:c2lnbmVk", "expires_in": 300},
        refusals=(IdentityServiceUnavailable,),
    ),
    api.AttestDevice: Operation(
        tag=Tag.IDENTITY,
        summary="Attest a device's key",
        text="The key counts for device checks with the same `installation_secret`.",
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
        summary="New tokens for a refresh token",
        text="A refresh token used twice ends its session; within 30 seconds the one before the "
        "latest is forgiven.",
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
        text="The guest becomes the account, or moves what it has into the one that exists. "
        "`nonce` is the raw value, of which Apple saw the SHA-256 in hex.",
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
        summary="Notices about Apple accounts",
        text="Apple's, of Sign in with Apple: consent withdrawn, account deleted, mail relay.",
        body=AppleNoticeBody,
        body_type="*/*",
        request_example={"payload": "eyJraWQiOiIxIiwiYWxnIjoiUlMyNTYifQ.eyJ9.c2lnbmVk"},
        response=Done,
        response_example=SUCCESS,
        refusals=(Unauthorized, RateLimited, IdentityServiceUnavailable),
    ),
    api.GetSessions: Operation(
        tag=Tag.IDENTITY,
        summary="The user's sessions",
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
        summary="The user's devices",
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
        summary="Leave one of the user's devices",
        text="By the `device_id` of the list, or by the device's own.",
        body=ListedDeviceBody,
        request_example={"device_id": PUBLIC_ID},
        response=Done,
        response_example=SUCCESS,
        refusals=(NotFound,),
    ),
    api.RegisterPushToken: Operation(
        tag=Tag.IDENTITY,
        summary="Have this phone told what happens",
        text="To be called with each start of the app, as Apple advises. A phone is its latest "
        "user's, and ends with the session. iPhones are told that a video is ready, that it could "
        "not be made and its credits are back, that it came after all, and that support returned "
        "credits: `kind` (`job_completed`, `job_failed`, `job_late`, `credits_returned`) and "
        "`job_id` stand beside `aps`. Android's tokens are kept, and nothing is sent to them. "
        "`environment` is Apple's: `sandbox` for builds from Xcode.",
        body=PushTokenBody,
        request_example={"token": PUSH_TOKEN, "platform": "ios", "environment": "production"},
        response=Done,
        response_example=SUCCESS,
    ),
    api.UnregisterPushToken: Operation(
        tag=Tag.IDENTITY,
        summary="Have this phone told nothing more",
        text="Also where it was not registered.",
        body=PushTokenOnlyBody,
        request_example={"token": PUSH_TOKEN},
        response=Done,
        response_example=SUCCESS,
    ),
    api.GetProfile: Operation(
        tag=Tag.IDENTITY, summary="The user's profile", response=Profile, response_example=PROFILE
    ),
    api.UpdateProfile: Operation(
        tag=Tag.IDENTITY,
        summary="Change the profile",
        body=ProfileBody,
        request_example={"language": "tr", "tos_version": "3"},
        response=Profile,
        response_example={**PROFILE, "language": "tr"},
    ),
    api.DeleteAccount: Operation(
        tag=Tag.IDENTITY,
        summary="Delete the account",
        text="Sessions end, personal data and media go, and Apple's token is revoked.",
        response=Done,
        response_example=SUCCESS,
        refusals=(AccountSuspended,),
    ),
    api.ExportUserData: Operation(
        tag=Tag.IDENTITY,
        summary="Everything held about the user",
        text="A section for each kind of data.",
        response={"type": "object", "additionalProperties": True},
        response_example={
            "exported_at": "2026-11-21T05:17:16Z",
            "profile": {"id": USER_ID},
            "jobs": [],
        },
        headers={"Content-Disposition": "A name for the file."},
    ),
    api.GetConsents: Operation(
        tag=Tag.IDENTITY,
        summary="What the user has agreed to",
        response=ConsentsAnswer,
        response_example=CONSENTS,
    ),
    api.RecordConsent: Operation(
        tag=Tag.IDENTITY,
        summary="Record that the user agrees, or no longer does",
        text="`providers` go with `ai_providers` alone, and have to be named where it is granted.",
        body=ConsentBody,
        request_example={"kind": "ai_providers", "version": "3", "providers": ["fal"]},
        response=RecordedConsentAnswer,
        response_example={"success": True, **CONSENTS},
    ),
}
