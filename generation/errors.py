"""Refusals of generation."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from credits.errors import AccountSuspended
from rendio.common.errors import InternalError, Refusal
from rendio.common.times import iso


class InvalidModel(Refusal):
    code = "ERR_4002"
    type = "INVALID_MODEL"
    status = 404
    message = _("This model or theme is not available.")


class InvalidPrompt(Refusal):
    """The limits are those of generation/catalogue/orders.py; the message repeats them."""

    code = "ERR_4003"
    type = "INVALID_PROMPT"
    status = 400
    message = _("Write a prompt of at most 2,000 characters, of which at least 3 can be seen.")


class ProviderUnavailable(Refusal):
    """No provider is available for this order. Nothing was charged."""

    code = "ERR_5002"
    type = "PROVIDER_UNAVAILABLE"
    status = 503
    message = _("The video service is unavailable.")

    def __init__(self, *, retry_after: int) -> None:
        super().__init__()
        self.headers["Retry-After"] = str(retry_after)


class PromptNotImproved(ProviderUnavailable):
    """The prompt helper failed. Nobody is charged for it in any case."""

    message = _("Your prompt could not be improved. Nothing was charged.")

    def __init__(self) -> None:
        super().__init__(retry_after=5)


class ProviderTimeout(Refusal):
    """Only the error of a failed job: nothing raises it."""

    code = "ERR_5001"
    type = "PROVIDER_TIMEOUT"
    status = 504
    message = _("The generation took too long.")


class ProviderRejected(Refusal):
    """Only the error of a failed job: nothing raises it."""

    code = "ERR_5003"
    type = "PROVIDER_REJECTED"
    status = 422
    message = _("The video service rejected this request.")


class InMaintenance(Refusal):
    """Maintenance mode refuses new orders. Existing jobs continue."""

    code = "ERR_6004"
    type = "MAINTENANCE"
    status = 503
    message = _("The service is under maintenance. Please try again in a few minutes.")

    def __init__(self) -> None:
        super().__init__()
        self.headers["Retry-After"] = "60"


class InvalidFile(Refusal):
    """`problem` is a short, translated text."""

    code = "ERR_4017"
    type = "INVALID_FILE"
    status = 400
    message = _("This file is not a supported image.")
    example = {"problem": "animated"}

    def __init__(self, *, problem: str) -> None:
        super().__init__(problem=problem)


class UploadsUnavailable(InternalError):
    """The image cannot be checked at the moment. The image itself is not at fault."""

    status = 503

    def __init__(self) -> None:
        super().__init__()
        self.headers["Retry-After"] = "5"


class StorageUnavailable(Refusal):
    code = "ERR_6002"
    type = "STORAGE_ERROR"
    status = 503
    message = _("The file could not be saved.")

    def __init__(self) -> None:
        super().__init__()
        self.headers["Retry-After"] = "5"


class ContentRejected(Refusal):
    """Moderation refused `input`, which is "prompt" or "image".

    `step` is the sanction for the user: "none", "warning", "hold" (with `until`) or "ban".
    """

    code = "ERR_4016"
    type = "CONTENT_REJECTED"
    status = 422
    message = _("This content is not allowed.")
    example = {"input": "prompt", "step": "warning"}
    messages = {
        "warning": _(
            "This content is not allowed. If this continues, you cannot create anything for a"
            " while."
        ),
        "hold": _("This content is not allowed. You cannot create anything for a while."),
        "ban": _("This content is not allowed. This account is suspended."),
    }

    def __init__(self, *, input: str, step: str, until: datetime | None) -> None:
        details: dict[str, Any] = {"input": str(input), "step": str(step)}
        super().__init__(**details | ({"until": iso(until)} if until else {}))

    def get_message(self) -> Promise:
        return self.messages.get(self.details["step"], self.message)


class GeneratingHeld(AccountSuspended):
    """The user may not order until `until`, because too much content was refused."""

    message = _(
        "You cannot create anything for a while, because too many requests were not allowed."
    )

    def __init__(self, *, until: datetime, now: datetime) -> None:
        super().__init__(until=iso(until))
        self.headers["Retry-After"] = str(math.ceil((until - now).total_seconds()))


class ModerationUnavailable(ProviderUnavailable):
    """Moderation is unavailable, and no content is allowed without it. Nothing was charged."""

    def __init__(self) -> None:
        super().__init__(retry_after=5)
