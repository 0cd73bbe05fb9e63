"""A banned user has no session, gets none, and spends nothing; the unbanned one comes back."""

import pytest
from django.db import transaction
from django.utils import timezone

from accounts import services
from accounts.models import Session, User
from credits import services as credit_services

pytestmark = pytest.mark.usefixtures("committed")


def ban(phone, reason="fraud"):
    with transaction.atomic():
        services.ban_user(
            user_id=phone.user_id,
            reason=reason,
            acting_user_id=phone.user_id,
            now=timezone.now(),
        )


def unban(phone):
    with transaction.atomic():
        services.unban_user(
            user_id=phone.user_id,
            reason="a mistake",
            acting_user_id=phone.user_id,
            now=timezone.now(),
        )


def wallet_state(phone):
    with transaction.atomic():
        return credit_services.lock_wallet(user_id=phone.user_id).state


def test_a_ban_ends_every_session_and_its_access(committed_guest, refusal):
    first = committed_guest.session
    committed_guest.signed_in()
    assert committed_guest.get("auth/profile").status_code == 200

    ban(committed_guest)

    for session in (first, committed_guest.session):
        refused = committed_guest.get("auth/profile", access_token=session["access_token"])
        assert refusal(refused) == (401, "ERR_4005")
        assert refusal(committed_guest.refresh(session["refresh_token"])) == (403, "ERR_4018")
    assert not Session.objects.filter(user_id=committed_guest.user_id, revoked_at=None).exists()
    assert wallet_state(committed_guest) == "suspended"


def test_a_banned_users_phone_gets_no_session(committed_guest, sandbox, refusal):
    ban(committed_guest)
    sandbox.control("reset")

    refused = committed_guest.check()

    assert refusal(refused) == (403, "ERR_4018")
    assert [request["path"].rsplit("/")[-1] for request in sandbox.requests("apple")] == [
        "query_two_bits"
    ]
    assert not Session.objects.filter(user_id=committed_guest.user_id, revoked_at=None).exists()


def test_the_unbanned_user_comes_back_with_a_new_session_and_the_old_credits(
    committed_guest, refusal
):
    ban(committed_guest)

    unban(committed_guest)

    assert refusal(committed_guest.refresh()) == (401, "ERR_4005")
    answer = committed_guest.signed_in().answer
    assert (answer["is_new"], answer["credits_remaining"]) == (False, 10)
    assert committed_guest.get("auth/profile").status_code == 200
    assert wallet_state(committed_guest) == "open"


def test_a_second_ban_keeps_the_first_reason(committed_guest):
    ban(committed_guest, reason="fraud")
    first = User.objects.get(id=committed_guest.user_id)

    ban(committed_guest, reason="again")

    user = User.objects.get(id=committed_guest.user_id)
    assert (user.suspended_reason, user.suspended_at) == ("fraud", first.suspended_at)


def test_a_ban_that_is_rolled_back_bans_nobody(committed_guest):
    with transaction.atomic():
        ban(committed_guest)
        transaction.set_rollback(True)

    assert committed_guest.get("auth/profile").status_code == 200
    assert committed_guest.refresh().status_code == 200
