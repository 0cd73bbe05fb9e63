"""API of users, devices and sessions."""

from __future__ import annotations

from django.http import FileResponse
from rest_framework.request import Request

from accounts import export, queries, services
from accounts.authentication import find_session_id
from accounts.errors import IdentityServiceUnavailable, InvalidDevice, InvalidIdentity
from accounts.serializers import (
    AppleNoticeBody,
    AttestBody,
    ConsentBody,
    DeviceCheckBody,
    DeviceIdBody,
    ListedDeviceBody,
    ProfileBody,
    PushTokenBody,
    PushTokenOnlyBody,
    RefreshTokenBody,
    SessionIdBody,
    SignInBody,
    challenge_json,
    consents_json,
    device_check_json,
    devices_json,
    profile_json,
    recorded_consent_json,
    refresh_json,
    sessions_json,
    sign_in_json,
)
from rendio.common import clock
from rendio.common.errors import RateLimited, Unauthorized
from rendio.common.web import ratelimit
from rendio.common.web.api import ApiView, PublicView
from rendio.common.web.parsers import StrictJSONParser
from rendio.common.web.responses import ApiResponse


class DeviceCheck(PublicView):
    """Rate limits depend on the call's proof: services.CheckLimiter gives the order,
    docs/decisions/0028-shared-addresses.md the reasons."""

    limits = ()
    counts_itself = True
    # Each call may create a user with credits: without a count no call is let in.
    limiter_refusal = IdentityServiceUnavailable
    is_proven = False

    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(DeviceCheckBody)
        proof = services.InstallationProof(
            secret=values.pop("installation_secret"), session_id=find_session_id(request)
        )
        try:
            checked = services.check_device(**values, proof=proof, limiter=self, now=clock.now())
        except InvalidDevice:
            if not self.is_proven:
                self._note_unproven()
            raise
        return ApiResponse(device_check_json(checked))

    # --- services.CheckLimiter ---

    def count_known(self, public_id: str) -> None:
        self.is_proven = True
        self.count({"device_check_per_installation": f"check {public_id}"})

    def count_first_check(self, *, is_attested: bool) -> None:
        address = ratelimit.client_ip(self.request)
        if not is_attested:
            self.refuse_exhausted("unproven_per_ip", f"check {address}")
        self.count({"first_check_per_ip": address})

    def count_reinstall(self) -> None:
        try:
            self.count({"reinstall_per_ip": ratelimit.client_ip(self.request)})
        except RateLimited:
            # The call cost a request to Apple, like an unproven one.
            self._note_unproven()
            raise

    def _note_unproven(self) -> None:
        ratelimit.count_refused("unproven_per_ip", f"check {ratelimit.client_ip(self.request)}")


class AttestChallenge(PublicView):
    # A challenge costs one hash, and proves nothing until it is answered.
    limits = ()

    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(DeviceIdBody)
        return ApiResponse(challenge_json(services.issue_challenge(**values)))


class AttestDevice(PublicView):
    limits = ()
    counts_itself = True
    limiter_refusal = IdentityServiceUnavailable

    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(AttestBody)
        address = ratelimit.client_ip(request)
        public_id = services.find_proven_device(
            device_id=values["device_id"], secret=values["installation_secret"]
        )
        if public_id:
            self.count({"device_check_per_installation": f"attest {public_id}"})
        else:
            self.refuse_exhausted("unproven_per_ip", f"attest {address}")
            self.count({"attest_per_ip": address})
        try:
            services.attest_device(**values, now=clock.now())
        except InvalidDevice:
            if not public_id:
                ratelimit.count_refused("unproven_per_ip", f"attest {address}")
            raise
        return ApiResponse({"success": True})


class Refresh(PublicView):
    """A live session has its own limit. Only tokens without a live session count against the IP
    address."""

    limits = ()
    counts_itself = True

    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(RefreshTokenBody)
        token, now = values["refresh_token"], clock.now()
        address = ratelimit.client_ip(request)
        session_id = services.find_session_by_refresh_token(refresh_token=token, now=now)
        if session_id:
            self.count({"refresh_per_session": str(session_id)})
        else:
            self.refuse_exhausted("refused_refresh_per_ip", address)
        try:
            session = services.refresh_session(refresh_token=token, now=now)
        except Unauthorized:
            if not session_id:
                ratelimit.count_refused("refused_refresh_per_ip", address)
            raise
        return ApiResponse(refresh_json(session))


class Logout(ApiView):
    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(RefreshTokenBody)
        services.log_out(user_id=self.caller.user_id, **values, now=clock.now())
        return ApiResponse({"success": True})


class SignInWithApple(ApiView):
    # A separate limit: each call verifies a signature, and with a code calls Apple.
    limits = ("sign_in_per_user", "default_per_user")
    limiter_refusal = IdentityServiceUnavailable

    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(SignInBody)
        signed_in = services.sign_in_with_apple(
            session_id=self.caller.session_id,
            **{"authorization_code": None, **values},
            now=clock.now(),
        )
        return ApiResponse(sign_in_json(signed_in))


class _AnyMediaType(StrictJSONParser):
    """JSON under any Content-Type."""

    media_type = "*/*"


class AppleAccountEvent(PublicView):
    """Apple's server-to-server call. Every correctly signed call gets 200, so that Apple does not
    repeat it."""

    limits = ()
    parser_classes = (_AnyMediaType,)

    def post(self, request: Request) -> ApiResponse:
        ratelimit.check_forgery_limit(request)
        values = self.parse_body(AppleNoticeBody)
        try:
            services.receive_event(**values, now=clock.now())
        except InvalidIdentity:
            ratelimit.count_forgery(request)
            raise Unauthorized from None
        return ApiResponse({"success": True})


class GetSessions(ApiView):
    def get(self, request: Request) -> ApiResponse:
        sessions = queries.list_sessions(self.caller.user_id, now=clock.now())
        return ApiResponse(sessions_json(sessions, current_id=self.caller.session_id))


class RevokeSession(ApiView):
    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(SessionIdBody)
        services.revoke_session(user_id=self.caller.user_id, **values, now=clock.now())
        return ApiResponse({"success": True})


class GetDevices(ApiView):
    def get(self, request: Request) -> ApiResponse:
        return ApiResponse(devices_json(queries.list_devices(self.caller.user_id)))


class RevokeDevice(ApiView):
    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(ListedDeviceBody)
        services.revoke_device(user_id=self.caller.user_id, **values, now=clock.now())
        return ApiResponse({"success": True})


class RegisterPushToken(ApiView):
    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(PushTokenBody)
        services.register_push_token(session_id=self.caller.session_id, **values, now=clock.now())
        return ApiResponse({"success": True})


class UnregisterPushToken(ApiView):
    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(PushTokenOnlyBody)
        services.unregister_push_token(user_id=self.caller.user_id, **values)
        return ApiResponse({"success": True})


class GetProfile(ApiView):
    def get(self, request: Request) -> ApiResponse:
        return ApiResponse(profile_json(queries.get_profile(self.caller.user_id), now=clock.now()))


class UpdateProfile(ApiView):
    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(ProfileBody)
        services.update_profile(user_id=self.caller.user_id, changes=values, now=clock.now())
        return ApiResponse(profile_json(queries.get_profile(self.caller.user_id), now=clock.now()))


class DeleteAccount(ApiView):
    def post(self, request: Request) -> ApiResponse:
        services.delete_account(user_id=self.caller.user_id, now=clock.now())
        return ApiResponse({"success": True})


class ExportUserData(ApiView):
    limits = ("export_per_user", "default_per_user")

    def get(self, request: Request) -> FileResponse:
        return FileResponse(
            export.export_user(self.caller.user_id, now=clock.now()),
            as_attachment=True,
            filename="rendio-export.json",
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )


class GetConsents(ApiView):
    def get(self, request: Request) -> ApiResponse:
        return ApiResponse(consents_json(queries.get_consents(self.caller.user_id)))


class RecordConsent(ApiView):
    # A separate limit: each call adds a row.
    limits = ("consents_per_user", "default_per_user")

    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(ConsentBody)
        services.record_consent(user_id=self.caller.user_id, **values, now=clock.now())
        return ApiResponse(recorded_consent_json(queries.get_consents(self.caller.user_id)))
