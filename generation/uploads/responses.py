"""Bodies and responses of the upload calls: for each response, the serializer that describes it and
its builder."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from generation import media
from generation.models import Upload
from generation.uploads.presigned import UploadForm
from rendio.common.times import iso
from rendio.common.web.body import Body, required_id


class DirectIdBody(Body):
    direct_id = required_id()


class UploadAnswer(serializers.Serializer):
    upload_id = serializers.UUIDField()
    image_url = serializers.CharField()
    width = serializers.IntegerField(min_value=1)
    height = serializers.IntegerField(min_value=1)
    expires_at = serializers.DateTimeField()


def upload_answer(upload: Upload) -> dict[str, Any]:
    return {
        "upload_id": upload.id,
        "image_url": media.signed_url(upload.name),
        "width": upload.width,
        "height": upload.height,
        "expires_at": iso(upload.expires_at),
    }


class DirectUploadAnswer(serializers.Serializer):
    direct_id = serializers.UUIDField()
    url = serializers.CharField()
    fields: Any = serializers.DictField(child=serializers.CharField())  # not the serializer's own
    expires_at = serializers.DateTimeField()


def direct_upload_answer(form: UploadForm) -> dict[str, Any]:
    return {
        "direct_id": form.direct_id,
        "url": form.url,
        "fields": form.fields,
        "expires_at": iso(form.expires_at),
    }
