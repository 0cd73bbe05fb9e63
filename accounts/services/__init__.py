"""Every change of users, devices and sessions, by topic."""

from __future__ import annotations

from accounts.errors import (
    AccountSuspended,
    ConsentRequired,
    Forbidden,
    IdentityServiceUnavailable,
    InvalidDevice,
    InvalidInput,
    Unauthorized,
)
from accounts.services.consents import record_consent
from accounts.services.devices import CheckedDevice, check_device
from accounts.services.sessions import (
    IssuedSession,
    log_out,
    refresh_session,
    revoke_sessions_of,
    sweep_sessions,
)
from accounts.services.users import ban_user, ensure_staff, unban_user, update_profile

__all__ = [
    "AccountSuspended",
    "CheckedDevice",
    "ConsentRequired",
    "Forbidden",
    "IdentityServiceUnavailable",
    "InvalidDevice",
    "InvalidInput",
    "IssuedSession",
    "Unauthorized",
    "ban_user",
    "check_device",
    "ensure_staff",
    "log_out",
    "record_consent",
    "refresh_session",
    "revoke_sessions_of",
    "sweep_sessions",
    "unban_user",
    "update_profile",
]
