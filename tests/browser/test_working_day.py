"""A working day of each role, at a real browser, in light and dark."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts.models import Device, User
from adminops.models import CountedDay, CreditDay, JobDay, PendingApproval, SaleDay
from billing.models import Product
from credits.flows import Flow
from credits.services import scheduled_ledger_check
from generation.models import GenerationModel, Job, JobStatus, ProviderRequest, Theme
from tests.billing.conftest import AppStore, update_credits
from tests.helpers.budget import large
from tests.helpers.job_driver import ended
from tests.helpers.model_ids import SORA
from tests.helpers.wait import wait_for

WHY = "The video came out black"


@pytest.fixture
def customer_history(customer, sandbox):
    """One job failed, one completed, one purchase made."""
    sandbox.provider(queue_seconds=0, run_seconds=0.1, outcome="error", times=1)
    (failed,) = customer.order(prompt="A balloon that bursts")
    ended(failed)
    (completed,) = customer.order(prompt="A balloon that flies")
    ended(completed)
    User.objects.filter(id=customer.user_id).update(email="zoe@example.com")
    customer.bought = AppStore(sandbox).buy(phone=customer)
    update_credits(customer, customer.bought)
    customer.failed, customer.completed = failed, completed
    return customer


@large
def test_anyone_is_found_by_whatever_is_known_of_them(desk, customer_history):
    agent = desk("agent")
    request = ProviderRequest.objects.get(job_id=customer_history.completed)

    for known in [
        "zoe@example.com",
        customer_history.user_id,
        Device.objects.get(user=customer_history.user_id).device_id,
        customer_history.bought["transaction_id"],
        customer_history.completed,
        request.provider_request_id,
    ]:
        agent.open("support_search")
        agent.page.fill("#id_q", str(known))
        agent.page.press("#id_q", "Enter")
        agent.page.wait_for_url(f"**/{customer_history.user_id}/**")
        assert "zoe@example.com" in agent.page.content()


@large
def test_an_agent_refunds_and_bans_and_a_viewer_can_do_neither(desk, customer_history):
    agent, viewer = desk("agent"), desk("viewer")
    user = User.objects.get(id=customer_history.user_id)
    before = customer_history.balance()

    agent.open("timeline", user.id)
    agent.look("timeline")
    assert agent.cut_off() == []
    agent.act("accounts_user_refund", user.id, amount="3", reason=WHY)
    assert customer_history.balance() == before + 3
    agent.act("accounts_user_ban", user.id, reason="Sells accounts")

    assert User.objects.get(id=user.id).suspended_at
    viewer.open("timeline", user.id)
    viewer.look("timeline-viewer")
    assert "zoe@example.com" not in viewer.page.content()
    for act in ("refund", "ban", "unban", "adjust"):
        assert viewer.open(f"accounts_user_{act}", user.id) == 403


@large
def test_a_large_grant_waits_for_a_second_person(desk, customer_history, settings):
    lead, finance = desk("lead"), desk("finance")
    before, amount = customer_history.balance(), settings.SUPPORT_GRANT_LIMIT + 1

    lead.act("accounts_user_adjust", customer_history.user_id, amount=str(amount), reason=WHY)
    assert customer_history.balance() == before
    grant = PendingApproval.objects.get(user_id=customer_history.user_id)
    lead.act("adminops_pendingapproval_approve", grant.id, reason="It is my own")
    assert customer_history.balance() == before
    finance.open("adminops_pendingapproval_change", grant.id)
    finance.look("second-person")
    finance.act("adminops_pendingapproval_approve", grant.id, reason="I have seen the letter")

    assert customer_history.balance() == before + amount


@large
def test_an_edit_is_given_a_reason_and_a_large_one_waits(desk, running):
    lead, finance = desk("lead"), desk("finance")
    price = GenerationModel.objects.get(id=SORA).base_price_usd
    lead.open("generation_generationmodel_change", SORA)
    lead.look("edit-model")
    lead.page.fill("[name=base_price_usd]", str(price * 3))
    lead.page.fill("[name=reason]", "The provider raised its price")
    with lead.page.expect_navigation():
        lead.page.locator("[name=_save]").click()
    assert GenerationModel.objects.get(id=SORA).base_price_usd == price

    finance.open("adminops_pendingapproval_changelist")
    finance.look("approvals")
    pending = PendingApproval.objects.latest("id")
    finance.open("adminops_pendingapproval_change", pending.id)
    finance.look("approval-of-an-edit")
    finance.act("adminops_pendingapproval_approve", pending.id, reason="As their letter says")

    assert GenerationModel.objects.get(id=SORA).base_price_usd == price * 3
    GenerationModel.objects.filter(id=SORA).update(base_price_usd=price)


@large
def test_the_pages_of_products_and_themes_are_read_by_everybody(desk, running):
    finance = desk("finance")
    assert finance.open("billing_product_change", Product.objects.first().pk) == 200
    finance.look("edit-product")
    lead = desk("lead")
    assert lead.open("generation_theme_change", Theme.objects.first().pk) == 200
    lead.look("edit-theme")
    assert lead.open("billing_unreadablepayload_changelist") == 200
    lead.look("unreadable-payloads")


@large
def test_after_an_incident_the_lead_counts_and_settles(desk, customer_history):
    lead, before = desk("lead"), customer_history.balance()
    job = Job.objects.get(id=customer_history.completed)
    lead.open("adminops_incident_begin")
    lead.page.select_option("[name=kind]", "delivered")
    minute = timedelta(minutes=1)
    lead.page.fill("[name=from_at]", f"{job.created_at - minute:%Y-%m-%d %H:%M:%S}")
    lead.page.fill("[name=until_at]", f"{job.created_at + minute / 60:%Y-%m-%d %H:%M:%S}")
    lead.press("Preview")
    lead.look("incident")

    lead.page.fill("[name=reason]", WHY)
    lead.press("Refund")

    wait_for(lambda: customer_history.balance() == before + job.credits)
    lead.page.reload()
    lead.look("incident-settled")
    assert Job.objects.get(id=job.id).refund_entry_id


@pytest.fixture
def month(committed):
    """Weeks that have been counted, weekends busier than the days between, and a proved ledger."""
    now = timezone.now()
    scheduled_ledger_check.verify_ledger_if_due(now=now + timedelta(days=2))
    dates = [now.date() - timedelta(days=back) for back in range(31)]
    # A worker may have counted some of them.
    days = CountedDay.objects.bulk_create(
        [CountedDay(date=date, counted_at=now) for date in dates],
        update_conflicts=True, unique_fields=["date"], update_fields=["counted_at"],
    )  # fmt: skip
    models = list(GenerationModel.objects.order_by("name").prefetch_related("routes"))
    for day in days:
        busy = 3 if day.date.weekday() >= 5 else 1 + day.date.day % 2
        for rank, model in enumerate(models):
            count_day(day, model, jobs=busy * (50 - 6 * rank))
        flows = {Flow.SOLD: 700, Flow.GRANTED: 90, Flow.SPENT: -560, Flow.REFUNDED: 40}
        CreditDay.objects.bulk_create(
            CreditDay(day=day, flow=flow, credits=busy * amount) for flow, amount in flows.items()
        )
        SaleDay.objects.create(day=day, currency="USD", purchases=9, milliunits=busy * 69_990)
    yield
    CountedDay.objects.filter(date__in=dates).delete()


def count_day(day, model, *, jobs):
    """Of ten jobs one fails; the videos of one model cost more than they bring."""
    usd = Decimal("0.29") if model.name == "Gen-4.5" else Decimal("0.21")
    route = model.routes.all()[0].id
    for status, code, share in [
        (JobStatus.COMPLETED, "", Decimal("0.9")), (JobStatus.FAILED, "ERR_5001", Decimal("0.1")),
    ]:  # fmt: skip
        these = int(jobs * share)
        JobDay.objects.create(
            day=day, model_id=model.id, route_id=route, status=status, error_code=code, jobs=these,
            credits=0 if code else 4 * these, cost_usd=usd * these,
        )  # fmt: skip


@large
def test_what_the_service_does_and_earns_is_seen_by_who_may(desk, customer_history, month):
    viewer, finance = desk("viewer"), desk("finance")

    viewer.open("index")
    viewer.look("dashboard-viewer")
    assert viewer.open("money") == 403
    finance.open("index")
    finance.page.get_by_role("link", name="Month").click()
    finance.page.locator("svg rect >> nth=100").wait_for(state="attached")
    finance.look("dashboard")
    assert finance.open("money") == 200
    finance.page.get_by_role("link", name="Month").click()
    finance.page.get_by_text("below cost").first.wait_for()
    finance.look("finance")


@large
def test_a_price_is_tried_before_it_is_changed(desk, running):
    lead = desk("lead")

    assert lead.open("try_price") == 200
    lead.page.select_option("[name=model]", str(SORA))
    lead.page.fill("[name=base_price_usd]", "0.80")
    lead.press("Simulate")

    # Four seconds of Sora 2: the current and the new price.
    assert lead.page.locator("main, body").first.get_by_role("cell", name="8", exact=True).count()
    lead.look("price-simulation")
    assert GenerationModel.objects.get(id=SORA).base_price_usd == Decimal("0.40")
