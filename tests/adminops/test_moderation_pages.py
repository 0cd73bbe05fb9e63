"""Moderation in the admin: the blocklist edited, violations seen and cleared."""

from __future__ import annotations

import pytest
from django.utils import timezone

from accounts import services as account_services
from accounts.models import User
from adminops.models import AdminAction, AuditLogEntry
from generation.models import BlockedTerm, Sanction, Violation
from generation.moderation.blocklist import blocklist
from tests.adminops.conftest import WHY, Staff, get_log_entry, staff_user
from tests.helpers.phone import Phone, assert_refused

BAD = "A bomb over the sea"


def said(answer):
    return [str(message) for message in answer.context["messages"]]


@pytest.fixture
def offender(phone, settings):
    """Somebody with one violation, where the second is a hold and the third a ban."""
    settings.MODERATION = ["blocklist"]
    settings.MODERATION_WARN_AFTER = 0
    settings.MODERATION_HOLD_AFTER, settings.MODERATION_BAN_AFTER = 2, 3
    BlockedTerm.objects.create(text="bomb", category="weapons")
    blocklist.invalidate_cache()
    offend(phone)
    return phone


def offend(phone):
    Violation.objects.update(held_until=None, step=Sanction.NONE)  # holds are over
    assert_refused(phone.generate(prompt=BAD), 422, "ERR_4016")


def violation(phone):
    return Violation.objects.filter(user_id=phone.user_id).order_by("-at").first()


# --- The blocklist ----------------------------------------------------------------------------


def test_a_term_counts_from_its_saving_to_its_deletion(
    root, phone, settings, django_capture_on_commit_callbacks
):
    settings.MODERATION, settings.BLOCKLIST_CACHE_SECONDS = ["blocklist"], 3600
    assert phone.generate(prompt="A red balloon").status_code == 200
    with django_capture_on_commit_callbacks(execute=True):
        saved = root.submit("generation_blockedterm_add", text="Balloon*", is_enabled="on")
    assert saved.status_code == 302, saved.content
    assert_refused(phone.generate(prompt="Two red balloons"), 422, "ERR_4016")

    term = BlockedTerm.objects.get()
    with django_capture_on_commit_callbacks(execute=True):
        root.submit("generation_blockedterm_delete", term.id, post="yes")

    assert not BlockedTerm.objects.exists()
    assert phone.generate(prompt="Two red balloons").status_code == 200


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "required"),
        ("...", "at least one word"),
        ("\u3164\u3164", "visible"),
        ("kill *", "a letter beside"),
        ("bomb", "already exists"),
        ("x" * 101, "at most 100"),
    ],
)
def test_a_term_that_would_do_harm_is_refused_with_the_reason(root, text, problem):
    BlockedTerm.objects.create(text="bomb")

    refused = root.submit("generation_blockedterm_add", text=text, is_enabled="on")

    assert problem in refused.content.decode()
    assert BlockedTerm.objects.count() == 1


def test_a_viewer_cannot_edit_blocked_terms(sandbox, db):
    viewer = Staff(staff_user("vera", role="agent"))
    term = BlockedTerm.objects.create(text="bomb")

    assert viewer.see("generation_blockedterm_changelist").status_code == 200
    assert viewer.submit("generation_blockedterm_add", text="new").status_code == 403
    assert viewer.submit("generation_blockedterm_delete", term.id, post="yes").status_code == 403
    assert list(BlockedTerm.objects.values_list("text", flat=True)) == ["bomb"]


# --- Violations -------------------------------------------------------------------------------


def test_a_violation_shows_its_matches_and_is_found_by_its_user(root, offender):
    page = root.see("generation_violation_change", violation(offender).id).content.decode()
    assert "weapons" in page
    assert str(BlockedTerm.objects.get().id) in page

    found = root.see("generation_violation_changelist", q=str(offender.user_id)).context["cl"]
    assert [row.pk for row in found.result_list] == [violation(offender).id]
    other = Phone().sign_in()
    found = root.see("generation_violation_changelist", q=str(other.user_id)).context["cl"]
    assert list(found.result_list) == []

    BlockedTerm.objects.all().delete()
    assert root.see("generation_violation_change", violation(offender).id).status_code == 200


def test_a_hold_that_is_cleared_ends_with_a_reason_on_record(root, offender):
    offend(offender)
    assert_refused(offender.generate(), 403, "ERR_4018")

    done = root.act("generation_violation_clear", violation(offender).id, reason=WHY)

    assert said(done) == ["Violations cleared: 2."]
    assert offender.generate().status_code == 200
    log_entry = get_log_entry(offender.user_id)
    assert (log_entry.action, log_entry.actor, log_entry.reason) == (
        AdminAction.CLEAR_VIOLATIONS,
        root.user,
        WHY,
    )
    assert log_entry.before["violations"] == 2
    assert log_entry.before["held_until"]
    offend(offender)
    assert violation(offender).step == Sanction.NONE  # counted from the beginning


def test_a_ban_that_violations_led_to_is_lifted_with_them(root, offender):
    for _ in range(2):
        offend(offender)
    assert User.objects.get(id=offender.user_id).suspended_at

    done = root.act("generation_violation_clear", violation(offender).id, reason=WHY)

    assert said(done) == ["Violations cleared: 3. Ban lifted."]
    assert offender.sign_in().generate().status_code == 200


def test_supports_own_ban_stays(root, offender):
    account_services.ban_user(
        user_id=offender.user_id, reason="fraud", acting_user_id=None, now=timezone.now()
    )

    done = root.act("generation_violation_clear", violation(offender).id, reason=WHY)

    assert said(done) == ["Violations cleared: 1."]
    assert User.objects.get(id=offender.user_id).suspended_reason == "fraud"


def test_nothing_is_cleared_twice_nor_without_a_reason(root, offender):
    subject = violation(offender).id
    root.act("generation_violation_clear", subject, reason=" ")
    assert violation(offender).forgiven_at is None
    form = root.see("generation_violation_clear", subject).context["form"]
    fields = {"reason": WHY, "form_id": str(form["form_id"].value())}
    root.submit("generation_violation_clear", subject, **fields)

    again = root.submit("generation_violation_clear", subject, **fields)

    assert said(again)[-1] == "There are no violations to clear."
    assert AuditLogEntry.objects.count() == 1
    assert not root.see("generation_violation_change", subject).context["actions_detail"]


def test_a_viewer_cannot_clear_strikes(offender):
    viewer = Staff(staff_user("vera", role="viewer"))
    subject = violation(offender).id

    assert viewer.see("generation_violation_change", subject).status_code == 200
    refused = viewer.submit("generation_violation_clear", subject, reason=WHY)

    assert refused.status_code == 403
    assert violation(offender).forgiven_at is None
