"""Base classes of all API views: authentication, rate limits, the error envelope, pagination."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol, cast
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from rendio.common.errors import Forbidden, InvalidInput, Refusal, handle_exception
from rendio.common.web import language, ratelimit

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
# The 16 bytes of an id in base64url, without padding.
CURSOR = r"[A-Za-z0-9_-]{21}[AQgw]"


class Caller(Protocol):
    """The authenticated caller. Everything comes from the access token; nothing was read from the
    database."""

    user_id: UUID
    session_id: UUID
    language: str
    tier: str
    is_authenticated: bool


class _Negotiation(DefaultContentNegotiation):
    """Responses are always JSON, for any Accept header (allowed by RFC 9110, 12.5.1). Bodies have
    the type that they say."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        named = request.content_type
        for parser in parsers:
            if parser.media_type == named:
                return parser
        return super().select_parser(request, parsers)


_negotiation = _Negotiation()


class ApiView(APIView):
    """One operation of the phone's API.

    `limits` names the settings.RATE_LIMITS that apply, by IP address or by user as the name ends.
    While Redis is unavailable a view with `limiter_refusal` refuses with it, where counting
    protects the operation; other views continue.
    """

    # The methods of the Allow header. OPTIONS is for preflights, which the middleware answers.
    http_method_names: tuple[str, ...] = ("get", "head", "post")
    limits: tuple[str, ...] = ("default_per_user",)
    limiter_refusal: type[Refusal] | None = None
    # Whether the view calls `count` itself, when it knows more about the caller.
    counts_itself = False
    request: Request
    user: Caller | None = None
    usage: ratelimit.Usage | None = None

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        return Request(
            request,
            parsers=self.get_parsers(),
            authenticators=self.get_authenticators(),
            negotiator=_negotiation,
            parser_context=self.get_parser_context(request),
        )

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """REST framework's steps but negotiation, versions and throttles, which no view has."""
        self.user = cast("Caller | None", request.user)
        self.check_permissions(request)
        if self.user is not None:
            language.use_fallback(request, self.user.language)
        # Count before reading the body, which may have ten megabytes.
        self._count(request)
        self._refuse_foreign_user_id(request)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        for name, value in self.headers.items():
            response.headers[name] = value
        for name, value in self.usage.headers().items() if self.usage else ():
            response.headers.setdefault(name, value)
        return response

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {"Allow": _allowed_methods(type(self))}  # type: ignore[arg-type]

    # REST framework makes these anew for each call; ours have no state.

    @classmethod
    @cache
    def get_parsers(cls) -> list[BaseParser]:
        return [parser() for parser in cls.parser_classes]

    @classmethod
    @cache
    def get_authenticators(cls) -> list[BaseAuthentication]:
        return [authenticator() for authenticator in cls.authentication_classes]

    @classmethod
    @cache
    def get_permissions(cls) -> list[Any]:
        return [permission() for permission in cls.permission_classes]

    @property
    def has_limits(self) -> bool:
        return bool(self.limits) or self.counts_itself

    @property
    def body(self) -> dict[str, Any]:
        """The parsed body: the parser accepts only JSON objects."""
        return cast("dict[str, Any]", self.request.data)

    def parse_body(self, body_class: type[Serializer]) -> dict[str, Any]:
        """The validated values of the body. Raises REST framework's ValidationError."""
        serializer = body_class(data=self.body)
        serializer.is_valid(raise_exception=True)
        return {**serializer.validated_data}

    @property
    def caller(self) -> Caller:
        """The authenticated caller. Not for views without authentication."""
        return cast("Caller", self.user)

    def get_exception_handler(self) -> Any:
        return handle_exception

    def _refuse_foreign_user_id(self, request: Request) -> None:
        """Older clients send their `user_id`: it must be the token's."""
        if self.user is None:
            return
        claimed = [request.query_params.get("user_id")] if request.META.get("QUERY_STRING") else []
        if request.method != "GET":
            claimed.append(self.body.get("user_id"))
        for user_id in claimed:
            if user_id is not None and str(user_id).lower() != str(self.caller.user_id):
                raise Forbidden

    def _count(self, request: Request) -> None:
        tier = self.user.tier if self.user else ""
        keys = {}
        for name in self.limits:
            if name.endswith("_per_ip"):
                keys[ratelimit.limit_for_tier(name, tier)] = ratelimit.client_ip(request)
            elif self.user:
                keys[ratelimit.limit_for_tier(name, tier)] = str(self.user.user_id)
        if keys:
            self.count(keys)

    def count(self, keys: dict[str, str]) -> None:
        """Count this call against each limit (ratelimit.count). Raises RateLimited, and
        `limiter_refusal` while Redis is unavailable."""
        with self._limiter():
            usage = ratelimit.count(keys)
            if self.usage is None or (usage and usage.remaining < self.usage.remaining):
                self.usage = usage

    def refuse_exhausted(self, name: str, who: str) -> None:
        """Refuse this call if the limit is used up, without counting the call. Raises as
        `count`."""
        with self._limiter():
            ratelimit.check_limit(name, who)

    def counted(self, name: str, who: str) -> int:
        """The count of a limit so far. While Redis is unavailable: raises `limiter_refusal` if
        the view has one, else returns 0."""
        with self._limiter():
            return ratelimit.get_count(name, who)
        return 0

    @contextmanager
    def _limiter(self) -> Iterator[None]:
        try:
            yield
        except ratelimit.LimiterUnavailable:
            if self.limiter_refusal is not None:
                refusal = self.limiter_refusal()
                refusal.headers.setdefault("Retry-After", "1")
                raise refusal from None


@cache
def _allowed_methods(view: type[ApiView]) -> str:
    """The Allow header of the view. HEAD is answered as GET."""
    names = view.http_method_names
    return ", ".join(
        name.upper() for name in names if hasattr(view, "get" if name == "head" else name)
    )


class PublicView(ApiView):
    """One operation without a session. A token is ignored unless the view reads it."""

    authentication_classes = ()
    permission_classes = ()


def query_uuid(request: Request, name: str) -> UUID:
    """A UUID from the query string. Raises InvalidInput under its name."""
    return parse_uuid(request.query_params.get(name), name)


def parse_uuid(value: Any, name: str) -> UUID:
    """`value` as a UUID. Raises InvalidInput under `name`."""
    if value in (None, ""):
        raise InvalidInput(fields={name: [_("This field is required.")]})
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise InvalidInput(fields={name: [_("Must be a valid UUID.")]}) from None


def page_limits(request: Request) -> tuple[int, int, UUID | None]:
    """`(limit, offset, cursor)` of a list call. Raises InvalidInput for invalid values; nothing is
    clamped.

    The cursor is the id of the last row that the client has.
    """
    params = request.query_params
    limit = _bounded(params.get("limit"), "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    offset = _bounded(params.get("offset"), "offset", 0, 0, 100_000)
    text = params.get("cursor")
    return limit, offset, _decode_cursor(text) if text else None


def next_cursor(last_id: UUID | None) -> str | None:
    """The opaque cursor that continues after this row."""
    if last_id is None:
        return None
    return base64.urlsafe_b64encode(last_id.bytes).decode().rstrip("=")


def _decode_cursor(text: str) -> UUID:
    # Python's decoder ignores characters outside base64.
    if not re.fullmatch(CURSOR, text):
        raise InvalidInput(fields={"cursor": [_("Not a cursor of this list.")]})
    return UUID(bytes=base64.urlsafe_b64decode(text + "=="))


def _bounded(text: str | None, name: str, default: int, low: int, high: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
        problem = _("Must be a whole number from %(low)s to %(high)s.") % {"low": low, "high": high}
        raise InvalidInput(fields={name: [problem]})
    return int(text)
