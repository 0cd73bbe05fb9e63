"""The error catalogue: every refusal a client can meet, and its one JSON form.

A service raises a subclass of `Refusal`; `handle_exception` (REST framework's handler) turns it,
and everything else that can go wrong in a request, into the envelope of the API contract. Nothing
that is not in `Code` ever reaches a client.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpResponse, JsonResponse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy
from rest_framework import exceptions as drf
from rest_framework.response import Response

from rendio.common import clock, request_id
from rendio.common.times import iso

logger = logging.getLogger(__name__)

# Under this name an answer carries what it refuses with, for a middleware to see.
_REFUSAL = "rendio_refusal"


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue; the message's %(name)s places are filled from the details."""

    code: str
    status: int
    message: Promise


class Code(Enum):
    """The catalogue. The member's name is the `type` a client sees."""

    INSUFFICIENT_CREDITS = Entry(
        "ERR_4001",
        402,
        ngettext_lazy(
            "You need %(required)s credit for this and have %(available)s.",
            "You need %(required)s credits for this and have %(available)s.",
            "required",
        ),
    )
    INVALID_MODEL = Entry("ERR_4002", 404, _("This model or theme is not available."))
    INVALID_PROMPT = Entry(
        "ERR_4003",
        400,
        _("Write a prompt of at most 2,000 characters, of which at least 3 can be seen."),
    )
    RATE_LIMITED = Entry(
        "ERR_4004",
        429,
        ngettext_lazy(
            "Too many requests. Try again in %(retry_after)s second.",
            "Too many requests. Try again in %(retry_after)s seconds.",
            "retry_after",
        ),
    )
    UNAUTHORIZED = Entry("ERR_4005", 401, _("Please sign in again."))
    FORBIDDEN = Entry("ERR_4006", 403, _("You may not do this."))
    NOT_FOUND = Entry("ERR_4007", 404, _("There is nothing here by that name."))
    INVALID_INPUT = Entry("ERR_4008", 400, _("Something in the request is not right."))
    IDEMPOTENCY_KEY_REQUIRED = Entry(
        "ERR_4009", 400, _("The Idempotency-Key header must be a UUID.")
    )
    IDEMPOTENCY_KEY_REUSED = Entry(
        "ERR_4010", 422, _("This Idempotency-Key was used for another request.")
    )
    REQUEST_IN_PROGRESS = Entry(
        "ERR_4011", 409, _("The first request with this key is still running.")
    )
    INVALID_DEVICE = Entry("ERR_4012", 403, _("This device could not be verified."))
    INVALID_TRANSACTION = Entry("ERR_4013", 400, _("The App Store does not confirm this purchase."))
    TRANSACTION_CLAIMED = Entry("ERR_4014", 409, _("This purchase belongs to another account."))
    UNKNOWN_PRODUCT = Entry("ERR_4015", 400, _("This product is not sold here."))
    CONTENT_REJECTED = Entry("ERR_4016", 422, _("This content is not allowed."))
    INVALID_FILE = Entry("ERR_4017", 400, _("This file is not a picture we can use."))
    ACCOUNT_SUSPENDED = Entry("ERR_4018", 403, _("This account is suspended."))
    INVALID_STATE = Entry("ERR_4019", 409, _("This cannot be done any more."))
    INVALID_IDENTITY = Entry("ERR_4020", 401, _("Sign in with Apple could not be verified."))
    CONSENT_REQUIRED = Entry(
        "ERR_4021", 403, _("Please agree that your request is sent to the AI providers.")
    )
    PROVIDER_TIMEOUT = Entry("ERR_5001", 504, _("The generation took too long."))
    PROVIDER_UNAVAILABLE = Entry("ERR_5002", 503, _("The video service is unavailable."))
    PROVIDER_REJECTED = Entry("ERR_5003", 422, _("The video service refused this request."))
    IDENTITY_SERVICE_UNAVAILABLE = Entry(
        "ERR_5004", 503, _("Apple cannot be reached. Please try again in a moment.")
    )
    STORE_UNAVAILABLE = Entry(
        "ERR_5005", 503, _("The App Store cannot be reached. Your purchase is safe; try again.")
    )
    DATABASE_ERROR = Entry("ERR_6001", 503, _("We are having trouble. Please try again."))
    STORAGE_ERROR = Entry("ERR_6002", 503, _("This could not be stored."))
    INTERNAL_ERROR = Entry("ERR_6003", 500, _("Something went wrong on our side."))
    MAINTENANCE = Entry(
        "ERR_6004", 503, _("We are working on the service. Please try again in a few minutes.")
    )

    @classmethod
    def by_code(cls, code: str) -> Code:
        """The member whose contract code is `code`, such as ERR_5001."""
        return next(member for member in cls if member.value.code == code)


class Refusal(Exception):
    """An anticipated refusal. Subclasses name a code; details are shown to the client as they
    are."""

    code: ClassVar[Code] = Code.INTERNAL_ERROR
    headers: dict[str, str]

    def __init__(self, *, status: int | None = None, **details: Any) -> None:
        super().__init__(self.code.name)
        self.details = details
        self.status = status or self.code.value.status
        self.headers = {}

    @property
    def message(self) -> Promise:
        """What the client is told, with places for the details."""
        return self.code.value.message

    @property
    def text(self) -> str:
        """The message, its places filled, in the active language. A plural takes its form from the
        number that fills it."""
        message: Any = self.message  # the stubs do not know that what is lazy can be filled
        return str(message % self.details)


class Unauthorized(Refusal):
    code = Code.UNAUTHORIZED

    def __init__(self) -> None:
        super().__init__()
        self.headers["WWW-Authenticate"] = "Bearer"


class Forbidden(Refusal):
    code = Code.FORBIDDEN


class NotFound(Refusal):
    code = Code.NOT_FOUND


class InvalidInput(Refusal):
    """`fields` maps each field's name to the list of its problems."""

    code = Code.INVALID_INPUT

    def __init__(self, *, fields: dict[str, list[str]], status: int | None = None) -> None:
        super().__init__(status=status, fields=fields)


class RateLimited(Refusal):
    code = Code.RATE_LIMITED

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(retry_after=retry_after)
        self.headers["Retry-After"] = str(retry_after)


class RequestInProgress(Refusal):
    code = Code.REQUEST_IN_PROGRESS

    def __init__(self) -> None:
        super().__init__()
        self.headers["Retry-After"] = "1"


class DatabaseUnavailable(Refusal):
    code = Code.DATABASE_ERROR

    def __init__(self) -> None:
        super().__init__()
        self.headers["Retry-After"] = "1"


class InternalError(Refusal):
    code = Code.INTERNAL_ERROR


TOO_LARGE, TOO_DEEP = _("Too large."), _("Nested too deeply.")
MALFORMED = _("Not a sound request.")


def describe(code: Code) -> dict[str, Any]:
    """`{code, type, message}` in the active language, as it stands in a failed job's `error`."""
    return {"code": code.value.code, "type": code.name, "message": str(code.value.message)}


def envelope(refusal: Refusal) -> dict[str, Any]:
    """The JSON body of a refusal, in the active language."""
    return {
        "error": {
            "code": refusal.code.value.code,
            "type": refusal.code.name,
            "message": refusal.text,
            "details": refusal.details,
            "request_id": request_id.current(),
            "timestamp": iso(clock.now()),
        }
    }


def handle_exception(exception: Exception, context: dict[str, Any]) -> Response:
    """REST framework's exception handler: any exception becomes the contract's envelope."""
    refusal = _as_refusal(exception)
    answer = Response(envelope(refusal), status=refusal.status, headers=refusal.headers)
    vars(answer)[_REFUSAL] = refusal
    return answer


def refusal_response(exception: Exception) -> JsonResponse:
    """The same envelope where REST framework does not reach: middleware, the URL resolver."""
    refusal = _as_refusal(exception)
    answer = JsonResponse(envelope(refusal), status=refusal.status, headers=refusal.headers)
    vars(answer)[_REFUSAL] = refusal
    return answer


def refusal_of(answer: HttpResponse) -> Refusal | None:
    """Why this answer refuses; None where it does not."""
    return vars(answer).get(_REFUSAL)


def _as_refusal(exception: Exception) -> Refusal:
    match exception:
        case Refusal():
            return exception
        case drf.NotAuthenticated() | drf.AuthenticationFailed():
            return Unauthorized()
        case drf.PermissionDenied() | PermissionDenied():
            return Forbidden()
        case drf.NotFound() | Http404():
            return NotFound()
        case drf.ValidationError():
            return InvalidInput(fields=_field_problems(exception.detail))
        case RequestDataTooBig():
            return InvalidInput(fields={"body": [str(TOO_LARGE)]}, status=413)
        case SuspiciousOperation():
            return InvalidInput(fields={"request": [str(MALFORMED)]})
        case drf.ParseError():
            return InvalidInput(fields={"body": [str(exception.detail)]})
        case drf.MethodNotAllowed() | drf.UnsupportedMediaType():
            return InvalidInput(
                fields={"request": [str(exception.detail)]}, status=exception.status_code
            )
        case RecursionError():
            return InvalidInput(fields={"body": [str(TOO_DEEP)]})
        case DatabaseError() | InterfaceError():
            logger.error("database_error", exc_info=exception)
            return DatabaseUnavailable()
        case _:
            logger.error("unhandled_exception", exc_info=exception)
            return InternalError()


def _field_problems(detail: Any, prefix: str = "") -> dict[str, list[str]]:
    """Flatten REST framework's nested error detail to {"settings.duration": [problem, …]}."""
    if isinstance(detail, dict):
        problems: dict[str, list[str]] = {}
        for name, inner in detail.items():
            key = "body" if name == "non_field_errors" else str(name)
            problems |= _field_problems(inner, f"{prefix}.{key}" if prefix else key)
        return problems
    if isinstance(detail, list):
        return {prefix or "body": [str(problem) for problem in detail]}
    return {prefix or "body": [str(detail)]}
