"""Acts upon promotion codes (adminops.actions.audit has what all acts share).

What all redemptions that are left could bring counts against the budget of who acts, and what one
customer may redeem against the limit for one customer (adminops.actions.budgets). Records name a
code by its id: who reads the record may not know the code itself.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Unpack
from uuid import UUID

from django.db import transaction

from adminops.actions import approvals
from adminops.actions.approvals import Effect, Intent, Kind, Stake, carry_out
from adminops.actions.audit import Who, admitted
from adminops.actions.budgets import UNLIMITED
from adminops.models import AdminAction, PendingApproval
from credits import services as credit_services
from credits.services import CodeTerms

if TYPE_CHECKING:
    from credits.models import PromotionCode

WITHOUT_LIMIT = "Nobody knows how often a code without a limit will be redeemed."


@transaction.atomic(durable=True)
def make_code(*, code: str, terms: CodeTerms, **who: Unpack[Who]) -> str | PendingApproval:
    """A new promotion code; returns it is kept. Raises Forbidden, InvalidInput."""
    who = admitted(AdminAction.MAKE_CODE, who, unspoken=(code,))
    arguments = {"code": code, "terms": terms.as_json()}
    came: str | PendingApproval = carry_out(AdminAction.MAKE_CODE, who, arguments=arguments)
    return came


@transaction.atomic(durable=True)
def change_code(*, code_id: UUID, terms: CodeTerms, **who: Unpack[Who]) -> PendingApproval | None:
    """What a code gives, when and how often, from now on. Raises Forbidden, InvalidInput,
    NotFound."""
    return _upon(AdminAction.CHANGE_CODE, code_id, {"terms": terms.as_json()}, who)


@transaction.atomic(durable=True)
def toggle_code(*, code_id: UUID, is_active: bool, **who: Unpack[Who]) -> PendingApproval | None:
    """Stop a code, or let it be redeemed again. Raises Forbidden, InvalidInput, NotFound."""
    return _upon(AdminAction.TOGGLE_CODE, code_id, {"is_active": is_active}, who)


def _upon(
    action: AdminAction, code_id: UUID, arguments: dict[str, Any], who: Who
) -> PendingApproval | None:
    who = admitted(action, who)
    came: PendingApproval | None = carry_out(action, who, subject_id=code_id, arguments=arguments)
    return came


# --- What they move -------------------------------------------------------------------------------


def _still_to_come(terms: CodeTerms, *, redeemed: int, is_active: bool, now: datetime) -> int:
    """The credits of all redemptions that are left."""
    if not is_active or (terms.ends_at and terms.ends_at <= now):
        return 0
    if terms.max_redemptions is None:
        return UNLIMITED
    return min(terms.credits * max(terms.max_redemptions - redeemed, 0), UNLIMITED)


def _stake_of_making(intent: Intent) -> Stake:
    terms = _terms(intent)
    credit_services.validate_new_code(code=intent.arguments["code"], terms=terms)
    to_come = _still_to_come(terms, redeemed=0, is_active=True, now=intent.now)
    return _stake(terms, 0, to_come)


def _stake_of_changing(intent: Intent) -> Stake:
    code = credit_services.lock_code(code_id=intent.subject)
    before, after = credit_services.get_terms(code), _terms(intent)
    credit_services.validate_terms(after, redeemed=code.redemption_count)
    count: dict[str, Any] = {
        "redeemed": code.redemption_count,
        "is_active": code.is_active,
        "now": intent.now,
    }
    still_to_come = _still_to_come(after, **count)
    if still_to_come == UNLIMITED and _is_narrower(after, than=before):
        return Stake()
    if _gives_one_user_more(after, than=before):
        return _stake(after, 0, still_to_come)
    return _stake(after, _still_to_come(before, **count), still_to_come)


def _gives_one_user_more(terms: CodeTerms, *, than: CodeTerms) -> bool:
    """What two people agreed on for many users must not go to one: ten credits for each of ten
    thousand are another thing than a hundred thousand for a friend, or ten, ten thousand times."""
    return terms.credits > than.credits or terms.max_per_user > than.max_per_user


def _is_narrower(terms: CodeTerms, *, than: CodeTerms) -> bool:
    """Whether nothing but the end differs, and it comes earlier."""
    ends_earlier = terms.ends_at and (than.ends_at is None or terms.ends_at <= than.ends_at)
    return bool(ends_earlier) and replace(terms, ends_at=than.ends_at) == than


def _stake_of_toggling(intent: Intent) -> Stake:
    code = credit_services.lock_code(code_id=intent.subject)
    terms = credit_services.get_terms(code)
    before, after = (
        _still_to_come(terms, redeemed=code.redemption_count, is_active=is_active, now=intent.now)
        for is_active in (code.is_active, intent.arguments["is_active"])
    )
    return _stake(terms, before, after)


def _stake(terms: CodeTerms, before: int, after: int) -> Stake:
    if after == UNLIMITED:
        return Stake(UNLIMITED, second_person=WITHOUT_LIMIT)
    more = max(after - before, 0)
    return Stake(more, max_per_customer=min(more, terms.credits * terms.max_per_user))


# --- How they are done ----------------------------------------------------------------------------


def _make(intent: Intent, who: Who) -> Effect:
    made = credit_services.create_code(
        code=intent.arguments["code"], terms=_terms(intent), now=intent.now
    )
    return Effect(made.id, {}, _standing(made), made.code)


def _change(intent: Intent, who: Who) -> Effect:
    code = credit_services.lock_code(code_id=intent.subject)
    before = _standing(code)
    credit_services.update_code(code, terms=_terms(intent))
    return Effect(code.id, before, _standing(code))


def _toggle(intent: Intent, who: Who) -> Effect:
    code = credit_services.lock_code(code_id=intent.subject)
    before = _standing(code)
    credit_services.set_code_active(code, is_active=intent.arguments["is_active"])
    return Effect(code.id, before, _standing(code))


def _terms(intent: Intent) -> CodeTerms:
    return CodeTerms.from_json(intent.arguments["terms"])


def _standing(code: PromotionCode) -> dict[str, Any]:
    return {
        **credit_services.get_terms(code).as_json(),
        "is_active": code.is_active,
        "redemption_count": code.redemption_count,
    }


def _details(approval: PendingApproval) -> list[tuple[str, Any]]:
    arguments = approval.arguments
    told = [("Code", arguments["code"])] if "code" in arguments else []
    if "is_active" in arguments:
        told.append(("Can be redeemed", "yes" if arguments["is_active"] else "no"))
    terms = arguments.get("terms", {})
    return told + [
        (name.replace("_", " ").capitalize(), "no limit" if value is None else value)
        for name, value in terms.items()
    ]


approvals.register(AdminAction.MAKE_CODE, Kind(_stake_of_making, _make, _details))
approvals.register(AdminAction.CHANGE_CODE, Kind(_stake_of_changing, _change, _details))
approvals.register(AdminAction.TOGGLE_CODE, Kind(_stake_of_toggling, _toggle, _details))
