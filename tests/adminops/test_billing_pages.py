"""What support does about purchases: find what waits, give it to somebody, edit products."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.urls import reverse
from django.utils import timezone

from adminops.models import AdminAction, AuditLogEntry, PendingApproval
from billing.due_work import SYNC_PURCHASES
from billing.models import Product, Purchase, UnreadablePayload
from tests.adminops.conftest import WHY, Staff, get_log_entry, staff_user
from tests.billing.conftest import (
    TEN,
    AppStore,
    deliver,
    deliver_and_apply,
    ledger_is_balanced,
    purchase_of,
    update_credits,
)
from tests.helpers.phone import Phone


@pytest.fixture
def store(sandbox):
    return AppStore(sandbox)


@pytest.fixture
def waiting(db, store):
    """A purchase that names nobody."""
    bought = store.buy(TEN)
    deliver_and_apply(bought)
    return purchase_of(bought)


@pytest.fixture
def cashier(db):
    """Somebody who may look at purchases and act upon them."""
    return Staff(staff_user("kim", role="finance"))


def test_pending_purchases_are_listed(cashier, waiting, phone, store):
    deliver_and_apply(store.buy(TEN, phone=phone))

    shown = cashier.see("billing_purchase_changelist", standing="waiting").context["cl"]

    assert [row.id for row in shown.queryset] == [waiting.id]


def test_a_purchase_is_given_to_a_user_with_a_reason(cashier, waiting, phone):
    answer = cashier.act(
        "billing_purchase_assign", waiting.id, user_id=str(phone.user_id), reason=WHY
    )

    said = [str(message) for message in answer.context["messages"]]
    assert said == ["Purchase assigned. Credits granted: 10."]
    assert phone.balance() == 20
    log_entry = get_log_entry(waiting.id)
    assert (log_entry.action, log_entry.reason) == (AdminAction.ASSIGN_PURCHASE, WHY)
    assert log_entry.after == {"user": str(phone.user_id), "credits": 10}
    assert ledger_is_balanced()


def test_a_purchase_is_assigned_once(cashier, waiting, phone):
    other = Phone().sign_in()
    cashier.act("billing_purchase_assign", waiting.id, user_id=str(phone.user_id), reason=WHY)

    cashier.act("billing_purchase_assign", waiting.id, user_id=str(other.user_id), reason=WHY)

    assert (phone.balance(), other.balance()) == (20, 10)
    assert AuditLogEntry.objects.count() == 1


@pytest.mark.parametrize("user_id", ["00000000-0000-4000-8000-000000000000", "x", ""])
def test_a_purchase_is_not_assigned_to_an_unknown_user(cashier, waiting, user_id):
    answer = cashier.act("billing_purchase_assign", waiting.id, user_id=user_id, reason=WHY)

    assert answer.status_code == 200
    assert Purchase.objects.pending().get() == waiting


def test_a_purchase_is_not_assigned_to_a_closed_account(cashier, waiting, phone):
    phone.post("delete-account")

    answer = cashier.act(
        "billing_purchase_assign", waiting.id, user_id=str(phone.user_id), reason=WHY
    )

    assert b"closed" in answer.content
    assert Purchase.objects.pending().get() == waiting


def test_a_viewer_cannot_assign_a_purchase(waiting, phone):
    viewer = Staff(staff_user("vic", "billing.view_purchase"))

    answer = viewer.submit(
        "billing_purchase_assign", waiting.id, user_id=str(phone.user_id), reason=WHY
    )

    assert answer.status_code == 403
    assert phone.balance() == 10


def test_a_purchase_is_granted_once_its_product_is_added(root, cashier, phone, store):
    bought = store.buy("com.rendio.credits.20", phone=phone)
    deliver_and_apply(bought)
    assert purchase_of(bought).pending_reason == "product"

    saved = root.submit(
        "billing_product_add",
        product_id="com.rendio.credits.20",
        name="20 credits",
        kind="consumable",
        credits="20",
        trial_credits="0",
        rollover="keep",
        position="9",
        is_available="on",
        reason=WHY,
        form_id=str(uuid4()),
    )
    assert saved.status_code == 302
    approval = PendingApproval.objects.get()
    assert (
        b"The product is new." in root.see("adminops_pendingapproval_change", approval.id).content
    )
    cashier.act("adminops_pendingapproval_approve", approval.id, reason=WHY)
    SYNC_PURCHASES.run_batch(now=timezone.now())

    assert phone.balance() == 30


def test_a_products_credits_are_edited_and_its_id_is_not(root, phone, store):
    product = Product.objects.get(product_id=TEN)

    root.submit(
        "billing_product_change",
        product.id,
        product_id="another",
        name="12 credits",
        credits="12",
        trial_credits="0",
        rollover="keep",
        position="0",
        is_available="on",
        reason=WHY,
        form_id=str(uuid4()),
    )

    product.refresh_from_db()
    assert (product.product_id, product.credits) == (TEN, 12)
    log_entry = get_log_entry(product.id)
    assert (log_entry.action, log_entry.reason) == (AdminAction.EDIT_PRODUCT, WHY)
    assert (log_entry.before["row"]["credits"], log_entry.after["row"]["credits"]) == (10, 12)
    deliver_and_apply(store.buy(TEN, phone=phone))
    assert phone.balance() == 22


def test_trial_credits_need_a_second_persons_approval(root, cashier):
    product = Product.objects.get(product_id=TEN)
    fields = {"name": "10", "credits": "10", "trial_credits": "4", "rollover": "keep"}

    root.submit(
        "billing_product_change", product.id,
        **fields, position="0", is_available="on", reason=WHY, form_id=str(uuid4()),
    )  # fmt: skip

    product.refresh_from_db()
    assert product.trial_credits == 0
    approval = PendingApproval.objects.get()
    page = cashier.act("adminops_pendingapproval_approve", approval.id, reason=WHY)
    assert "Approved." in page.content.decode()
    product.refresh_from_db()
    assert product.trial_credits == 4


def test_a_product_shows_what_was_last_paid_in_each_storefront(root, phone, store):
    for storefront, price, currency, environment in [
        ("TUR", 29_990, "TRY", "Production"),
        ("TUR", 34_990, "TRY", "Production"),
        ("USA", 1_990, "USD", "Production"),
        ("DEU", 1_000, "EUR", "Sandbox"),
    ]:
        paid = {"storefront": storefront, "price": price, "currency": currency}
        deliver_and_apply(store.buy(TEN, phone=phone, environment=environment, **paid))

    page = root.see("billing_product_change", Product.objects.get(product_id=TEN).id)

    assert b"TUR 34.99 TRY, USA 1.99 USD" in page.content
    assert b"EUR" not in page.content


def test_a_product_off_sale_is_not_shown_and_still_honoured(phone, store):
    Product.objects.filter(product_id=TEN).update(is_available=False)

    shown = phone.get("get-products").json()["products"]
    deliver_and_apply(store.buy(TEN, phone=phone))

    assert TEN not in [one["product_id"] for one in shown]
    assert phone.balance() == 20


# --- What Apple signed and nobody can read --------------------------------------------------------


@pytest.fixture
def unreadable(phone, store):
    """A phone has sent a purchase without its date."""
    bought = store.buy(TEN, phone=phone, override={"purchaseDate": None})
    assert update_credits(phone, bought).status_code == 503
    return UnreadablePayload.objects.get()


def test_support_sees_the_claims_of_an_unreadable_payload(support, unreadable):
    page = support.see("billing_unreadablepayload_change", unreadable.id).content.decode()

    assert "purchaseDate" in page
    assert f"&quot;productId&quot;: &quot;{TEN}&quot;" in page
    assert unreadable.signed_payload in page


def test_a_notifications_inner_payload_is_shown_too(support, phone, store):
    told = store.buy(TEN, phone=phone, override={"bundleId": None})
    assert deliver(told).status_code == 503

    row = UnreadablePayload.objects.get()
    page = support.see("billing_unreadablepayload_change", row.id).content.decode()

    assert f"&quot;productId&quot;: &quot;{TEN}&quot;" in page


def test_a_payload_that_was_dealt_with_is_dismissed_on_record(unreadable):
    lead = Staff(staff_user("lee", role="lead"))

    lead.act("billing_unreadablepayload_dismiss", unreadable.id, reason=WHY)

    unreadable.refresh_from_db()
    assert (unreadable.outcome, unreadable.due_at) == ("dismissed", None)
    log_entry = get_log_entry(unreadable.id)
    assert (log_entry.action, log_entry.reason) == (AdminAction.DISMISS_PAYLOAD, WHY)
    assert log_entry.before == {"problem": "purchaseDate"}


def test_an_agent_dismisses_no_payload(unreadable):
    agent = Staff(staff_user("amy", role="agent"))

    answer = agent.submit("billing_unreadablepayload_dismiss", unreadable.id, reason=WHY)

    assert answer.status_code == 403
    unreadable.refresh_from_db()
    assert unreadable.closed_at is None


def test_an_unreadable_payload_is_in_the_search_and_the_timeline(support, phone, unreadable):
    found = support.see("support_search", q=unreadable.transaction_id)
    assert found.headers.get("Location") == reverse("admin:timeline", args=[phone.user_id])

    told = support.see("timeline", phone.user_id).content.decode()
    assert "unreadable payload: purchaseDate" in told
