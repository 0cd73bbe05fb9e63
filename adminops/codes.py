"""Acts upon promotion codes. Each is one transaction of its own: the effect, and the record of who
did it, why, and what it was before and after (adminops.services)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction

from accounts.models import User
from adminops.models import Action
from adminops.services import checked_reason, record_act
from credits import services as credit_services
from credits.services import CodeTerms

if TYPE_CHECKING:
    from credits.models import PromotionCode


@transaction.atomic(durable=True)
def make_code(
    *,
    code: str,
    terms: CodeTerms,
    reason: str,
    acting_user: User,
    now: datetime,
    act_id: UUID | None = None,
) -> str:
    """A new promotion code; returns it as it is kept. Raises InvalidInput."""
    reason = checked_reason(reason)
    made = credit_services.make_code(code=code, terms=terms, now=now)
    record_act(
        Action.MAKE_CODE,
        subject_id=made.id,
        reason=reason,
        acting_user=acting_user,
        now=now,
        act_id=act_id,
        before={},
        after=_standing(made),
    )
    return made.code


def change_code(
    *,
    code_id: UUID,
    terms: CodeTerms,
    reason: str,
    acting_user: User,
    now: datetime,
    act_id: UUID | None = None,
) -> None:
    """What a code gives, when and how often, from now on. Raises InvalidInput, NotFound."""

    def change(code: PromotionCode) -> None:
        credit_services.change_code(code, terms=terms)

    _act_upon(Action.CHANGE_CODE, code_id, change, reason, acting_user, now, act_id)


def toggle_code(
    *,
    code_id: UUID,
    is_active: bool,
    reason: str,
    acting_user: User,
    now: datetime,
    act_id: UUID | None = None,
) -> None:
    """Stop a code, or let it be redeemed again. Raises InvalidInput, NotFound."""

    def toggle(code: PromotionCode) -> None:
        credit_services.set_code_active(code, is_active=is_active)

    _act_upon(Action.TOGGLE_CODE, code_id, toggle, reason, acting_user, now, act_id)


@transaction.atomic(durable=True)
def _act_upon(
    action: Action,
    code_id: UUID,
    do: Callable[[PromotionCode], None],
    reason: str,
    acting_user: User,
    now: datetime,
    act_id: UUID | None,
) -> None:
    reason = checked_reason(reason)
    code = credit_services.lock_code(code_id=code_id)
    before = _standing(code)
    do(code)
    record_act(
        action,
        subject_id=code_id,
        reason=reason,
        acting_user=acting_user,
        now=now,
        act_id=act_id,
        before=before,
        after=_standing(code),
    )


def _standing(code: PromotionCode) -> dict[str, Any]:
    return {
        "code": code.code,
        **credit_services.terms_of(code).as_json(),
        "is_active": code.is_active,
        "redemption_count": code.redemption_count,
    }
