"""Incidents: jobs are counted first, then settled in batches, each job once."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Push, PushKind
from accounts.push import sending
from adminops.actions import incidents
from adminops.actions.incidents import JobFilter
from adminops.models import AdminAction, AuditLogEntry, Incident, IncidentKind
from credits.ledger_check import find_discrepancies
from generation.lifecycle import manual, settle
from generation.models import Job, JobStatus, RequestState
from generation.providers.base import FailureReason
from rendio.common.errors import InvalidInput, InvalidState
from tests.adminops.conftest import WHY, Staff, staff_user, submitted
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import grant
from tests.helpers.model_ids import SORA, VEO
from tests.helpers.phone import Phone
from tests.helpers.staff import staff_action


def running(phone, **order):
    """A job in flight at a provider."""
    job = Job.objects.get(id=phone.generate(**order).json()["job_id"])
    submitted(job)
    return job


def delivered(phone):
    job = running(phone)
    assert settle.complete(job, settle.StoredMedia("a.mp4", "a.jpg"), now=timezone.now())
    return job


def chosen(**changes):
    """Values of the form; by default the stuck jobs of the last hour."""
    now = timezone.now()
    return {
        "kind": IncidentKind.STUCK,
        "from_at": f"{now - timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
        # The page has whole seconds; these jobs are of this very one.
        "until_at": f"{now:%Y-%m-%d %H:%M:%S.%f}",
    } | changes


def count(staff, **changes):
    return staff.see("adminops_incident_begin", **chosen(**changes)).context["preview"]


def begin(staff, **changes):
    """Preview, then start by the form of the page."""
    form = staff.see("adminops_incident_begin", **chosen(**changes)).context["reason_form"]
    shown = {field.name: field.value() for field in form if field.value() is not None}
    if changes.get("notify") == "":
        del shown["notify"]  # as a browser sends a box that is not ticked
    answer = staff.submit("adminops_incident_begin", **shown | {"reason": WHY})
    assert answer.status_code == 302, answer.context["form"].errors
    return Incident.objects.latest("started_at")


def work(times=1):
    for _ in range(times):
        incidents.work_due(now=timezone.now() + timedelta(seconds=5))


@pytest.fixture
def rich(phone):
    grant(phone.user_id, 90)
    return phone


def test_incident_fails_and_refunds_stuck_jobs(support, rich):
    stuck = [running(rich), running(rich)]
    done = delivered(rich)
    failed = running(rich)
    settle.fail(failed, FailureReason.PROVIDER_ERROR, now=timezone.now())
    assert rich.balance() == 88

    preview = count(support)
    assert (preview.to_settle, preview.refunded) == ((2, 8), (1, 4))
    assert rich.balance() == 88

    incident = begin(support)
    work()

    incident.refresh_from_db()
    assert (incident.expected_jobs, incident.expected_credits) == (2, 8)
    assert (incident.settled_jobs, incident.settled_credits, incident.broken_jobs) == (2, 8, 0)
    assert incident.ended_at
    assert rich.balance() == 96
    assert {Job.objects.get(id=job.id).status for job in stuck} == {JobStatus.FAILED}
    assert Job.objects.get(id=done.id).status == JobStatus.COMPLETED
    record = AuditLogEntry.objects.get(action=AdminAction.RUN_INCIDENT)
    assert (record.actor, record.reason, record.subject_id) == (support.user, WHY, incident.id)
    assert (record.after["jobs"], record.after["credits"]) == (2, 8)
    assert find_discrepancies() == []


def test_incident_refunds_delivered_jobs_which_keep_their_videos(support, rich):
    jobs = [delivered(rich), delivered(rich)]
    hand_refunded = delivered(rich)
    manual.refund_job(hand_refunded.id, acting_user_id=support.user.id, now=timezone.now())

    begin(support, kind=IncidentKind.DELIVERED)
    work()

    assert rich.balance() == 100
    for job in jobs:
        job.refresh_from_db()
        assert (job.status, job.media_name) == (JobStatus.COMPLETED, "a.mp4")
    assert Incident.objects.get().settled_jobs == 2
    assert find_discrepancies() == []


@pytest.mark.parametrize("changes", [
    {"provider": "runway"},
    {"model": str(VEO)},
    {"from_at": "2026-01-01 00:00", "until_at": "2026-01-02 00:00"},
])  # fmt: skip
def test_incident_leaves_other_jobs_alone(support, phone, changes):
    running(phone)

    assert count(support).to_settle == (1, 4)
    assert count(support, provider="fal", model=str(SORA)).to_settle == (1, 4)
    assert count(support, **changes).to_settle == (0, 0)


def test_route_of_an_earlier_failed_submission_does_not_match(support, phone):
    job = running(phone)
    route = str(job.requests.get().route_id)
    assert count(support, route=route).to_settle == (1, 4)
    job.requests.update(ended_at=timezone.now(), state=RequestState.REFUSED)

    assert count(support, route=route).to_settle == (0, 0)


def test_invalid_job_filter_shows_a_message(support, phone, subtests):
    running(phone)
    for changes in [
        {"from_at": ""},
        {"from_at": "yesterday"},
        {"until_at": "2999-01-01 00:00"},
        {"until_at": "2000-01-01 00:00"},
        {"kind": "all"},
        {"provider": "acme"},
        {"model": str(uuid4())},
        {"route": "\0"},
    ]:
        with subtests.test(changes=changes):
            page = support.see("adminops_incident_begin", **chosen(**changes))
            sent = support.submit(
                "adminops_incident_begin", **chosen(**changes), reason=WHY, form_id=str(uuid4())
            )

            assert page.context["form"].errors
            assert (page.context["preview"], sent.context["preview"]) == (None, None)
            assert not Incident.objects.exists()


def test_incident_needs_a_reason_and_starts_once(support, phone):
    running(phone)
    form = chosen()
    without = support.submit("adminops_incident_begin", **form, form_id=str(uuid4()))
    form_id = str(uuid4())
    for _ in range(2):
        support.submit("adminops_incident_begin", **form, form_id=form_id, reason=WHY)

    assert without.context["reason_form"].errors
    assert Incident.objects.count() == 1


def test_incidents_need_the_permission_of_a_lead(phone):
    running(phone)
    for role in ["viewer", "agent", "finance"]:
        staff = Staff(staff_user(role, role=role))
        sent = staff.submit("adminops_incident_begin", **chosen(), reason=WHY, form_id=str(uuid4()))

        assert sent.status_code == 403
        assert staff.see("adminops_incident_begin").status_code == 403
    assert not Incident.objects.exists()


def test_exception_in_one_job_does_not_stop_the_incident(support, rich, monkeypatch):
    monkeypatch.setattr(incidents, "BATCH", 2)
    jobs = [running(rich) for _ in range(5)]
    broken = sorted(job.id for job in jobs)[1]
    with connection.cursor() as cursor:  # its refund would need a charge
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "UPDATE credits_ledgerentry SET job_id = gen_random_uuid() WHERE job_id = %s", [broken]
        )
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
    incident = begin(support)

    work()
    incident.refresh_from_db()
    assert (incident.settled_jobs, incident.broken_jobs, incident.ended_at) == (1, 1, None)
    work(times=2)

    incident.refresh_from_db()
    assert (incident.settled_jobs, incident.settled_credits) == (4, 16)
    assert incident.broken_jobs == 1
    assert incident.ended_at
    work()
    incident.refresh_from_db()
    assert incident.settled_jobs == 4


def test_incident_of_a_dead_worker_is_continued(support, rich, monkeypatch):
    for _ in range(3):
        running(rich)
    incident = begin(support)
    end, calls = manual.fail_job, []

    def dying(job_id, **options):
        if calls:
            raise SystemExit("killed")
        calls.append(job_id)
        return end(job_id, **options)

    monkeypatch.setattr(manual, "fail_job", dying)
    with pytest.raises(SystemExit):
        work()
    monkeypatch.setattr(manual, "fail_job", end)
    incident.refresh_from_db()
    assert incident.settled_jobs == 1
    assert incident.due_at  # again, by itself
    Incident.objects.update(due_at=timezone.now())
    work()

    incident.refresh_from_db()
    assert (incident.settled_jobs, incident.settled_credits) == (3, 12)
    assert incident.ended_at
    assert rich.balance() == 100
    assert find_discrepancies() == []


# --- Telling the customers ------------------------------------------------------------------------


def told(user_id):
    return list(Push.objects.filter(user_id=user_id).values_list("kind", "subject_id"))


@pytest.mark.parametrize("kind", IncidentKind)
def test_each_customer_is_notified_once_in_their_language(
    support, rich, sandbox, kind, monkeypatch
):
    monkeypatch.setattr(incidents, "BATCH", 2)
    other, without_phone = Phone().sign_in(), Phone().sign_in()
    other.post("update-user-profile", {"language": "tr"})
    tokens = [rich.register_for_pushes(), rich.register_for_pushes(), other.register_for_pushes()]
    make = running if kind == IncidentKind.STUCK else delivered
    for phone in [rich, rich, rich, other, without_phone]:
        make(phone)
    Push.objects.all().delete()  # that they were ready

    incident = begin(support, kind=kind)
    work(times=3)

    incident.refresh_from_db()
    assert (incident.settled_jobs, incident.told_customers) == (5, 2)
    returned = (PushKind.CREDITS_RETURNED, incident.id)
    assert told(rich.user_id) == [returned] * 2  # two phones
    assert told(other.user_id) == [returned]
    sending.send_due(now=timezone.now() + timedelta(minutes=1))
    titles = {sent["token"]: sent["payload"]["aps"]["alert"]["title"] for sent in sandbox.pushes()}
    english, turkish = "Your credits are back", "Kredileriniz geri döndü"
    assert titles == dict(zip(tokens, [english, english, turkish], strict=True))
    assert AuditLogEntry.objects.get(action=AdminAction.RUN_INCIDENT).after["notify"] is True


@pytest.mark.parametrize("kind", IncidentKind)
def test_incident_without_notify_notifies_nobody(support, rich, kind):
    (running if kind == IncidentKind.STUCK else delivered)(rich)
    rich.register_for_pushes()

    incident = begin(support, kind=kind, notify="")
    work()

    incident.refresh_from_db()
    assert (incident.settled_jobs, incident.notify, incident.told_customers) == (1, False, 0)
    assert told(rich.user_id) == []


# --- Races ----------------------------------------------------------------------------------------


def test_concurrent_workers_and_staff_settle_each_job_once(committed, sandbox):
    phone = Phone().sign_in()
    grant(phone.user_id, 30)
    began = timezone.now() - timedelta(seconds=1)
    jobs = [running(phone) for _ in range(5)]
    incident = Incident.objects.create(
        kind=IncidentKind.STUCK, from_at=began, until_at=timezone.now() + timedelta(seconds=1),
        reason=WHY, started_by=staff_user(str(phone.user_id), is_superuser=True),
        started_at=began, expected_jobs=5, expected_credits=20, due_at=None,
    )  # fmt: skip

    def job_ends(job):
        job.refresh_from_db()
        return settle.fail(job, FailureReason.PROVIDER_ERROR, now=timezone.now())

    at_once(
        lambda: incidents._work(incident, now=timezone.now()),
        lambda: incidents._work(incident, now=timezone.now()),
        lambda: job_ends(jobs[4]),
    )

    incident.refresh_from_db()
    assert incident.settled_jobs in {4, 5}
    assert incident.settled_credits == 4 * incident.settled_jobs
    assert incident.broken_jobs == 0
    assert phone.balance() == 40


def test_incident_service_validates_its_job_filter(support):
    now = timezone.now()

    with pytest.raises(InvalidInput):
        incidents.start(
            staff_action(support.user, now=now),
            job_filter=JobFilter(IncidentKind.STUCK, now, now - timedelta(1)),
        )
    with pytest.raises(InvalidState):
        incidents.start(
            staff_action(support.user, now=now),
            job_filter=JobFilter(IncidentKind.STUCK, now - timedelta(1), now),
        )
