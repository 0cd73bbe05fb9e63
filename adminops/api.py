"""JSON calls for staff. The actor is the user of the session; the services check the permission."""

from __future__ import annotations

from typing import Any, cast

from rest_framework.request import Request
from rest_framework.serializers import Serializer

from accounts.authentication import AccessTokenAuthentication
from accounts.models import User
from adminops.actions import catalogue, credits, users
from adminops.actions.audit import StaffAction
from adminops.actions.credits import GrantResult
from adminops.auth.api import IsStaff, SessionCaller, StaffSessionAuthentication
from adminops.serializers import (
    AmountBody,
    ToggleModelBody,
    UserActBody,
    new_balance_json,
    stats_json,
)
from adminops.support import user_stats
from adminops.support.masking import may_see_codes, may_see_sensitive
from rendio.common import clock
from rendio.common.errors import Forbidden
from rendio.common.web.api import ApiView, query_uuid
from rendio.common.web.responses import ApiResponse


class StaffView(ApiView):
    """A JSON call for staff."""

    # The access token of a phone is read only to answer 403 instead of 401.
    authentication_classes = (StaffSessionAuthentication, AccessTokenAuthentication)
    permission_classes = (IsStaff,)

    @property
    def staff(self) -> User:
        return cast("SessionCaller", self.request.user).user

    def parse_action(self, body_class: type[Serializer]) -> tuple[StaffAction, dict[str, Any]]:
        """The staff action, and the other values of the validated body."""
        values = self.parse_body(body_class)
        return StaffAction(self.staff, values.pop("reason"), clock.now()), values

    def _refuse_foreign_user_id(self, request: Request) -> None:
        """Allow any `user_id`: in these calls it is the customer, not the caller."""


class RefundCredits(StaffView):
    def post(self, request: Request) -> ApiResponse:
        staff_action, values = self.parse_action(AmountBody)
        return _grant_response(credits.refund_credits(staff_action, **values))


class AdjustCredits(StaffView):
    def post(self, request: Request) -> ApiResponse:
        staff_action, values = self.parse_action(AmountBody)
        return _grant_response(credits.adjust_credits(staff_action, **values))


def _grant_response(result: GrantResult) -> ApiResponse:
    """200 with the new balance; 202 if a second person has to approve the grant first."""
    if result.approval is None:
        return ApiResponse(new_balance_json(result))
    return ApiResponse(
        {
            "success": False,
            "new_balance": result.balance,
            "pending_grant_id": result.approval.id,
        },
        status=202,
    )


class ToggleModel(StaffView):
    def post(self, request: Request) -> ApiResponse:
        staff_action, values = self.parse_action(ToggleModelBody)
        catalogue.toggle_model(staff_action, **values)
        return ApiResponse({"success": True})


class BanUser(StaffView):
    def post(self, request: Request) -> ApiResponse:
        staff_action, values = self.parse_action(UserActBody)
        users.ban_user(staff_action, **values)
        return ApiResponse({"success": True})


class UnbanUser(StaffView):
    def post(self, request: Request) -> ApiResponse:
        staff_action, values = self.parse_action(UserActBody)
        users.unban_user(staff_action, **values)
        return ApiResponse({"success": True})


class UserStats(StaffView):
    def get(self, request: Request) -> ApiResponse:
        if not self.staff.has_perm("accounts.view_user"):
            raise Forbidden
        stats = user_stats.user_stats(query_uuid(request, "user_id"))
        return ApiResponse(
            stats_json(
                stats,
                in_clear=may_see_sensitive(self.staff),
                with_codes=may_see_codes(self.staff),
                now=clock.now(),
            )
        )
