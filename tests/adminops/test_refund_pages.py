"""What support does when Apple asks about a refund: look, and say otherwise while Apple waits."""

from __future__ import annotations

from datetime import timedelta

import pytest
import requests
from django.utils import timezone

from adminops.models import AdminAction, AuditLogEntry
from billing.due_work import ANSWER_CONSUMPTION
from billing.models import ConsumptionRequest
from tests.adminops.conftest import WHY, Staff, get_log_entry, staff_user
from tests.billing.conftest import TEN, AppStore, deliver_and_apply

DECIDE = "billing_consumptionrequest_override_preference"


@pytest.fixture
def asked(phone, sandbox):
    """Apple asks about a purchase whose user has agreed to an answer."""
    store = AppStore(sandbox)
    phone.post("record-consent", {"kind": "consumption", "version": "1"})
    bought = store.buy(TEN, phone=phone)
    deliver_and_apply(bought)
    deliver_and_apply(store.notify("CONSUMPTION_REQUEST", bought))
    return ConsumptionRequest.objects.get()


@pytest.fixture
def cashier(db):
    return Staff(staff_user("kim", role="finance"))


def consumption_answers(sandbox):
    answer = requests.get(f"{sandbox.url}/control/apple/consumption", timeout=30)
    return [one["told"]["refundPreference"] for one in answer.json()["consumption"]]


def test_support_decides_otherwise_before_the_answer(cashier, asked, sandbox):
    cashier.act(DECIDE, asked.id, policy="decline", reason=WHY)
    ANSWER_CONSUMPTION.run_batch(now=timezone.now())

    assert consumption_answers(sandbox) == ["DECLINE"]
    log_entry = get_log_entry(asked.purchase_id)
    assert (log_entry.action, log_entry.reason) == (AdminAction.OVERRIDE_REFUND, WHY)
    assert (log_entry.before, log_entry.after) == ({"policy": None}, {"policy": "decline"})


def test_support_decides_otherwise_after_the_answer(cashier, asked, sandbox):
    ANSWER_CONSUMPTION.run_batch(now=timezone.now() + timedelta(hours=1))
    assert consumption_answers(sandbox) == ["GRANT_FULL"]

    cashier.act(DECIDE, asked.id, policy="decline", reason=WHY)
    ANSWER_CONSUMPTION.run_batch(now=timezone.now())

    assert consumption_answers(sandbox) == ["GRANT_FULL", "DECLINE"]


def test_apple_waits_only_so_long(cashier, asked):
    ConsumptionRequest.objects.update(deadline_at=timezone.now())

    answer = cashier.act(DECIDE, asked.id, policy="decline", reason=WHY)

    assert b"deadline for an answer has passed" in answer.content
    assert not AuditLogEntry.objects.exists()


@pytest.mark.parametrize("wrong", [{"policy": "perhaps"}, {"reason": "x"}, {"policy": ""}])
def test_a_decision_is_one_of_four_and_has_its_reason(cashier, asked, wrong):
    cashier.act(DECIDE, asked.id, **{"policy": "decline", "reason": WHY} | wrong)

    asked.refresh_from_db()
    assert asked.override == ""


def test_a_viewer_cannot_decide_a_refund(asked):
    viewer = Staff(staff_user("vic", "billing.view_consumptionrequest"))

    answer = viewer.submit(DECIDE, asked.id, policy="decline", reason=WHY)

    assert answer.status_code == 403
