"""The OpenAPI description of the purchase endpoints."""

from __future__ import annotations

from billing import api
from billing.errors import InvalidTransaction, StoreUnavailable, TransactionClaimed, UnknownProduct
from billing.serializers import (
    AppStoreNotificationBody,
    ProductsAnswer,
    SubscriptionAnswer,
    UpdateCreditsBody,
)
from billing.services.confirmation import UpdateCreditsAnswer
from credits.errors import AccountSuspended, IdempotencyKeyRequired, IdempotencyKeyReused
from rendio.common.errors import RateLimited, RequestInProgress, Unauthorized
from rendio.common.web.openapi import (
    REPLAYED,
    SUCCESS,
    Done,
    Operation,
    Operations,
    Tag,
    idempotency_key,
)

OPERATIONS: Operations = {
    api.GetProducts: Operation(
        tag=Tag.CREDITS,
        summary="List the products for sale",
        response=ProductsAnswer,
        response_example={
            "products": [
                {
                    "product_id": "com.rendio.credits.50",
                    "kind": "consumable",
                    "name": "50 credits",
                    "credits": 50,
                    "trial_credits": 0,
                },
                {
                    "product_id": "com.rendio.premium.monthly",
                    "kind": "subscription",
                    "name": "Premium",
                    "credits": 100,
                    "trial_credits": 10,
                    "period": "P1M",
                    "rollover": "keep",
                },
            ]
        },
    ),
    api.UpdateCredits: Operation(
        tag=Tag.CREDITS,
        summary="Confirm a purchase",
        text="The credits depend only on Apple's signed transaction and are granted once. "
        "Send one of the two fields; with `signed_transaction`, no call to Apple is needed.",
        parameters=(idempotency_key(required=False),),
        body=UpdateCreditsBody,
        request_example={"transaction_id": "2000000123456789"},
        response=UpdateCreditsAnswer,
        response_example={
            "success": True,
            "credits_added": 50,
            "credits_remaining": 56,
            "already_processed": False,
        },
        headers=REPLAYED,
        refusals=(
            IdempotencyKeyRequired,
            IdempotencyKeyReused,
            RequestInProgress,
            InvalidTransaction,
            TransactionClaimed,
            UnknownProduct,
            AccountSuspended,
            StoreUnavailable,
        ),
    ),
    api.SubscriptionStatus: Operation(
        tag=Tag.CREDITS,
        summary="Get the caller's subscription",
        response=SubscriptionAnswer,
        response_example={
            "tier": "premium",
            "status": "active",
            "product_id": "com.rendio.premium.monthly",
            "expires_at": "2026-12-21T05:17:16Z",
            "will_renew": True,
        },
    ),
    api.AppStoreNotification: Operation(
        tag=Tag.WEBHOOKS,
        summary="Receive App Store Server Notifications, version 2",
        text="Called by Apple. 200: signed by Apple, for our app or another. 401: not signed by "
        "Apple. 503: stored, but not readable; Apple may send it again.",
        body=AppStoreNotificationBody,
        request_example={
            "signedPayload": "eyJhbGciOiJFUzI1NiIsIng1YyI6WyJNSUlF4oCmIl19.eyJ9.c2lnbmVk"
        },
        response=Done,
        response_example=SUCCESS,
        refusals=(Unauthorized, RateLimited, StoreUnavailable),
    ),
}
