"""A process that dies between Apple and our commit: nothing has changed, and the person signs in.

A real process goes through the steps of accounts.services.apple_sign_in and dies.
"""

import os
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts import tokens
from accounts.models import AppleIdentity, Session, UsedToken, User
from credits import ledger_check
from credits import services as credit_services
from credits.services import Source
from tests.helpers import fork_server
from tests.helpers.database import url_of_database
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("committed")

STEPS = """
import os
from uuid import UUID
from django.utils import timezone
from accounts.apple import identity_tokens
from accounts.services import apple_sign_in
from tests.helpers.wait import wait_for
now = timezone.now()
session_id = UUID(os.environ["TEST_SESSION_ID"])
token, nonce = os.environ["TEST_TOKEN"], os.environ["TEST_NONCE"]
identity = identity_tokens.read_identity_token(token, nonce=nonce)
"""
EXCHANGE = (
    "refresh_token = identity_tokens.exchange_code(os.environ['TEST_CODE'], identity=identity)"
)
SETTLE = (
    "apple_sign_in.complete_sign_in(session_id=session_id, identity=identity,"
    " refresh_token=refresh_token, now=now)"
)


class Process:
    def __init__(self, installation, signed, *lines):
        access = tokens.read_access(installation.session["access_token"])
        server = fork_server.application({**os.environ, "DATABASE_URL": url_of_database()})
        self._process = server.start(
            STEPS + "\n".join([*lines, "os._exit(9)"]),
            TEST_SESSION_ID=str(access.session_id),
            TEST_TOKEN=signed["identity_token"],
            TEST_NONCE=signed["nonce"],
            TEST_CODE=signed["authorization_code"],
        )

    def dies(self):
        _, errors = self._process.communicate(timeout=30)
        assert self._process.returncode == 9, errors

    def kill(self):
        assert self._process.poll() is None, "it was to be killed on the way, not at its end"
        self._process.kill()
        self._process.communicate(timeout=30)


@pytest.fixture
def account(committed_guest, person):
    assert person.signs_in(committed_guest).status_code == 200
    return committed_guest


@pytest.fixture
def second_phone(account, new_installation):
    phone = new_installation().signed_in()
    with transaction.atomic():
        credit_services.grant(
            user_id=phone.user_id,
            amount=20,
            source=Source.PURCHASE,
            reason="test",
            now=timezone.now(),
            transaction_id=str(uuid4()),
        )
    return phone


def balance(user_id):
    return credit_services.balance_of(user_id).balance


def nothing_has_changed(account, second_phone):
    return (
        balance(second_phone.user_id) == 30
        and balance(account.user_id) == 10
        and User.objects.get(id=second_phone.user_id).closed_at is None
        and Session.objects.filter(user_id=second_phone.user_id).live(timezone.now()).count() == 1
    )


def signs_in_now(account, second_phone, person):
    guest_id = second_phone.user_id
    body = person.signs_in(second_phone).json()
    return (
        (body["user_id"], body["merged"]) == (account.user_id, True)
        and (balance(guest_id), balance(account.user_id)) == (0, 30)
        and ledger_check.find_discrepancies() == []
    )


@pytest.mark.parametrize("lines", [[], [EXCHANGE]], ids=["after the token", "after the code"])
def test_a_crash_before_our_commit_changes_nothing(account, second_phone, person, lines):
    signed = person.tokens()

    Process(second_phone, signed, *lines).dies()

    assert nothing_has_changed(account, second_phone)
    # The identity token is not spent; a code that was used up is asked for again by a new sign-in.
    del signed["authorization_code"]
    assert not UsedToken.objects.filter(expires_at=None).exists()
    assert person.signs_in(second_phone, tokens=signed).status_code == 200
    assert balance(account.user_id) == 30


def test_a_code_that_a_crash_used_up_costs_one_more_sign_in(account, second_phone, person, refusal):
    signed = person.tokens()
    Process(second_phone, signed, EXCHANGE).dies()

    assert refusal(person.signs_in(second_phone, tokens=signed)) == (401, "ERR_4020")

    assert nothing_has_changed(account, second_phone)
    assert signs_in_now(account, second_phone, person)
    kept = AppleIdentity.objects.get(sub=person.sub)
    assert kept.refresh_token_encrypted != ""


@pytest.mark.parametrize(
    "table",
    ["accounts_appleidentity", "credits_ledgerentry", "generation_job", "accounts_session"],
)
def test_a_crash_within_the_transaction_changes_nothing(
    account, second_phone, person, lock_waiters, table
):
    signed = person.tokens()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        # It waits at this table, its transaction open, until it is killed.
        dying = Process(second_phone, signed, EXCHANGE, SETTLE)
        wait_for(lambda: lock_waiters(table))
        dying.kill()

    wait_for(lambda: not lock_waiters(table))
    assert nothing_has_changed(account, second_phone)
    assert signs_in_now(account, second_phone, person)


def test_a_crash_after_the_commit_has_moved_everything_once(account, second_phone, person):
    guest_id, old = second_phone.user_id, second_phone.refresh_token

    Process(second_phone, person.tokens(), EXCHANGE, SETTLE).dies()

    assert (balance(guest_id), balance(account.user_id)) == (0, 30)
    # Its answer never came: the old refresh token leads to the account.
    refreshed = second_phone.refresh(old)
    assert refreshed.status_code == 200
    second_phone.session = refreshed.json()["session"]
    assert second_phone.get("get-user-profile").json()["id"] == account.user_id
    assert person.signs_in(second_phone).json()["merged"] is False
    assert balance(account.user_id) == 30
    assert ledger_check.find_discrepancies() == []
