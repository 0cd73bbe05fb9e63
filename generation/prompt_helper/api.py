"""API view of the prompt helper."""

from __future__ import annotations

from rest_framework.request import Request

from generation.prompt_helper import service
from generation.prompt_helper.responses import ImproveBody, improved_answer
from rendio.common import clock
from rendio.common.web.api import ApiView
from rendio.common.web.responses import ApiResponse


class ImprovePrompt(ApiView):
    # A rate limit of its own, because each call costs us money.
    limits = ("improved_prompts_per_user", "default_per_user")

    def post(self, request: Request) -> ApiResponse:
        body = self.parse_body(ImproveBody)
        improved = service.improve(
            user_id=self.caller.user_id,
            prompt=body["prompt"],
            kind=body["kind"],
            language=body.get("language"),
            now=clock.now(),
        )
        return ApiResponse(improved_answer(improved))
