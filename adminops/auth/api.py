"""Authentication of the JSON calls for staff: Django's session with a CSRF token, never the access
token of a phone."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import User
from adminops.auth import otp


@dataclass(frozen=True)
class SessionCaller:
    """The user of Django's session, staff or not."""

    user: User
    is_authenticated: bool = True

    @property
    def user_id(self) -> UUID:
        return self.user.id

    @property
    def language(self) -> str:
        return self.user.language

    @property
    def tier(self) -> str:
        return self.user.tier


class StaffSessionAuthentication(SessionAuthentication):
    """Authenticate by Django's session and check the CSRF token. Without a session, or if the user
    is banned, the caller is anonymous."""

    def authenticate(self, request: Request) -> tuple[SessionCaller, None] | None:
        user: User | AnonymousUser = request._request.user
        if not isinstance(user, User) or not user.is_active:
            return None
        self.enforce_csrf(request)
        return SessionCaller(user), None


class IsStaff(BasePermission):
    """Staff with a session, verified by the second factor if required. The access token of a phone
    authenticates its user (403, not 401) but never has this permission."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        caller = request.user
        return (
            isinstance(caller, SessionCaller)
            and caller.user.is_staff
            and otp.is_verified(caller.user)
        )
