"""What generation refuses."""

from __future__ import annotations

from rendio.common.errors import Code, Refusal


class InvalidModel(Refusal):
    code = Code.INVALID_MODEL


class InvalidPrompt(Refusal):
    code = Code.INVALID_PROMPT


class InvalidState(Refusal):
    code = Code.INVALID_STATE


class ProviderUnavailable(Refusal):
    code = Code.PROVIDER_UNAVAILABLE
