"""A row on which the work always breaks keeps none of the others from their turn."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Push, PushOutcome
from credits import services as credit_services
from credits.models import Wallet
from generation.models import FileDeletion
from rendio.common.background.due_rows import claim_due, for_each_logged, run_all
from tests.accounts.test_pushes import answer, enqueue_push, send
from tests.helpers.phone import Phone
from tests.helpers.wallet import NOW, TestWallet


class OutsideIsDown(Exception):
    pass


def test_a_row_that_always_stops_the_batch_keeps_nobody_from_their_turn(db):
    now = timezone.now()
    for name in ("poisoned", "first", "second"):
        FileDeletion.objects.create(name=name, due_at=now)
    done = []

    def act(row):
        if row.name == "poisoned":
            raise OutsideIsDown
        done.append(row.name)
        row.delete()

    for minutes in range(5):
        rows = claim_due(FileDeletion.objects.all(), now=now + timedelta(minutes=minutes), limit=20)
        for_each_logged(rows, act, stop_on=OutsideIsDown)

    assert sorted(done) == ["first", "second"]
    poisoned = FileDeletion.objects.get()
    assert poisoned.due_at > now + timedelta(minutes=minutes)


def test_rows_that_were_put_back_have_not_been_tried(db):
    now = timezone.now()
    for name in ("poisoned", "other"):
        FileDeletion.objects.create(name=name, due_at=now, tries=3)

    def act(row):
        raise OutsideIsDown

    for_each_logged(
        claim_due(FileDeletion.objects.order_by("id"), now=now, limit=20),
        act,
        stop_on=OutsideIsDown,
    )

    rows = FileDeletion.objects.order_by("tries").values_list("tries", "due_at")
    assert list(rows) == [(3, now + timedelta(minutes=1)), (4, now + timedelta(minutes=8))]


def test_a_lot_that_cannot_lapse_keeps_none_of_the_others(db):
    poisoned, other = TestWallet(), TestWallet()
    poisoned.promote(5, days=1)
    other.promote(5, days=2)
    Wallet.objects.filter(id=poisoned.wallet_id).update(balance=0)  # as no code of ours does

    credit_services.expire_due_lots(now=NOW + timedelta(days=3))

    assert (other.balance, poisoned.lots) == (0, [5])


def test_a_push_that_cannot_be_recorded_keeps_none_of_the_others(committed, sandbox):
    phones = [Phone().sign_in() for _ in range(3)]
    tokens = [phone.register_for_pushes() for phone in phones]
    # What PostgreSQL does not take.
    answer(sandbox, 500, "\x00", token=tokens[0])
    for phone in phones:
        assert enqueue_push(phone)
    Push.objects.filter(user_id=phones[0].user_id).update(
        due_at=timezone.now() - timedelta(minutes=1)  # it comes first
    )

    send()

    sent = Push.objects.filter(outcome=PushOutcome.SENT).values_list("user_id", flat=True)
    assert set(sent) >= {phone.user_id for phone in phones[1:]}
    Push.objects.filter(user_id=phones[0].user_id).delete()


def test_a_step_of_a_sweep_that_breaks_keeps_none_of_the_others():
    done = []

    def broken():
        raise OutsideIsDown

    with pytest.raises(OutsideIsDown):
        run_all(broken, lambda: done.append("next"))

    assert done == ["next"]
