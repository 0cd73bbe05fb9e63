"""An attacker on the staff moves credits or money without a second person."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from adminops.actions import approvals, budgets, incidents, jobs, promotion_codes
from adminops.actions import credits as credit_actions
from adminops.actions.incidents import JobFilter
from adminops.models import AdminAction, ApprovalState, AuditLogEntry, IncidentKind, PendingApproval
from billing.due_work import APPLY_NOTIFICATIONS
from billing.models import ConsumptionRequest, Product, Purchase
from credits import services as credit_services
from credits.ledger_check import find_discrepancies
from credits.services import CodeTerms, balance_of
from generation.lifecycle import dead_letters, settle
from generation.models import DeadKind, DeadLetter, GenerationModel, Job, ProviderRoute
from generation.providers.base import FailureReason
from rendio.common.errors import InvalidState, Refusal
from tests.adminops.conftest import (
    WHY,
    Staff,
    customer_history,
    root,
    staff_user,
    submitted,
)
from tests.adminops.test_catalogue_pages import as_sent
from tests.billing.conftest import FIFTY, TEN, AppStore, deliver_and_apply, purchase_of, sign_in
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import grant
from tests.helpers.model_ids import SORA
from tests.helpers.phone import Phone
from tests.helpers.staff import staff_action

__all__ = ["customer_history", "root"]  # fixtures

LIMIT, BUDGET = 100, 500
# Credits of videos that come to LIMIT.
REACHES_LIMIT = [*[12] * 8, 4]
# Sora's settings, and durations that nobody has agreed on.
LONGER = {
    "duration": {"allowed": [4, 8, 12, 600], "default": 4},
    "resolution": {"allowed": ["720p"], "default": "720p"},
    "aspect_ratio": {"allowed": ["16:9", "9:16"], "default": "16:9"},
}


@pytest.fixture
def agent(db):
    return Staff(staff_user("ann", role="agent"))


@pytest.fixture
def lead(db):
    return Staff(staff_user("lee", role="lead"))


@pytest.fixture
def finance(db):
    return Staff(staff_user("fay", role="finance"))


@pytest.fixture
def store(sandbox):
    return AppStore(sandbox)


def grant_credits(staff, phone, amount):
    return staff.call(
        "admin-refund-credits", user_id=str(phone.user_id), amount=amount, reason=WHY
    ).status_code


def use_up(staff, credits, new_guest, *, each=LIMIT):
    """Use this much of the budget, for other customers."""
    for _ in range(credits // each):
        assert grant_credits(staff, new_guest(), each) == 200
    if rest := credits % each:
        assert grant_credits(staff, new_guest(), rest) == 200


def delivered(phone, *, credits=4):
    """A second of Sora costs a credit."""
    job_id = phone.generate(settings={"duration": credits}).json()["job_id"]
    job = Job.objects.get(id=job_id)
    assert job.credits == credits
    submitted(job)
    assert settle.complete(job, settle.StoredMedia("a.mp4", "a.jpg"), now=timezone.now())
    return job


def waiting():
    return [row.action for row in PendingApproval.objects.filter(state=ApprovalState.WAITING)]


def edit(staff, name, row_id, /, **changes):
    """Save the edit page of a row with these changes."""
    context = staff.see(f"{name}_change", row_id).context
    fields = as_sent(context["adminform"].form)
    for inline in context["inline_admin_formsets"]:
        fields |= as_sent(inline.formset.management_form)
        for form in inline.formset.forms:
            fields |= as_sent(form)
    answer = staff.submit(f"{name}_change", row_id, **{**fields, "reason": WHY, **changes})
    assert answer.status_code == 302, answer.context["errors"]
    return answer


# --- By one way or another ------------------------------------------------------------------------


def test_large_code_needs_an_approval(lead, finance, phone):
    for maker in (lead, finance):
        maker.submit(
            "credits_promotioncode_add",
            code=f"FRIENDS{maker.user.username}", credits="100000", max_per_user="100000",
            reason=WHY, form_id=str(uuid4()),
        )  # fmt: skip

    assert not apps.get_model("credits", "PromotionCode").objects.exists()
    assert waiting() == [AdminAction.CREATE_CODE, AdminAction.CREATE_CODE]
    assert phone.post("redeem-code", {"code": "FRIENDSlee"}).status_code == 404


def test_enlarging_a_small_code_needs_an_approval(lead):
    code_id = _code(lead, credits=1, max_redemptions=10)

    for terms in [
        CodeTerms(credits=1, max_redemptions=None),
        CodeTerms(credits=51, max_redemptions=10),
    ]:
        came = promotion_codes.update_code(staff_action(lead.user), code_id=code_id, terms=terms)
        assert isinstance(came, PendingApproval)

    kept = apps.get_model("credits", "PromotionCode").objects.get()
    assert (kept.credits, kept.max_redemptions) == (1, 10)


@pytest.mark.parametrize("max_redemptions", [10_000, None])
@pytest.mark.parametrize(
    "terms",
    [
        CodeTerms(credits=100_000, max_redemptions=1),
        CodeTerms(credits=10, max_redemptions=10_000, max_per_user=10_000),
    ],
)
def test_turning_an_approved_code_into_one_for_a_friend_needs_an_approval(
    lead, phone, max_redemptions, terms
):
    """The total of all redemptions is no larger than before."""
    agreed = CodeTerms(credits=10, max_redemptions=max_redemptions)
    code = credit_services.create_code(code="SUMMER", terms=agreed, now=timezone.now())

    came = promotion_codes.update_code(staff_action(lead.user), code_id=code.id, terms=terms)

    assert isinstance(came, PendingApproval)
    assert phone.post("redeem-code", {"code": "SUMMER"}).json()["credits_added"] == 10


@pytest.mark.parametrize(
    "terms",
    [
        CodeTerms(credits=51, max_redemptions=2, max_per_user=2),
        CodeTerms(credits=101, max_redemptions=1),
        CodeTerms(credits=1, max_redemptions=101, max_per_user=101),
    ],
)
def test_code_beyond_the_limit_of_one_customer_needs_an_approval(lead, phone, terms):
    for code, each in [("FRIEND", terms), ("FRIENDS", CodeTerms(credits=51, max_redemptions=2))]:
        promotion_codes.create_code(staff_action(lead.user), code=code, terms=each)

    assert waiting() == [AdminAction.CREATE_CODE]
    assert phone.post("redeem-code", {"code": "FRIEND"}).status_code == 404
    assert phone.post("redeem-code", {"code": "FRIENDS"}).json()["credits_added"] == 51


def test_many_small_codes_and_a_grant_count_together_for_one_customer(lead, phone):
    for number, credits in enumerate((50, 50, 1)):
        promotion_codes.create_code(
            staff_action(lead.user),
            code=f"SMALL{number}",
            terms=CodeTerms(credits=credits, max_redemptions=2),
        )

    assert waiting() == [AdminAction.CREATE_CODE]
    assert grant_credits(lead, phone, 1) == 202


def test_code_counts_with_grants_to_guests_of_one_account(lead, sandbox, new_guest):
    first, second = new_guest(), new_guest()
    assert [grant_credits(lead, first, 50), grant_credits(lead, second, 40)] == [200, 200]
    sub = sign_in(first, sandbox)
    sign_in(second, sandbox, sub=sub)

    for code, credits in (("ELEVEN", 11), ("TENEACH", 10)):
        promotion_codes.create_code(
            staff_action(lead.user), code=code, terms=CodeTerms(credits=credits, max_redemptions=1)
        )

    assert waiting() == [AdminAction.CREATE_CODE]
    assert first.post("redeem-code", {"code": "TENEACH"}).json()["credits_added"] == 10


def test_resuming_a_stopped_code_counts_again(lead):
    code_id = _code(lead, credits=30, max_redemptions=10)
    lead.act("credits_promotioncode_stop", code_id, reason=WHY)

    lead.act("credits_promotioncode_resume", code_id, reason=WHY)

    assert waiting() == [AdminAction.TOGGLE_CODE]
    assert not apps.get_model("credits", "PromotionCode").objects.get().is_active


def _code(staff, **terms):
    made = promotion_codes.create_code(
        staff_action(staff.user), code="SUMMER", terms=CodeTerms(**terms)
    )
    assert made == "SUMMER"
    return apps.get_model("credits", "PromotionCode").objects.get().id


def test_refunds_of_one_customers_jobs_reach_the_limit(agent, phone, new_guest):
    grant(phone.user_id, 190)
    for credits in (*REACHES_LIMIT, 4):
        agent.act("generation_job_refund", delivered(phone, credits=credits).id, reason=WHY)

    assert waiting() == [AdminAction.REFUND_JOB]
    refunded = AuditLogEntry.objects.filter(action=AdminAction.REFUND_JOB)
    assert list(refunded.order_by("at").values_list("credits", flat=True)) == REACHES_LIMIT
    assert grant_credits(agent, phone, 1) == 202
    assert grant_credits(agent, new_guest(), LIMIT) == 200


def test_grants_to_many_guests_reach_the_daily_budget(agent, sandbox, new_guest):
    guests = [new_guest() for _ in range(7)]
    answers = [grant_credits(agent, guest, LIMIT) for guest in guests]
    sub = sign_in(guests[0], sandbox)
    for guest in guests[1:]:
        sign_in(guest, sandbox, sub=sub)

    assert answers == [200] * 5 + [202] * 2
    assert guests[0].balance() == 10 + BUDGET


def test_grants_to_guests_count_for_their_account(agent, sandbox, new_guest):
    first, second = new_guest(), new_guest()
    assert [grant_credits(agent, first, 60), grant_credits(agent, second, 30)] == [200, 200]
    sub = sign_in(first, sandbox)
    sign_in(second, sandbox, sub=sub)

    assert [grant_credits(agent, first, 11), grant_credits(agent, second, 10)] == [202, 200]


@pytest.mark.parametrize("credits", [13, 2_000_000_000])
def test_raising_a_products_credits_needs_an_approval(finance, store, phone, credits):
    product = Product.objects.get(product_id=TEN)
    page = finance.see("billing_product_change", product.id).context["adminform"].form
    fields = {**as_sent(page), "credits": credits, "reason": WHY}

    finance.submit("billing_product_change", product.id, **fields)

    deliver_and_apply(store.buy(TEN, phone=phone))
    assert phone.balance() == 20
    assert waiting() == ([AdminAction.EDIT_PRODUCT] if credits == 13 else [])


def test_small_price_steps_count_from_the_approved_baseline(finance, lead):
    product = Product.objects.get(product_id=FIFTY)
    for credits in (60, 62, 70, 75):
        edit(finance, "billing_product", product.id, credits=credits)
    for price in ("0.35", "0.32", "0.28", "0.22"):
        edit(lead, "generation_generationmodel", SORA, base_price_usd=price)

    product.refresh_from_db()
    assert product.credits == 62
    assert str(GenerationModel.objects.get(id=SORA).base_price_usd) == "0.3200"
    assert waiting() == [AdminAction.EDIT_PRODUCT] * 2 + [AdminAction.EDIT_MODEL] * 2


@pytest.mark.parametrize(
    "changes",
    [
        {"base_price_usd": "0.01"},
        {"base_price_usd": "0.60"},
        {"pricing_type": "fixed"},
        {"settings": json.dumps(LONGER)},
        {"routes-0-provider_model_id": "fal-ai/the-dearest-there-is"},
        {"routes-0-constants": '{"resolution": "4k"}'},
        {"routes-0-cost_usd": "0.01"},
        # Each job would be refunded after a second, and its provider paid.
        {"run_deadline_seconds": "1"},
    ],
)
def test_large_change_of_a_price_or_cost_needs_an_approval(lead, changes):
    before = (
        GenerationModel.objects.filter(id=SORA).values().get(),
        list(ProviderRoute.objects.values()),
    )

    edit(lead, "generation_generationmodel", SORA, **changes)

    assert waiting() == [AdminAction.EDIT_MODEL]
    assert (
        GenerationModel.objects.filter(id=SORA).values().get(),
        list(ProviderRoute.objects.values()),
    ) == before


def test_assigning_a_purchase_beyond_the_budget_needs_an_approval(agent, store, phone):
    bought = [store.buy(FIFTY) for _ in range(3)]
    for one in bought:
        deliver_and_apply(one)
        agent.act(
            "billing_purchase_assign", purchase_of(one).id, user_id=str(phone.user_id), reason=WHY
        )

    assert phone.balance() == 10 + LIMIT
    assert waiting() == [AdminAction.ASSIGN_PURCHASE]


def test_assigning_a_subscription_needs_an_approval(agent, store, phone):
    period = store.subscribe()
    deliver_and_apply(period)

    agent.act(
        "billing_purchase_assign", purchase_of(period).id, user_id=str(phone.user_id), reason=WHY
    )

    assert phone.balance() == 10
    assert waiting() == [AdminAction.ASSIGN_PURCHASE]


def test_releasing_a_purchase_beyond_the_budget_needs_an_approval(lead, store, phone, settings):
    settings.FRAUD_PURCHASES_PER_HOUR, settings.FRAUD_HOLD_SCORE = 0, 10
    bought = [store.buy(FIFTY, phone=phone) for _ in range(3)]
    for one in bought:
        deliver_and_apply(one)
        lead.act("billing_purchase_release", purchase_of(one).id, reason=WHY)

    assert phone.balance() == 10 + LIMIT
    assert waiting() == [AdminAction.RELEASE_PURCHASE]


def test_refund_override_beyond_the_budget_needs_an_approval(agent, store, phone):
    bought = [store.buy(FIFTY, phone=phone) for _ in range(3)]
    for one in bought:
        deliver_and_apply(one)
        deliver_and_apply(store.notify("CONSUMPTION_REQUEST", one))
    for request in ConsumptionRequest.objects.order_by("id"):
        agent.act(
            "billing_consumptionrequest_override_preference", request.id, policy="grant", reason=WHY
        )

    granted = ConsumptionRequest.objects.order_by("id").values_list("override", flat=True)
    assert list(granted) == ["grant", "grant", ""]
    assert waiting() == [AdminAction.OVERRIDE_REFUND]


@pytest.mark.parametrize("page", ["generation_job_retry", "generation_webhookdelivery_reprocess"])
def test_fetching_free_videos_beyond_the_budget_needs_an_approval(agent, customer_history, page):
    subject = customer_history.job if "job" in page else customer_history.delivery
    grant_credits(agent, customer_history.phone, 97)

    agent.act(page, subject.id, reason=WHY)

    assert len(waiting()) == 1
    customer_history.job.refresh_from_db()
    assert customer_history.job.stage == "done"


@pytest.mark.parametrize("kind", [DeadKind.JOB, DeadKind.RESULT])
def test_retry_of_a_refunded_jobs_dead_letter_counts_its_video(agent, customer_history, kind):
    dead_letters.record(kind, str(customer_history.job.id), "It broke", now=timezone.now())
    grant_credits(agent, customer_history.phone, 97)

    agent.act("generation_deadletter_retry", DeadLetter.objects.get().id, reason=WHY)

    assert waiting() == [AdminAction.RETRY_DEAD_LETTER]
    assert DeadLetter.objects.get().state == "open"


def test_purchase_synced_by_staff_counts_its_credits(agent, store, phone):
    bought = store.buy("com.rendio.credits.20", phone=phone)
    deliver_and_apply(bought)
    Product.objects.create(
        product_id="com.rendio.credits.20", name="20", kind="consumable", credits=20
    )
    grant_credits(agent, phone, 81)

    agent.act("billing_purchase_reprocess", purchase_of(bought).id, reason=WHY)

    assert waiting() == [AdminAction.REPROCESS_PURCHASE]
    assert phone.balance() == 91


def test_notification_processed_again_counts_its_purchase(agent, store, phone):
    bought = store.buy("com.rendio.credits.20", phone=phone)
    notification = deliver_and_apply(bought)
    Product.objects.create(
        product_id="com.rendio.credits.20", name="20", kind="consumable", credits=20
    )
    grant_credits(agent, phone, 81)

    agent.act("billing_notification_reprocess", notification.id, reason=WHY)

    assert waiting() == [AdminAction.REPROCESS_NOTIFICATION]
    APPLY_NOTIFICATIONS.run_batch(now=timezone.now())
    assert phone.balance() == 91


def test_notification_of_an_unknown_purchase_needs_an_approval(agent, lead, store, phone):
    """A notification whose purchase was never recorded, because of an error of ours."""
    notification = deliver_and_apply(store.notify("REFUND_DECLINED", store.buy(phone=phone)))
    assert not Purchase.objects.exists()

    agent.act("billing_notification_reprocess", notification.id, reason=WHY)

    assert waiting() == [AdminAction.REPROCESS_NOTIFICATION]
    approval = PendingApproval.objects.get()
    lead.act("adminops_pendingapproval_approve", approval.id, reason=WHY)
    notification.refresh_from_db()
    assert notification.due_at


def test_failing_a_job_beyond_the_budget_needs_an_approval(lead, phone):
    job = Job.objects.get(id=phone.generate().json()["job_id"])
    grant_credits(lead, phone, 97)

    lead.act("generation_job_fail", job.id, reason=WHY)

    assert waiting() == [AdminAction.FAIL_JOB]
    job.refresh_from_db()
    assert not job.is_terminal


def test_large_incident_needs_an_approval(lead, phone, new_guest, settings):
    settings.SUPPORT_GRANT_LIMIT, settings.SUPPORT_DAILY_BUDGET = 0, BUDGET
    jobs_of_now = [delivered(phone), delivered(phone)]
    use_up(lead, BUDGET - 7, new_guest)

    came = incident(lead)

    assert isinstance(came, PendingApproval)
    assert [Job.objects.get(id=job.id).refund_entry_id for job in jobs_of_now] == [None, None]


def test_incident_beyond_the_limit_of_one_customer_needs_an_approval(lead, phone, new_guest):
    grant(phone.user_id, 190)
    for credits in REACHES_LIMIT:
        delivered(phone, credits=credits)
    delivered(new_guest())
    assert incident(lead).expected_credits == LIMIT + 4
    delivered(phone)

    came = incident(Staff(staff_user("leo", role="lead")))

    assert isinstance(came, PendingApproval)
    reason = came.approval_reason
    assert "one customer at most 100 credits a day; with this action, it would be 104" in reason
    assert grant_credits(lead, new_guest(), 1) == 202


def incident(staff):
    now = timezone.now()
    return incidents.start(
        staff_action(staff.user, now=now),
        job_filter=JobFilter(IncidentKind.DELIVERED, now - timedelta(hours=1), now),
    )


def test_an_incident_settles_no_more_than_was_counted(lead, phone):
    delivered(phone)
    running = Job.objects.get(id=phone.generate().json()["job_id"])
    submitted(running)
    begun = incident(lead)
    assert begun.expected_credits == 4
    assert settle.complete(running, settle.StoredMedia("b.mp4", "b.jpg"), now=timezone.now())

    for _ in range(2):
        incidents.work_due(now=timezone.now() + timedelta(seconds=5))

    begun.refresh_from_db()
    assert (begun.settled_credits, begun.broken_jobs) == (4, 1)
    assert phone.balance() == 6
    assert find_discrepancies() == []


# --- By splitting ---------------------------------------------------------------------------------


def test_all_kinds_of_actions_count_together(lead, phone, new_guest):
    use_up(lead, BUDGET - 50, new_guest, each=90)
    _code(lead, credits=4, max_redemptions=10)
    lead.act("generation_job_refund", delivered(phone).id, reason=WHY)

    assert budgets.get_usage(lead.user.id, now=timezone.now()).moved == BUDGET - 6
    other = new_guest()
    assert [grant_credits(lead, other, 7), grant_credits(lead, other, 6)] == [202, 200]
    assert lead.call(
        "admin-adjust-credits", user_id=str(phone.user_id), amount=-1, reason=WHY
    ).status_code == 202  # fmt: skip


def test_budget_window_does_not_reset_at_midnight(agent, phone):
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)

    def at(moment):
        given = credit_actions.refund_credits(
            staff_action(agent.user, now=moment), user_id=phone.user_id, amount=60
        )
        return given.approval is None

    assert at(midnight - timedelta(minutes=1))
    assert not at(midnight + timedelta(minutes=1))
    assert at(midnight + timedelta(hours=24))


@pytest.fixture
def committed_staff(committed, sandbox):
    phones = [Phone().sign_in() for _ in range(3)]
    return phones, staff_user(f"{phones[0].user_id}", is_superuser=True)


def attempt(act, staff, **what):
    def run():
        try:
            return act(staff_action(staff), **what)
        except Refusal as refusal:
            return refusal
        finally:
            connection.close()

    return run


def test_concurrent_actions_do_not_exceed_the_budget_together(committed_staff, settings):
    # The limit for one customer would stop some of them too.
    settings.SUPPORT_GRANT_LIMIT, settings.SUPPORT_DAILY_BUDGET = 0, 100
    phones, staff = committed_staff
    job = Job.objects.get(id=phones[0].generate().json()["job_id"])

    given = at_once(
        *[
            attempt(credit_actions.refund_credits, staff, user_id=phone.user_id, amount=60)
            for phone in phones
        ],
        attempt(
            promotion_codes.create_code,
            staff,
            code=f"A{uuid4().hex[:9]}",
            terms=CodeTerms(60, max_redemptions=1),
        ),
    )
    jobs.fail_job(staff_action(staff), job_id=job.id)

    waits = [one.approval if isinstance(one, credit_actions.GrantResult) else one for one in given]
    assert sum(isinstance(one, PendingApproval) for one in waits) == 3
    moved = AuditLogEntry.objects.filter(actor=staff, credits__isnull=False)
    assert [act.credits for act in moved.order_by("at")] == [60, 4]
    assert sum(balance_of(phone.user_id).balance for phone in phones) in {30, 90}


# --- By two who agree with each other -------------------------------------------------------------


def test_requester_for_a_customer_cannot_approve_for_that_customer(lead, finance, phone):
    grant_credits(lead, phone, 200)
    grant_credits(finance, phone, 300)
    by_lead, by_finance = PendingApproval.objects.order_by("requested_at")

    for approver, approval in [(finance, by_lead), (lead, by_finance)]:
        page = approver.act("adminops_pendingapproval_approve", approval.id, reason=WHY)
        assert "Another person has to decide" in page.content.decode()

    assert phone.balance() == 10


def test_approver_has_a_budget_too(lead, finance, root, settings, new_guest):
    settings.SUPPORT_APPROVAL_BUDGET = 400
    phones = [new_guest() for _ in range(3)]
    for phone in phones:
        grant_credits(lead, phone, 200)
    pending = PendingApproval.objects.order_by("requested_at")

    for approval in pending:
        finance.act("adminops_pendingapproval_approve", approval.id, reason=WHY)

    assert [phone.balance() for phone in phones] == [210, 210, 10]
    # What somebody approves for others takes nothing of what they give themselves.
    assert grant_credits(finance, phones[2], LIMIT) == 200
    root.act("adminops_pendingapproval_approve", pending.last().id, reason=WHY)
    assert phones[2].balance() == 310


def test_approval_that_would_move_more_than_requested_is_refused(lead, finance, store, phone):
    bought = store.buy(FIFTY, phone=phone, quantity=3)
    deliver_and_apply(bought)
    deliver_and_apply(store.notify("CONSUMPTION_REQUEST", bought))
    request = ConsumptionRequest.objects.get()
    lead.act(
        "billing_consumptionrequest_override_preference", request.id, policy="grant", reason=WHY
    )
    approval = PendingApproval.objects.get()
    PendingApproval.objects.update(amount=149)

    with pytest.raises(InvalidState) as refused:
        approvals.approve(staff_action(finance.user), approval_id=approval.id)

    assert "The action would now move 150 credits, not 149" in refused.value.details["problem"]


# --- By the ways of Django's own pages ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "permissions"),
    [
        ("billing_product", ["billing.view_product", "billing.change_product"]),
        ("generation_generationmodel", [
            "generation.view_generationmodel", "generation.change_generationmodel",
            "generation.view_providerroute", "generation.change_providerroute",
        ]),
        ("generation_theme", ["generation.view_theme", "generation.change_theme"]),
        ("generation_providerroute", [
            "generation.view_providerroute", "generation.change_providerroute",
        ]),
    ],
)  # fmt: skip
def test_djangos_own_permissions_do_not_edit_the_catalogue(db, name, permissions):
    staff = Staff(staff_user("sly", *permissions))
    rows = apps.get_model(*name.split("_")).objects
    before = list(rows.order_by("pk").values())
    row = rows.first()

    refused = staff.submit(f"{name}_change", row.pk, credits="9", base_price_usd="0.01", reason=WHY)
    staff.submit(
        f"{name}_changelist", **{
            "form-TOTAL_FORMS": "1", "form-INITIAL_FORMS": "1", "form-0-id": str(row.pk),
            "form-0-credits": "9", "form-0-base_price_usd": "0.01", "_save": "Save",
            "action": "delete_selected", "_selected_action": str(row.pk), "post": "yes",
        },
    )  # fmt: skip

    assert refused.status_code == 403
    assert list(rows.order_by("pk").values()) == before
    assert not AuditLogEntry.objects.exists()


def test_every_action_that_moves_credits_has_a_handler():
    """A new action has a handler with a credit impact, or is listed here as moving no credits."""
    move_nothing = {
        AdminAction.BAN_USER, AdminAction.UNBAN_USER, AdminAction.TOGGLE_MODEL,
        AdminAction.TOGGLE_ROUTE, AdminAction.RESET_PROVIDER, AdminAction.SWITCH_MAINTENANCE,
        AdminAction.DISMISS_DEAD_LETTER, AdminAction.CLEAR_VIOLATIONS, AdminAction.REVOKE_SESSIONS,
        AdminAction.RESET_SECOND_FACTOR, AdminAction.DISMISS_PAYLOAD, AdminAction.REQUEST_APPROVAL,
        AdminAction.APPROVE, AdminAction.DECLINE,
    }  # fmt: skip

    assert approvals.registered_actions() == set(AdminAction) - move_nothing


def test_retry_of_a_failed_job_counts_its_video(agent, phone):
    job = Job.objects.get(id=phone.generate().json()["job_id"])
    submitted(job)
    settle.fail(job, FailureReason.TIMEOUT, now=timezone.now())

    jobs.retry_job(staff_action(agent.user), job_id=job.id)

    act = AuditLogEntry.objects.get(action=AdminAction.RETRY_JOB)
    assert (act.credits, act.customer_id) == (4, phone.user_id)
