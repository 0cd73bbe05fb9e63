"""The phone's calls about who it is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import queries, services
from accounts.serializers import (
    ConsentBody,
    DeviceCheckBody,
    ProfileBody,
    RefreshTokenBody,
    consent_json,
    profile_json,
    session_json,
)
from rendio.common.api import ApiView, PublicView


class DeviceCheck(PublicView):
    limits = ("device_check_per_ip",)
    # Each call may cost a user and credits: without a count nobody is let in.
    limiter_refusal = services.IdentityServiceUnavailable

    def post(self, request: Request) -> Response:
        body = DeviceCheckBody(data=self.body)
        body.is_valid(raise_exception=True)
        checked = services.check_device(**body.validated_data, now=timezone.now())
        return Response(
            {
                "user_id": checked.user_id,
                "credits_remaining": checked.credits_remaining,
                "is_new": checked.is_new,
                "is_guest": checked.is_guest,
                "session": session_json(checked.session),
            }
        )


class Refresh(PublicView):
    limits = ("refresh_per_ip",)

    def post(self, request: Request) -> Response:
        body = RefreshTokenBody(data=self.body)
        body.is_valid(raise_exception=True)
        session = services.refresh_session(**body.validated_data, now=timezone.now())
        return Response({"session": session_json(session)})


class Logout(ApiView):
    def post(self, request: Request) -> Response:
        body = RefreshTokenBody(data=self.body)
        body.is_valid(raise_exception=True)
        services.log_out(user_id=self.caller.user_id, **body.validated_data, now=timezone.now())
        return Response({"success": True})


class GetProfile(ApiView):
    def get(self, request: Request) -> Response:
        return Response(profile_json(queries.profile_of(self.caller.user_id)))


class UpdateProfile(ApiView):
    def post(self, request: Request) -> Response:
        body = ProfileBody(data=self.body)
        body.is_valid(raise_exception=True)
        services.update_profile(user_id=self.caller.user_id, changes=body.validated_data)
        return Response(profile_json(queries.profile_of(self.caller.user_id)))


class GetConsents(ApiView):
    def get(self, request: Request) -> Response:
        return Response({"consents": _consents_of(self.caller.user_id)})


class RecordConsent(ApiView):
    def post(self, request: Request) -> Response:
        body = ConsentBody(data=self.body)
        body.is_valid(raise_exception=True)
        services.record_consent(
            user_id=self.caller.user_id, **body.validated_data, now=timezone.now()
        )
        return Response({"success": True, "consents": _consents_of(self.caller.user_id)})


def _consents_of(user_id: UUID) -> list[dict[str, Any]]:
    return [consent_json(consent) for consent in queries.consents_of(user_id)]
