"""Staff on the JSON calls: Django's session with its CSRF token, never a phone's access token."""

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
    """Who is signed in by Django's session, staff or not."""

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
    """Without a session, or with that of somebody who is banned, the caller is nobody. A missing
    CSRF token is refused here."""

    def authenticate(self, request: Request) -> tuple[SessionCaller, None] | None:
        user: User | AnonymousUser = request._request.user
        if not isinstance(user, User) or not user.is_active:
            return None
        self.enforce_csrf(request)
        return SessionCaller(user), None


class IsStaff(BasePermission):
    """Signed in by session, staff, and by the second factor where it is asked for. A phone's token
    is somebody (403, not 401) and never staff."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        caller = request.user
        return (
            isinstance(caller, SessionCaller) and caller.user.is_staff and otp.is_shown(caller.user)
        )
