"""Bodies in. Fields that we do not know are left alone."""

from __future__ import annotations

from rest_framework import serializers

from rendio.common.web.fields import StrictCharField


class RedeemBody(serializers.Serializer):
    code = StrictCharField(max_length=64)
