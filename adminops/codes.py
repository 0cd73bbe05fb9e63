"""Acts upon promotion codes. Each is one transaction of its own: the effect, and the record of who
did it, why, and what it was before and after (adminops.acting)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack
from uuid import UUID

from django.db import transaction

from adminops.acting import Who, admitted, record_act
from adminops.models import Action
from credits import services as credit_services
from credits.services import CodeTerms

if TYPE_CHECKING:
    from credits.models import PromotionCode


@transaction.atomic(durable=True)
def make_code(*, code: str, terms: CodeTerms, **who: Unpack[Who]) -> str:
    """A new promotion code; returns it as it is kept. Raises Forbidden, InvalidInput."""
    who = admitted(Action.MAKE_CODE, who)
    made = credit_services.make_code(code=code, terms=terms, now=who["now"])
    record_act(Action.MAKE_CODE, who, subject_id=made.id, before={}, after=_standing(made))
    return made.code


def change_code(*, code_id: UUID, terms: CodeTerms, **who: Unpack[Who]) -> None:
    """What a code gives, when and how often, from now on. Raises Forbidden, InvalidInput,
    NotFound."""

    def change(code: PromotionCode) -> None:
        credit_services.change_code(code, terms=terms)

    _act_upon(Action.CHANGE_CODE, code_id, change, who)


def toggle_code(*, code_id: UUID, is_active: bool, **who: Unpack[Who]) -> None:
    """Stop a code, or let it be redeemed again. Raises Forbidden, InvalidInput, NotFound."""

    def toggle(code: PromotionCode) -> None:
        credit_services.set_code_active(code, is_active=is_active)

    _act_upon(Action.TOGGLE_CODE, code_id, toggle, who)


@transaction.atomic(durable=True)
def _act_upon(
    action: Action,
    code_id: UUID,
    do: Callable[[PromotionCode], None],
    who: Who,
) -> None:
    who = admitted(action, who)
    code = credit_services.lock_code(code_id=code_id)
    before = _standing(code)
    do(code)
    record_act(action, who, subject_id=code_id, before=before, after=_standing(code))


def _standing(code: PromotionCode) -> dict[str, Any]:
    return {
        "code": code.code,
        **credit_services.terms_of(code).as_json(),
        "is_active": code.is_active,
        "redemption_count": code.redemption_count,
    }
