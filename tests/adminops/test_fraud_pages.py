"""Who looks odd is a page, and what is held back is let through there with a reason."""

from __future__ import annotations

import pytest

from adminops.models import AdminAction, AuditLogEntry
from billing.models import FraudScore, Purchase
from tests.adminops.conftest import WHY, Staff, get_log_entry, staff_user
from tests.billing.conftest import TEN, AppStore, deliver_and_apply, ledger_is_balanced, purchase_of

RELEASE = "billing_purchase_release"


@pytest.fixture
def held(phone, sandbox, settings):
    """A purchase of somebody with fraud marks."""
    settings.FRAUD_PURCHASES_PER_HOUR = 0
    settings.FRAUD_HOLD_SCORE = 10
    bought = AppStore(sandbox).buy(TEN, phone=phone)
    deliver_and_apply(bought)
    return purchase_of(bought)


@pytest.fixture
def cashier(db):
    return Staff(staff_user("kim", role="finance"))


def test_the_score_stands_there_with_its_reasons(cashier, held):
    listed = cashier.see("billing_fraudscore_changelist").content.decode()
    page = cashier.see("billing_fraudscore_change", held.user_id).content.decode()

    reason = "purchases within an hour: 1 (usual: 0), 10 points"
    assert reason in listed
    assert reason in page


def test_a_purchase_under_review_is_released_with_a_reason(cashier, held, phone):
    answer = cashier.act(RELEASE, held.id, reason=WHY)

    said = [str(message) for message in answer.context["messages"]]
    assert said == ["Purchase released. Credits granted: 10."]
    assert phone.balance() == 20
    log_entry = get_log_entry(held.id)
    assert (log_entry.action, log_entry.reason) == (AdminAction.RELEASE_PURCHASE, WHY)
    assert log_entry.after == {"held": False, "credits": 10}
    assert ledger_is_balanced()


def test_a_purchase_is_released_once(cashier, held, phone):
    cashier.act(RELEASE, held.id, reason=WHY)

    answer = cashier.act(RELEASE, held.id, reason=WHY)

    assert b"does not await review" in answer.content
    assert phone.balance() == 20
    assert AuditLogEntry.objects.count() == 1


def test_without_a_reason_it_stays(cashier, held, phone):
    cashier.act(RELEASE, held.id, reason=" ")

    assert Purchase.objects.pending().get() == held
    assert phone.balance() == 10


def test_each_that_waits_has_the_button_that_helps(cashier, held, sandbox):
    nobodys = AppStore(sandbox).buy(TEN)
    deliver_and_apply(nobodys)

    def buttons(purchase):
        page = cashier.see("billing_purchase_change", purchase.id).content.decode()
        return "Release" in page, "Assign to a user" in page

    assert buttons(held) == (True, False)
    assert buttons(purchase_of(nobodys)) == (False, True)


def test_a_viewer_cannot_release_a_purchase(held):
    viewer = Staff(staff_user("vic", "billing.view_purchase"))

    assert viewer.submit(RELEASE, held.id, reason=WHY).status_code == 403
    assert FraudScore.objects.exists()
