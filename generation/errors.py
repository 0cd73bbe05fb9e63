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


class InvalidFile(Refusal):
    """`problem` says in a few words what is wrong with the file."""

    code = Code.INVALID_FILE

    def __init__(self, *, problem: str) -> None:
        super().__init__(problem=problem)


class UploadsUnavailable(Refusal):
    """Nothing is wrong with the picture: it cannot be looked at just now."""

    code = Code.INTERNAL_ERROR

    def __init__(self) -> None:
        super().__init__(status=503)
        self.headers["Retry-After"] = "5"


class StorageUnavailable(Refusal):
    code = Code.STORAGE_ERROR

    def __init__(self) -> None:
        super().__init__()
        self.headers["Retry-After"] = "5"
