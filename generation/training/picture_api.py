"""The call that uploads images for a training."""

from __future__ import annotations

from django.utils.translation import gettext as _
from rest_framework.request import Request

from generation.models import TrainingKind
from generation.training import pictures
from generation.training.picture_responses import UploadBody, uploaded_set_answer
from rendio.common import clock
from rendio.common.errors import InvalidInput
from rendio.common.web.api import ApiView
from rendio.common.web.parsers import FilesParser, SentFile
from rendio.common.web.responses import ApiResponse


class UploadTrainingPictures(ApiView):
    limits = ("training_uploads_per_user",)
    parser_classes = (FilesParser,)

    def post(self, request: Request) -> ApiResponse:
        kind = self._kind()
        uploaded = pictures.add_pictures(
            user_id=self.caller.user_id,
            files=self._files(),
            set_id=UploadBody.set_id.parse(self.body),
            now=clock.now(),
        )
        return ApiResponse(uploaded_set_answer(uploaded, kind=kind), status=201)

    def _files(self) -> list[SentFile]:
        files: list[SentFile] = self.body.get("files", [])
        if not 1 <= len(files) <= pictures.MAX_PICTURES:
            problem = _("Send 1 to %(most)s images as files in this field.")
            raise InvalidInput(fields={"files": [problem % {"most": pictures.MAX_PICTURES}]})
        return files

    def _kind(self) -> TrainingKind | None:
        kind = self.body.get("kind")
        if kind in (None, ""):
            return None
        if kind not in TrainingKind.values:
            options = ", ".join(TrainingKind.values)
            problem = _("Must be one of %(options)s.") % {"options": options}
            raise InvalidInput(fields={"kind": [problem]})
        return TrainingKind(kind)
