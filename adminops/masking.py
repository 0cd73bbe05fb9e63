"""What not every member of staff may read: e-mail addresses, devices, Apple's ids, what a customer
made, and what came in as it came."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser

from accounts.models import User
from adminops.models import SEE_SENSITIVE

BULLETS = "••••"


def may_see_sensitive(user: User | AnonymousUser) -> bool:
    return user.has_perm(f"adminops.{SEE_SENSITIVE}")


def masked(value: Any) -> str | None:
    """An id by its last four letters, so that it can be compared with what a customer reads out;
    None where there is nothing to hide."""
    if value in (None, ""):
        return None
    text = str(value)
    return BULLETS if "@" in text or len(text) < 12 else BULLETS + text[-4:]
