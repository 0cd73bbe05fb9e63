"""The redeem-code endpoint."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from credits import ledger_check, services
from credits.models import PromotionCode, Redemption
from credits.services import CodeTerms, Source
from rendio.common.web import ratelimit
from tests.billing.conftest import sign_in
from tests.helpers.concurrency import at_once
from tests.helpers.phone import Phone, assert_refused


def make(code="SUMMER25", *, credits=20, **terms):
    return services.create_code(
        code=code, terms=CodeTerms(credits=credits, **terms), now=timezone.now()
    )


def redeem(phone, code="SUMMER25"):
    return phone.post("redeem-code", {"code": code})


def assert_not_redeemed(phone, problem, words):
    answer = redeem(phone)
    assert assert_refused(answer, 409, "ERR_4019") == {"problem": problem}
    assert words in answer.json()["error"]["message"]


def is_balanced():
    return ledger_check.find_discrepancies() == []


def test_a_code_grants_its_credits(phone):
    make()

    answer = redeem(phone)

    assert answer.status_code == 200
    assert answer.json() == {"credits_added": 20, "credits_remaining": 30, "expires_at": None}
    assert phone.balance() == 30
    entry = phone.get("get-credit-history").json()["entries"][0]
    assert (entry["change"], entry["kind"], entry["reason"]) == (20, "grant", "code SUMMER25")


def test_credits_of_a_code_may_expire(phone):
    make(lot_days=7)

    answer = redeem(phone).json()

    [expiring] = phone.get("get-user-credits").json()["expiring"]
    assert expiring == {"credits": 20, "expires_at": answer["expires_at"]}
    services.expire_due_lots(now=timezone.now() + timedelta(days=7, seconds=-5))
    assert phone.balance() == 30
    services.expire_due_lots(now=timezone.now() + timedelta(days=7))
    assert phone.balance() == 10


@pytest.mark.parametrize(
    "typed",
    [
        "summer25",
        " Summer25 ",
        "SUMMER 25",
        "sum-mer\t25",
        "“summer25”",
        "sümmer25",
        "\u3164summer\u200b25",
        "summer\N{FULLWIDTH DIGIT TWO}5",
    ],
)
def test_case_and_separators_of_a_code_are_ignored(phone, typed):
    make()

    assert redeem(phone, typed).status_code == 200


@pytest.mark.parametrize("typed", ["indirim", "İndirim", "ındırım", "İNDİRİM"])
def test_a_code_may_be_typed_with_turkish_letters(phone, typed):
    make("indirim")

    assert redeem(phone, typed).status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"code": ""}, {"code": 25}, {"code": None}, {"code": "X" * 65}, {"code": "\u3164\u200b"}],
)
def test_an_invalid_code_is_refused_with_its_field(phone, body):
    details = assert_refused(phone.post("redeem-code", body), 400, "ERR_4008")

    assert list(details["fields"]) == ["code"]


def test_an_unknown_or_future_code_is_404(phone):
    make(starts_at=timezone.now() + timedelta(minutes=1))

    for code in ("SUMMER25", "WINTER25", "—", "ß\U0001f600"):
        assert_refused(redeem(phone, code), 404, "ERR_4007")

    PromotionCode.objects.update(starts_at=timezone.now())
    assert redeem(phone).status_code == 200


def test_a_user_redeems_a_code_once(phone):
    make()
    redeem(phone)

    assert_not_redeemed(phone, "already_redeemed", "already redeemed this code")

    assert phone.balance() == 30
    assert redeem(Phone().sign_in()).status_code == 200


def test_a_code_may_be_redeemed_several_times_by_a_user(phone):
    make(max_per_user=2)

    assert [redeem(phone).status_code for _ in range(3)] == [200, 200, 409]

    assert phone.balance() == 50


def test_a_used_up_code_grants_nothing(phone):
    make(max_redemptions=1)
    assert redeem(Phone().sign_in()).status_code == 200

    assert_not_redeemed(phone, "used_up", "used up")

    assert phone.balance() == 10


def test_an_expired_code_grants_nothing(phone):
    code = make(ends_at=timezone.now() + timedelta(hours=1))
    assert redeem(Phone().sign_in()).status_code == 200
    code.ends_at = timezone.now()
    code.save()

    assert_not_redeemed(phone, "expired", "has expired")


def test_a_stopped_code_grants_nothing_until_it_is_resumed(phone):
    code = make()
    services.set_code_active(code, is_active=False)
    assert_not_redeemed(phone, "stopped", "no longer valid")

    services.set_code_active(code, is_active=True)

    assert redeem(phone).status_code == 200


def test_a_banned_or_unknown_caller_redeems_nothing(phone, client):
    make()
    services.suspend(user_id=phone.user_id)

    assert_refused(redeem(phone), 403, "ERR_4018")
    assert_refused(client.post("/v1/redeem-code", {"code": "SUMMER25"}), 401, "ERR_4005")

    services.resume(user_id=phone.user_id)
    assert redeem(phone).json()["credits_remaining"] == 30


def test_a_code_repays_debt_and_reports_the_credits_added(phone):
    gift = {"user_id": phone.user_id, "reason": "test", "now": timezone.now()}
    services.grant(amount=15, source=Source.PURCHASE, transaction_id="paid", **gift)
    phone.generate(settings={"duration": 12})
    phone.generate(settings={"duration": 8})
    services.claw_back(transaction_id="paid", reason="test", now=timezone.now())
    make()

    answer = redeem(phone).json()

    assert (answer["credits_added"], answer["credits_remaining"]) == (10, 10)
    assert phone.get("get-user-credits").json()["credits_total"] == 10 + 15 + 20
    assert is_balanced()


def test_a_reinstalled_app_redeems_no_code_again_before_it_has_an_account(phone, sandbox):
    make(max_per_user=2)
    redeem(phone)
    sub = sign_in(phone, sandbox)
    reinstalled = Phone()
    reinstalled.device_token = phone.device_token
    reinstalled.sign_in()

    assert_not_redeemed(reinstalled, "sign_in_first", "Sign in with Apple")
    assert reinstalled.balance() == 0

    sign_in(reinstalled, sandbox, sub=sub)
    assert [redeem(reinstalled).status_code for _ in range(2)] == [200, 409]
    assert reinstalled.balance() == 10 + 20 + 20


def test_an_account_on_a_second_hand_phone_redeems_a_code(phone, sandbox):
    make()
    second_hand = Phone()
    second_hand.device_token = phone.device_token
    second_hand.sign_in()

    sign_in(second_hand, sandbox)

    assert redeem(second_hand).status_code == 200


def test_an_export_lists_redeemed_codes(phone):
    make()
    redeem(phone)

    [row] = phone.get("export-user-data").json()["promotion_codes"]

    assert (row["code"], row["credits"]) == ("SUMMER25", 20)


# --- Guessing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["redeem_per_user", "unknown_code_per_ip"])
def test_codes_cannot_be_guessed(phone, settings, limit):
    settings.RATE_LIMITS = settings.RATE_LIMITS | {limit: (3, 3600)}
    make()

    guesses = [redeem(phone, f"GUESS{number}").status_code for number in range(3)]

    assert guesses == [404, 404, 404]
    assert_refused(redeem(phone), 429, "ERR_4004")
    assert phone.balance() == 10


def test_without_redis_no_code_can_be_guessed(phone, settings):
    make()
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"redeem_per_user": (3, 3600)}
    redis_url, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1/0"
    ratelimit._redis.cache_clear()
    try:
        assert_refused(redeem(phone), 503, "ERR_6001")
    finally:
        settings.REDIS_URL = redis_url
        ratelimit._redis.cache_clear()

    assert redeem(phone).status_code == 200


# --- At once ----------------------------------------------------------------------------------


@pytest.fixture
def code(committed):
    """The name of a code of this test's own."""
    return f"RACE{uuid4().hex[:12].upper()}"


def test_twelve_concurrent_calls_redeem_a_code_with_four_uses_four_times(code, sandbox):
    with transaction.atomic():
        code_row = make(code, max_redemptions=4)
    phones = [Phone().sign_in() for _ in range(12)]

    answers = at_once(*[lambda phone=phone: redeem(phone, code) for phone in phones])

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 4 + [409] * 8
    assert Redemption.objects.filter(code=code_row).count() == 4
    assert sorted(phone.balance() for phone in phones) == [10] * 8 + [30] * 4
    code_row.refresh_from_db()
    assert code_row.redemption_count == 4
    assert is_balanced()


def test_twenty_concurrent_calls_of_a_user_redeem_each_code_once(code, sandbox):
    with transaction.atomic():
        make(code)
        make(f"{code}B")
    phone = Phone().sign_in()

    answers = at_once(
        *[lambda: redeem(phone, code)] * 10, *[lambda: redeem(phone, f"{code}B")] * 10
    )

    for served in (answers[:10], answers[10:]):
        assert sorted(answer.status_code for answer in served) == [200] + [409] * 9
    assert phone.balance() == 50
    assert is_balanced()
