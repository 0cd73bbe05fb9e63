"""Request bodies, and responses: for each, the serializer that describes it and its builder.

The response of update-credits is in services/confirmation.py, which stores it for replays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from accounts.models import Tier
from billing.errors import InvalidTransaction
from billing.models import Product, ProductKind, Rollover, SubscriptionState
from billing.queries import SubscriptionStatus
from rendio.common.errors import InvalidInput
from rendio.common.times import iso
from rendio.common.web.body import Body, BodyField

MAX_TRANSACTION_ID = 50
MAX_SIGNED = 32_768
_TRANSACTION_ID = re.compile(r"[A-Za-z0-9_-]+")


class UpdateCreditsBody(serializers.Serializer):
    transaction_id = serializers.CharField(
        min_length=1, max_length=MAX_TRANSACTION_ID, required=False
    )
    signed_transaction = serializers.CharField(min_length=1, max_length=MAX_SIGNED, required=False)

    def validate_transaction_id(self, value: str) -> str:
        """The id becomes part of a URL at Apple. Apple has no ids with other characters."""
        if not _TRANSACTION_ID.fullmatch(value):
            raise InvalidTransaction
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError({"transaction_id": _("This field is required.")})
        return attrs


def _read_jws(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(fields={name: [_("This field is required.")]})
    return value


class AppStoreNotificationBody(Body):
    signedPayload = BodyField(_read_jws, serializers.CharField(help_text="A JWS signed by Apple."))


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
        help_text="Subscriptions: unspent credits are kept, or expire with the period.",
    )


def product_json(product: Product) -> dict[str, Any]:
    body = {
        "product_id": product.product_id,
        "kind": product.kind,
        "name": product.name,
        "credits": product.credits,
        "trial_credits": product.trial_credits,
    }
    if product.kind == ProductKind.SUBSCRIPTION:
        body |= {"period": product.period, "rollover": product.rollover}
    return body


class ProductsAnswer(serializers.Serializer):
    products = ProductAnswer(many=True)


def products_json(products: Iterable[Product]) -> dict[str, Any]:
    return {"products": [product_json(product) for product in products]}


class SubscriptionAnswer(serializers.Serializer):
    tier = serializers.ChoiceField(choices=Tier.choices)
    status = serializers.ChoiceField(choices=["none", *SubscriptionState.values])
    product_id = serializers.CharField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    will_renew = serializers.BooleanField()


def subscription_json(subscription: SubscriptionStatus) -> dict[str, Any]:
    return {
        "tier": subscription.tier,
        "status": subscription.state or "none",
        "product_id": subscription.product_id,
        "expires_at": iso(subscription.expires_at),
        "will_renew": subscription.will_renew,
    }
