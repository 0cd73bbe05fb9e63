"""Grants beyond the limit need the approval of a second person."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from accounts.models import User
from adminops.actions import approvals, credits
from adminops.models import AdminAction, ApprovalState, AuditLogEntry, PendingApproval
from credits.ledger_check import find_discrepancies
from credits.services import balance_of
from rendio.common.errors import InvalidState, Refusal
from tests.adminops.conftest import WHY, Staff, staff_user
from tests.helpers.concurrency import at_once
from tests.helpers.phone import Phone
from tests.helpers.staff import staff_action


@pytest.fixture
def second(db):
    """Another member of staff who may approve."""
    return Staff(staff_user("fay", role="finance"))


def grant_credits(staff, phone, amount, call="admin-refund-credits"):
    return staff.call(call, user_id=str(phone.user_id), amount=amount, reason=WHY)


@pytest.mark.parametrize("call", ["admin-refund-credits", "admin-adjust-credits"])
def test_grant_beyond_the_limit_needs_an_approval(support, phone, call):
    given, more = grant_credits(support, phone, 100, call), grant_credits(support, phone, 101, call)

    assert (given.status_code, given.json()) == (200, {"success": True, "new_balance": 110})
    grant = PendingApproval.objects.get()
    assert more.status_code == 202
    assert more.json() == {
        "success": False,
        "new_balance": 110,
        "pending_grant_id": str(grant.id),
    }
    assert phone.balance() == 110
    record = AuditLogEntry.objects.get(action=AdminAction.REQUEST_APPROVAL)
    assert (record.actor, record.subject_id) == (support.user, phone.user_id)
    assert record.after["amount"] == 101


def test_grants_to_one_customer_count_together(support, second, phone):
    answers = [grant_credits(support, phone, 60).status_code for _ in range(2)]

    assert answers == [200, 202]
    # Another person's are their own.
    assert grant_credits(second, phone, 60).status_code == 200
    # Taking does not wait, and gives no room.
    assert grant_credits(support, phone, -50, "admin-adjust-credits").status_code == 200
    assert grant_credits(support, phone, 60).status_code == 202


def test_grant_older_than_a_day_does_not_count(support, phone):
    grant_credits(support, phone, 60)

    later = credits.refund_credits(
        staff_action(support.user, now=timezone.now() + timedelta(hours=25)),
        user_id=phone.user_id,
        amount=60,
    )

    assert (later.approval, later.balance) == (None, 130)


def test_without_a_limit_no_grant_needs_an_approval(support, phone, settings):
    settings.SUPPORT_GRANT_LIMIT = 0

    assert grant_credits(support, phone, 100_000).status_code == 200


@pytest.mark.parametrize(
    ("call", "kind"), [("admin-refund-credits", "grant"), ("admin-adjust-credits", "adjustment")]
)
def test_approved_grant_is_performed(support, second, phone, call, kind):
    grant_id = grant_credits(support, phone, 500, call).json()["pending_grant_id"]

    page = second.act("adminops_pendingapproval_approve", grant_id, reason="A whole week was lost")

    assert "New balance: 510 credits" in page.content.decode()
    assert phone.balance() == 510
    assert phone.get("get-credit-history").json()["entries"][0]["kind"] == kind
    grant = PendingApproval.objects.get()
    assert (grant.state, grant.decided_by) == (ApprovalState.APPROVED, second.user)
    record = AuditLogEntry.objects.get(action=AdminAction.APPROVE)
    assert (record.before["balance"], record.after["balance"]) == (10, 510)
    assert record.after["requested_by"] == str(support.user.id)
    assert find_discrepancies() == []


def test_declined_grant_is_not_performed(support, second, phone):
    grant_id = grant_credits(support, phone, 500).json()["pending_grant_id"]

    second.act("adminops_pendingapproval_decline", grant_id, reason="Too much")
    again = second.act("adminops_pendingapproval_approve", grant_id, reason="Oh well")

    assert "This request is already declined." in again.content.decode()
    assert phone.balance() == 10
    assert AuditLogEntry.objects.filter(action=AdminAction.DECLINE).exists()


def test_requester_cannot_approve_the_own_grant(root, phone):
    grant_id = grant_credits(root, phone, 500).json()["pending_grant_id"]

    page = root.act("adminops_pendingapproval_approve", grant_id, reason=WHY)

    assert "You requested this action. A second person has to decide." in page.content.decode()
    assert phone.balance() == 10
    with pytest.raises(IntegrityError), transaction.atomic():
        PendingApproval.objects.update(
            state=ApprovalState.APPROVED, decided_by=root.user, decided_at=timezone.now()
        )


def test_approval_for_a_closed_account_is_refused(support, second, phone):
    grant_id = grant_credits(support, phone, 500).json()["pending_grant_id"]
    User.objects.filter(id=phone.user_id).update(closed_at=timezone.now())

    page = second.act("adminops_pendingapproval_approve", grant_id, reason=WHY)

    assert "This account is closed" in page.content.decode()
    assert PendingApproval.objects.get().state == ApprovalState.WAITING


# --- Races ----------------------------------------------------------------------------------------


@pytest.fixture
def three(committed, sandbox):
    """A phone and three members of staff, committed."""
    phone = Phone().sign_in()
    staff = [staff_user(f"{phone.user_id}-{number}", is_superuser=True) for number in range(3)]
    return phone, staff


def attempt(act, staff, **what):
    def run():
        try:
            return act(staff_action(staff), **what)
        except Refusal as refusal:
            return type(refusal).__name__
        finally:
            connection.close()

    return run


def test_concurrent_decisions_count_once(three):
    phone, [asker, one, other] = three
    grant = attempt(credits.refund_credits, asker, user_id=phone.user_id, amount=500)().approval

    outcomes = at_once(
        attempt(approvals.approve, one, approval_id=grant.id),
        attempt(approvals.decline, other, approval_id=grant.id),
        attempt(approvals.approve, other, approval_id=grant.id),
    )

    grant.refresh_from_db()
    assert outcomes.count(InvalidState.__name__) == 2
    assert balance_of(phone.user_id).balance == (
        510 if grant.state == ApprovalState.APPROVED else 10
    )


def test_concurrent_grants_count_together(three):
    phone, [asker, *_] = three

    given = at_once(*[attempt(credits.refund_credits, asker, user_id=phone.user_id, amount=60)] * 3)

    assert sorted(one.approval is not None for one in given) == [False, True, True]
    assert balance_of(phone.user_id).balance == 70
