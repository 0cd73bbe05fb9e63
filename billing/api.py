"""Endpoints for purchases, and the webhook for Apple's notifications."""

from __future__ import annotations

import structlog
from rest_framework.request import Request

from billing import queries, services
from billing.appstore.payloads import Unreadable
from billing.appstore.verifier import NotGenuine
from billing.errors import StoreUnavailable
from billing.serializers import (
    AppStoreNotificationBody,
    UpdateCreditsBody,
    products_json,
    subscription_json,
)
from credits import idempotency
from credits.idempotency import IdempotentRequest
from rendio.common import clock
from rendio.common.errors import Unauthorized
from rendio.common.web import ratelimit
from rendio.common.web.api import ApiView, PublicView
from rendio.common.web.responses import ApiResponse

logger = structlog.get_logger(__name__)


class GetProducts(ApiView):
    def get(self, request: Request) -> ApiResponse:
        return ApiResponse(products_json(queries.products_on_sale()))


class UpdateCredits(ApiView):
    limits = ("purchases_per_user",)
    # Ids are short: without a rate limit, others' purchases could be guessed.
    limiter_refusal = StoreUnavailable

    def post(self, request: Request) -> ApiResponse:
        values = self.parse_body(UpdateCreditsBody)
        answer = services.confirm_purchase(
            user_id=self.caller.user_id,
            **{"transaction_id": None, **values},
            idempotent_request=self._idempotent_request(),
            now=clock.now(),
        )
        headers = {"X-Idempotent-Replay": "true"} if answer.replayed else None
        return ApiResponse(answer.body, status=answer.status, headers=headers)

    def _idempotent_request(self) -> IdempotentRequest | None:
        """The key is optional: the transaction's id makes the call repeatable."""
        key = self.request.headers.get("Idempotency-Key")
        if key is None:
            return None
        return idempotency.parse_request(
            user_id=self.caller.user_id, operation="update-credits", key=key, body=self.body
        )


class SubscriptionStatus(ApiView):
    def get(self, request: Request) -> ApiResponse:
        found = queries.subscription_status(self.caller.user_id, now=clock.now())
        return ApiResponse(subscription_json(found))


class AppStoreNotification(PublicView):
    """Apple's webhook. 200: signed by Apple and stored, also if it is not for us to apply. 401: not
    genuine. 5xx: our fault, so that Apple repeats it, which it may not do after a 400; also for a
    payload that Apple signed and we cannot read, which is stored for staff.
    """

    limits = ()

    def post(self, request: Request) -> ApiResponse:
        ratelimit.check_forgery_limit(request)
        signed_payload = AppStoreNotificationBody.signedPayload.parse(self.body)
        try:
            services.receive(signed_payload=signed_payload, now=clock.now())
        except NotGenuine as problem:
            ratelimit.count_forgery(request)
            logger.warning("notification_not_genuine", problem=str(problem))
            raise Unauthorized from None
        except Unreadable as problem:
            raise StoreUnavailable from problem
        return ApiResponse({"success": True})
