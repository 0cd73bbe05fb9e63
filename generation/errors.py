"""What generation refuses."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from rendio.common.errors import Code, Refusal
from rendio.common.times import iso


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
    """Maintenance refuses new orders; what was ordered goes on."""

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


class ContentRejected(Refusal):
    """Moderation refused `input`, "prompt" or "image"; `step` is what that leads to for the user,
    "none", "warning", "hold" (with `until`) or "ban"."""

    code = Code.CONTENT_REJECTED
    messages = {
        "warning": _(
            "This content is not allowed. If this goes on, creating will be paused for a while."
        ),
        "hold": _("This content is not allowed. Creating is paused for a while."),
        "ban": _("This content is not allowed. This account is suspended."),
    }

    def __init__(self, *, input: str, step: str, until: datetime | None) -> None:
        details: dict[str, Any] = {"input": str(input), "step": str(step)}
        super().__init__(**details | ({"until": iso(until)} if until else {}))

    @property
    def message(self) -> Promise:
        return self.messages.get(self.details["step"], super().message)


class GeneratingHeld(Refusal):
    """The user starts nothing `until` then: too much was refused."""

    code = Code.ACCOUNT_SUSPENDED

    def __init__(self, *, until: datetime, now: datetime) -> None:
        super().__init__(until=iso(until))
        self.headers["Retry-After"] = str(math.ceil((until - now).total_seconds()))

    @property
    def message(self) -> Promise:
        return _("Creating is paused for a while, because too much was not allowed.")


class ModerationUnavailable(Refusal):
    """It cannot be judged now, and is not let through unjudged; nothing was charged."""

    code = Code.PROVIDER_UNAVAILABLE

    def __init__(self) -> None:
        super().__init__()
        self.headers["Retry-After"] = "5"
