"""The JSON calls for staff: each makes its change and a log entry, or nothing."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.test import Client

from accounts.models import Session, User
from adminops.models import AdminAction, AuditLogEntry
from credits.ledger_check import find_discrepancies
from credits.queries import history
from generation.models import GenerationModel
from tests.adminops.conftest import PASSWORD, WHY, Staff, get_log_entry, staff_user
from tests.helpers.model_ids import SORA
from tests.helpers.phone import Phone

POSTS = {
    "admin-refund-credits": {"amount": 5},
    "admin-adjust-credits": {"amount": -5},
    "admin-ban-user": {},
    "admin-unban-user": {},
}


def error(answer):
    body = answer.json()["error"]
    return answer.status_code, body["code"], body["details"]


def test_refund_call_grants_credits_and_logs_actor_and_reason(support, phone):
    answer = support.call(
        "admin-refund-credits", user_id=str(phone.user_id), amount=7, reason=f"  {WHY} "
    )

    assert (answer.status_code, answer.json()) == (200, {"success": True, "new_balance": 17})
    assert phone.balance() == 17
    entry = history(user_id=phone.user_id, limit=1)[0]
    assert (entry.kind, entry.change, entry.actor_id) == ("grant", 7, support.user.id)
    log_entry = get_log_entry(phone.user_id)
    assert (log_entry.actor, log_entry.action, log_entry.reason) == (
        support.user,
        AdminAction.REFUND_CREDITS,
        WHY,
    )
    assert log_entry.before == {"balance": 10, "debt": 0}
    assert log_entry.after == {"balance": 17, "debt": 0, "ledger_entry": str(entry.id)}
    assert log_entry.request_id == answer["X-Request-ID"]
    assert find_discrepancies() == []


def test_customer_does_not_see_the_reason_of_staff(support, phone):
    support.call(
        "admin-refund-credits", user_id=str(phone.user_id), amount=7, reason="Shouts a lot"
    )

    entries = phone.get("get-credit-history").json()["entries"]

    assert entries[0]["reason"] == "goodwill refund"


@pytest.mark.parametrize(("amount", "balance"), [(3, 13), (-4, 6), (-10, 0)])
def test_adjust_call_changes_the_balance_up_and_down(support, phone, amount, balance):
    answer = support.call(
        "admin-adjust-credits", user_id=str(phone.user_id), amount=amount, reason=WHY
    )

    assert answer.json() == {"success": True, "new_balance": balance}
    log_entry = get_log_entry(phone.user_id)
    assert log_entry.action == AdminAction.ADJUST_CREDITS
    assert (log_entry.before["balance"], log_entry.after["balance"]) == (10, balance)


def test_adjustment_below_zero_is_refused(support, phone):
    answer = support.call(
        "admin-adjust-credits", user_id=str(phone.user_id), amount=-11, reason=WHY
    )

    assert error(answer) == (402, "ERR_4001", {"required": 11, "available": 10})
    assert phone.balance() == 10
    assert not AuditLogEntry.objects.exists()


@pytest.mark.parametrize("amount", [0, -1, 100_001, 2**70, 1.5, "5", True, None])
def test_refund_amount_must_be_an_integer_within_bounds(support, phone, amount):
    answer = support.call(
        "admin-refund-credits", user_id=str(phone.user_id), amount=amount, reason=WHY
    )

    assert error(answer)[:2] == (400, "ERR_4008")
    assert "amount" in error(answer)[2]["fields"]
    assert phone.balance() == 10


@pytest.mark.parametrize("amount", [0, 100_001, -100_001])
def test_adjustment_amount_must_be_within_bounds(support, phone, amount):
    answer = support.call(
        "admin-adjust-credits", user_id=str(phone.user_id), amount=amount, reason=WHY
    )

    assert error(answer)[:2] == (400, "ERR_4008")
    assert phone.balance() == 10


@pytest.mark.parametrize("call", POSTS)
@pytest.mark.parametrize(
    "reason", [None, "", "  x  ", "x" * 501, 12345, "\u3164" * 5, "x\u200b\u2800y"]
)
def test_call_without_a_reason_is_refused(support, phone, call, reason):
    body = {"user_id": str(phone.user_id), "reason": reason, **POSTS[call]}
    if reason is None:
        del body["reason"]

    answer = support.call(call, **body)

    assert error(answer)[:2] == (400, "ERR_4008")
    assert "reason" in error(answer)[2]["fields"]
    assert phone.balance() == 10
    assert not AuditLogEntry.objects.exists()


@pytest.mark.parametrize("call", POSTS)
def test_unknown_user_is_not_found(support, call):
    answer = support.call(call, user_id=str(uuid4()), reason=WHY, **POSTS[call])

    assert error(answer)[:2] == (404, "ERR_4007")


def test_ban_call_ends_sessions_and_spending(support, phone):
    answer = support.call("admin-ban-user", user_id=str(phone.user_id), reason=WHY)

    assert answer.json() == {"success": True}
    refreshed = phone.post("auth/refresh", {"refresh_token": phone.session["refresh_token"]})
    assert error(refreshed)[:2] == (403, "ERR_4018")
    assert not Session.objects.filter(user_id=phone.user_id, revoked_at=None).exists()
    # The access token is still read as valid here: the wallet itself refuses.
    assert error(phone.generate())[:2] == (403, "ERR_4018")
    log_entry = get_log_entry(phone.user_id)
    assert (log_entry.action, log_entry.reason) == (AdminAction.BAN_USER, WHY)
    assert log_entry.before["banned_at"] is None
    assert log_entry.after["banned_at"]


def test_banned_user_can_be_refunded(support, phone):
    support.call("admin-ban-user", user_id=str(phone.user_id), reason=WHY)

    answer = support.call("admin-refund-credits", user_id=str(phone.user_id), amount=1, reason=WHY)

    assert answer.json()["new_balance"] == 11


def test_unbanned_user_can_sign_in(support, phone):
    support.call("admin-ban-user", user_id=str(phone.user_id), reason=WHY)

    answer = support.call("admin-unban-user", user_id=str(phone.user_id), reason="A mistake")

    assert answer.json() == {"success": True}
    assert phone.sign_in().generate().status_code == 200
    log_entry = AuditLogEntry.objects.get(action=AdminAction.UNBAN_USER)
    assert log_entry.before["reason"] == WHY
    assert log_entry.after == {"banned_at": None, "reason": ""}


def test_unban_lifts_the_ban_of_the_guests_phone(support, sandbox):
    phone = Phone()
    sandbox.control("apple/device", device_token=phone.device_token, bit0=False, bit1=True)
    assert phone.sign_in().generate().status_code == 403

    answer = support.call("admin-unban-user", user_id=str(phone.user_id), reason="A used phone")

    assert answer.json() == {"success": True}
    assert phone.sign_in().generate().status_code == 200
    log_entry = AuditLogEntry.objects.get(action=AdminAction.UNBAN_USER)
    assert log_entry.before["hardware_banned_at"]
    assert "hardware_banned_at" not in log_entry.after


def test_second_ban_and_needless_unban_are_refused(support, phone):
    who = {"user_id": str(phone.user_id), "reason": WHY}

    not_banned = support.call("admin-unban-user", **who)
    support.call("admin-ban-user", **who)
    twice = support.call("admin-ban-user", **who)

    assert error(not_banned)[:2] == (409, "ERR_4019")
    assert error(twice) == (409, "ERR_4019", {"problem": "This user is banned already."})
    assert AuditLogEntry.objects.count() == 1


def test_only_superusers_ban_staff(root, support):
    other = staff_user("olga")
    who = {"user_id": str(other.id), "reason": WHY}

    by_support = support.call("admin-ban-user", **who)
    by_root = root.call("admin-ban-user", **who)

    assert error(by_support)[:2] == (409, "ERR_4019")
    assert by_root.json() == {"success": True}
    other.refresh_from_db()
    assert not other.is_active


def test_banned_member_of_staff_is_signed_out_at_once(root, support, phone):
    root.call("admin-ban-user", user_id=str(support.user.id), reason=WHY)

    answer = support.stats(phone.user_id)

    assert error(answer)[:2] == (401, "ERR_4005")


def test_banning_oneself_is_refused(root):
    answer = root.call("admin-ban-user", user_id=str(root.user.id), reason=WHY)

    assert error(answer)[:2] == (409, "ERR_4019")


def test_refund_to_a_closed_account_is_refused(support, phone):
    User.objects.filter(id=phone.user_id).update(closed_at="2026-01-01T00:00:00Z")

    answer = support.call("admin-refund-credits", user_id=str(phone.user_id), amount=1, reason=WHY)

    assert error(answer)[:2] == (409, "ERR_4019")


def test_toggle_call_takes_a_model_off_sale_and_back(
    support, phone, django_capture_on_commit_callbacks
):
    def on_sale():
        return {model["id"] for model in phone.get("get-models").json()["models"]}

    assert str(SORA) in on_sale()
    with django_capture_on_commit_callbacks(execute=True):
        answer = support.call(
            "admin-toggle-model", model_id=str(SORA), is_available=False, reason=WHY
        )

    assert answer.json() == {"success": True}
    assert str(SORA) not in on_sale()
    assert error(phone.generate())[:2] == (404, "ERR_4002")
    log_entry = get_log_entry(SORA)
    assert (log_entry.subject_type, log_entry.action) == ("model", AdminAction.TOGGLE_MODEL)
    assert (log_entry.before, log_entry.after) == ({"is_available": True}, {"is_available": False})

    with django_capture_on_commit_callbacks(execute=True):
        support.call("admin-toggle-model", model_id=str(SORA), is_available=True, reason=WHY)
    assert str(SORA) in on_sale()


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"model_id": str(uuid4()), "is_available": True, "reason": WHY}, (404, "ERR_4002")),
        ({"model_id": "sora", "is_available": True, "reason": WHY}, (400, "ERR_4008")),
        ({"model_id": str(SORA), "is_available": "no", "reason": WHY}, (400, "ERR_4008")),
        ({"model_id": str(SORA), "is_available": False, "reason": "x"}, (400, "ERR_4008")),
        ({}, (400, "ERR_4008")),
    ],
)
def test_invalid_toggle_is_refused(support, body, refused):
    answer = support.call("admin-toggle-model", **body)

    assert error(answer)[:2] == refused
    assert GenerationModel.objects.get(id=SORA).is_available


def test_user_stats_contain_jobs_and_transactions(support, customer_history):
    customer_history.phone.generate()

    answer = support.stats(customer_history.user.id)

    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"user", "stats", "recent_transactions"}
    assert body["user"]["id"] == str(customer_history.user.id)
    assert body["user"]["credits_remaining"] == 6
    assert body["user"]["is_banned"] is False
    assert body["stats"] == {
        "total_jobs": 2,
        "completed_jobs": 0,
        "failed_jobs": 1,
        "success_rate": 0.0,
    }
    kinds = [entry["kind"] for entry in body["recent_transactions"]]
    assert kinds == ["charge", "refund", "charge", "grant"]


def test_user_stats_take_a_constant_number_of_queries(support, phone, django_assert_num_queries):
    with django_assert_num_queries(
        8
    ):  # session, staff, their rights (2), user, jobs, balance, history
        support.stats(phone.user_id)
    phone.generate()
    phone.generate()

    with django_assert_num_queries(8):
        support.stats(phone.user_id)


def test_user_stats_without_jobs_or_wallet_are_empty(support, phone):
    fresh = support.stats(phone.user_id).json()
    staff = support.stats(support.user.id).json()

    assert fresh["stats"]["success_rate"] is None
    assert staff["user"]["credits_remaining"] == 0
    assert staff["recent_transactions"] == []


def test_user_stats_of_an_unknown_id_are_not_found(support):
    assert error(support.stats("nobody"))[:2] == (400, "ERR_4008")
    assert error(support.client.get("/v1/admin-user-stats"))[:2] == (400, "ERR_4008")
    assert error(support.stats(uuid4()))[:2] == (404, "ERR_4007")


# --- Who may call ---------------------------------------------------------------------------------

CALLS = [*POSTS, "admin-toggle-model"]


@pytest.mark.parametrize("call", CALLS)
def test_access_token_of_a_phone_is_refused(phone, call):
    answer = phone.post(call, {"user_id": str(phone.user_id), "amount": 5, "reason": WHY})

    assert error(answer)[:2] == (403, "ERR_4006")
    assert phone.balance() == 10


def test_access_token_of_staff_is_refused(phone):
    User.objects.filter(id=phone.user_id).update(is_staff=True, username="insider")

    answer = phone.get("admin-user-stats", user_id=str(phone.user_id))

    assert error(answer)[:2] == (403, "ERR_4006")


@pytest.mark.parametrize("call", CALLS)
def test_call_without_a_session_is_unauthorized(db, call):
    answer = Client().post(f"/v1/{call}", {}, content_type="application/json")

    assert error(answer)[:2] == (401, "ERR_4005")


@pytest.mark.parametrize("call", CALLS)
def test_session_without_csrf_token_is_refused(support, phone, call):
    answer = support.client.post(
        f"/v1/{call}",
        {"user_id": str(phone.user_id), "amount": 5, "reason": WHY},
        content_type="application/json",
    )

    assert error(answer)[:2] == (403, "ERR_4006")
    assert phone.balance() == 10
    assert not AuditLogEntry.objects.exists()


def test_session_of_a_customer_is_refused(phone):
    User.objects.create_user("customer", password=PASSWORD)
    client = Client()
    assert client.login(username="customer", password=PASSWORD)

    answer = client.get("/v1/admin-user-stats", {"user_id": str(phone.user_id)})

    assert error(answer)[:2] == (403, "ERR_4006")


def test_legacy_path_has_the_same_response(support, phone):
    answer = support.client.get("/functions/v1/admin-user-stats", {"user_id": str(phone.user_id)})

    assert answer.status_code == 200


def test_sign_out_ends_the_staff_session(phone):
    staff = Staff(staff_user("tom", role="agent"))
    staff.submit("logout")

    assert error(staff.stats(phone.user_id))[:2] == (401, "ERR_4005")
