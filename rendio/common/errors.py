"""Refusals, and the JSON envelope that every one of them is sent in.

A service raises a subclass of `Refusal`. `handle_exception` (REST framework's handler) turns it,
and every other exception in a request, into the envelope. The refusals of several apps are here;
the others are in the `errors.py` of the app that raises them. docs/errors.md lists all codes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpResponse, JsonResponse
from django.utils.functional import Promise
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy
from rest_framework import exceptions as drf

from rendio.common import clock
from rendio.common.observability import request_id
from rendio.common.times import iso
from rendio.common.web.responses import ApiResponse

logger = logging.getLogger(__name__)

# Attribute of a response that holds its refusal, for middleware.
_REFUSAL = "rendio_refusal"


_by_code: dict[str, type[Refusal]] = {}


class Refusal(Exception):
    """An anticipated refusal of a request: one class each, with its code, type, status and message.

    `details` are shown to the client as they are, and fill the %(name)s places of the message. A
    subclass without its own `code` is the same error to the client, with another text or
    header.
    """

    code: ClassVar[str]
    type: ClassVar[str]
    status: int
    message: ClassVar[Promise]
    # Details for the example in /openapi.json.
    example: ClassVar[Mapping[str, Any]] = {}
    headers: dict[str, str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" in vars(cls) and _by_code.setdefault(cls.code, cls) is not cls:
            raise TypeError(f"{cls.code} is {_by_code[cls.code].__name__} already.")

    def __init__(self, *, status: int | None = None, **details: Any) -> None:
        super().__init__(self.type)
        self.details = details
        self.status = status or self.status
        self.headers = {}

    def get_message(self) -> Promise:
        """The message before its places are filled."""
        return self.message

    @property
    def text(self) -> str:
        """The message in the active language. A number in `details` selects the plural form."""
        message: Any = self.get_message()  # the stubs do not know that a lazy text has `%`
        return str(message % self.details)


class RateLimited(Refusal):
    code = "ERR_4004"
    type = "RATE_LIMITED"
    status = 429
    message = ngettext_lazy(
        "Too many requests. Try again in %(retry_after)s second.",
        "Too many requests. Try again in %(retry_after)s seconds.",
        "retry_after",
    )
    example = {"retry_after": 30}

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(retry_after=retry_after)
        self.headers["Retry-After"] = str(retry_after)


class Unauthorized(Refusal):
    code = "ERR_4005"
    type = "UNAUTHORIZED"
    status = 401
    message = _("Please sign in again.")

    def __init__(self) -> None:
        super().__init__()
        self.headers["WWW-Authenticate"] = "Bearer"


class Forbidden(Refusal):
    code = "ERR_4006"
    type = "FORBIDDEN"
    status = 403
    message = _("You are not allowed to do this.")


class NotFound(Refusal):
    code = "ERR_4007"
    type = "NOT_FOUND"
    status = 404
    message = _("Not found.")


class InvalidInput(Refusal):
    """`fields` maps each field's name to the list of its problems."""

    code = "ERR_4008"
    type = "INVALID_INPUT"
    status = 400
    message = _("The request is not valid.")
    example = {"fields": {"job_id": ["This field is required."]}}

    def __init__(self, *, fields: dict[str, list[str]], status: int | None = None) -> None:
        super().__init__(status=status, fields=fields)


class RequestInProgress(Refusal):
    code = "ERR_4011"
    type = "REQUEST_IN_PROGRESS"
    status = 409
    message = _("The first request with this key is still running.")

    def __init__(self) -> None:
        super().__init__()
        self.headers["Retry-After"] = "1"


class InvalidState(Refusal):
    """The object's state does not allow the action. `problem`: the reason, a sentence for staff."""

    code = "ERR_4019"
    type = "INVALID_STATE"
    status = 409
    message = _("This is no longer possible.")


class DatabaseUnavailable(Refusal):
    code = "ERR_6001"
    type = "DATABASE_ERROR"
    status = 503
    message = _("We have a problem at the moment. Please try again.")

    def __init__(self) -> None:
        super().__init__()
        self.headers["Retry-After"] = "1"


class InternalError(Refusal):
    code = "ERR_6003"
    type = "INTERNAL_ERROR"
    status = 500
    message = _("Something went wrong on our side.")


@cache
def _import_errors() -> None:
    autodiscover_modules("errors")


def all_refusals() -> list[type[Refusal]]:
    """Every class with a code, sorted by code. Imports the `errors` module of each app."""
    _import_errors()
    return [refusal for _code, refusal in sorted(_by_code.items())]


def refusal_by_code(code: str) -> type[Refusal]:
    """The class of a code such as ERR_5001. Raises KeyError for an unknown one."""
    _import_errors()
    return _by_code[code]


TOO_LARGE, TOO_DEEP = _("Too large."), _("Nested too deeply.")
MALFORMED = _("The request is malformed.")


def describe(code: str) -> dict[str, Any]:
    """`{code, type, message}` in the active language: the `error` of a failed job."""
    refusal = refusal_by_code(code)
    return {"code": code, "type": refusal.type, "message": str(refusal.message)}


def envelope(refusal: Refusal) -> dict[str, Any]:
    """The JSON body of a refusal, in the active language."""
    return {
        "error": {
            "code": refusal.code,
            "type": refusal.type,
            "message": refusal.text,
            "details": refusal.details,
            "request_id": request_id.current(),
            "timestamp": iso(clock.now()),
        }
    }


def handle_exception(exception: Exception, context: dict[str, Any]) -> ApiResponse:
    """REST framework's exception handler: any exception becomes the contract's envelope."""
    refusal = _as_refusal(exception)
    answer = ApiResponse(envelope(refusal), status=refusal.status, headers=refusal.headers)
    vars(answer)[_REFUSAL] = refusal
    return answer


def refusal_response(exception: Exception) -> JsonResponse:
    """The same envelope for code outside REST framework: middleware, the URL resolver."""
    refusal = _as_refusal(exception)
    answer = JsonResponse(envelope(refusal), status=refusal.status, headers=refusal.headers)
    vars(answer)[_REFUSAL] = refusal
    return answer


def find_refusal(answer: HttpResponse) -> Refusal | None:
    """The refusal that a response contains; None if it contains none."""
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
