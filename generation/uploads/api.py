"""The upload calls of the API."""

from __future__ import annotations

from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from generation.uploads import ingest, presigned, retention
from rendio.common import clock
from rendio.common.errors import InvalidInput
from rendio.common.times import iso
from rendio.common.web.api import ApiView, parse_uuid
from rendio.common.web.parsers import FormParser


class UploadImage(ApiView):
    limits = ("uploads_per_user",)
    parser_classes = (FormParser,)

    def post(self, request: Request) -> Response:
        content = self.body.get("file")
        if not isinstance(content, bytes):
            raise InvalidInput(fields={"file": [_("Send the picture as a file of this name.")]})
        upload = ingest.ingest_bytes(user_id=self.caller.user_id, content=content, now=clock.now())
        return Response(retention.as_json(upload), status=201)


class StartDirectUpload(ApiView):
    """Start a direct upload to the bucket, so that large images bypass our servers."""

    limits = ("uploads_per_user",)

    def post(self, request: Request) -> Response:
        form = presigned.create_form(user_id=self.caller.user_id, now=clock.now())
        return Response(
            {
                "direct_id": form.direct_id,
                "url": form.url,
                "fields": form.fields,
                "expires_at": iso(form.expires_at),
            },
            status=201,
        )


class FinishDirectUpload(ApiView):
    limits = ("uploads_per_user",)

    def post(self, request: Request) -> Response:
        upload = presigned.complete_upload(
            user_id=self.caller.user_id,
            direct_id=parse_uuid(self.body.get("direct_id"), "direct_id"),
            now=clock.now(),
        )
        return Response(retention.as_json(upload), status=201)
