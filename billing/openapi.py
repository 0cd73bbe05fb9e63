"""The OpenAPI description of the purchase endpoints."""

from __future__ import annotations

from rest_framework import serializers

from accounts.models import Tier
from billing import api
from billing.errors import InvalidTransaction, StoreUnavailable, TransactionClaimed, UnknownProduct
from billing.models import ProductKind, Rollover, SubscriptionState
from billing.serializers import UpdateCreditsBody
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


class ProductAnswer(serializers.Serializer):
    product_id = serializers.CharField()
    kind = serializers.ChoiceField(choices=ProductKind.choices)
    name = serializers.CharField()
    credits = serializers.IntegerField(min_value=0)
    trial_credits = serializers.IntegerField(
        min_value=0, help_text="Credits if the App Store charges nothing, as for a free trial."
    )
    period = serializers.CharField(
        required=False, help_text="Subscriptions: the period in Apple's format."
    )
    rollover = serializers.ChoiceField(
        choices=Rollover.choices,
        required=False,
        help_text="Subscriptions: what becomes of unspent credits when the period ends.",
    )


class ProductsAnswer(serializers.Serializer):
    products = ProductAnswer(many=True)


class UpdateCreditsAnswer(serializers.Serializer):
    success = serializers.ChoiceField(choices=[True])
    credits_added = serializers.IntegerField(min_value=0)
    credits_remaining = serializers.IntegerField(min_value=0)
    already_processed = serializers.BooleanField()


class SubscriptionAnswer(serializers.Serializer):
    tier = serializers.ChoiceField(choices=Tier.choices)
    status = serializers.ChoiceField(choices=["none", *SubscriptionState.values])
    product_id = serializers.CharField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    will_renew = serializers.BooleanField()


class AppStoreNotificationBody(serializers.Serializer):
    signedPayload = serializers.CharField(help_text="A JWS signed by Apple.")


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
        text="The credits follow from Apple's signed transaction alone and are granted once. "
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
        summary="App Store Server Notifications, version 2",
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
