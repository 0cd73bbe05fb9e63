"""Deletion against what happens at the same moment, with real commits."""

from accounts.models import User
from credits import queries as credit_queries
from generation.models import Erasure, Job, JobStatus
from tests.conftest import Phone
from tests.generation.lives import Life, at_once, kinds_of


def test_a_job_ordered_while_the_account_goes_is_refused_or_taken_back(committed, sandbox):
    for _ in range(5):
        phone, life = Phone().sign_in(), Life()

        ordered, deleted = at_once(
            lambda phone=phone: phone.generate(settings={"duration": 4}),
            lambda phone=phone: phone.post("delete-account", {}),
        )

        assert deleted.status_code == 200
        assert ordered.status_code in {200, 401}
        for job in Job.objects.filter(user_id=phone.user_id):
            life.goes_on(job)
            assert job.status == JobStatus.CANCELLED
            assert kinds_of(job.id) == ["charge", "refund"]
            assert Erasure.objects.filter(job=job).exists()
    assert credit_queries.differences() == []


def test_of_two_deletions_at_once_one_does_it(committed, sandbox):
    phone = Phone().sign_in()

    answers = at_once(*[lambda: phone.post("delete-account", {})] * 2)

    assert sorted(answer.status_code for answer in answers) == [200, 401]
    assert User.objects.get(id=phone.user_id).closed_at is not None
