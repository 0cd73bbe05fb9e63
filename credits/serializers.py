"""Request bodies. Unknown fields are ignored."""

from __future__ import annotations

from rest_framework import serializers

from rendio.common.web.fields import StrictCharField


class RedeemBody(serializers.Serializer):
    code = StrictCharField(max_length=64)
