"""The body of improve-prompt, and the serializer and builder of its response."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework import serializers
from rest_framework.fields import empty

from generation.catalogue.orders import PROMPT_MAX, PROMPT_MIN_VISIBLE, parse_prompt
from generation.errors import InvalidPrompt
from generation.models import MEDIA_KINDS
from generation.prompt_helper.openrouter import MAX_CHANGES, Improved
from rendio.common.web.fields import StrictCharField


class _PromptField(StrictCharField):
    """Raises InvalidPrompt, as for the prompt of an order."""

    def run_validation(self, data: Any = empty) -> str:
        if not isinstance(data, str):
            raise InvalidPrompt
        return parse_prompt(data)


class ImproveBody(serializers.Serializer):
    prompt = _PromptField(
        min_length=PROMPT_MIN_VISIBLE,
        max_length=PROMPT_MAX,
        help_text="The draft. At least three visible characters.",
    )
    kind = serializers.ChoiceField(
        choices=MEDIA_KINDS, help_text="The kind of model that the prompt is for."
    )
    language = serializers.ChoiceField(
        choices=settings.LANGUAGES,
        required=False,
        help_text="Of the improved prompt. By default the draft's own.",
    )


class ImprovedAnswer(serializers.Serializer):
    prompt = serializers.CharField(max_length=PROMPT_MAX)
    changes = serializers.ListField(
        child=serializers.CharField(), max_length=MAX_CHANGES, help_text="What was changed."
    )


def improved_answer(improved: Improved) -> dict[str, Any]:
    return {"prompt": improved.prompt, "changes": improved.changes}
