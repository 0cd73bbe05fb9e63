"""What others read of a user."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from accounts.errors import Unauthorized
from accounts.models import User
from credits import services as credit_services


@dataclass(frozen=True)
class Profile:
    user: User
    balance: credit_services.Balance


def profile_of(user_id: UUID) -> Profile:
    """Raises Unauthorized where the account of a token is gone."""
    user = User.objects.filter(id=user_id, closed_at=None).first()
    if user is None:
        raise Unauthorized
    return Profile(user, credit_services.balance_of(user_id))
