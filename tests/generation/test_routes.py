"""Routes of a model: usable routes, their order, and failover."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from uuid import UUID

import pytest

from generation.catalogue import cache, routing, specs
from generation.dispatch.scheduler import schedule_batch
from generation.lifecycle import submit
from generation.models import (
    GenerationModel,
    Job,
    JobStatus,
    ProviderRequest,
    ProviderRoute,
    RequestState,
    Stage,
)
from generation.providers import get_provider
from generation.providers.base import Accepted, FailureReason, Rejected
from rendio.common.ids import uuid7
from tests.helpers.job_driver import (
    assert_completed,
    assert_refunded,
    create_job,
    kinds_of,
    send_webhook,
    submissions,
)
from tests.helpers.model_ids import SORA
from tests.helpers.phone import assert_refused

pytestmark = pytest.mark.usefixtures("short_deadlines")

FIRST, SECOND = "fal-ai/sora-2/text-to-video", "fal-ai/veo3.1"


def add_route(**changes) -> ProviderRoute:
    """A second route of Sora 2."""
    route = ProviderRoute.objects.filter(model_id=SORA).earliest("position")
    route.id, route._state.adding = uuid7(), True
    route.provider_model_id, route.position = SECOND, 2
    for name, value in changes.items():
        setattr(route, name, value)
    route.save()
    cache.invalidate()
    return route


def asked(sandbox) -> list[str]:
    """Requested provider models, in order."""
    return [asked["path"].partition("/queue/")[2] for asked in submissions(sandbox)]


def states(job) -> list[str]:
    return list(
        ProviderRequest.objects.filter(job=job).order_by("id").values_list("state", flat=True)
    )


@pytest.fixture
def second(db):
    return add_route()


def test_a_job_of_a_kind_that_only_a_newer_release_knows_waits_for_that(
    phone, instant_provider, life
):
    job = create_job(phone)
    known = GenerationModel.objects.get(id=SORA).kind
    GenerationModel.objects.filter(id=SORA).update(kind="text-to-hologram")
    cache.invalidate()
    life.submit()
    assert asked(instant_provider) == []

    GenerationModel.objects.filter(id=SORA).update(kind=known)
    cache.invalidate()
    life.run_until_done(job)

    assert_completed(job)


# --- On to the next -----------------------------------------------------------------------------


def test_what_the_first_provider_breaks_on_the_second_makes(phone, instant_provider, life, second):
    instant_provider.provider(outcome="error", model=FIRST)
    job = create_job(phone)

    life.run_until_done(job)

    assert_completed(job)
    assert asked(instant_provider) == [FIRST, SECOND]
    assert states(job) == [RequestState.FAILED, RequestState.FINISHED]
    assert phone.balance() == 6


def test_when_every_route_has_failed_the_credits_come_back_once(
    phone, instant_provider, life, second
):
    instant_provider.provider(outcome="error")
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5002")
    assert asked(instant_provider) == [FIRST, SECOND]
    assert phone.balance() == 10


@pytest.mark.parametrize("outcome", ["content_policy", "invalid_input"])
def test_what_is_refused_for_its_content_is_offered_to_nobody_else(
    phone, instant_provider, life, second, outcome
):
    instant_provider.provider(outcome=outcome)
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5003")
    assert asked(instant_provider) == [FIRST]


def test_who_does_not_take_it_now_is_passed_over_at_once(phone, instant_provider, life, second):
    instant_provider.provider(outcome="submit_403_balance", model=FIRST)
    job = create_job(phone)

    life.run_until_done(job)

    assert_completed(job)
    assert asked(instant_provider) == [FIRST, SECOND]
    assert states(job) == [RequestState.DEFERRED, RequestState.FINISHED]
    assert (life.now - job.created_at).total_seconds() < 30


@pytest.mark.parametrize("outcome", ["submit_500", "submit_lost"])
def test_an_unknown_outcome_is_followed_by_nothing_before_its_deadline(
    phone, instant_provider, life, second, outcome
):
    instant_provider.provider(outcome=outcome, model=FIRST)
    job = create_job(phone)
    life.submit()
    for _ in range(11):
        life.advance(10).poll()
        life.submit()
    assert asked(instant_provider) == [FIRST]

    life.run_until_done(job)

    assert_completed(job)
    assert asked(instant_provider) == [FIRST, SECOND]
    assert states(job) == [RequestState.UNKNOWN, RequestState.FINISHED]


def test_a_webhook_that_comes_before_the_next_route_is_asked_spares_it(
    phone, instant_provider, signer, life, second
):
    instant_provider.provider(outcome="submit_lost", model=FIRST)
    job = create_job(phone)
    life.submit()
    life.advance(121).poll()
    job.refresh_from_db()
    assert job.stage == Stage.SUBMIT
    assert send_webhook(signer, job) == 200

    life.run_until_done(job)

    assert_completed(job)
    assert asked(instant_provider) == [FIRST]


def test_a_webhook_of_the_route_given_up_does_not_disturb_the_next(
    phone, instant_provider, signer, life, second
):
    instant_provider.provider(outcome="submit_lost", model=FIRST)
    job = create_job(phone)
    life.submit()
    life.advance(121).poll()
    first = ProviderRequest.objects.get(job=job)
    life.advance(1).submit()
    known = next(known for known in instant_provider.jobs() if known["model"] == FIRST)
    assert signer.deliver(known["request_id"], first.webhook_token) == 200

    life.run_until_done(job)
    life.deliver()

    assert_completed(job)
    assert asked(instant_provider) == [FIRST, SECOND]
    assert states(job) == [RequestState.UNKNOWN, RequestState.FINISHED]


def test_a_video_of_the_first_route_is_kept_after_the_second_has_failed(
    phone, instant_provider, signer, life, second
):
    instant_provider.provider(outcome="submit_lost", model=FIRST)
    instant_provider.provider(outcome="error", model=SECOND)
    job = create_job(phone)
    life.run_until_done(job)
    assert_refunded(job, code="ERR_5002")
    first = ProviderRequest.objects.filter(job=job).earliest("id")
    known = next(known for known in instant_provider.jobs() if known["model"] == FIRST)
    assert signer.deliver(known["request_id"], first.webhook_token) == 200

    life.deliver()
    life.run_until_done(job)

    job.refresh_from_db()
    assert (job.status, bool(job.media_name)) == ("failed", True)
    assert kinds_of(job.id) == ["charge", "refund"]


def test_what_the_first_route_made_is_taken_if_it_told_while_the_second_was_asked(
    phone, instant_provider, signer, life, second
):
    instant_provider.provider(outcome="submit_lost", model=FIRST)
    instant_provider.provider(outcome="error", model=SECOND)
    job = create_job(phone)
    life.submit()
    first = ProviderRequest.objects.get(job=job)
    life.advance(121).poll()
    life.advance(1).submit()
    known = next(known for known in instant_provider.jobs() if known["model"] == FIRST)
    assert signer.deliver(known["request_id"], first.webhook_token) == 200

    life.run_until_done(job)

    assert_completed(job)
    assert asked(instant_provider) == [FIRST, SECOND]
    assert states(job) == [RequestState.FINISHED, RequestState.FAILED]


@pytest.mark.parametrize("outcome", ["cancelled", "media_404"])
def test_what_was_stopped_over_there_or_is_paid_already_is_made_nowhere_else(
    phone, instant_provider, life, second, outcome
):
    instant_provider.provider(outcome=outcome, model=FIRST)
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5002")
    assert asked(instant_provider) == [FIRST]


@pytest.mark.parametrize("accepted", [True, False])
def test_an_answer_that_comes_after_its_deadline_leaves_the_next_route_alone(
    phone, instant_provider, life, second, accepted
):
    """A call takes longer than the submit deadline."""
    job = create_job(phone)
    [held_up] = schedule_batch(queue="low", now=life.now).dispatches
    life.advance(121).poll()
    [on_its_way] = schedule_batch(queue="low", now=life.advance(1).now).dispatches
    handle = get_provider("fal").build_handle(model_id=FIRST, request_id="late", key_label="")

    answer = Accepted(handle) if accepted else Rejected(FailureReason.REJECTED, "", "")
    submit._record(held_up, answer, life.now)

    submit._record(on_its_way, submit._send(on_its_way), life.now)
    life.stop()
    stopped = [one["path"] for one in instant_provider.requests() if one["method"] == "PUT"]
    assert len(stopped) == accepted
    life.run_until_done(job)
    assert_completed(job)
    assert states(job) == [RequestState.UNKNOWN, RequestState.FINISHED]


def test_a_job_taken_back_is_not_carried_on(phone, instant_provider, life, second):
    instant_provider.provider(outcome="submit_500", model=FIRST)
    job = create_job(phone)
    life.submit()
    Job.objects.filter(id=job.id).update(cancel_requested_at=life.now)

    life.run_until_done(job)

    assert_refunded(job, status=JobStatus.CANCELLED)
    assert asked(instant_provider) == [FIRST]


def test_a_job_taken_back_that_broke_where_it_ran_on_is_not_carried_on(
    phone, instant_provider, life, second
):
    instant_provider.provider(outcome="error", queue_seconds=0, run_seconds=600, model=FIRST)
    job = create_job(phone)
    life.submit()
    life.advance(3).poll()
    answer = phone.post("cancel-video-job", {"job_id": str(job.id)}).json()
    assert (answer["status"], answer["refunded"]) == ("processing", False)
    instant_provider.control("finish", provider="fal")

    life.run_until_done(job)

    assert_refunded(job, status=JobStatus.CANCELLED)
    assert asked(instant_provider) == [FIRST]


def test_a_route_whose_row_is_wrong_takes_none_of_the_others_out_of_use(
    phone, instant_provider, life
):
    add_route(limits={"duration": 4})  # a number where a list belongs

    job = create_job(phone)

    life.run_until_done(job)
    assert_completed(job)


# --- Which may ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"limits": {"duration": [8, 12]}},
        {"limits": {"fps": [24]}},
        {"cost_usd": Decimal("0.20")},  # $0.80 for what brought $0.28
        {"is_enabled": False},
        {"provider": "nobody"},
    ],
    ids=["duration", "a setting it has not", "margin", "off", "provider"],
)
def test_a_route_that_does_not_fit_is_not_taken(phone, instant_provider, life, changes):
    add_route(**changes)
    instant_provider.provider(outcome="error", model=FIRST)
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5002")
    assert asked(instant_provider) == [FIRST]


def test_a_route_that_takes_no_picture_is_not_asked_to_start_from_one(phone, db):
    model = cache.current().models[UUID("00000000-0000-4000-8000-000000000004")]
    job = Job(id=uuid7(), model_id=model.id, settings={"duration": 4}, credits=4, upload_id=uuid7())
    assert len(routing.untried_routes(job)) == 1

    ProviderRoute.objects.filter(model_id=model.id).update(
        parameters={"prompt": {"name": "prompt"}}
    )
    cache.invalidate()

    assert routing.untried_routes(job) == []


@pytest.mark.parametrize(
    ("cost", "commission", "percent"),
    # 8 credits are $0.80; four seconds of cost each.
    [("0.10", 30, "28.57"), ("0.10", 15, "41.18"), ("0.14", 30, "0"), ("0.20", 30, "-42.86")],
)
def test_the_margin_is_what_is_left_of_the_stores_payment(db, settings, cost, commission, percent):
    settings.STORE_COMMISSION_PERCENT = commission
    route = cache.current().models[SORA].routes[0]
    route = specs.RouteSpec(**vars(route) | {"cost_usd": Decimal(cost)})

    margin = routing.margin_percent(route, {"duration": 4}, credits=8)

    assert round(margin, 2) == Decimal(percent)


def test_the_margin_floor_is_a_setting(phone, instant_provider, life, settings, second):
    instant_provider.provider(outcome="error", model=FIRST)
    settings.MARGIN_FLOOR_PERCENT = 0  # Sora 2 costs $0.40 and brings $0.28
    job = create_job(phone)

    life.run_until_done(job)

    assert_refunded(job, code="ERR_5002")
    assert asked(instant_provider) == [FIRST]


def test_an_order_that_no_route_can_make_is_refused_and_costs_nothing(phone):
    ProviderRoute.objects.filter(model_id=SORA).update(limits={"duration": [4]})
    cache.invalidate()

    assert_refused(phone.generate(settings={"duration": 8}), 503, "ERR_5002")

    assert phone.balance() == 10
    assert phone.generate(settings={"duration": 4}).status_code == 200


# --- Which first --------------------------------------------------------------------------------


def test_routes_of_one_number_share_the_orders_by_weight(phone):
    add_route(position=1, weight=3)
    jobs = [Job(id=uuid7(), model_id=SORA, settings={"duration": 4}, credits=4) for _ in range(800)]

    first = Counter(routing.untried_routes(job)[0].provider_model_id for job in jobs)

    # Three quarters of 800, and six standard deviations around.
    assert 527 < first[SECOND] < 673


def test_asked_again_a_job_finds_the_same_order(phone):
    for _ in range(4):
        add_route(position=1)
    job = Job(id=uuid7(), model_id=SORA, settings={"duration": 4}, credits=4)

    orders = {tuple(route.id for route in routing.untried_routes(job)) for _ in range(20)}

    assert len(orders) == 1
