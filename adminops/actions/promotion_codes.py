"""Create, change, stop and resume promotion codes.

The credits of all remaining redemptions count against the budget of the actor, and the credits that
one customer may redeem against the limit for one customer (adminops.actions.budgets). The audit log
names a code by its id: not every reader of the log may see the code.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from adminops.actions import approvals
from adminops.actions.approvals import (
    ActionHandler,
    ActionRequest,
    ActionResult,
    CreditImpact,
    perform_or_request_approval,
)
from adminops.actions.audit import StaffAction
from adminops.actions.budgets import UNLIMITED
from adminops.models import AdminAction, PendingApproval
from credits import services as credit_services
from credits.services import CodeTerms

if TYPE_CHECKING:
    from credits.models import PromotionCode

NO_LIMIT_REASON = "The code has no redemption limit."


def create_code(staff_action: StaffAction, *, code: str, terms: CodeTerms) -> str | PendingApproval:
    """Create a promotion code; returns the code as stored. Raises Forbidden, InvalidInput."""
    return cast(
        "str | PendingApproval",
        perform_or_request_approval(
            AdminAction.CREATE_CODE,
            staff_action,
            arguments={"code": code, "terms": terms.as_json()},
            secrets=(code,),
        ),
    )


def update_code(
    staff_action: StaffAction, *, code_id: UUID, terms: CodeTerms
) -> PendingApproval | None:
    """Change the credits, the dates and the limits of a code from now on. Raises Forbidden,
    InvalidInput, NotFound."""
    return _change(AdminAction.UPDATE_CODE, staff_action, code_id, {"terms": terms.as_json()})


def toggle_code(
    staff_action: StaffAction, *, code_id: UUID, is_active: bool
) -> PendingApproval | None:
    """Stop or resume a code. Raises Forbidden, InvalidInput, NotFound."""
    return _change(AdminAction.TOGGLE_CODE, staff_action, code_id, {"is_active": is_active})


def _change(
    action: AdminAction, staff_action: StaffAction, code_id: UUID, arguments: dict[str, Any]
) -> PendingApproval | None:
    return cast(
        "PendingApproval | None",
        perform_or_request_approval(action, staff_action, subject_id=code_id, arguments=arguments),
    )


# --- Credit impact --------------------------------------------------------------------------------


def _remaining_credits(terms: CodeTerms, *, redeemed: int, is_active: bool, now: datetime) -> int:
    """The credits of all remaining redemptions."""
    if not is_active or (terms.ends_at and terms.ends_at <= now):
        return 0
    if terms.max_redemptions is None:
        return UNLIMITED
    return min(terms.credits * max(terms.max_redemptions - redeemed, 0), UNLIMITED)


def _creation_impact(request: ActionRequest) -> CreditImpact:
    terms = _terms(request)
    credit_services.validate_new_code(code=request.arguments["code"], terms=terms)
    remaining = _remaining_credits(terms, redeemed=0, is_active=True, now=request.now)
    return _impact(terms, 0, remaining)


def _update_impact(request: ActionRequest) -> CreditImpact:
    code = credit_services.lock_code(code_id=request.subject)
    before, after = credit_services.get_terms(code), _terms(request)
    credit_services.validate_terms(after, redeemed=code.redemption_count)
    count: dict[str, Any] = {
        "redeemed": code.redemption_count,
        "is_active": code.is_active,
        "now": request.now,
    }
    remaining = _remaining_credits(after, **count)
    if remaining == UNLIMITED and _is_narrower(after, than=before):
        return CreditImpact()
    if _gives_one_user_more(after, than=before):
        return _impact(after, 0, remaining)
    return _impact(after, _remaining_credits(before, **count), remaining)


def _gives_one_user_more(terms: CodeTerms, *, than: CodeTerms) -> bool:
    """Two people may have agreed on ten credits for each of ten thousand users. One person must not
    turn that into a hundred thousand credits for a friend, or ten thousand redemptions by one."""
    return terms.credits > than.credits or terms.max_per_user > than.max_per_user


def _is_narrower(terms: CodeTerms, *, than: CodeTerms) -> bool:
    """Whether the only difference is an earlier end."""
    ends_earlier = terms.ends_at and (than.ends_at is None or terms.ends_at <= than.ends_at)
    return bool(ends_earlier) and replace(terms, ends_at=than.ends_at) == than


def _toggle_impact(request: ActionRequest) -> CreditImpact:
    code = credit_services.lock_code(code_id=request.subject)
    terms = credit_services.get_terms(code)
    before, after = (
        _remaining_credits(
            terms, redeemed=code.redemption_count, is_active=is_active, now=request.now
        )
        for is_active in (code.is_active, request.arguments["is_active"])
    )
    return _impact(terms, before, after)


def _impact(terms: CodeTerms, before: int, after: int) -> CreditImpact:
    if after == UNLIMITED:
        return CreditImpact(UNLIMITED, approval_reason=NO_LIMIT_REASON)
    more = max(after - before, 0)
    return CreditImpact(more, max_per_customer=min(more, terms.credits * terms.max_per_user))


# --- Changes --------------------------------------------------------------------------------------


def _create(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    created = credit_services.create_code(
        code=request.arguments["code"], terms=_terms(request), now=request.now
    )
    return ActionResult(created.id, {}, _as_json(created), created.code)


def _update(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    code = credit_services.lock_code(code_id=request.subject)
    before = _as_json(code)
    credit_services.update_code(code, terms=_terms(request))
    return ActionResult(code.id, before, _as_json(code))


def _toggle(request: ActionRequest, staff_action: StaffAction) -> ActionResult:
    code = credit_services.lock_code(code_id=request.subject)
    before = _as_json(code)
    credit_services.set_code_active(code, is_active=request.arguments["is_active"])
    return ActionResult(code.id, before, _as_json(code))


def _terms(request: ActionRequest) -> CodeTerms:
    return CodeTerms.from_json(request.arguments["terms"])


def _as_json(code: PromotionCode) -> dict[str, Any]:
    return {
        **credit_services.get_terms(code).as_json(),
        "is_active": code.is_active,
        "redemption_count": code.redemption_count,
    }


def _details(approval: PendingApproval) -> list[tuple[str, Any]]:
    arguments = approval.arguments
    lines = [("Code", arguments["code"])] if "code" in arguments else []
    if "is_active" in arguments:
        lines.append(("Can be redeemed", "yes" if arguments["is_active"] else "no"))
    terms = arguments.get("terms", {})
    return lines + [
        (name.replace("_", " ").capitalize(), "no limit" if value is None else value)
        for name, value in terms.items()
    ]


approvals.register(AdminAction.CREATE_CODE, ActionHandler(_creation_impact, _create, _details))
approvals.register(AdminAction.UPDATE_CODE, ActionHandler(_update_impact, _update, _details))
approvals.register(AdminAction.TOGGLE_CODE, ActionHandler(_toggle_impact, _toggle, _details))
