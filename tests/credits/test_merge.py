"""A merge of two wallets moves everything once and leaves the ledger balanced."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction

from credits import idempotency, ledger_check, services
from credits.errors import AccountSuspended, CodeRefused
from credits.models import Kind, WalletState
from credits.services import CodeTerms, Source
from rendio.common.errors import NotFound, Unauthorized
from tests.helpers.wallet import NOW, TestWallet


@pytest.fixture
def guest(db):
    """Had its welcome of 10."""
    return TestWallet(credits=10)


@pytest.fixture
def account(db):
    """Had its welcome of 10, too."""
    return TestWallet(credits=10)


def merge(guest, account):
    services.merge(from_user_id=guest.user_id, into_user_id=account.user_id, now=NOW)


def ledger_adds_up():
    return ledger_check.find_discrepancies() == []


def numbers(wallet):
    return services.balance_of(wallet.user_id)


def test_lots_move_with_an_entry_in_each_wallet(guest, account):
    guest.buy(20)
    guest.promote(5, days=3)
    guest.charge(4)  # of the promotion

    merge(guest, account)

    assert (guest.balance, account.balance) == (0, 10 + 20 + 1)
    assert guest.lots == []
    assert [entry.change for entry in guest.entries[-2:]] == [-10, -21]
    assert [entry.kind for entry in guest.entries[-2:]] == [Kind.EXPIRY, Kind.TRANSFER]
    assert (account.entries[-1].kind, account.entries[-1].change) == (Kind.TRANSFER, 21)
    assert guest.row.state == WalletState.CLOSED
    assert guest.row.merged_into_id == account.wallet_id
    assert ledger_adds_up()


def test_moved_lots_keep_expiry_and_transaction(guest, account):
    transaction_id = guest.buy(20)
    guest.promote(5, days=3)

    merge(guest, account)

    assert services.expire_due_lots(now=NOW + timedelta(days=4)) == 1
    assert account.balance == 30
    taken = account.claw_back(transaction_id)
    assert (taken.wallet_id, taken.change) == (account.wallet_id, -20)
    assert ledger_adds_up()


def test_the_first_welcome_moves_to_an_account_without_one(guest):
    account, second = TestWallet(), TestWallet(credits=10)

    merge(guest, account)
    merge(second, account)

    assert (guest.balance, second.balance, account.balance) == (0, 0, 10)
    assert ledger_adds_up()


def test_lifetime_totals_move_without_expired_credits(guest, account):
    guest.buy(20)
    guest.charge(4)

    merge(guest, account)

    assert numbers(account).lifetime_total == 10 + 20 + 4
    assert numbers(guest).lifetime_total == 6
    assert (account.balance, guest.balance) == (30, 0)


def test_a_repeated_merge_moves_nothing(guest, account):
    guest.buy(20)
    merge(guest, account)
    before = (numbers(guest), numbers(account), len(guest.entries), len(account.entries))

    merge(guest, account)

    assert (numbers(guest), numbers(account), len(guest.entries), len(account.entries)) == before


def test_a_debt_moves_in_a_merge(guest, account):
    bought = guest.buy(4)
    guest.charge(12)
    guest.claw_back(bought)
    owed = guest.debt

    merge(guest, account)

    assert owed > 0
    assert (guest.debt, account.debt) == (0, owed)
    assert ledger_adds_up()


@pytest.mark.parametrize("spent", [4, 10])
def test_a_refund_of_a_guests_job_reaches_the_account(guest, account, spent):
    guest.buy(20)
    guest.charge(10)  # the welcome
    job = guest.charge(spent)
    merge(guest, account)

    refund = guest.refund(job)

    assert (refund.wallet_id, refund.change) == (account.wallet_id, spent)
    assert (guest.balance, account.balance) == (0, 10 + 20)
    assert guest.refund(job) == refund
    assert account.refund(job) == refund
    assert account.charge(30)
    assert ledger_adds_up()


def test_a_cancelled_job_returns_nothing_of_a_second_welcome(guest, account):
    job = guest.charge(7)
    merge(guest, account)

    refund = account.cancel(job)

    assert refund.change == 7
    assert (account.entries[-1].kind, account.entries[-1].change) == (Kind.EXPIRY, -7)
    assert account.entries[-1].reason == "second welcome"
    assert account.balance == 10
    assert ledger_adds_up()


def test_a_cancelled_job_returns_nothing_of_a_second_welcome_when_the_first_is_spent(
    guest, account
):
    job = guest.charge(7)
    account.charge(10)
    merge(guest, account)

    account.cancel(job)

    assert account.balance == 0
    assert ledger_adds_up()


def test_a_cancelled_job_returns_its_credits_to_other_lots(guest, account):
    guest.buy(20)
    job = guest.charge(15)  # the welcome, and 5 that were bought
    merge(guest, account)

    account.cancel(job)

    assert account.balance == 10 + 20
    assert ledger_adds_up()


@pytest.mark.parametrize(("spent", "left"), [(0, 10), (4, 10), (10, 7)])
def test_a_failed_job_refunds_a_second_welcome_up_to_one_welcome(guest, account, spent, left):
    job = guest.charge(7)
    if spent:
        account.charge(spent)
    merge(guest, account)

    account.refund(job)

    assert account.balance == left
    assert ledger_adds_up()


def test_failing_jobs_in_any_order_never_leave_two_welcomes(guest, account):
    guests, accounts = guest.charge(10), account.charge(10)
    merge(guest, account)

    account.refund(guests)
    assert account.balance == 10
    account.refund(accounts)

    assert account.balance == 10
    assert ledger_adds_up()


def test_credits_returned_by_a_failed_job_add_nothing_when_spent_and_refunded(guest, account):
    guests, accounts = guest.charge(10), account.charge(10)
    merge(guest, account)
    account.refund(guests)
    again = account.charge(10)
    account.refund(accounts)

    account.refund(again)

    assert account.balance == 10
    assert ledger_adds_up()


def test_a_second_welcome_repays_no_debt(guest, account):
    job = guest.charge(10)
    transaction_id = account.buy(5)
    account.charge(15)
    account.claw_back(transaction_id)
    merge(guest, account)

    account.refund(job)

    assert (account.balance, account.debt) == (10, 5)
    assert ledger_adds_up()


def test_a_refund_of_purchased_credits_returns_to_their_lot(account):
    guest = TestWallet()
    transaction_id = guest.buy(8)
    job = guest.charge(8)
    merge(guest, account)

    account.refund(job)

    assert account.claw_back(transaction_id).change == -8
    assert (account.balance, account.debt) == (10, 0)
    assert ledger_adds_up()


def test_a_grant_to_a_merged_guest_goes_to_the_account(guest, account):
    merge(guest, account)

    guest.buy(20)
    guest.adjust(3)

    assert (guest.balance, account.balance) == (0, 33)
    assert ledger_adds_up()


def test_a_merged_wallet_spends_nothing(guest, account):
    guest.buy(20)
    merge(guest, account)

    with pytest.raises(Unauthorized):
        guest.charge(1)
    assert account.balance == 30


def test_an_empty_wallet_leaves_no_entry(account):
    guest = TestWallet()

    merge(guest, account)

    assert guest.entries == []
    assert len(account.entries) == 1
    assert guest.row.state == WalletState.CLOSED


@pytest.mark.parametrize("banned", ["guest", "account"])
def test_a_suspended_wallet_cannot_merge(guest, account, banned):
    services.suspend(user_id={"guest": guest, "account": account}[banned].user_id)

    with pytest.raises(AccountSuspended), transaction.atomic():
        merge(guest, account)

    assert (guest.balance, account.balance) == (10, 10)
    services.resume(user_id={"guest": guest, "account": account}[banned].user_id)
    merge(guest, account)


def test_a_wallet_moves_into_one_account_only(guest, account):
    other = TestWallet()
    merge(guest, account)

    with pytest.raises(Unauthorized), transaction.atomic():
        merge(guest, other)

    assert (account.balance, other.balance) == (10, 0)


def test_a_merge_needs_two_different_wallets(guest):
    with pytest.raises(NotFound), transaction.atomic():
        services.merge(from_user_id=guest.user_id, into_user_id=uuid4(), now=NOW)
    with pytest.raises(Unauthorized), transaction.atomic():
        merge(guest, guest)

    assert guest.balance == 10


# --- Codes ------------------------------------------------------------------------------------


def create_code(**terms):
    return services.create_code(code="SPRING", terms=CodeTerms(credits=20, **terms), now=NOW)


def test_a_code_that_the_guest_redeemed_is_redeemed_for_the_account(guest, account):
    create_code()
    guest.redeem("spring")

    merge(guest, account)

    with pytest.raises(CodeRefused) as refused:
        account.redeem("spring")
    assert refused.value.details == {"problem": "already_redeemed"}
    assert account.balance == 10 + 20
    assert ledger_adds_up()


def test_a_code_redeemed_by_guest_and_account_counts_once(guest, account):
    create_code()
    guest.redeem("spring")
    account.redeem("spring")
    guest.charge(12)  # the welcome's 10, and 2 of the code

    merge(guest, account)

    assert account.balance == 10 + 20
    assert guest.entries[-1].reason == "second promotion code"
    assert numbers(account).lifetime_total == 30 + 12
    assert ledger_adds_up()


def test_a_code_for_two_redemptions_per_user_counts_twice_after_a_merge(guest, account):
    create_code(max_per_user=2)
    for wallet in (guest, guest, account):
        wallet.redeem("spring")

    merge(guest, account)

    assert account.balance == 10 + 20 + 20
    with pytest.raises(CodeRefused):
        account.redeem("spring")
    assert ledger_adds_up()


@pytest.mark.parametrize("end", ["refund", "cancel"])
def test_a_job_that_spent_a_second_code_returns_nothing_while_the_first_is_whole(
    guest, account, end
):
    create_code()
    guest.redeem("spring")
    account.redeem("spring")
    job_id = guest.charge(25)
    merge(guest, account)

    getattr(account, end)(job_id)

    assert account.balance == 30
    assert ledger_adds_up()


def test_a_job_that_spent_a_second_code_and_failed_returns_it_once_the_first_is_spent(
    guest, account
):
    create_code(lot_days=1)  # spent before the welcome
    guest.redeem("spring")
    account.redeem("spring")
    job_id = guest.charge(20)
    account.charge(15)
    merge(guest, account)

    account.refund(job_id)

    assert account.balance == 10 + 20
    assert ledger_adds_up()


def test_a_code_with_two_redemptions_per_user_keeps_both(guest, account):
    create_code(max_per_user=2, lot_days=1)
    guest.redeem("spring")
    guest.redeem("spring")
    account.redeem("spring")
    job_id = guest.charge(40)
    merge(guest, account)

    account.refund(job_id)

    assert account.balance == 10 + 2 * 20
    assert ledger_adds_up()


def test_a_debt_that_a_second_code_repaid_is_owed_again(guest, account):
    create_code()
    transaction_id = guest.buy(20)
    guest.charge(30)
    guest.claw_back(transaction_id)
    guest.redeem("spring")
    account.redeem("spring")
    assert guest.debt == 0

    merge(guest, account)

    assert (account.balance, account.debt) == (30, 20)
    account.reverse_clawback(transaction_id)
    assert (account.balance, account.debt) == (30, 0)
    assert ledger_adds_up()


def test_a_debt_that_a_refund_of_a_second_code_repaid_is_owed_again(guest, account):
    create_code(lot_days=1)
    guest.redeem("spring")
    account.redeem("spring")
    job_id = guest.charge(25)  # the code, and 5 of the welcome
    transaction_id = guest.buy(20)
    guest.charge(25)
    guest.claw_back(transaction_id)
    guest.cancel(job_id, fee=2)
    assert (guest.balance, guest.debt) == (3, 0)

    merge(guest, account)

    assert (account.balance, account.debt) == (30, 20)  # 15 of the code, 5 of the welcome
    assert ledger_adds_up()


# --- Answers ----------------------------------------------------------------------------------


def test_stored_responses_move_unless_the_account_used_the_key(guest, account):
    shared, own = str(uuid4()), str(uuid4())

    def attempt(wallet, key):
        return idempotency.parse_request(
            user_id=wallet.user_id, operation="generate-video", key=key, body={}
        )

    for wallet, key, text in [(guest, shared, "a"), (guest, own, "b"), (account, shared, "c")]:
        answer = idempotency.StoredResponse(200, {"from": text})
        assert idempotency.save_response(attempt(wallet, key), answer, now=NOW)

    idempotency.reassign(from_user_id=guest.user_id, into_user_id=account.user_id)

    assert idempotency.find_response(attempt(account, own), now=NOW).body == {"from": "b"}
    assert idempotency.find_response(attempt(account, shared), now=NOW).body == {"from": "c"}


def test_lots_of_every_source_move(account):
    guest = TestWallet()
    for source in Source:
        guest.grant(1, source=source)

    merge(guest, account)

    assert account.balance == 10 + len(Source) - 1
    assert ledger_adds_up()
