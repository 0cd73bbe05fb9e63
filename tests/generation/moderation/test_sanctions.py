"""Who goes on is warned, held, banned; and support can undo it (tests/adminops)."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.models import User
from generation import cleanup
from generation.models import Job, Sanction, Violation
from tests.helpers.concurrency import at_once
from tests.helpers.phone import Phone, assert_refused
from tests.helpers.pictures import upload

BAD = "A bomb over the sea"


@pytest.fixture(autouse=True)
def _steep(settings):
    settings.MODERATION_WARN_AFTER = 2
    settings.MODERATION_HOLD_AFTER = 3
    settings.MODERATION_BAN_AFTER = 5


def offend(phone):
    return assert_refused(phone.generate(prompt=BAD), 422, "ERR_4016")


def violations(phone):
    return Violation.objects.filter(user_id=phone.user_id)


def wait_out_the_hold(phone):
    violations(phone).filter(step=Sanction.HOLD).update(held_until=timezone.now())


def test_the_second_is_warned_the_third_held_and_the_fifth_banned(phone, blocked):
    blocked("bomb")

    assert offend(phone)["step"] == "none"
    assert offend(phone)["step"] == "warning"
    assert offend(phone)["step"] == "hold"
    wait_out_the_hold(phone)
    assert offend(phone)["step"] == "hold"
    wait_out_the_hold(phone)
    assert offend(phone)["step"] == "ban"

    user = User.objects.get(id=phone.user_id)
    assert user.suspended_at
    assert "refused inputs in 30 days" in user.suspended_reason
    assert_refused(phone.post("device-check", phone.check_body), 403, "ERR_4018")


def test_each_step_is_told_in_the_callers_language(phone, blocked):
    blocked("bomb")
    phone.language = "es"

    said = [phone.generate(prompt=BAD).json()["error"]["message"] for _ in range(3)]

    assert len(set(said)) == 3
    assert all(text.startswith("Este contenido no está permitido.") for text in said)


def test_who_is_held_starts_nothing_and_is_told_until_when(phone, blocked, settings):
    blocked("bomb")
    key = str(uuid4())
    paid = phone.generate(key=key)
    for _ in range(3):
        details = offend(phone)

    refused = phone.generate(prompt="A red balloon")
    assert assert_refused(refused, 403, "ERR_4018") == {"until": details["until"]}
    assert 0 < int(refused.headers["Retry-After"]) <= settings.MODERATION_HOLD_HOURS * 3600
    assert_refused(upload(phone), 403, "ERR_4018")
    assert violations(phone).count() == 3  # being held is no violation

    # What was paid goes on, and is answered again.
    assert phone.generate(key=key).content == paid.content
    assert phone.balance() == 6
    assert Phone().sign_in().generate().status_code == 200
    wait_out_the_hold(phone)
    assert phone.generate(prompt="A red balloon").status_code == 200


def test_what_is_older_than_the_window_counts_no_more(phone, blocked, settings):
    blocked("bomb")
    offend(phone)
    window = timedelta(days=settings.MODERATION_WINDOW_DAYS)
    violations(phone).update(at=timezone.now() - window)

    assert offend(phone)["step"] == "none"
    assert offend(phone)["step"] == "warning"


def test_a_step_that_is_off_is_passed_over(phone, blocked, settings):
    settings.MODERATION_HOLD_AFTER = settings.MODERATION_BAN_AFTER = 0
    blocked("bomb")

    assert [offend(phone)["step"] for _ in range(6)] == ["none", *["warning"] * 5]


def test_one_users_violations_are_not_anothers(phone, blocked):
    blocked("bomb")
    offend(phone)

    assert offend(Phone().sign_in())["step"] == "none"


def test_refusals_at_once_each_find_those_before_them(committed, sandbox, openai, settings):
    settings.MODERATION_BAN_AFTER = 0
    settings.MODERATION_HOLD_AFTER = 4
    openai(flag=["bomb"])
    phone = Phone().sign_in()
    phone.get("get-models")

    said = at_once(*[lambda: Phone.generate(another(phone), prompt=BAD)] * 4)

    steps = [answer.json()["error"]["details"]["step"] for answer in said]
    assert sorted(steps) == ["hold", "none", "warning", "warning"]
    assert sorted(violations(phone).values_list("step", flat=True)) == sorted(steps)
    assert not Job.objects.filter(user_id=phone.user_id).exists()


def another(phone):
    """The same guest, over a client of this thread's own."""
    same = Phone()
    same.session = phone.session
    return same


def test_one_request_twice_at_once_is_one_violation(committed, sandbox, openai):
    openai(flag=["bomb"])
    phone, key = Phone().sign_in(), str(uuid4())
    phone.get("get-models")

    said = at_once(*[lambda: another(phone).generate(key=key, prompt=BAD)] * 3)

    assert [answer.json()["error"]["details"]["step"] for answer in said] == ["none"] * 3
    assert violations(phone).count() == 1


def test_they_are_in_an_export_and_go_with_the_account(phone, blocked):
    blocked("bomb", category="weapons")
    offend(phone)

    [shown] = phone.get("export-user-data").json()["refused_content"]
    assert (shown["input"], shown["categories"], shown["step"]) == ("prompt", ["weapons"], "none")

    assert phone.post("delete-account").status_code == 200
    assert not violations(phone).exists()


def test_a_year_later_they_are_swept(phone, blocked):
    blocked("bomb")
    offend(phone)

    cleanup.purge_expired(now=timezone.now() + timedelta(days=364))
    assert violations(phone).exists()
    cleanup.purge_expired(now=timezone.now() + timedelta(days=366))
    assert not violations(phone).exists()
