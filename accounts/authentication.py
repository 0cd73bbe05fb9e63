"""Authentication by access token, without a query."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts import revocations, tokens
from accounts.languages import changed


@dataclass(frozen=True)
class Caller:
    """The claims of the access token. `tier` is as of when the token was issued; `language` is the
    profile's current one."""

    user_id: UUID
    session_id: UUID
    language: str
    tier: str = ""
    is_authenticated: bool = True


class AccessTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access token>`. Without the header the caller is anonymous."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        # Not by `request.headers`, which are a mapping of all headers that is made when first read.
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationFailed
        try:
            claims = tokens.read_access(token.strip())
        except tokens.InvalidToken:
            raise AuthenticationFailed from None
        if revocations.is_revoked(claims.session_id):
            raise AuthenticationFailed
        language = changed.current(
            claims.user_id, token_language=claims.language, issued_at=claims.issued_at
        )
        return Caller(claims.user_id, claims.session_id, language, claims.tier), None

    def authenticate_header(self, request: Request) -> str:
        """Makes REST framework answer 401 instead of 403."""
        return "Bearer"


def find_session_id(request: Request) -> UUID | None:
    """The session of a valid access token that was sent with a public call, else None."""
    try:
        authenticated = AccessTokenAuthentication().authenticate(request)
    except AuthenticationFailed:
        return None
    return authenticated[0].session_id if authenticated else None
