"""The pages of staff actions: the form with a reason, the button, and the message afterwards."""

from __future__ import annotations

from uuid import uuid4

import pytest

from accounts.models import User
from adminops.models import AdminAction, AuditLogEntry
from generation.models import GenerationModel
from tests.adminops.conftest import WHY, Staff, get_log_entry, staff_user
from tests.helpers.model_ids import SORA


def said(answer):
    return [str(message) for message in answer.context["messages"]]


def buttons(answer):
    return {button["title"] for button in answer.context["actions_detail"]}


def test_refund_button_grants_credits_and_confirms(support, phone):
    answer = support.act("accounts_user_refund", phone.user_id, amount="5", reason=WHY)

    assert said(answer) == ["Done. New balance: 15 credits."]
    assert phone.balance() == 15
    assert get_log_entry(phone.user_id).actor == support.user


def test_form_submitted_twice_performs_the_action_once(support, phone):
    shown = support.see("accounts_user_refund", phone.user_id).context["form"]
    fields = {"amount": "5", "reason": WHY, "form_id": str(shown["form_id"].value())}
    support.submit("accounts_user_refund", phone.user_id, **fields)

    again = support.submit("accounts_user_refund", phone.user_id, **fields)

    assert said(again)[-1] == "This form was already submitted, and the action is done."
    assert phone.balance() == 15


def test_adjust_button_takes_credits(support, phone):
    answer = support.act("accounts_user_adjust", phone.user_id, amount="-4", reason=WHY)

    assert said(answer) == ["Done. New balance: 6 credits."]
    assert phone.balance() == 6


def test_refused_action_shows_a_message_and_keeps_the_form(support, phone):
    answer = support.act("accounts_user_adjust", phone.user_id, amount="-11", reason=WHY)

    assert said(answer) == ["Not enough credits: 10 available, 11 required."]
    assert answer.context["form"]["reason"].value() == WHY
    assert phone.balance() == 10


@pytest.mark.parametrize(
    "fields",
    [
        {"reason": ""},
        {"reason": "x"},
        {"reason": "\u3164" * 5},
        {"reason": "x" * 501},
        {"amount": "0"},
        {"amount": ""},
    ],
)
def test_missing_reason_or_amount_is_refused(support, phone, fields):
    answer = support.act(
        "accounts_user_refund", phone.user_id, **{"amount": "5", "reason": WHY} | fields
    )

    assert answer.context["form"].errors
    assert phone.balance() == 10
    assert not AuditLogEntry.objects.exists()


def test_ban_and_unban_buttons_change_the_user(support, phone):
    banned = support.act("accounts_user_ban", phone.user_id, reason=WHY)

    assert said(banned) == ["User banned."]
    assert User.objects.get(id=phone.user_id).suspended_reason == WHY

    unbanned = support.act("accounts_user_unban", phone.user_id, reason="A mistake")

    assert said(unbanned) == ["Ban lifted."]
    assert User.objects.get(id=phone.user_id).suspended_at is None


def test_user_page_shows_only_buttons_with_an_effect(support, phone):
    before = buttons(support.see("accounts_user_change", phone.user_id))
    support.act("accounts_user_ban", phone.user_id, reason=WHY)

    after = buttons(support.see("accounts_user_change", phone.user_id))

    assert before == {"Refund credits", "Adjust credits", "Ban", "Sign out everywhere"}
    assert after == {"Refund credits", "Adjust credits", "Lift the ban", "Sign out everywhere"}


def test_ban_button_for_staff_is_shown_to_superusers_only(root, support):
    assert buttons(root.see("accounts_user_change", support.user.id)) == {"Ban"}
    assert buttons(root.see("accounts_user_change", root.user.id)) == set()
    assert buttons(support.see("accounts_user_change", root.user.id)) == set()


def test_banning_twice_shows_a_message(support, phone):
    support.act("accounts_user_ban", phone.user_id, reason=WHY)

    again = support.act("accounts_user_ban", phone.user_id, reason=WHY)

    assert said(again) == ["This user is banned already."]


def test_viewer_cannot_perform_actions(phone):
    viewer = Staff(staff_user("vera", "accounts.view_user", "generation.view_generationmodel"))

    assert viewer.see("accounts_user_change", phone.user_id).status_code == 200
    assert buttons(viewer.see("accounts_user_change", phone.user_id)) == set()
    for name in ["refund", "adjust", "ban", "unban"]:
        assert viewer.see(f"accounts_user_{name}", phone.user_id).status_code == 403
        answer = viewer.submit(
            f"accounts_user_{name}", phone.user_id, amount="5", reason=WHY, form_id=str(uuid4())
        )
        assert answer.status_code == 403
    assert viewer.see("generation_generationmodel_take_off_sale", SORA).status_code == 403
    assert phone.balance() == 10


def test_action_without_csrf_token_is_refused(support, phone):
    answer = support.client.post(
        f"/admin/accounts/user/{phone.user_id}/refund/",
        {"amount": "5", "reason": WHY, "form_id": str(uuid4())},
    )

    assert answer.status_code == 403
    assert phone.balance() == 10


def test_action_on_unknown_user_is_not_found(support):
    assert support.see("accounts_user_refund", uuid4()).status_code == 404
    assert support.see("accounts_user_refund", "nobody").status_code == 404


def test_model_buttons_take_it_off_sale_and_put_it_back(root):
    off = root.act("generation_generationmodel_take_off_sale", SORA, reason=WHY)

    assert said(off) == ["Sora 2 is off sale."]
    assert buttons(off) == {"Put on sale"}
    assert not GenerationModel.objects.get(id=SORA).is_available
    assert get_log_entry(SORA).action == AdminAction.TOGGLE_MODEL

    on = root.act("generation_generationmodel_put_on_sale", SORA, reason=WHY)

    assert buttons(on) == {"Take off sale"}
    assert GenerationModel.objects.get(id=SORA).is_available
