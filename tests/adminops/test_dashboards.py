"""The dashboards: what happened, counted by days, and how it is now."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from adminops.models import CountedDay, CreditDay, JobDay, SaleDay
from adminops.reports import charts, daily_rollups, jobs, periods
from adminops.reports import finance as finance_reports
from billing.models import Environment, Purchase
from credits import services as credit_services
from credits.flows import Flow
from generation.lifecycle import dead_letters, manual
from generation.models import (
    Breaker,
    DeadKind,
    GenerationModel,
    Job,
    ProviderHealth,
    ProviderRequest,
    WebhookDelivery,
)
from rendio.common.ids import lowest_uuid7
from tests.adminops.conftest import Staff, staff_user
from tests.billing.conftest import AppStore, update_credits
from tests.helpers.job_driver import JobDriver, create_job
from tests.helpers.model_ids import SORA


@pytest.fixture
def life() -> JobDriver:
    return JobDriver()


@pytest.fixture
def made(phone, sandbox, life):
    """A video that was made, and a job that failed."""
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False)
    video = life.run_until_done(create_job(phone))
    sandbox.provider(outcome="error", times=1)
    failed = life.run_until_done(create_job(phone))
    assert (video.status, failed.status) == ("completed", "failed")
    return video, failed


def count(**later) -> datetime:
    now = timezone.now() + timedelta(**later)
    daily_rollups.refresh(now=now)
    return now


def this_week():
    return periods.parse_period("week", now=timezone.now())


# --- Counting -------------------------------------------------------------------------------------


def test_jobs_are_counted_by_how_they_went(made):
    video, failed = made

    count()

    ways = {way.status: way for way in JobDay.objects.all()}
    assert set(ways) == {"completed", "failed"}
    assert ways["completed"].credits == video.credits
    assert ways["completed"].cost_usd == ProviderRequest.objects.get(job=video).cost_usd > 0
    assert ways["failed"].error_code == failed.error_code
    assert {way.route_id for way in ways.values()} == {video.model.routes.get().id}


def test_a_repeated_rollup_counts_changes_and_nothing_twice(phone):
    job = create_job(phone)
    count()
    count()
    assert [(way.status, way.jobs) for way in JobDay.objects.all()] == [("pending", 1)]

    Job.objects.filter(id=job.id).update(status="processing")
    count()

    assert [(way.status, way.jobs) for way in JobDay.objects.all()] == [("processing", 1)]


def days_counted(at: datetime) -> list[int]:
    days = CountedDay.objects.filter(counted_at=at).order_by("date")
    return [day.date.day for day in days]


def test_a_day_is_settled_a_day_after_its_end(db):
    daily_rollups.refresh(now=datetime(2026, 11, 21, 12, tzinfo=UTC))
    assert CountedDay.objects.count() == daily_rollups.DAYS

    later = datetime(2026, 11, 23, 0, 1, tzinfo=UTC)
    daily_rollups.refresh(now=later)

    assert days_counted(later) == [20, 21, 22, 23]
    daily_rollups.refresh(now=later + timedelta(minutes=1))
    assert days_counted(later) == [20, 21]


def test_a_row_belongs_to_the_day_of_its_id(db, customer_history):
    midnight = datetime.combine(timezone.now().date(), time(), UTC)
    for moment in (midnight, midnight - timedelta(milliseconds=1)):
        job = Job.objects.get(id=customer_history.job.id)
        job.id, job.refund_entry, job.status, job.stage = lowest_uuid7(moment), None, "x", "done"
        job.save(force_insert=True)

    count()

    found = JobDay.objects.filter(status="x").values_list("day_id", "jobs")
    today = midnight.date()
    assert set(found) == {(today, 1), (today - timedelta(days=1), 1)}


def test_credits_are_counted_by_the_way_they_moved(made, sandbox, phone):
    store = AppStore(sandbox)
    assert update_credits(phone, store.buy(phone=phone)).status_code == 200
    granted, spent = 10, -sum(job.credits for job in made)

    count()

    flows = {Flow(row.flow): row.credits for row in CreditDay.objects.all()}
    bought = Purchase.objects.get()
    kind = Flow.TESTED if bought.environment == Environment.SANDBOX else Flow.SOLD
    assert flows == {
        Flow.GRANTED: granted,
        kind: bought.credits,
        Flow.SPENT: spent,
        Flow.REFUNDED: made[1].credits,
    }
    held = finance_reports.outstanding()
    assert held.bought + held.given == phone.balance() == sum(flows.values())


def test_sales_are_shown_by_currency_without_sandbox_purchases(phone, sandbox):
    store = AppStore(sandbox)
    for _ in range(4):
        assert update_credits(phone, store.buy(phone=phone)).status_code == 200
    ids = list(Purchase.objects.values_list("id", flat=True))
    paid = [("Production", "USD", 990), ("Production", "EUR", 1990), ("Production", "EUR", 10)]
    for id_, (environment, currency, price) in zip(
        ids, [*paid, ("Sandbox", "USD", 5)], strict=True
    ):
        Purchase.objects.filter(id=id_).update(
            environment=environment, currency=currency, price_milliunits=price
        )

    count()

    assert finance_reports.sales(this_week()) == [
        finance_reports.Sales("EUR", 2, Decimal(2)),
        finance_reports.Sales("USD", 1, Decimal("0.99")),
    ]


# --- What they come to ----------------------------------------------------------------------------


def test_the_margin_is_revenue_after_commission_less_cost(made, settings):
    settings.STORE_COMMISSION_PERCENT = 30
    ProviderRequest.objects.filter(job=made[0]).update(cost_usd="0.2000")
    ProviderRequest.objects.filter(job=made[1]).update(cost_usd="0.0500")
    count()

    whole = finance_reports.total_margin(jobs.daily_stats(this_week()))

    assert whole.revenue_usd == Decimal("0.28")  # 4 credits of $0.10, less 30 %
    assert whole.cost_usd == Decimal("0.25")  # the failed job's too
    assert (whole.usd, round(whole.percent), whole.is_below_cost) == (Decimal("0.03"), 11, False)


def test_a_refunded_job_has_costs_and_no_revenue(made, support):
    video, _ = made
    manual.refund_job(video.id, acting_user_id=support.user.id, now=timezone.now())

    count()

    margin = finance_reports.total_margin(JobDay.objects.all())
    assert (margin.completed, margin.credits, margin.revenue_usd) == (1, 0, 0)
    assert margin.usd == -margin.cost_usd < 0


def test_a_settled_day_is_counted_again_when_a_job_of_it_is_refunded(made, support):
    old, _ = made
    now = timezone.now()
    old.id = lowest_uuid7(now - timedelta(days=5))
    old.save(force_insert=True)
    wallet = credit_services.lock_wallet(user_id=old.user_id)
    credit_services.charge(wallet=wallet, amount=old.credits, job_id=old.id, now=now)
    day = JobDay.objects.filter(day=(now - timedelta(days=5)).date())
    count()
    assert day.get().credits == old.credits
    manual.refund_job(old.id, acting_user_id=support.user.id, now=now)

    count(minutes=1)

    assert day.get().credits == 0


def test_a_running_job_has_neither_revenue_nor_cost(phone):
    create_job(phone)
    count()

    whole = finance_reports.total_margin(jobs.daily_stats(this_week()))

    assert (whole.revenue_usd, whole.cost_usd, whole.percent) == (0, 0, None)


def test_bars_stand_upon_each_other_and_below_the_line_where_they_are_negative():
    days = [datetime(2026, 11, day, tzinfo=UTC).date() for day in (1, 2)]
    chart = charts.stacked_chart(
        title="",
        explanation="",
        days=days,
        series={"a": {days[0]: 3, days[1]: -1}, "b": {days[0]: 0}, "c": {days[0]: 1, days[1]: -3}},
    )

    assert [(bar.y, bar.height) for bar in chart.bars] == [
        (20, 60), (0, 20), (80, 20), (100, 60)
    ]  # fmt: skip
    assert chart.zero == 80
    assert [name for _, name in chart.legend] == ["a", "c"]
    assert chart.table["rows"] == [["2026-11-02", "-1", "-3"], ["2026-11-01", "3", "1"]]


# --- The pages ------------------------------------------------------------------------------------


@pytest.fixture
def finance(db):
    return Staff(staff_user("fay", role="finance"))


def test_the_first_page_tells_of_the_work(support, made):
    ProviderHealth.objects.update(state=Breaker.OPEN)
    WebhookDelivery.objects.create(
        provider="fal", body="{}", received_at=datetime(2026, 11, 20, 7, 8, 9, tzinfo=UTC)
    )
    dead_letters.record(DeadKind.TASK, "generation.poll_due low", "It broke", now=timezone.now())
    count()

    page = support.see("index", period="day")

    text = page.content.decode()
    assert page.status_code == 200
    assert "50.0 %" in text  # the refund rate
    assert "completed: 1" in text  # a bar's title
    for part in ["2026-11-20 07:08:09", made[1].error_code, made[0].model.name]:
        assert part in text
    assert page.context["durations"]["rows"][0][:2] == [str(made[0].model.routes.get()), 1]
    facts = {name: str(value) for name, value, _ in page.context["facts"]}
    assert "1" in facts["Dead letters"]
    assert "Open" in str(page.context["providers"]["rows"][0][1])


def test_a_ledger_that_does_not_add_up_is_red(support):
    proof = apps.get_model("credits", "LedgerCheck")
    assert "balanced" not in str(support.see("index").context["facts"])

    proof.objects.update(checked_at=timezone.now())
    assert "balanced" in str(support.see("index").context["facts"])

    proof.objects.update(discrepancies=3)
    assert "3 discrepancies" in str(support.see("index").context["facts"])


def test_the_money_page_marks_what_sells_below_cost(finance, made):
    ProviderRequest.objects.update(cost_usd="0.0100")
    count()
    [row] = finance.see("money").context["margins"]["rows"]
    assert row[-1] == ""

    ProviderRequest.objects.update(cost_usd="9.0000")
    count()

    page = finance.see("money")
    [row] = page.context["margins"]["rows"]
    assert "-$17.72" in page.content.decode()
    assert "below cost" in row[-1]
    assert row[:2] == [made[0].model.name, str(made[0].model.routes.get())]
    assert row[2:7] == ["1", "4", "0.28", "18.00", "-17.72"]


def test_numbers_of_some_size_can_be_read(finance, made):
    count()
    JobDay.objects.update(jobs=1_234_567)

    assert "Jobs ordered: 2,469,134" in finance.see("index").content.decode()
    [row] = finance.see("money").context["margins"]["rows"]
    assert row[2] == "1,234,567"


@pytest.mark.parametrize(
    ("role", "status"), [("finance", 200), ("lead", 200), ("agent", 403), ("viewer", 403)]
)
def test_money_is_for_finance_and_leads(db, role, status):
    staff = Staff(staff_user("someone", role=role))

    assert staff.see("money").status_code == status
    first = staff.see("index").content.decode()
    assert ("/money/" in first) == (status == 200)
    assert "Margin" not in first


def test_dashboards_need_the_permission_to_view_jobs(db):
    page = Staff(staff_user("newcomer")).see("index")

    assert page.status_code == 200
    assert "facts" not in page.context
    assert "Jobs by status" not in page.content.decode()


@pytest.mark.parametrize("period", ["day", "week", "month", "", "year", "\0"])
def test_a_fresh_install_reads_well_for_any_period(support, period):
    for name in ("index", "money"):
        page = support.see(name, period=period)

        assert page.status_code == 200
        assert "No data yet" in page.content.decode()
        assert "No data in this period." in page.content.decode()


@pytest.mark.parametrize("name", ["index", "money"])
def test_many_rows_cost_as_many_queries_as_one(support, made, name):
    count()
    with CaptureQueriesContext(connection) as few:
        support.see(name, period="month")
    fill(made[0])

    with CaptureQueriesContext(connection) as many:
        page = support.see(name, period="month")

    assert page.status_code == 200
    assert len(many) <= len(few) <= 30


def fill(job: Job) -> None:
    """Every day of a month with every model, and as many jobs on their way, providers and calls."""
    now = timezone.now()
    days = CountedDay.objects.all()
    models = GenerationModel.objects.all()
    JobDay.objects.bulk_create(
        JobDay(day=day, model_id=model.id, status="failed", error_code=f"ERR_{n}", jobs=1,
               credits=1, cost_usd=1)
        for day in days for model in models for n in range(5)
    )  # fmt: skip
    CreditDay.objects.bulk_create(
        CreditDay(day=day, flow=flow, credits=1) for day in days for flow in Flow
    )
    SaleDay.objects.bulk_create(
        SaleDay(day=day, currency=currency, purchases=1, milliunits=1)
        for day in days for currency in ("USD", "EUR", "TRY")
    )  # fmt: skip
    Job.objects.bulk_create(
        Job(user=User.objects.get(id=job.user_id), model_id=SORA, credits=1, price_usd=1,
            queue="low", due_at=now, deadline_at=now)
        for _ in range(50)
    )  # fmt: skip
    ProviderHealth.objects.bulk_create(
        ProviderHealth(provider="fal", key_label=f"key {n}") for n in range(20)
    )
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(provider="fal", body="{}", received_at=now) for _ in range(100)
    )
