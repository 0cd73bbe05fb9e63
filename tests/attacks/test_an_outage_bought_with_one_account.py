"""An attacker spends what we may spend at a provider in a day, and all other users are refused."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.utils import timezone

from accounts import services as account_services
from generation.catalogue import cache
from generation.models import Job, JobStatus
from generation.spend import Period
from rendio.common.ids import lowest_uuid7, uuid7
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import JobDriver, grant
from tests.helpers.phone import Phone, assert_refused
from tests.test_production import manage

LIMIT = Decimal("1.00")  # two orders at $0.40


@pytest.fixture(autouse=True)
def _limit(settings):
    settings.PERSON_DAILY_USD = LIMIT
    settings.PROVIDER_SPEND_CAPS = {"day": {"fal": Decimal("1.50")}, "month": {}}
    cache.invalidate()


@pytest.fixture
def instant_provider(sandbox):
    sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False)
    return sandbox


@pytest.fixture
def rich(phone, instant_provider):
    grant(phone.user_id, 1000)
    return phone


def assert_limited(answer):
    details = assert_refused(answer, 429, "ERR_4004")
    assert 0 < details["retry_after"] <= 24 * 3600
    assert answer["Retry-After"] == str(details["retry_after"])


def test_one_user_reaches_the_limit_and_all_others_go_on(rich):
    life = JobDriver()
    for _ in range(2):
        answer = rich.generate()
        assert answer.status_code == 200
        life.run_until_done(Job.objects.get(id=answer.json()["job_id"]))
    before = rich.balance()
    cache.invalidate()

    assert_limited(rich.generate())

    assert rich.balance() == before
    other = Phone().sign_in().generate()
    assert other.status_code == 200
    job = Job.objects.get(id=other.json()["job_id"])
    assert life.run_until_done(job).status == JobStatus.COMPLETED


def test_orders_that_wait_count_already(rich):
    assert [rich.generate().status_code for _ in range(4)] == [200, 200, 429, 429]


def test_the_users_of_one_person_share_the_limit(rich):
    other = Phone().sign_in()
    for phone in (rich, other):
        account_services.link_person(
            user_id=phone.user_id,
            of=account_services.PersonKeyKind.APP_TRANSACTION,
            value="704123",
            now=timezone.now(),
        )
    for _ in range(2):
        assert rich.generate().status_code == 200

    assert_limited(other.generate())


def test_a_retry_is_limited_too(rich, instant_provider):
    instant_provider.provider(outcome="error")
    failed = rich.generate().json()["job_id"]
    JobDriver().run_until_done(Job.objects.get(id=failed))
    for _ in range(2):
        assert rich.generate().status_code == 200

    key = {"Idempotency_Key": str(uuid7())}
    assert_limited(rich.post("retry-video-job", {"job_id": failed}, **key))


def test_deleting_jobs_makes_no_room(rich):
    life = JobDriver()
    for _ in range(2):
        job_id = rich.generate().json()["job_id"]
        life.run_until_done(Job.objects.get(id=job_id))
        assert rich.post("delete-video-job", {"job_id": job_id}).status_code == 200

    assert_limited(rich.generate())


def test_what_cost_nothing_in_the_end_leaves_room(rich, instant_provider):
    instant_provider.provider(outcome="error")
    life = JobDriver()
    for _ in range(4):
        answer = rich.generate()
        assert answer.status_code == 200
        life.run_until_done(Job.objects.get(id=answer.json()["job_id"]))


def test_yesterdays_orders_do_not_count(rich):
    # As late as can be: what is older than a day is not looked at in any case.
    midnight = Period.DAY.began_at(timezone.now())
    yesterday = lowest_uuid7(midnight - timedelta(seconds=1))
    for number in range(2):
        job_id = rich.generate().json()["job_id"]
        Job.objects.filter(id=job_id).update(id=UUID(int=yesterday.int + number))

    assert rich.generate().status_code == 200


def test_a_replay_is_answered_beyond_the_limit(rich):
    key = str(uuid7())
    first = rich.generate(key=key)
    assert rich.generate().status_code == 200

    again = rich.generate(key=key)

    assert (again.status_code, again.json()) == (200, first.json())


def test_orders_at_once_reach_the_limit_and_do_not_pass_it(committed, instant_provider, settings):
    # What other tests have committed may have reached the provider's cap.
    settings.PROVIDER_SPEND_CAPS = {"day": {}, "month": {}}
    cache.invalidate()
    phone = Phone().sign_in()
    grant(phone.user_id, 100)

    answers = at_once(*[lambda: phone.generate()] * 5)

    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429]
    for job in Job.objects.filter(user_id=phone.user_id):
        phone.post("cancel-video-job", {"job_id": str(job.id)})


def test_without_a_limit_any_amount_may_be_spent(rich, settings):
    settings.PERSON_DAILY_USD = Decimal(0)

    assert {rich.generate().status_code for _ in range(5)} == {200}


# --- Production's own caps --------------------------------------------------------------------

CAPS = "from django.conf import settings; print(settings.PROVIDER_SPEND_CAPS['day'])"
CAP = "Decimal('500')"
OTHERS = ", ".join(
    f"'{provider}': {CAP}" for provider in ("replicate", "runpod", "modal", "openrouter")
)


@pytest.mark.parametrize(
    ("said", "caps"),
    [
        (None, f"{{'fal': {CAP}, 'runway': {CAP}, {OTHERS}}}"),
        ("fal:2000", f"{{'fal': Decimal('2000'), 'runway': {CAP}, {OTHERS}}}"),
        ("fal:off,runway:20", f"{{'runway': Decimal('20'), {OTHERS}}}"),
        ("off", "{}"),
    ],
)
def test_each_provider_has_a_cap_in_production_unless_off_is_said(said, caps):
    started = manage("shell", "--no-imports", "-c", CAPS, PROVIDER_DAILY_USD=said)

    assert started.returncode == 0, started.stderr
    assert started.stdout.strip() == caps


@pytest.mark.parametrize("said", ["nobody:off", "fal:", "fal:off:1", "of"])
def test_an_unclear_word_about_caps_is_refused(said):
    started = manage("check", PROVIDER_DAILY_USD=said)

    assert started.returncode != 0
    assert "PROVIDER_DAILY_USD" in started.stderr
