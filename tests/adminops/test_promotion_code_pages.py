"""The admin pages of promotion codes and redemptions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.apps import apps
from django.utils import timezone

from adminops.models import AdminAction, AuditLogEntry
from credits import services
from credits.services import CodeTerms
from tests.adminops.conftest import WHY, Staff, get_log_entry, staff_user
from tests.helpers.phone import Phone, assert_refused

TERMS = {
    "credits": "20",
    "starts_at": "",
    "ends_at": "2099-12-24 18:00",
    "max_redemptions": "10",
    "max_per_user": "1",
    "lot_days": "30",
}


def said(answer):
    return [str(message) for message in answer.context["messages"]]


def codes():
    return apps.get_model("credits", "PromotionCode").objects


def make(root, **fields):
    form = root.see("credits_promotioncode_add").context["form"]
    form_id = str(form["form_id"].value())
    sent = {"code": "summer 25", "reason": WHY, "form_id": form_id, **TERMS, **fields}
    return root.submit("credits_promotioncode_add", **sent)


def redeem(phone):
    return phone.post("redeem-code", {"code": "Summer25"})


@pytest.fixture
def code(db):
    return services.create_code(
        code="SUMMER25", terms=CodeTerms(credits=20, max_redemptions=10), now=timezone.now()
    )


def test_new_code_has_its_terms_and_a_log_entry(root, phone):
    answer = make(root)

    assert answer.status_code == 302
    made = codes().get(code="SUMMER25")
    assert services.get_terms(made) == CodeTerms(
        credits=20,
        ends_at=datetime(2099, 12, 24, 18, tzinfo=UTC),
        max_redemptions=10,
        lot_days=30,
    )
    assert redeem(phone).json()["credits_remaining"] == 30
    log_entry = AuditLogEntry.objects.get(subject_id=made.id)
    assert (log_entry.action, log_entry.reason, log_entry.before) == (
        AdminAction.CREATE_CODE,
        WHY,
        {},
    )
    assert log_entry.after["ends_at"] == "2099-12-24T18:00:00Z"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"code": "abc"}, "Write 4 to 32"),
        ({"code": "çç§§"}, "Write 4 to 32"),
        ({"code": "日本語日本語"}, "Write 4 to 32"),
        ({"starts_at": "2100-01-01 00:00"}, "end after it starts"),
        ({"credits": "100001"}, "credits: must be from 1 to 100000"),
        ({"lot_days": "99999999"}, "lot_days: must be from 1"),
        ({"max_redemptions": "99999999999"}, "max_redemptions: must be from 1"),
        ({"credits": "0"}, "greater than or equal to 1"),
        ({"max_per_user": ""}, "required"),
        ({"ends_at": "tomorrow"}, "valid date/time"),
        ({"reason": ""}, "required"),
        ({"reason": "\u200b\u3164\u2800"}, "at least 3 visible"),
    ],
)
def test_invalid_code_is_refused_with_a_message(root, fields, words):
    answer = make(root, **fields)

    assert answer.status_code == 200
    assert words in " ".join([*said(answer), str(answer.context["form"].errors)])
    assert not codes().exists()
    assert not AuditLogEntry.objects.exists()
    assert make(root).status_code == 302


def test_existing_code_cannot_be_created_again(root, code):
    answer = make(root)

    assert said(answer) == ["There is a code SUMMER25 already."]


def test_changed_code_gives_the_new_terms(root, phone, code):
    redeem(phone)

    answer = root.act(
        "credits_promotioncode_change_terms", code.id, credits="5", max_per_user="2", reason=WHY
    )

    assert said(answer) == ["Code SUMMER25 changed."]
    assert redeem(phone).json()["credits_added"] == 5
    assert phone.balance() == 35
    log_entry = get_log_entry(code.id)
    assert (log_entry.action, log_entry.before["credits"], log_entry.after["credits"]) == (
        AdminAction.UPDATE_CODE, 20, 5,
    )  # fmt: skip
    assert (log_entry.before["redemption_count"], log_entry.after["max_redemptions"]) == (1, 10)


def test_redemption_limit_below_redeemed_count_is_refused(root, phone, code):
    redeem(phone)
    redeem(Phone().sign_in())

    answer = root.act(
        "credits_promotioncode_change_terms", code.id, max_redemptions="1", reason=WHY
    )

    assert "max_redemptions: must be from 2" in said(answer)[0]
    assert not AuditLogEntry.objects.exists()


def test_stopped_code_cannot_be_redeemed_until_resumed(root, phone, code):
    stopped = root.act("credits_promotioncode_stop", code.id, reason=WHY)
    assert said(stopped) == ["Code SUMMER25 stopped."]
    assert_refused(redeem(phone), 409, "ERR_4019")

    gone_on = root.act("credits_promotioncode_resume", code.id, reason=WHY)

    assert said(gone_on) == ["Code SUMMER25 resumed."]
    assert redeem(phone).status_code == 200
    records = AuditLogEntry.objects.filter(subject_id=code.id).order_by("at")
    assert [log_entry.after["is_active"] for log_entry in records] == [False, True]


def test_code_form_submitted_twice_makes_one_change(root, code):
    form = root.see("credits_promotioncode_stop", code.id).context["form"]
    fields = {"reason": WHY, "form_id": str(form["form_id"].value())}
    root.submit("credits_promotioncode_stop", code.id, **fields)

    again = root.submit("credits_promotioncode_stop", code.id, **fields)

    assert said(again)[-1] == "This form was already submitted, and the action is done."
    assert AuditLogEntry.objects.count() == 1


def test_code_page_shows_only_buttons_with_an_effect(root, code):
    def buttons():
        context = root.see("credits_promotioncode_change", code.id).context
        return {button["title"] for button in context["actions_detail"]}

    assert buttons() == {"Change", "Stop"}
    services.set_code_active(code, is_active=False)
    assert buttons() == {"Change", "Resume"}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "active"),
        ({"is_active": False}, "stopped"),
        ({"redemption_count": 10}, "used up"),
        ({"starts_at": datetime(2099, 1, 1, tzinfo=UTC)}, "scheduled"),
        ({"ends_at": datetime(2026, 1, 1, tzinfo=UTC)}, "ended"),
    ],
)
def test_the_list_shows_the_status_of_a_code(root, code, changes, status):
    codes().update(**changes)

    page = root.see("credits_promotioncode_changelist").content.decode()

    assert status in page


def test_redemptions_are_found_by_code_user_and_wallet(root, phone, code):
    redeem(phone)
    services.create_code(code="OTHER", terms=CodeTerms(credits=1), now=timezone.now())
    Phone().sign_in().post("redeem-code", {"code": "OTHER"})
    redemptions = apps.get_model("credits", "Redemption").objects
    redemption = redemptions.get(code=code)

    for searched in ("SUMMER25", code.id, phone.user_id, redemption.wallet_id, redemption.id):
        found = root.see("credits_redemption_changelist", q=str(searched)).context["cl"]
        assert [row.pk for row in found.result_list] == [redemption.id]


def test_viewer_cannot_create_or_change_codes(code):
    viewer = Staff(staff_user("vera", "credits.view_promotioncode"))
    maker = Staff(staff_user("mia", role="finance"))

    assert viewer.see("credits_promotioncode_change", code.id).status_code == 200
    assert viewer.see("credits_promotioncode_add").status_code == 403
    assert viewer.submit("credits_promotioncode_add", reason=WHY, code="ABCDE").status_code == 403
    for name in ("change_terms", "stop", "resume"):
        assert viewer.see(f"credits_promotioncode_{name}", code.id).status_code == 403
        assert (
            viewer.submit(f"credits_promotioncode_{name}", code.id, reason=WHY).status_code == 403
        )
    assert maker.see("credits_promotioncode_add").status_code == 200
    assert said(maker.act("credits_promotioncode_stop", code.id, reason=WHY))


def test_goodwill_refund_shows_the_new_balance(support, phone, settings):
    settings.MAX_GRANTED_BALANCE = 12

    answer = support.act("accounts_user_refund", phone.user_id, amount="5", reason=WHY)

    assert said(answer) == ["Done. New balance: 12 credits."]
    assert phone.balance() == 12
    assert get_log_entry(phone.user_id).after["balance"] == 12
