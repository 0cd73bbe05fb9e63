"""Support's JSON calls. Each names who acts, the session's user, and why; the services ask whether
they may."""

from __future__ import annotations

from typing import Any, cast

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from accounts.authentication import AccessTokenAuthentication
from accounts.models import User
from adminops.actions import credits, users
from adminops.actions.credits import Given
from adminops.auth.api import IsStaff, SessionCaller, StaffSessionAuthentication
from adminops.serializers import AmountBody, ToggleModelBody, UserActBody, stats_json
from adminops.support import user_stats
from adminops.support.masking import may_see_codes, may_see_sensitive
from rendio.common import clock
from rendio.common.errors import Forbidden
from rendio.common.web.api import ApiView, query_uuid


class StaffView(ApiView):
    """One operation of support."""

    # The phone's token is read only to answer 403: who holds one need not sign in again.
    authentication_classes = (StaffSessionAuthentication, AccessTokenAuthentication)
    permission_classes = (IsStaff,)

    @property
    def staff(self) -> User:
        return cast("SessionCaller", self.request.user).user

    def act(self, body_class: type[Serializer]) -> dict[str, Any]:
        """What every service of support takes: the checked body, who acts, and when."""
        body = body_class(data=self.body)
        body.is_valid(raise_exception=True)
        return {**body.validated_data, "acting_user": self.staff, "now": clock.now()}

    def _refuse_foreign_user_id(self, request: Request) -> None:
        """Here `user_id` is the customer."""


class RefundCredits(StaffView):
    def post(self, request: Request) -> Response:
        return _given(credits.refund_credits(**self.act(AmountBody)))


class AdjustCredits(StaffView):
    def post(self, request: Request) -> Response:
        return _given(credits.adjust_credits(**self.act(AmountBody)))


def _given(given: Given) -> Response:
    """202 for what waits for a second person: nothing has been given yet."""
    if given.waiting is None:
        return Response({"success": True, "new_balance": given.balance})
    return Response(
        {
            "success": False,
            "new_balance": given.balance,
            "pending_grant_id": given.waiting.id,
        },
        status=202,
    )


class ToggleModel(StaffView):
    def post(self, request: Request) -> Response:
        users.toggle_model(**self.act(ToggleModelBody))
        return Response({"success": True})


class BanUser(StaffView):
    def post(self, request: Request) -> Response:
        users.ban_user(**self.act(UserActBody))
        return Response({"success": True})


class UnbanUser(StaffView):
    def post(self, request: Request) -> Response:
        users.unban_user(**self.act(UserActBody))
        return Response({"success": True})


class UserStats(StaffView):
    def get(self, request: Request) -> Response:
        if not self.staff.has_perm("accounts.view_user"):
            raise Forbidden
        stats = user_stats.user_stats(query_uuid(request, "user_id"))
        return Response(
            stats_json(
                stats,
                in_clear=may_see_sensitive(self.staff),
                with_codes=may_see_codes(self.staff),
                now=clock.now(),
            )
        )
