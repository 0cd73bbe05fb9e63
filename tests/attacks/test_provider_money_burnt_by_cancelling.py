"""An attacker orders, waits until the provider works on it, and cancels: the credits come back, and
the provider takes its price from us."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.utils import timezone

from accounts import services as account_services
from accounts.apple import identity_tokens
from accounts.services import related_users
from credits import ledger_check
from credits.models import LedgerEntry
from generation.lifecycle import cancel as cancelling
from generation.lifecycle.poll import open_submissions
from generation.models import Job, JobStatus, ProviderRequest, Stage
from generation.providers import get_provider
from tests.accounts.conftest import Installation, Person
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import JobDriver, grant, kinds_of
from tests.helpers.model_ids import GEN
from tests.helpers.phone import Phone

FREE = 3
PRICE_USD = Decimal("0.60")  # five seconds of Gen-4.5 at Runway
FEE = 6  # what that is worth in credits


@pytest.fixture(autouse=True)
def _few_are_free(settings):
    settings.CANCEL_FREE_COUNT = FREE


@pytest.fixture
def life():
    return JobDriver()


@pytest.fixture
def runway(sandbox):
    sandbox.provider(provider="runway", queue_seconds=0, run_seconds=600)
    return sandbox


@pytest.fixture
def burner(phone, runway):
    grant(phone.user_id, 100)
    return phone


def order(phone):
    answer = phone.generate(model_id=str(GEN))
    assert answer.status_code == 200, answer.content
    return Job.objects.get(id=answer.json()["job_id"]), answer.json()["cancel_fee_after_start"]


def run(job, life):
    """Until its provider works on it."""
    life.run_until_done(job, until=lambda job: job.stage == Stage.RUNNING)


def cancel(phone, job):
    answer = phone.post("cancel-video-job", {"job_id": str(job.id)})
    assert answer.status_code == 200, answer.content
    job.refresh_from_db()
    return answer.json()


def burn(phone, life):
    """Order, let run, cancel; gives the fee that was said before, and the answer."""
    job, said = order(phone)
    run(job, life)
    return said, cancel(phone, job)


def quoted_fee(phone):
    """What an order would be told. It takes none of the free ones, as an order does."""
    quote = phone.post("quote-video", {"model_id": str(GEN), "prompt": "A red balloon"})
    assert quote.status_code == 200, quote.content
    return quote.json()["cancel_fee_after_start"]


def booked_usd():
    return sum(ProviderRequest.objects.values_list("cost_usd", flat=True))


def test_beyond_a_few_each_cancel_after_the_start_is_paid_and_it_is_said_before(burner, life):
    before = burner.balance()

    for _ in range(FREE):
        said, answer = burn(burner, life)
        assert said == 0
        assert (answer["status"], answer["refunded"]) == ("cancelled", True)
    assert burner.balance() == before
    quoted = quoted_fee(burner)
    said, answer = burn(burner, life)

    assert quoted == said == FEE
    job = Job.objects.latest("id")
    assert answer["credits_refunded"] == job.credits - FEE
    assert answer["refunded"] is (job.credits > FEE)
    assert (job.fee_kept, job.loss_usd) == (FEE, PRICE_USD)
    assert kinds_of(job.id) == ["charge", "refund"]
    assert burner.balance() == before - FEE
    assert ledger_check.find_discrepancies() == []


def test_however_often_it_is_done_we_lose_the_free_ones_alone(burner, life):
    before = burner.balance()

    for _ in range(FREE + 4):
        burn(burner, life)

    paid_usd = (before - burner.balance()) * Decimal("0.10")
    assert booked_usd() - paid_usd <= FREE * PRICE_USD


@pytest.mark.parametrize("looked", [False, True])
def test_a_cancel_between_two_looks_of_ours_is_a_cancel_after_the_start(
    burner, runway, life, settings, looked
):
    """The task has begun over there, and we have not seen it yet."""
    settings.CANCEL_FREE_COUNT = 0
    runway.provider(provider="runway", queue_seconds=0, run_seconds=600)
    before = burner.balance()
    job, said = order(burner)
    life.run_until_done(job, until=lambda job: job.stage == Stage.QUEUED)
    if looked:
        # As if it had still been in the queue when it was last looked at.
        Job.objects.filter(id=job.id).update(tries=1)

    answer = cancel(burner, job)

    assert answer["credits_refunded"] == job.credits - said
    assert (job.fee_kept, job.loss_usd) == (FEE, PRICE_USD)
    assert burner.balance() == before - FEE
    assert booked_usd() == PRICE_USD


def test_ordering_all_before_cancelling_any_brings_no_more_free_ones(burner, life):
    orders = [order(burner) for _ in range(FREE + 2)]
    for job, _ in orders:
        run(job, life)

    fees = [cancel(burner, job).get("credits_refunded", "all") for job, _ in orders]

    assert [said for _, said in orders] == [0] * FREE + [FEE] * 2
    assert fees == ["all"] * FREE + [job.credits - FEE for job, _ in orders[FREE:]]


def test_quotes_of_before_bring_no_more_free_ones(burner, life):
    asked = {"model_id": str(GEN), "prompt": "A red balloon over the sea"}
    quotes = [burner.post("quote-video", asked).json() for _ in range(FREE + 1)]
    assert {quote["cancel_fee_after_start"] for quote in quotes} == {0}

    said = [
        burner.generate(**asked, quote_id=quote["quote_id"]).json()["cancel_fee_after_start"]
        for quote in quotes
    ]

    assert said == [0] * FREE + [FEE]


def test_a_job_that_was_delivered_gives_its_free_one_back(burner, runway, life, settings):
    settings.CANCEL_FREE_COUNT = 1
    runway.provider(provider="runway", run_seconds=0)
    job, said = order(burner)
    life.run_until_done(job)

    assert job.status == JobStatus.COMPLETED
    assert said == order(burner)[1] == 0


def test_after_the_window_a_few_are_free_again(burner, life, settings):
    settings.CANCEL_FREE_COUNT = 1
    burn(burner, life)
    assert order(burner)[1] == FEE
    Job.objects.filter(status=JobStatus.CANCELLED).update(
        completed_at=timezone.now() - related_users.RETENTION
    )
    Job.objects.exclude(status=JobStatus.CANCELLED).update(cancel_fee=FEE)

    assert order(burner)[1] == 0


# --- The same person in another guise ---------------------------------------------------------


def test_a_new_account_of_the_same_apple_account_has_no_more_free_ones(
    db, runway, life, settings, new_guest
):
    settings.CANCEL_FREE_COUNT = 1
    identity_tokens.keys.clear()
    person, phone = Person(runway), new_guest()
    grant(phone.user_id, 100)
    sign_in(person, phone)
    burn(phone, life)
    assert phone.post("delete-account").status_code == 200
    again = new_guest()
    grant(again.user_id, 100)
    assert quoted_fee(again) == 0  # a stranger so far

    sign_in(person, again)

    assert quoted_fee(again) == order(again)[1] == FEE


def test_what_a_merged_guest_has_used_up_the_account_has(db, runway, life, settings, new_guest):
    settings.CANCEL_FREE_COUNT = 1
    identity_tokens.keys.clear()
    person, account, guest = Person(runway), new_guest(), new_guest()
    for phone in (account, guest):
        grant(phone.user_id, 100)
    sign_in(person, account)
    burn(guest, life)
    sign_in(person, guest)

    assert order(account)[1] == FEE


def test_guests_that_bought_with_one_apple_account_share_the_free_ones(
    burner, runway, life, settings, new_guest
):
    settings.CANCEL_FREE_COUNT = 1
    other = new_guest()
    for phone in (burner, other):
        account_services.link_person(
            user_id=phone.user_id,
            of=account_services.PersonKeyKind.APP_TRANSACTION,
            value="704123",
            now=timezone.now(),
        )
    burn(burner, life)

    assert order(other)[1] == FEE


def sign_in(person, phone):
    """With Apple, by what tests.accounts knows of it."""
    installation = Installation(
        device_id=phone.device_id,
        device_token=phone.device_token,
        installation_secret=phone.installation_secret,
    )
    installation.session, installation.answer = phone.session, {"user_id": str(phone.user_id)}
    assert person.signs_in(installation).status_code == 200
    phone.session = installation.session


# --- What is not the user's to pay ------------------------------------------------------------


def test_what_the_provider_does_not_take_is_never_paid(phone, sandbox, life, settings):
    """fal says itself that it takes nothing."""
    settings.CANCEL_FREE_COUNT = 0
    sandbox.provider(queue_seconds=0, run_seconds=600, cancel_running=True, webhooks=False)
    answer = phone.generate()
    job = Job.objects.get(id=answer.json()["job_id"])
    run(job, life)

    assert answer.json()["cancel_fee_after_start"] == job.credits
    assert cancel(phone, job) == {"job_id": str(job.id), "status": "cancelled", "refunded": True}
    assert phone.balance() == 10
    assert job.loss_usd is None


@pytest.mark.parametrize("when", ["before it is sent", "in the provider's queue"])
def test_a_cancel_before_the_start_is_free(burner, runway, life, settings, when):
    settings.CANCEL_FREE_COUNT = 0
    runway.provider(provider="runway", queue_seconds=600)
    before = burner.balance()
    job, said = order(burner)
    if when != "before it is sent":
        life.run_until_done(job, until=lambda job: job.stage == Stage.QUEUED)
        life.advance(3).poll()

    answer = cancel(burner, job)

    assert said == FEE
    assert answer == {"job_id": str(job.id), "status": "cancelled", "refunded": True}
    assert burner.balance() == before


@pytest.mark.parametrize("outcome", ["error", "hang"])
def test_a_failure_of_the_providers_costs_its_user_nothing(burner, runway, life, settings, outcome):
    settings.CANCEL_FREE_COUNT = 0
    runway.provider(provider="runway", run_seconds=0, outcome=outcome)
    before = burner.balance()
    job, _ = order(burner)

    life.run_until_done(job)

    assert job.status == JobStatus.FAILED
    assert (job.fee_kept, job.loss_usd) == (0, None)
    assert burner.balance() == before


def test_a_fee_is_never_more_than_was_said_whatever_the_provider_took(
    burner, runway, life, settings
):
    settings.CANCEL_FREE_COUNT = 0
    job, said = order(burner)
    run(job, life)
    ProviderRequest.objects.filter(job=job).update(cost_usd="5.00")

    cancel(burner, job)

    assert job.fee_kept == said == FEE


def test_a_fee_is_never_more_than_the_provider_took(burner, runway, life, settings):
    settings.CANCEL_FREE_COUNT = 0
    job, _ = order(burner)
    run(job, life)
    ProviderRequest.objects.filter(job=job).update(cost_usd="0.11")

    cancel(burner, job)

    assert job.fee_kept == 2


# --- Where it is shown ------------------------------------------------------------------------


def test_a_fee_shows_wherever_the_refund_does(burner, life, settings):
    settings.CANCEL_FREE_COUNT = 0
    _, answer = burn(burner, life)
    job = Job.objects.get()
    back = job.credits - FEE

    status = burner.get("get-video-status", job_id=str(job.id)).json()
    entry = burner.get("get-credit-history").json()["entries"][0]
    [exported] = burner.get("export-user-data").json()["jobs"]

    assert answer["credits_refunded"] == status["credits_refunded"] == entry["change"] == back
    assert status["refunded"] is (back > 0)
    assert entry["reason"] == f"generation cancelled, less a fee of {FEE}"
    assert (exported["credits_refunded"], exported["cancel_fee_after_start"]) == (back, FEE)


# --- Races, and a crash ------------------------------------------------------------------------


@pytest.fixture
def committed_burner(committed, runway):
    phone = Phone().sign_in()
    grant(phone.user_id, 200)
    yield phone
    for job in Job.objects.filter(user_id=phone.user_id).exclude(stage=Stage.DONE):
        cancel(phone, job)


def test_orders_at_once_share_the_free_ones(committed_burner):
    said = at_once(*[lambda: order(committed_burner)[1]] * (FREE + 3))

    assert sorted(said) == [0] * FREE + [FEE] * 3


def test_two_cancels_at_once_keep_one_fee(committed_burner, settings):
    settings.CANCEL_FREE_COUNT = 0
    before = committed_burner.balance()
    job, _ = order(committed_burner)
    run(job, JobDriver())

    answers = at_once(*[lambda: cancel(committed_burner, Job.objects.get(id=job.id))] * 3)

    assert {answer["status"] for answer in answers} <= {"cancelled", "processing"}
    job.refresh_from_db()
    assert (job.status, job.fee_kept) == (JobStatus.CANCELLED, FEE)
    assert kinds_of(job.id) == ["charge", "refund"]
    assert committed_burner.balance() == before - FEE


def test_a_cancel_against_the_end_is_a_video_or_a_refund_less_the_fee(
    committed_burner, runway, settings
):
    settings.CANCEL_FREE_COUNT = 0
    runway.provider(provider="runway", run_seconds=0.3)
    for _ in range(4):
        job, _ = order(committed_burner)
        life = JobDriver()
        life.submit()
        before = committed_burner.balance()

        at_once(
            lambda life=life: (life.advance(3).poll(), life.store()),
            lambda job=job: cancel(committed_burner, Job.objects.get(id=job.id)),
        )

        life.run_until_done(job)
        back = committed_burner.balance() - before
        if job.status == JobStatus.COMPLETED:
            assert (back, job.fee_kept, kinds_of(job.id)) == (0, 0, ["charge"])
        else:
            assert job.status == JobStatus.CANCELLED
            assert back == job.credits - job.fee_kept
            assert kinds_of(job.id) == ["charge", "refund"]


def test_a_crash_between_the_providers_stop_and_our_refund_ends_in_the_same_fee(
    burner, life, settings
):
    settings.CANCEL_FREE_COUNT = 0
    before = burner.balance()
    job, _ = order(burner)
    run(job, life)
    Job.objects.filter(id=job.id).update(cancel_requested_at=life.now)
    provider, handle = open_submissions([job])[job.id]
    get_provider(provider).cancel(handle, timeout=cancelling.TIMEOUT_SECONDS)  # and then we died

    life.run_until_done(job)

    assert (job.status, job.fee_kept) == (JobStatus.CANCELLED, FEE)
    assert burner.balance() == before - FEE
    assert LedgerEntry.objects.filter(job_id=job.id, kind="refund").count() == 1
