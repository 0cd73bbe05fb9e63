"""What is due goes to Apple, and what Apple says of it has its consequence. By HTTP/2: the sandbox
takes nothing else."""

from __future__ import annotations

import json
import os
import signal
from datetime import timedelta
from uuid import uuid4

import jwt
import pytest
from django.db import transaction
from django.utils import timezone

from accounts.apple import apns, apns_token
from accounts.models import Language, ProviderToken, Push, PushKind, PushOutcome, PushToken, User
from accounts.push import outbox, sending
from accounts.push.messages import message_for
from adminops.monitoring import alerts, backlog
from rendio.common.outbound import http2
from tests.helpers import fork_server
from tests.helpers.database import url_of_database
from tests.helpers.phone import Phone
from tests.helpers.wait import PATIENCE_SECONDS


def enqueue_push(phone, kind=PushKind.JOB_COMPLETED, **changes):
    about = {"job_id": uuid4(), "credits": 4, "is_image": False} | changes
    with transaction.atomic():
        return outbox.enqueue(user_id=phone.user_id, kind=kind, now=timezone.now(), **about)


def send(*, minutes=0):
    """All that is due then."""
    now = timezone.now() + timedelta(seconds=1, minutes=minutes)
    while sending.send_due(now=now):
        pass


def the_push(phone):
    return Push.objects.get(user_id=phone.user_id)


def answer(sandbox, status, reason, token=None, **more):
    sandbox.control(
        "apns", status=status, reason=reason, **({"token": token} if token else {}), **more
    )


@pytest.fixture
def token(phone):
    return phone.register_for_pushes()


def test_a_phone_is_told_as_apple_wants_it(phone, token, sandbox):
    job_id = uuid4()
    enqueue_push(phone, job_id=job_id)

    send()

    push = the_push(phone)
    [sent] = sandbox.pushes()
    assert sent["payload"] == {
        "aps": {
            "alert": {"title": "Your video is ready", "body": "Tap to watch it."},
            "sound": "default",
        },
        "kind": "job_completed",
        "job_id": str(job_id),
    }
    assert (sent["token"], sent["environment"], sent["status"]) == (token, "production", 200)
    assert (sent["topic"], sent["push_type"], sent["priority"]) == ("com.rendio.app", "alert", "10")
    assert (sent["id"], sent["collapse_id"]) == (str(push.id), str(job_id))
    assert int(sent["expiration"]) == int(push.expires_at.timestamp())
    assert (push.outcome, push.due_at) == (PushOutcome.SENT, None)
    send(minutes=120)
    assert len(sandbox.pushes()) == 1


@pytest.mark.parametrize("language", Language.values)
def test_every_text_is_the_profiles_and_fits(phone, token, sandbox, language):
    User.objects.filter(id=phone.user_id).update(language=language)
    for kind in PushKind:
        for is_image in (False, True):
            enqueue_push(phone, kind, is_image=is_image, credits=2**31 - 1)
    pushes = Push.objects.filter(user_id=phone.user_id)
    texts = {message_for(push, language=language) for push in pushes}

    send()

    told = {tuple(sent["payload"]["aps"]["alert"].values()) for sent in sandbox.pushes()}
    assert told == texts
    # Of videos and of images; of trained models and of credits alone, it is one for both.
    assert len(texts) == 2 * 3 + 3 + 1 == len(PushKind) + 3
    english = {message_for(push, language="en") for push in pushes}
    assert language == "en" or texts.isdisjoint(english)
    for push in pushes:
        body = apns.payload(push, message_for(push, language=language))
        assert len(body) <= apns.MAX_PAYLOAD_BYTES


@pytest.mark.parametrize(("credits", "body"), [
    (1, "Your 1 credit is back."), (4, "Your 4 credits are back."),
])  # fmt: skip
def test_credits_are_counted_in_words(phone, token, credits, body):
    enqueue_push(phone, PushKind.JOB_FAILED, credits=credits)

    assert message_for(the_push(phone), language="en").body == body


def test_each_iphone_is_told_once_and_no_android(phone, sandbox):
    tokens = {phone.register_for_pushes() for _ in range(3)}
    phone.register_for_pushes(token="android-token", platform="android")
    job_id = uuid4()

    assert enqueue_push(phone, job_id=job_id)
    assert not enqueue_push(phone, job_id=job_id)
    phone.register_for_pushes()
    assert not enqueue_push(phone, job_id=job_id)
    send()

    assert {sent["token"] for sent in sandbox.pushes()} == tokens
    assert len(sandbox.pushes()) == 3


def test_builds_from_xcode_are_told_by_apples_other_host(phone, sandbox):
    phone.register_for_pushes(environment="sandbox")
    enqueue_push(phone)

    send()

    assert [sent["environment"] for sent in sandbox.pushes()] == ["sandbox"]


def test_without_a_phone_or_a_key_nothing_is_kept_to_be_told(phone, settings):
    assert not enqueue_push(phone)
    phone.register_for_pushes()
    enqueue_push(phone)
    settings.APNS_PRIVATE_KEY = ""

    assert not enqueue_push(phone)
    send()

    assert the_push(phone).outcome == PushOutcome.OFF  # of the time when there was a key


def test_it_is_one_statement_whether_or_not_anybody_is_told(phone, django_assert_num_queries):
    for _ in range(2):
        with django_assert_num_queries(1):
            outbox.enqueue(
                user_id=phone.user_id, kind=PushKind.JOB_COMPLETED, job_id=uuid4(),
                credits=4, is_image=False, now=timezone.now(),
            )  # fmt: skip
        phone.register_for_pushes()


# --- What Apple says ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "BadDeviceToken"),
        (400, "DeviceTokenNotForTopic"),
        (410, "Unregistered"),
        (410, "ExpiredToken"),
    ],
)
def test_a_phone_that_takes_no_more_is_forgotten(phone, token, sandbox, status, reason):
    other = phone.register_for_pushes()
    answer(sandbox, status, reason, token)
    enqueue_push(phone)

    send()

    assert list(PushToken.objects.values_list("token", flat=True)) == [other]
    outcomes = Push.objects.values_list("outcome", "reason")
    assert set(outcomes) == {(PushOutcome.UNREGISTERED, reason), (PushOutcome.SENT, "")}


def test_a_phone_that_has_come_back_since_apple_missed_it_is_kept_and_told(phone, token, sandbox):
    before = (timezone.now() - timedelta(hours=1)).isoformat()
    answer(sandbox, 410, "Unregistered", token, timestamp=before, times=1)
    enqueue_push(phone)

    send()
    assert PushToken.objects.filter(token=token).exists()
    send(minutes=2)

    assert [sent["status"] for sent in sandbox.pushes()] == [410, 200]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "InvalidProviderToken"),
        (403, "BadEnvironmentKeyInToken"),
        (403, "SomethingNew"),
        (401, "Unauthorized"),
    ],
)
def test_what_apple_has_against_our_key_is_no_fault_of_the_phones(
    phone, token, sandbox, caplog, status, reason
):
    answer(sandbox, status, reason)
    enqueue_push(phone)
    enqueue_push(Phone().sign_in())
    for _ in range(3):
        enqueue_push(phone)

    send()

    assert len(sandbox.pushes()) == 1  # and not each of them in turn
    assert PushToken.objects.filter(token=token).exists()
    assert Push.objects.filter(due_at=None).count() == 0
    alerts.raise_alerts(now=timezone.now())
    [alert] = alerts.Alert.objects.all()
    assert reason in alert.text
    [line] = [record for record in caplog.records if "push_not_allowed" in str(record.msg)]
    assert line.levelname == "ERROR"
    sandbox.control("apns", status=200)
    send(minutes=2)
    assert set(Push.objects.values_list("outcome", flat=True)) == {PushOutcome.SENT}
    assert outbox.blocking_reason() == ""


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (429, "TooManyRequests"),
        (429, "TooManyProviderTokenUpdates"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
        (503, "Shutdown"),
        (400, "IdleTimeout"),
        (302, "elsewhere"),
    ],
)
def test_trouble_is_waited_for_longer_each_time(phone, token, sandbox, status, reason):
    answer(sandbox, status, reason, times=2)
    enqueue_push(phone)

    send()
    first = the_push(phone)
    assert (first.outcome, first.reason, first.tries) == ("", reason, 1)
    send(minutes=2)
    second = the_push(phone)
    assert second.tries == 2
    assert second.due_at - timezone.now() > timedelta(minutes=3)
    send(minutes=10)

    assert the_push(phone).outcome == PushOutcome.SENT
    assert len({sent["id"] for sent in sandbox.pushes()}) == 1


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "BadTopic"), (413, "PayloadTooLarge"), (404, "BadPath"), (405, "MethodNotAllowed")],
)
def test_a_fault_of_ours_is_logged_and_not_repeated(phone, token, sandbox, caplog, status, reason):
    answer(sandbox, status, reason)
    enqueue_push(phone)

    send()

    push = the_push(phone)
    assert (push.outcome, push.reason) == (PushOutcome.REFUSED, reason)
    assert PushToken.objects.filter(token=token).exists()
    assert any(record.levelname == "ERROR" for record in caplog.records)


def test_what_could_not_be_sent_in_time_is_not_sent_late(phone, token, sandbox):
    enqueue_push(phone)
    Push.objects.update(expires_at=timezone.now())

    send()

    assert the_push(phone).outcome == PushOutcome.EXPIRED
    assert sandbox.pushes() == []


def test_a_phone_that_is_anothers_by_now_is_told_nothing_of_the_first(phone, token, sandbox):
    enqueue_push(phone)
    Phone().sign_in().register_for_pushes(token=token)

    send()

    assert the_push(phone).outcome == PushOutcome.GONE
    assert sandbox.pushes() == []


def test_what_waits_for_a_guest_is_told_to_the_account_that_it_becomes_part_of(
    guest, person, new_signed_in, sandbox
):
    person.signs_in(new_signed_in())
    token = uuid4().hex * 2
    guest.post("register-push-token", {"token": token, "platform": "ios"})
    enqueue_push(guest)

    assert person.signs_in(guest).json()["merged"]
    send()

    assert the_push(guest).outcome == PushOutcome.SENT
    assert [sent["token"] for sent in sandbox.pushes()] == [token]


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://no.such.host.invalid"])
def test_apple_out_of_reach_is_waited_for(phone, token, settings, closed_port, url):
    there, settings.APNS_URL = settings.APNS_URL, url.format(port=closed_port)
    enqueue_push(phone)

    send()
    assert the_push(phone).due_at > timezone.now()
    settings.APNS_URL = there
    send(minutes=2)

    assert the_push(phone).outcome == PushOutcome.SENT


# --- Who we are -----------------------------------------------------------------------------------


def test_our_token_is_apples_form_and_one_for_all_processes(db):
    token = apns_token.current()

    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims.keys(), claims["iss"]) == ({"iss", "iat"}, "SANDBOXTEAM")
    assert jwt.get_unverified_header(token)["kid"] == "SANDBOXKEY"
    assert apns_token.current() == token
    assert token not in ProviderToken.objects.get().token_encrypted
    ProviderToken.objects.update(minted_at=timezone.now() - timedelta(minutes=46))
    assert apns_token.current() != token


def test_made_once_by_many_at_once(committed, at_once):
    ProviderToken.objects.all().delete()

    assert len(set(at_once(*[apns_token.current] * 6))) == 1


def test_one_that_apple_finds_expired_is_replaced_once(phone, token, sandbox):
    first = apns_token.current()
    answer(sandbox, 403, "ExpiredProviderToken", times=1)
    enqueue_push(phone)

    send()

    assert the_push(phone).outcome == PushOutcome.SENT
    assert apns_token.replace(first) == apns_token.current() != first


def test_one_that_is_expired_again_and_again_is_held_and_not_replaced_each_time(
    phone, token, sandbox
):
    answer(sandbox, 403, "ExpiredProviderToken")
    enqueue_push(phone)

    send()
    made = apns_token.current()
    send(minutes=2)

    assert outbox.blocking_reason() == "ExpiredProviderToken"
    assert apns_token.current() == made


# --- Workers --------------------------------------------------------------------------------------


@pytest.fixture
def others_rest(committed):
    """What other tests have left to be told is not due here."""
    Push.objects.filter(due_at__isnull=False).delete()


def test_two_workers_and_each_push_goes_out_once(others_rest, sandbox, at_once):
    phone = Phone().sign_in()
    phone.register_for_pushes()
    for _ in range(sending.BATCH * 2):
        enqueue_push(phone)
    now = timezone.now() + timedelta(seconds=1)

    at_once(*[lambda: [sending.send_due(now=now) for _ in range(3)]] * 3)

    sent = [push["id"] for push in sandbox.pushes()]
    assert len(sent) == len(set(sent)) == sending.BATCH * 2
    assert set(phone_outcomes(phone)) == {PushOutcome.SENT}


def phone_outcomes(phone):
    return Push.objects.filter(user_id=phone.user_id).values_list("outcome", flat=True)


DIES = """
import os, signal
import django
django.setup()
from django.utils import timezone
from accounts.push import sending
from rendio.common.outbound import http2
post = http2.post
def deadly(*args, **kwargs):
    answer = post(*args, **kwargs)
    assert answer.status == 200
    os.kill(os.getpid(), signal.SIGKILL)
http2.post = deadly
sending.send_due(now=timezone.now())
"""


def test_a_worker_killed_after_apples_yes_is_followed_by_the_same_push(others_rest, sandbox):
    """At least once; the phone replaces what has the same collapse id."""
    phone = Phone().sign_in()
    phone.register_for_pushes()
    enqueue_push(phone)

    server = fork_server.application({**os.environ, "DATABASE_URL": url_of_database()})
    died = server.run(DIES, timeout=PATIENCE_SECONDS)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert the_push(phone).outcome == ""
    send(minutes=2)

    first, second = sandbox.pushes()
    assert (first["id"], first["collapse_id"]) == (second["id"], second["collapse_id"])
    assert the_push(phone).outcome == PushOutcome.SENT


def test_what_waits_is_told_by_age_and_what_is_over_is_swept(phone, token):
    enqueue_push(phone)
    later = timezone.now() + timedelta(minutes=10)
    assert "pushes" in [one.what for one in backlog.oldest_due(now=later)]
    outbox.purge_pushes(now=later + outbox.RETENTION)
    assert Push.objects.exists()
    send()

    outbox.purge_pushes(now=later)
    assert Push.objects.exists()
    outbox.purge_pushes(now=later + outbox.RETENTION)
    assert not Push.objects.exists()


def test_apple_is_spoken_to_by_http2_and_nobody_is_waited_for_in_vain():
    answered = http2.post(
        f"{os.environ['SANDBOX_URL']}/apns/3/device/{'ab' * 32}",
        headers={}, body=b"", timeout=(5, PATIENCE_SECONDS),
    )  # fmt: skip
    assert (answered.status, json.loads(answered.body)) == (403, {"reason": "MissingProviderToken"})
