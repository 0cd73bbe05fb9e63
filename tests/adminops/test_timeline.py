"""A user's story: everything in the order of time, at the same small cost however long it is."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.urls import reverse
from django.utils import timezone

from accounts.apple import identity_tokens
from accounts.models import PushKind, Session, User
from adminops.support import timeline
from generation.lifecycle import notifications
from generation.models import Job
from rendio.common.ids import uuid7
from tests.accounts.conftest import Installation, Person
from tests.adminops.conftest import WHY, Staff, staff_user
from tests.billing.conftest import AppStore, deliver_and_apply, update_credits
from tests.helpers.model_ids import SORA
from tests.helpers.phone import Phone

LEDGER = apps.get_model("credits", "LedgerEntry")


@pytest.fixture
def busy(customer_history, support, sandbox):
    """A customer to whom everything has happened that a story tells."""
    customer_history.phone.register_for_pushes()
    notifications.notify_user(customer_history.job, PushKind.JOB_FAILED, now=timezone.now())
    store = AppStore(sandbox)
    bought = store.buy(phone=customer_history.phone)
    assert update_credits(customer_history.phone, bought).status_code == 200
    deliver_and_apply(store.notify("CONSUMPTION_REQUEST", bought))
    deliver_and_apply(store.notify("REFUND", bought))
    support.call(
        "admin-refund-credits", user_id=str(customer_history.user.id), amount=5, reason=WHY
    )
    return customer_history


def test_the_timeline_shows_every_event_with_the_balance_after_it(busy):
    told = timeline.get_page(busy.user.id)

    assert Counter(event.kind for event in told.events) == Counter(
        session=1, job=1, charge=1, refund=1, purchase=1, grant=3, revocation=1, support=1, push=1
    )
    money = [
        (event.kind, event.change, event.balance) for event in told.events[::-1] if event.change
    ]
    assert money == [
        ("grant", 10, 10),
        ("charge", -4, 6),
        ("refund", 4, 10),
        ("grant", 10, 20),
        ("revocation", -10, 10),
        ("grant", 5, 15),
    ]
    assert told.events[0].balance == 15


def test_events_of_a_job_or_purchase_are_grouped_under_it(busy):
    lines = {
        event.kind: [line.text for line in event.details]
        for event in timeline.get_page(busy.user.id).events
    }

    assert "fal: failed" in lines["job"][0]
    told_by_apple = " ".join(lines["purchase"])
    for part in ["CONSUMPTION_REQUEST", "REFUND", "refund request"]:
        assert part in told_by_apple
    assert "welcome lot -4: 10 of 10 left" in lines["charge"]


def test_the_page_links_both_ways(support, busy):
    page = support.see("timeline", busy.user.id).content.decode()
    timeline_url = reverse("admin:timeline", args=[busy.user.id])

    for name in ["user", "session"]:
        assert f"/admin/accounts/{name}/" in page
    for name, row in [("job", busy.job), ("providerrequest", busy.request)]:
        assert reverse(f"admin:generation_{name}_change", args=[row.id]) in page
    for name, row in [
        ("generation_job", busy.job),
        ("accounts_user", busy.user),
        ("billing_purchase", apps.get_model("billing", "Purchase").objects.get()),
        ("credits_ledgerentry", LEDGER.objects.first()),
    ]:
        assert timeline_url in support.see(f"{name}_change", row.pk).content.decode(), name


def test_the_timeline_needs_the_permission_to_view_users_and_masks_for_a_viewer(busy):
    User.objects.filter(id=busy.user.id).update(email="zoe@example.com")
    page = Staff(staff_user("vera", role="viewer")).see("timeline", busy.user.id)

    assert page.status_code == 200
    assert "zoe@example.com" not in page.content.decode()
    assert (
        "zoe@"
        in Staff(staff_user("ann", role="agent")).see("timeline", busy.user.id).content.decode()
    )
    assert Staff(staff_user("tom")).see("timeline", busy.user.id).status_code == 403


def test_an_invalid_cursor_is_404(support, busy, subtests):
    for before in ["x", "5", "0" * 32 + ".x", "f" * 40, "é.", "\0"]:
        with subtests.test(before=before):
            assert support.see("timeline", busy.user.id, before=before).status_code == 404


def test_the_timeline_of_an_unknown_user_is_404(support):
    assert support.see("timeline", uuid4()).status_code == 404


def test_an_account_and_the_guest_that_became_it_lead_to_each_other(support, sandbox, db):
    identity_tokens.keys.clear()
    person, account, guest = Person(sandbox), Installation().signed_in(), Installation().signed_in()
    guest_id = guest.user_id
    for phone in [account, guest]:
        assert person.signs_in(phone).status_code == 200

    pages = {
        user_id: support.see("timeline", user_id).content.decode()
        for user_id in [account.user_id, guest_id]
    }

    assert reverse("admin:timeline", args=[guest_id]) in pages[account.user_id]
    assert reverse("admin:timeline", args=[account.user_id]) in pages[guest_id]


def test_the_timeline_states_a_ban_at_the_top(support, customer_history):
    def status():
        return dict(support.see("timeline", customer_history.user.id).context["facts"])["Status"]

    assert "active" in status()
    support.call("admin-ban-user", user_id=str(customer_history.user.id), reason=WHY)

    assert "banned" in status()


# --- A long one -----------------------------------------------------------------------------------


def lengthen(phone: Phone, *, times: int) -> None:
    """As many jobs, each with its charge and a session: three events each, a second apart, out of
    credits that came at first."""
    user = User.objects.select_related("wallet").get(id=phone.user_id)
    now = timezone.now()
    ids = [at(now + timedelta(seconds=number)) for number in range(times)]
    Job.objects.bulk_create(
        Job(id=id_, user=user, model_id=SORA, credits=1, price_usd=1, queue="low",
            status="completed", stage="done", media_name="x")
        for id_ in ids
    )  # fmt: skip
    wallet, count = user.wallet, user.wallet.entry_count
    LEDGER.objects.bulk_create(
        LEDGER(id=uuid7(), wallet=wallet, number=count + 1 + number, kind="charge", change=-1,
               balance_after=times - number, job_id=id_)
        for number, id_ in enumerate(ids)
    )  # fmt: skip
    Session.objects.bulk_create(
        Session(id=at(now + timedelta(seconds=number, milliseconds=500)), user=user,
                refresh_hash=uuid4().hex, created_at=now, last_used_at=now, expires_at=now)
        for number in range(times)
    )  # fmt: skip


def at(moment) -> UUID:
    """A time-ordered id of that moment."""
    random = uuid7().int & ((1 << 80) - 1)
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | random)


def test_5000_events_open_with_as_many_queries_as_a_few(
    support, phone, django_assert_max_num_queries
):
    with django_assert_max_num_queries(18) as few:
        support.see("timeline", phone.user_id)
    lengthen(phone, times=1670)

    with django_assert_max_num_queries(18) as many:
        page = support.see("timeline", phone.user_id)

    assert page.status_code == 200
    # Of a job its requests and of an entry its lots are asked for, once a page.
    assert len(many) - len(few) <= 2


def test_timeline_pages_show_every_event_once_in_order(phone):
    lengthen(phone, times=100)

    events, before = [], ""
    for _ in range(20):
        told = timeline.get_page(phone.user_id, before=before)
        events += told.events
        before = str(told.next_cursor or "")
        if not before:
            break

    assert not before
    assert len(events) == len({event.row.pk for event in events}) == 302
    keys = [event.key for event in events]
    assert keys == sorted(keys, reverse=True)
    numbers = [event.row.number for event in events if event.change]
    assert numbers == sorted(numbers, reverse=True)
    for newer, older in pairwise(events):
        assert newer.balance == (newer.row.balance_after if newer.change else older.balance)
