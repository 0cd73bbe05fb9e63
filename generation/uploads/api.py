"""The phone's call to send a picture in."""

from __future__ import annotations

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from generation.uploads import keeping, receive
from rendio.common.api import ApiView
from rendio.common.errors import InvalidInput
from rendio.common.parsers import FormParser


class UploadImage(ApiView):
    limits = ("uploads_per_user",)
    parser_classes = (FormParser,)

    def post(self, request: Request) -> Response:
        content = self.body.get("file")
        if not isinstance(content, bytes):
            raise InvalidInput(fields={"file": ["Send the picture as a file of this name."]})
        upload = receive.take_in(user_id=self.caller.user_id, content=content, now=timezone.now())
        return Response(keeping.shown(upload), status=201)
