"""Search: by each thing that is known of them, exactly, and on an index."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.apps import apps
from django.db import connection
from django.urls import reverse

from accounts.models import Device, Session, User
from tests.adminops.conftest import Staff, staff_user
from tests.billing.conftest import AppStore, purchase_of, update_credits
from tests.helpers.phone import Phone
from tests.helpers.training_pictures import record_training


@pytest.fixture
def known(customer_history, sandbox):
    """What is known of a customer, by its name."""
    bought = AppStore(sandbox).buy(phone=customer_history.phone)
    assert update_credits(customer_history.phone, bought).status_code == 200
    User.objects.filter(id=customer_history.user.id).update(email="Zoe@example.com")
    device = Device.objects.get(user=customer_history.user)
    trained = record_training(customer_history.job)
    wallet = apps.get_model("credits", "Wallet").objects.get(user=customer_history.user)
    return customer_history.user, {
        "e-mail": "zoe@EXAMPLE.com",
        "user": customer_history.user.id,
        "device": device.device_id,
        "device, as it is shown": device.public_id,
        "transaction": bought["transaction_id"],
        "original transaction": bought["original_transaction_id"],
        "purchase": purchase_of(bought).id,
        "job": customer_history.job.id,
        "provider's request": customer_history.request.provider_request_id,
        "our request": customer_history.request.id,
        "trained model": trained.id,
        "consent": trained.consent_id,
        "session": Session.objects.filter(user=customer_history.user).get().id,
        "wallet": wallet.id,
        "lot": wallet.lots.first().id,
        "ledger entry": wallet.entries.first().id,
    }


def test_everything_that_is_known_leads_to_the_story(support, known):
    user, terms = known
    timeline_url = reverse("admin:timeline", args=[user.id])

    for name, term in terms.items():
        for typed in (f" {term} ", str(term).upper()):
            assert support.see("support_search", q=typed).headers.get("Location") == timeline_url, (
                name
            )


def test_a_search_without_a_match_finds_nothing(support, known):
    for term in [uuid4(), "zoe@example", "zoe", "12", "🎈", "\0", "x" * 300, ""]:
        answer = support.see("support_search", q=str(term))

        assert answer.status_code == 200, term
        assert answer.context["table"]["rows"] == []


def test_several_users_of_one_address_are_listed(support, known):
    user, terms = known
    other = Phone().sign_in()
    User.objects.filter(id=other.user_id).update(email="ZOE@example.com")

    page = support.see("support_search", q=terms["e-mail"])

    assert page.status_code == 200
    for user_id in [user.id, other.user_id]:
        assert reverse("admin:timeline", args=[user_id]) in page.content.decode()


def test_a_purchase_without_an_owner_is_shown_alone(support, sandbox, known):
    bought = AppStore(sandbox).buy()
    update_credits(known[0] and Phone().sign_in(), bought)
    row = purchase_of(bought)
    apps.get_model("billing", "Purchase").objects.filter(id=row.id).update(
        user=None, granted_at=None, credits=None
    )

    page = support.see("support_search", q=bought["transaction_id"])

    assert reverse("admin:billing_purchase_change", args=[row.id]) in page.content.decode()


def test_a_purchase_that_apple_could_not_confirm_yet_leads_to_the_story(support, sandbox, phone):
    store = AppStore(sandbox)
    bought = store.buy(phone=phone)
    store.set_outage(times=1)
    assert update_credits(phone, bought).status_code == 503

    page = support.see("support_search", q=bought["transaction_id"])

    assert page.headers.get("Location") == reverse("admin:timeline", args=[phone.user_id])
    told = support.see("timeline", phone.user_id).content.decode()
    assert "unconfirmed by Apple" in told
    assert "/admin/billing/unconfirmedpurchase/" in told


def test_search_needs_the_permission_to_view_users(known):
    _, terms = known
    assert Staff(staff_user("tom")).see("support_search", q=terms["e-mail"]).status_code == 403
    assert Staff(staff_user("vera", role="viewer")).see("support_search").status_code == 200


def test_the_search_is_in_the_sidebar_of_every_page(support):
    for page in ["index", "generation_job_changelist"]:
        assert reverse("admin:support_search") in support.see(page).content.decode()


@pytest.mark.parametrize("column", ["email", "transaction_id", "original_transaction_id"])
def test_search_by_text_uses_an_index(db, column):
    rows = User.objects if column == "email" else apps.get_model("billing", "Purchase").objects
    lookup = f"{column}__iexact" if column == "email" else column
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")

    assert "Index" in rows.filter(**{lookup: "x@example.com"}).explain()
