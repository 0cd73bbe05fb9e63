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
    """No provider can make this now; nothing was charged."""

    code = Code.PROVIDER_UNAVAILABLE

    def __init__(self, *, retry_after: int) -> None:
        super().__init__()
        self.headers["Retry-After"] = str(retry_after)


class InMaintenance(Refusal):
    """No new orders for now; what was ordered goes on."""

    code = Code.MAINTENANCE

    def __init__(self) -> None:
        super().__init__()
        self.headers["Retry-After"] = "60"
