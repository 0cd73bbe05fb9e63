"""Real processes with real webhooks: web, worker, beat and the sandbox."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from io import BytesIO

import av
import pytest
import redis
import requests
from django.conf import settings as django_settings
from django.core.management import call_command
from django.utils import timezone
from PIL import Image

from adminops.models import Heartbeat
from adminops.monitoring.heartbeats import QUEUES
from generation.models import Job, JobStatus, ProviderRequest, RequestState
from tests.helpers import shared_stack
from tests.helpers.budget import large
from tests.helpers.job_driver import (
    assert_completed,
    assert_refunded,
    ended,
    submissions,
    token_of,
    wait_for_results,
)
from tests.helpers.model_ids import SORA, VEO
from tests.helpers.sandbox_control import Sandbox
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def provider(sandbox):
    sandbox.provider(queue_seconds=0.3, run_seconds=0.7)
    return sandbox


def watched(phone, job_id: str) -> list[dict]:
    """Responses of get-video-status until the job has ended."""
    seen: list[dict] = []

    def has_ended() -> bool:
        seen.append(phone.status(job_id))
        return seen[-1]["status"] not in {"pending", "processing"}

    wait_for(has_ended, describe=lambda: seen[-1])
    return seen


@pytest.mark.parametrize(
    ("model", "chosen", "shape"),
    [
        (SORA, {"duration": 4, "aspect_ratio": "9:16"}, (4, 9 / 16)),
        (VEO, {"duration": 6, "aspect_ratio": "16:9"}, (6, 16 / 9)),
    ],
)
def test_a_job_becomes_a_playable_video(running, provider, model, chosen, shape):
    phone = running.phone()
    token = phone.register_for_pushes()
    before = phone.balance()
    answer = phone.generate(model_id=str(model), settings=chosen)
    assert answer.status_code == 200, answer.text
    job_id, credits = answer.json()["job_id"], answer.json()["credits_used"]

    seen = watched(phone, job_id)

    last = seen[-1]
    assert (last["status"], last["progress"], last["error"]) == ("completed", 100, None)
    progress = [answer["progress"] for answer in seen]
    assert progress == sorted(progress)
    content = downloaded_by_range(last["video_url"])
    with av.open(BytesIO(content), format="mp4") as container:
        video = container.streams.video[0]
        assert video.codec_context.name == "h264"
        assert abs(float(video.duration * video.time_base) - shape[0]) < 0.3
        assert abs(video.width / video.height - shape[1]) < 0.05
        assert sum(1 for _ in container.decode(video)) > 10
    thumbnail = requests.get(last["thumbnail_url"], timeout=10)
    assert Image.open(BytesIO(thumbnail.content)).format == "JPEG"
    entries = phone.get("get-credit-history").json()["entries"]
    assert [entry["change"] for entry in entries if entry["job_id"] == job_id] == [-credits]
    assert phone.balance() == before - credits
    history = phone.get("get-video-jobs").json()["jobs"]
    assert [(job["job_id"], job["status"]) for job in history] == [(job_id, "completed")]
    assert len(submissions(provider)) == 1
    [told] = wait_for(lambda: provider.pushes(token))
    assert (told["payload"]["kind"], told["payload"]["job_id"]) == ("job_completed", job_id)


def end_leases(job_ids: list[str]) -> None:
    """Expire the leases of a dead worker."""
    jobs = Job.objects.filter(id__in=job_ids).exclude(leased_until=None)
    jobs.update(due_at=timezone.now())


def pass_deadlines_of_the_unsent(job_ids: list[str], provider: Sandbox) -> None:
    """Expire the deadlines of submissions that a dead worker never sent."""
    sent = [token_of(asked) for asked in submissions(provider)]
    leaving = ProviderRequest.objects.filter(job_id__in=job_ids, state=RequestState.SENDING)
    unsent = leaving.exclude(webhook_token__in=sent).values("job_id")
    Job.objects.filter(id__in=unsent).update(due_at=timezone.now(), deadline_at=timezone.now())


def downloaded_by_range(url: str) -> bytes:
    first = requests.get(url, headers={"Range": "bytes=0-99"}, timeout=10)
    assert (first.status_code, len(first.content)) == (206, 100)
    size = int(first.headers["Content-Range"].rpartition("/")[2])
    rest = requests.get(url, headers={"Range": "bytes=100-"}, timeout=10)
    assert rest.status_code == 206
    assert len(first.content) + len(rest.content) == size
    return first.content + rest.content


COMPLETES = [
    "ok", "submit_429", "submit_lost", "status_500", "status_unknown",
    "webhook_lost", "webhook_duplicate", "webhook_late", "webhook_bad_signature",
    "webhook_stale_timestamp",
]  # fmt: skip
FAILS = {
    "error": "ERR_5002",
    "content_policy": "ERR_5003",
    "hang": "ERR_5001",
    "submit_500": "ERR_5001",
    "submit_timeout": "ERR_5001",
    "media_not_video": "ERR_5002",
    "submit_403_balance": "ERR_5002",
}
LATE = ["hang", "submit_500", "submit_timeout", "submit_403_balance", "media_not_video"]
SENT_TWICE = "submit_429"
SENT_UNTIL_ITS_DEADLINE = "submit_403_balance"  # and therefore last


@large
def test_what_webhooks_can_change_ends_as_it_should_with_one_submission_each(running, provider):
    """All failures at the same time."""
    phone = running.phone(credits=200)
    before = phone.balance()
    jobs = {}
    for outcome in [*COMPLETES, *FAILS]:
        how_often = {} if outcome == SENT_UNTIL_ITS_DEADLINE else {"times": 1}
        provider.provider(outcome=outcome, **how_often)
        (jobs[outcome],) = phone.order(prompt=f"A balloon for {outcome}")
        # Taken by its own submissions, and not by the next one's.
        wait_for(
            lambda name=outcome: sent_to(provider).count(name) >= 1 + (name == SENT_TWICE),
            describe=lambda: sent_to(provider),
        )

    wait_for_results(jobs["media_not_video"])
    found = ended(*jobs.values(), overdue=[jobs[outcome] for outcome in LATE])

    for outcome in COMPLETES:
        assert_completed(found[jobs[outcome]])
    for outcome, code in FAILS.items():
        assert_refunded(found[jobs[outcome]], code=code)
    sent = Counter(sent_to(provider))
    assert sent.pop(SENT_UNTIL_ITS_DEADLINE) >= 1
    assert sent == Counter([*COMPLETES, *FAILS, SENT_TWICE]) - Counter([SENT_UNTIL_ITS_DEADLINE])
    made = [job["input"]["prompt"].rpartition(" ")[2] for job in provider.jobs()]
    assert len(made) == len(set(made))
    assert phone.balance() == before - 4 * len(COMPLETES)


def sent_to(provider) -> list[str]:
    """Requested outcomes of the submissions, in order."""
    return [asked["body"]["prompt"].rpartition(" ")[2] for asked in submissions(provider)]


def test_everything_in_redis_lost_while_eight_jobs_run(running, provider):
    provider.provider(queue_seconds=1, run_seconds=1.5)
    phone = running.phone(credits=200)
    before = phone.balance()
    jobs = phone.order(4)
    broker = redis.Redis.from_url(django_settings.REDIS_URL)

    broker.flushall()
    jobs += phone.order(4)
    wait_for(lambda: len(provider.jobs()) >= 4)
    broker.flushall()

    for job in ended(*jobs).values():
        assert_completed(job)
    assert len(submissions(provider)) == len(provider.jobs()) == 8
    assert phone.balance() == before - 8 * 4
    call_command("prove_ledger")


def test_the_worker_killed_while_jobs_run(running, provider):
    provider.provider(queue_seconds=0.5, run_seconds=1.5)
    phone = running.phone(credits=200)
    before = phone.balance()
    jobs = phone.order(8)
    wait_for(lambda: len(provider.jobs()) >= 4)

    running.stack.kill("worker")
    jobs += phone.order(2)
    end_leases(jobs)
    pass_deadlines_of_the_unsent(jobs, provider)
    running.stack.start("worker")

    found = ended(*jobs)
    asked = [asked["query"]["fal_webhook"] for asked in submissions(provider)]
    assert len(asked) == len(set(asked))
    assert ProviderRequest.objects.filter(job_id__in=jobs).count() >= len(asked)
    completed = [job for job in found.values() if job.status == JobStatus.COMPLETED]
    for job in found.values():
        if job in completed:
            assert_completed(job)
        else:
            # Killed before its submission left, or not taken before its deadline.
            assert_refunded(job, code=job.error_code)
            assert job.error_code in {"ERR_5001", "ERR_5002"}
    assert phone.balance() == before - 4 * len(completed)
    call_command("prove_ledger")


def test_the_worker_killed_while_the_provider_holds_the_submission(running, provider):
    """The worker dies between the request and its answer: the outcome is unknown, so the job is not
    submitted again."""
    provider.provider(outcome="submit_timeout", times=1)
    phone = running.phone()
    (job_id,) = phone.order()
    wait_for(lambda: len(submissions(provider)) == 1)

    running.stack.kill("worker")
    Job.objects.filter(id=job_id).update(due_at=timezone.now(), deadline_at=timezone.now())
    running.stack.start("worker")

    assert_refunded(ended(job_id)[job_id], code="ERR_5001")
    assert len(submissions(provider)) == 1


@large
def test_web_and_worker_tell_what_all_of_their_processes_counted(running, provider):
    worker = f"http://127.0.0.1:{shared_stack.STANDARD['WORKER_METRICS_PORT']}/metrics"
    task = 'rendio_task_seconds_count{state="SUCCESS",task="generation.submit_due"}'

    def counted(url: str, name: str) -> float:
        try:
            told = requests.get(url, timeout=30).text
        except requests.ConnectionError:
            return 0
        return sum(float(line.split()[-1]) for line in told.splitlines() if line.startswith(name))

    phone = running.phone()
    for _ in range(2):  # one after the other: each is a task
        ended(*phone.order())
    wait_for(lambda: counted(worker, task) >= 2)

    asked = "rendio_django_http_responses_total_by_status_view_method_total"
    for _ in range(10):  # of which each of the two web processes has its share
        requests.get(f"{running.url}/v1/get-models", timeout=30)
    told = asked + '{method="GET",status="200",view="generation.api.GetModels"'
    assert counted(f"{running.url}/metrics", told) >= 10


@large
def test_a_worker_that_ends_or_dies_is_missed(running):
    def status() -> tuple[int, list[str]]:
        answer = requests.get(f"{running.url}/statusz", timeout=30)
        return answer.status_code, answer.json()["problems"]

    wait_for(lambda: status() == (200, []), describe=status)

    # A web process keeps its last answer for a second.
    running.stack.stop("worker")
    nobody = [f"no worker of the queue {name} has started yet" for name in QUEUES]
    wait_for(lambda: status() == (503, nobody), describe=status)
    running.stack.start("worker")
    wait_for(lambda: status() == (200, []), describe=status)

    running.stack.kill("worker")
    # Instead of waiting until it has not been seen for so long.
    gone = timezone.now() - timedelta(seconds=django_settings.HEARTBEAT_LATE_SECONDS + 1)
    assert Heartbeat.objects.filter(role="low").update(beaten_at=gone) == 1
    [problem] = wait_for(lambda: [one for one in status()[1] if "the last heartbeat was" in one])
    assert problem.startswith("no worker of the queue low is running; the last heartbeat was")
    running.stack.start("worker")
    wait_for(lambda: status() == (200, []), describe=status)


def test_a_video_that_comes_after_the_refund_is_there_for_its_owner(running, provider):
    provider.provider(outcome="submit_lost", run_seconds=600)
    phone = running.phone()
    before = phone.balance()
    (job_id,) = phone.order()
    assert_refunded(ended(job_id, overdue=[job_id])[job_id], code="ERR_5001")

    provider.control("finish", provider="fal")
    wait_for(lambda: phone.status(job_id)["video_url"])

    seen = phone.status(job_id)
    assert (seen["status"], seen["refunded"]) == ("failed", True)
    assert requests.get(seen["video_url"], timeout=10).status_code == 200
    assert phone.balance() == before
    assert len(submissions(provider)) == 1
