"""An attacker installs the app by TestFlight, where purchases cost nothing, and buys credits."""

from __future__ import annotations

import pytest
from django.utils import timezone

from billing.appstore import verifier
from billing.lifecycle import notification_handlers
from billing.models import Purchase
from generation.lifecycle import settle
from generation.models import Job
from generation.providers.base import FailureReason
from tests.billing.conftest import (
    FIFTY,
    TEN,
    AppStore,
    deliver_and_apply,
    ledger_is_balanced,
    purchase_of,
    sign_in,
    update_credits,
)
from tests.helpers.concurrency import at_once
from tests.helpers.phone import Phone

HUNDRED = "com.rendio.credits.100"
LIMIT, WELCOME = 100, 10


@pytest.fixture
def store(sandbox):
    return AppStore(sandbox)


@pytest.fixture(autouse=True)
def _nobody_is_held_for_review(settings):
    settings.FRAUD_HOLD_SCORE = 0


def buy(store, phone, product_id=FIFTY, **fields):
    """In Apple's sandbox; gives the credits that it brought."""
    bought = store.buy(product_id, phone=phone, environment="Sandbox", **fields)
    answer = update_credits(phone, bought)
    assert answer.status_code == 200, answer.content
    return answer.json()["credits_added"]


def test_a_tester_buys_up_to_the_limit_and_no_more(store, phone):
    brought = [buy(store, phone, HUNDRED) for _ in range(6)]

    assert brought == [100] + 5 * [0]
    assert phone.balance() == WELCOME + LIMIT
    assert ledger_is_balanced()


def test_the_purchase_that_passes_the_limit_brings_what_is_left(store, phone):
    assert [buy(store, phone, quantity=3), buy(store, phone, TEN)] == [100, 0]
    assert phone.balance() == WELCOME + LIMIT


def test_a_subscription_renewed_every_five_minutes_stays_below_the_limit(store, phone):
    bought = store.subscribe(
        phone=phone, environment="Sandbox", at="2026-01-01T00:00:00Z", expires_in=300
    )
    deliver_and_apply(bought)
    for _ in range(6):
        deliver_and_apply(store.notify("DID_RENEW", bought))

    assert phone.balance() == WELCOME + LIMIT


def test_new_guests_of_one_apple_account_share_one_limit(store, db, new_guest):
    guests = [new_guest() for _ in range(4)]

    brought = [buy(store, guest, customer="one tester") for guest in guests]

    assert brought == [50, 50, 0, 0]


def test_a_deleted_account_makes_no_room_for_its_apple_account(store, phone, new_guest):
    assert buy(store, phone, HUNDRED, customer="one tester") == 100
    assert phone.post("delete-account").status_code == 200

    assert buy(store, new_guest(), HUNDRED, customer="one tester") == 0


def test_one_user_with_several_apple_accounts_has_one_limit(store, phone):
    assert [buy(store, phone, customer=f"tester {n}") for n in range(4)] == [50, 50, 0, 0]


def test_a_refund_makes_no_room_and_its_reversal_returns_what_it_took(store, phone):
    bought = store.buy(HUNDRED, phone=phone, environment="Sandbox")
    deliver_and_apply(bought)
    deliver_and_apply(store.notify("REFUND", bought))
    assert phone.balance() == WELCOME

    assert buy(store, phone, HUNDRED) == 0
    deliver_and_apply(store.notify("REFUND_REVERSED", bought))

    assert phone.balance() == WELCOME + LIMIT
    assert ledger_is_balanced()


def test_a_purchase_that_names_no_apple_account_brings_nothing(store, phone):
    assert buy(store, phone, override={"appTransactionId": None}) == 0
    assert phone.balance() == WELCOME


def test_guests_that_become_one_account_do_not_add_up(store, sandbox, db, new_guest):
    account = new_guest()
    sub = sign_in(account, sandbox)
    guests = [new_guest() for _ in range(3)]
    for number, guest in enumerate(guests):
        assert buy(store, guest, HUNDRED, customer=f"tester {number}") == 100

    for guest in guests:
        sign_in(guest, sandbox, sub=sub)

    assert account.balance() == WELCOME + LIMIT
    assert buy(store, account, customer="tester 4") == 0
    assert ledger_is_balanced()


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
def test_jobs_that_end_after_a_merge_bring_back_no_more_than_the_limit(
    store, sandbox, db, ending, new_guest
):
    account, guest = new_guest(), new_guest()
    sub = sign_in(account, sandbox)
    buy(store, account, HUNDRED, customer="one")
    buy(store, guest, HUNDRED, customer="two")
    jobs = [guest.generate(settings={"duration": 12}).json()["job_id"] for _ in range(9)]

    sign_in(guest, sandbox, sub=sub)
    for job_id in jobs:
        if ending == "cancelled":
            assert account.post("cancel-video-job", {"job_id": job_id}).json()["refunded"]
        else:
            fail(job_id)

    assert account.balance() == WELCOME + LIMIT
    assert ledger_is_balanced()


def fail(job_id):
    job = Job.objects.get(id=job_id)
    assert settle.fail(job, FailureReason.PROVIDER_ERROR, now=timezone.now())


def test_a_reversed_refund_returns_nothing_that_a_merge_has_made_worthless(
    store, sandbox, db, new_guest
):
    account, guest = new_guest(), new_guest()
    sub = sign_in(account, sandbox)
    buy(store, account, HUNDRED, customer="one")
    bought = store.buy(HUNDRED, phone=guest, environment="Sandbox", customer="two")
    deliver_and_apply(bought)
    deliver_and_apply(store.notify("REFUND", bought))

    sign_in(guest, sandbox, sub=sub)
    deliver_and_apply(store.notify("REFUND_REVERSED", bought))

    assert account.balance() == WELCOME + LIMIT
    assert ledger_is_balanced()


def test_purchases_at_once_by_guests_of_one_apple_account_share_one_limit(committed, sandbox):
    store = AppStore(sandbox)
    guests = [Phone().sign_in() for _ in range(8)]
    bought = [
        store.buy(FIFTY, phone=guest, environment="Sandbox", customer="one tester")
        for guest in guests
    ]

    at_once(
        *[
            lambda guest=guest, one=one: update_credits(guest, one)
            for guest, one in zip(guests, bought, strict=True)
        ]
    )

    granted = [purchase_of(one).credits for one in bought]
    assert sorted(granted) == [0] * 6 + [50] * 2
    assert sum(guest.balance() for guest in guests) == 8 * WELCOME + LIMIT


def test_purchases_at_once_while_guests_become_one_account_do_not_add_up(committed, sandbox):
    store = AppStore(sandbox)
    account = Phone().sign_in()
    sub = sign_in(account, sandbox)
    guests = [Phone().sign_in() for _ in range(3)]
    bought = [
        store.buy(HUNDRED, phone=guest, environment="Sandbox", customer=f"racer {number}")
        for number, guest in enumerate(guests)
    ]

    at_once(
        *[lambda one=one: tell_again(one) for one in bought],
        *[lambda guest=guest: sign_in(guest, sandbox, sub=sub) for guest in guests],
    )

    assert account.balance() == WELCOME + LIMIT
    assert set(Purchase.objects.filter(user_id=account.user_id).values_list("credits")) <= {
        (0,),
        (100,),
    }
    assert ledger_is_balanced()


def tell_again(told):
    notification_handlers.handle(
        verifier.read_notification(told["signed_payload"]), now=timezone.now()
    )


# --- Who may buy ----------------------------------------------------------------------------------


def test_app_review_gets_what_it_buys(store, phone):
    assert buy(store, phone, HUNDRED) == 100
    assert phone.generate(settings={"duration": 12}).status_code == 200


def test_a_listed_tester_is_not_limited_and_their_other_guests_are(
    store, phone, settings, new_guest
):
    settings.APPSTORE_SANDBOX_TESTERS = frozenset({phone.user_id})

    assert [buy(store, phone, HUNDRED, customer="staff") for _ in range(3)] == [100, 100, 100]
    assert buy(store, new_guest(), HUNDRED, customer="staff") == 0


def test_a_limit_of_zero_leaves_only_listed_testers(store, phone, settings):
    settings.APPSTORE_SANDBOX_CREDITS = 0

    assert buy(store, phone) == 0


def test_what_is_paid_for_has_no_limit(store, phone):
    for _ in range(3):
        deliver_and_apply(store.buy(HUNDRED, phone=phone, customer="one"))
    buy(store, phone, HUNDRED, customer="one")

    assert phone.balance() == WELCOME + 400
