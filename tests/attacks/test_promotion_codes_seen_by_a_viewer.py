"""A member of staff without the permission tries to read promotion codes."""

from __future__ import annotations

from uuid import uuid4

import pytest
import structlog
from django.apps import apps
from django.contrib import admin
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from adminops.actions import promotion_codes
from adminops.models import AuditLogEntry, ErrorLog, PendingApproval
from credits import services as credit_services
from credits.services import CodeTerms
from tests.adminops.conftest import Staff, staff_user
from tests.helpers.phone import Phone
from tests.helpers.staff import registered_rows, rows_to_open, staff_action

CODE = "HARVEST77"
# How people write it in a reason.
SPELLINGS = (CODE, "harvest77", "Harvest-77", "HARVEST 77")


@pytest.fixture
def before(db):
    return registered_rows()


@pytest.fixture
def planted(before, phone):
    """A code that is in every place that could show it: it was created, changed, redeemed and
    merged, is in a pending approval, and in reasons of this release and of the one before."""
    lead = staff_user("lee", role="lead")
    promotion_codes.create_code(
        staff_action(lead, f"{CODE} for the fair"),
        code=CODE,
        terms=CodeTerms(5, max_redemptions=9),
    )
    code = apps.get_model("credits", "PromotionCode").objects.get()
    for spelling in SPELLINGS:
        promotion_codes.update_code(
            staff_action(lead, f"More of {spelling}"),
            code_id=code.id,
            terms=CodeTerms(6, max_redemptions=9),
        )
    assert phone.post("redeem-code", {"code": CODE}).status_code == 200
    assert phone.post("redeem-code", {"code": CODE}).status_code == 409
    desk = Staff(lead)
    desk.call("admin-refund-credits", user_id=str(phone.user_id), amount=1, reason=f"{CODE} failed")
    desk.call(
        "admin-refund-credits", user_id=str(phone.user_id), amount=900, reason=f"{CODE} failed"
    )
    promotion_codes.create_code(
        staff_action(lead, "Next"), code=f"{CODE}X", terms=CodeTerms(900, max_redemptions=9)
    )
    desk.call("admin-ban-user", user_id=str(phone.user_id), reason=f"Sells {CODE}")
    before_this_release(phone, lead, code)
    return phone


def before_this_release(phone, lead, code):
    """Rows as the release before wrote them; they cannot be changed."""
    with transaction.atomic():
        credit_services.grant(
            user_id=phone.user_id, amount=3, source=credit_services.Source.PROMOTION,
            reason=f"code {CODE}", now=timezone.now(),
        )  # fmt: skip
    for subject_id in (phone.user_id, code.id):
        AuditLogEntry.objects.create(
            actor=lead, action="change_code", subject_type="code", subject_id=subject_id,
            reason=f"About {CODE}", before={"code": CODE}, after={"code": CODE, "credits": 5},
        )  # fmt: skip
    PendingApproval.objects.create(
        user_id=phone.user_id, action="refund_credits", amount=500, reason=f"They had {CODE}",
        requested_by=lead, requested_at=timezone.now(),
    )  # fmt: skip


def everything_seen_by(staff, phone, before):
    """The response of each admin page and each JSON call for staff, by its URL."""
    answers = {
        "admin-user-stats": staff.stats(phone.user_id),
        "index": staff.see("index"),
        "find": staff.see("support_search", q=CODE),
        "story": staff.see("timeline", phone.user_id),
        "search": staff.client.get("/admin/search/", {"s": CODE, "search": CODE}),
        "money": staff.see("money"),
    }
    texts = {
        where: answer.content.decode()
        for where, answer in answers.items()
        if answer.status_code == 200
    }
    return texts | rows_seen_by(staff, admin.site._registry, before)


def rows_seen_by(staff, models, before):
    """The lists of these models, the pages of each row since `before`, one history of each model.

    A history is the audit log of one row, and the whole audit log is among the lists.
    """
    seen = {}
    for model in models:
        name = model._meta.label_lower.replace(".", "_")
        pages = [(f"{name}_changelist", (), {}), (f"{name}_changelist", (), {"q": "no such"})]
        opened = rows_to_open(model, before)
        pages += [(f"{name}_change", (row.pk,), {}) for row in opened]
        pages += [(f"{name}_history", (row.pk,), {}) for row in opened[:1]]
        for page, args, query in pages:
            url = reverse(f"admin:{page}", args=args)
            answer = staff.client.get(url, query, follow=True)
            if answer.status_code == 200:
                seen[f"{url} {query}"] = answer.content.decode()
    return seen


def told_in(seen):
    return [
        where
        for where, text in seen.items()
        if any(spelling.lower() in text.lower() for spelling in SPELLINGS)
    ]


def test_viewer_sees_no_code_on_any_page_or_call(planted, before):
    viewer = Staff(staff_user("vera", role="viewer"))

    seen = everything_seen_by(viewer, planted, before)

    assert len(seen) > 40
    # What was typed stands in the form that searched for it.
    assert [where for where in told_in(seen) if where not in {"find", "search"}] == []
    assert "••••" in seen["story"]


def test_lead_sees_codes(planted, before):
    agent = Staff(staff_user("ann", role="agent"))

    credits = [model for model in admin.site._registry if model._meta.app_label == "credits"]
    seen = told_in(rows_seen_by(agent, credits, before))

    pages = {where.split("/")[3] for where in seen if where.startswith("/admin/credits")}
    assert {"promotioncode", "redemption", "ledgerentry"} <= pages


def test_viewer_cannot_find_codes_by_searching(planted):
    viewer = Staff(staff_user("vera", role="viewer"))

    for name in ("credits_promotioncode", "credits_redemption"):
        assert viewer.see(f"{name}_changelist", q=CODE).status_code == 403
    for name in ("credits_ledgerentry", "adminops_auditlogentry", "adminops_pendingapproval"):
        found = viewer.see(f"{name}_changelist", q=CODE).context["cl"].result_list
        assert list(found) == [], name
    assert viewer.see("credits_ledgerentry_changelist", reason__contains=CODE).status_code == 400


def test_logs_and_error_log_contain_no_code(db, sandbox):
    lead = staff_user("lee", role="lead")
    with structlog.testing.capture_logs() as logged:
        phone = Phone().sign_in()
        promotion_codes.create_code(
            staff_action(lead, CODE), code=CODE, terms=CodeTerms(5, max_redemptions=9)
        )
        for code in (CODE, CODE, f"{CODE}{uuid4().hex[:4]}"):
            phone.post("redeem-code", {"code": code})

    assert {"support_action", "code_redeemed"} <= {entry["event"] for entry in logged}
    assert CODE not in str(logged)
    assert CODE not in str(list(ErrorLog.objects.values()))
