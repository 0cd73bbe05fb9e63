"""Shutdown of a real worker during slow submissions."""

from __future__ import annotations

import pytest

from generation.models import Job, JobStatus, ProviderRequest, RequestState, Stage
from rendio.celery import app
from rendio.common.background.due_work import kinds
from tests.helpers.budget import large
from tests.helpers.job_driver import ended, submissions
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("committed")
BATCHES = 2


@large
def test_it_finishes_what_it_has_in_hand_and_takes_no_more(running, sandbox):
    sandbox.provider(outcome="submit_timeout")
    running.stack.stop("worker", "beat")
    phone = running.phone(credits=1000)
    job_ids = phone.order(BATCHES * 50 + 10)
    running.stack.start("worker", "beat")
    wait_for(lambda: submissions(sandbox))

    killed = running.stack.stop("beat", "worker")

    assert killed == []
    jobs = Job.objects.filter(id__in=job_ids)
    requests = ProviderRequest.objects.filter(job__in=jobs)
    # Each that left has its answer on record, which was none; and there are some that never left.
    assert set(requests.values_list("state", flat=True)) == {RequestState.UNKNOWN}
    assert requests.count() == len(submissions(sandbox)) < len(job_ids)
    assert not jobs.exclude(leased_until=None).exists()
    assert jobs.filter(stage=Stage.SUBMIT).exists()
    unanswered = [str(request.job_id) for request in requests]
    # Three show that they are sent later. The others would cost a film each.
    for job_id in list(jobs.filter(stage=Stage.SUBMIT).values_list("id", flat=True))[3:]:
        assert phone.post("cancel-video-job", {"job_id": str(job_id)}).json()["refunded"]

    sandbox.provider(outcome="ok", webhooks=False)
    running.stack.start("worker", "beat")
    found = ended(*job_ids, overdue=unanswered)
    asked = [asked["query"]["fal_webhook"] for asked in submissions(sandbox)]
    assert len(asked) == len(set(asked)) == len(unanswered) + 3
    completed = [job for job in found.values() if job.status == JobStatus.COMPLETED]
    assert len(completed) == 3


def test_messages_wait_for_their_work_and_are_no_memory():
    conf = app.conf
    app.loader.import_default_modules()

    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    hardest = max([conf.task_time_limit, *(task.time_limit or 0 for task in app.tasks.values())])
    assert hardest < conf.broker_transport_options["visibility_timeout"]


def test_what_users_wait_for_is_not_behind_videos():
    queues = {
        (kind.task, queue, kind.arguments(queue).get("queue"))
        for kind in kinds()
        for queue in kind.queues
    }

    for task, queue, jobs in queues:
        stages = {"submit", "poll", "store", "convert"}
        if task in {f"generation.{stage}_due" for stage in stages}:
            assert queue == jobs
            assert queue in {"medium", "low"}
        elif task == "accounts.send_pushes":
            # It asks Apple, and a cancellation does not wait for that.
            assert queue == "medium"
        else:
            # Nobody waits for the proof or the counts, and they read for long.
            reads_long = task in {"credits.prove_ledger", "adminops.count_days"}
            assert queue == ("low" if reads_long else "high"), task
