"""Endpoints for credits."""

from __future__ import annotations

from django.db import transaction
from rest_framework.request import Request

from credits import queries, services
from credits.serializers import RedeemBody, credits_json, history_json, redeemed_json
from rendio.common import clock
from rendio.common.errors import DatabaseUnavailable, NotFound
from rendio.common.web import ratelimit
from rendio.common.web.api import ApiView, next_cursor, page_limits
from rendio.common.web.responses import ApiResponse


class GetCredits(ApiView):
    def get(self, request: Request) -> ApiResponse:
        return ApiResponse(credits_json(queries.balance_summary(self.caller.user_id)))


class GetCreditHistory(ApiView):
    def get(self, request: Request) -> ApiResponse:
        limit, offset, cursor = page_limits(request)
        entries = queries.own_history(
            user_id=self.caller.user_id, limit=limit + 1, offset=offset, after=cursor
        )
        page = entries[:limit]
        cursor_after = next_cursor(page[-1].id if len(entries) > limit else None)
        return ApiResponse(history_json(page, next_cursor=cursor_after))


class RedeemCode(ApiView):
    limits = ("redeem_per_user", "default_per_user")
    # The rate limits prevent guessing of codes: without a limiter, no code is redeemed.
    limiter_refusal = DatabaseUnavailable

    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(RedeemBody)
        address, user = ratelimit.client_ip(request), f"user {self.caller.user_id}"
        # Others at this address may have guessed: a user without a wrong guess gets a first try.
        if self.counted("unknown_code_per_ip", user):
            self.refuse_exhausted("unknown_code_per_ip", address)
        try:
            with transaction.atomic(durable=True):
                redeemed = services.redeem(user_id=self.caller.user_id, **values, now=clock.now())
        except NotFound:
            ratelimit.count_refused("unknown_code_per_ip", address)
            ratelimit.count_refused("unknown_code_per_ip", user)
            raise
        return ApiResponse(redeemed_json(redeemed))
