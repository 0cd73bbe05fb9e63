"""Request bodies, and the JSON of responses."""

from __future__ import annotations

import re
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from billing.errors import InvalidTransaction
from billing.models import Product, ProductKind
from billing.queries import SubscriptionStatus
from rendio.common.times import iso

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


def subscription_json(subscription: SubscriptionStatus) -> dict[str, Any]:
    return {
        "tier": subscription.tier,
        "status": subscription.state or "none",
        "product_id": subscription.product_id,
        "expires_at": iso(subscription.expires_at),
        "will_renew": subscription.will_renew,
    }
