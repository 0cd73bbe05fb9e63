"""The upload calls of the API."""

from __future__ import annotations

from django.utils.translation import gettext as _
from rest_framework.request import Request

from generation.models import Upload
from generation.uploads import ingest, presigned
from generation.uploads.responses import DirectIdBody, direct_upload_answer, upload_answer
from rendio.common import clock
from rendio.common.errors import InvalidInput
from rendio.common.web.api import ApiView, parse_uuid
from rendio.common.web.parsers import FormParser
from rendio.common.web.responses import ApiResponse


class UploadImage(ApiView):
    limits = ("uploads_per_user",)
    parser_classes = (FormParser,)

    def post(self, request: Request) -> ApiResponse:
        return ApiResponse(upload_answer(self.ingest(self._file())), status=201)

    def _file(self) -> bytes:
        content = self.body.get("file")
        if not isinstance(content, bytes):
            raise InvalidInput(fields={"file": [_("Send the image as a file in this field.")]})
        return content

    def ingest(self, content: bytes) -> Upload:
        return ingest.ingest_bytes(user_id=self.caller.user_id, content=content, now=clock.now())


class Uploads(UploadImage):
    """An image, or with `mask_of` the mask of an image."""

    def ingest(self, content: bytes) -> Upload:
        image_id = self.body.get("mask_of")
        if image_id in (None, ""):
            return super().ingest(content)
        return ingest.ingest_mask(
            user_id=self.caller.user_id,
            content=content,
            image_id=parse_uuid(image_id, "mask_of"),
            now=clock.now(),
        )


class StartDirectUpload(ApiView):
    """Start a direct upload to the bucket, so that large images bypass our servers."""

    limits = ("uploads_per_user",)

    def post(self, request: Request) -> ApiResponse:
        form = presigned.create_form(user_id=self.caller.user_id, now=clock.now())
        return ApiResponse(direct_upload_answer(form), status=201)


class FinishDirectUpload(ApiView):
    limits = ("uploads_per_user",)

    def post(self, request: Request) -> ApiResponse:
        upload = presigned.complete_upload(
            user_id=self.caller.user_id,
            direct_id=DirectIdBody.direct_id.parse(self.body),
            now=clock.now(),
        )
        return ApiResponse(upload_answer(upload), status=201)
