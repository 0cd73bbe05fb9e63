"""An attacker calls what adds rows or files, as often as the limits let them: each table has a
bound, and a sweep that is faster than the callers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from axes.models import AccessAttempt
from django.contrib.sessions.models import Session as StaffSession
from django.db.models import Model
from django.utils import timezone

from accounts import due_work as account_work
from accounts import export
from accounts.apple import identity_tokens
from accounts.models import Consent, ConsentKind, Device, Push, PushKind, Session, UsedToken
from accounts.services.apple_sign_in import MAX_DEVICES
from accounts.services.consents import MAX_PROVIDERS, MAX_RECORDS
from accounts.services.sessions import MAX_SESSIONS
from adminops import due_work as adminops_work
from adminops.models import Alert, ErrorLog
from billing import due_work as billing_work
from billing.models import Environment, Notification, UnconfirmedPurchase
from billing.services.confirmation import MAX_UNCONFIRMED
from credits import due_work as credit_work
from credits.models import IdempotencyRecord
from generation import due_work as generation_work
from generation.lifecycle.webhooks import MAX_BODY_CHARS
from generation.models import (
    DeadLetter,
    DeadState,
    FileDeletion,
    Quote,
    Upload,
    Violation,
    WebhookDelivery,
)
from rendio.common.background.due_work import DueWork
from rendio.common.background.purge import BATCH
from rendio.common.ids import lowest_uuid7
from tests.accounts.conftest import Installation, Person
from tests.generation.conftest import signer, stub_server  # noqa: F401 - fixtures
from tests.generation.uploads.conftest import storage  # noqa: F401 - a fixture
from tests.helpers.concurrency import at_once
from tests.helpers.model_ids import SORA
from tests.helpers.phone import Phone, assert_refused
from tests.helpers.pictures import upload, uploaded


@pytest.fixture
def limited(settings):
    """Sets a limit whose window does not end while a test runs."""

    def limit(**limits: int) -> None:
        settings.RATE_LIMITS = settings.RATE_LIMITS | {
            name: (most, 3600) for name, most in limits.items()
        }

    return limit


# --- Consents ---------------------------------------------------------------------------------


def consents(phone: Phone, *, granted: bool = True, version: str = "1", **body: Any) -> Any:
    said = {"kind": "ai_providers", "version": version, "granted": granted} | body
    return phone.post("record-consent", said)


def test_consents_of_a_user_have_a_limit_of_their_own(phone, limited):
    limited(consents_per_user=2)
    statuses = [
        consents(phone, providers=["fal"], version=version).status_code for version in "123"
    ]

    assert statuses == [200, 200, 429]
    assert Phone().sign_in().post(
        "record-consent", {"kind": "terms", "version": "1"}
    ).status_code == 200  # fmt: skip


def test_consents_beyond_the_most_are_forgotten_unless_they_decide(phone):
    """As a user left them who could record as many as they liked."""
    assert consents(phone, providers=["runway"]).status_code == 200
    Consent.objects.bulk_create(
        Consent(
            user_id=phone.user_id,
            kind=ConsentKind.AI_PROVIDERS,
            version=str(number),
            granted=True,
            providers=["fal"],
            recorded_at=timezone.now(),
        )
        for number in range(MAX_RECORDS + 20)
    )

    answer = consents(phone, granted=False, providers=["fal"])

    assert answer.status_code == 200
    kept = Consent.objects.filter(user_id=phone.user_id)
    assert kept.count() == MAX_RECORDS + 1
    [shown] = answer.json()["consents"]
    assert shown["providers"] == ["runway"], "the oldest record still decides"
    assert kept.order_by("-id")[0].granted is False


def test_a_user_names_no_more_providers_than_the_most(phone):
    def name(numbers: range) -> Any:
        return consents(phone, providers=[f"provider-{number}" for number in numbers])

    for first in range(0, MAX_PROVIDERS - 10, 20):
        assert name(range(first, first + 20)).status_code == 200

    details = assert_refused(name(range(100, 120)), 400, "ERR_4008")

    assert list(details["fields"]) == ["providers"]
    assert name(range(MAX_PROVIDERS - 10)[:20]).status_code == 200


# --- Quotes and orders ------------------------------------------------------------------------


def test_quotes_of_a_user_have_a_limit_of_their_own(phone, limited):
    limited(quotes_per_user=2)
    order = {"model_id": str(SORA), "prompt": "A red balloon"}

    statuses = [phone.post("quote-video", order).status_code for _ in range(3)]

    assert statuses == [200, 200, 429]
    assert Quote.objects.filter(user_id=phone.user_id).count() == 2
    assert phone.get("get-user-credits").status_code == 200


def test_orders_of_a_user_are_limited_by_the_day(phone, limited):
    limited(generation_day_per_user=1)

    assert [phone.generate().status_code for _ in range(2)] == [200, 429]
    assert phone.balance() == 6


# --- Pictures ---------------------------------------------------------------------------------


def test_a_user_stores_no_more_pictures_than_allowed(phone, storage, settings):  # noqa: F811
    settings.UPLOADS_PER_USER = 2
    for _ in range(2):
        uploaded(phone)

    refused = upload(phone)

    details = assert_refused(refused, 429, "ERR_4004")
    assert 0 < details["retry_after"] <= settings.UPLOAD_HOURS * 3600 + 60
    assert Upload.objects.filter(user_id=phone.user_id).count() == len(storage.names()) == 2
    assert upload(Phone().sign_in()).status_code == 201


def test_a_user_stores_no_more_bytes_than_allowed(phone, storage, settings):  # noqa: F811
    uploaded(phone)
    [stored] = Upload.objects.filter(user_id=phone.user_id)
    assert stored.size_bytes == len(storage.read(stored.name)) > 0
    settings.UPLOAD_BYTES_PER_USER = 2 * stored.size_bytes

    assert [upload(phone).status_code for _ in range(2)] == [201, 429]
    assert upload(Phone().sign_in()).status_code == 201


def test_all_users_together_store_no_more_than_allowed(phone, storage, settings):  # noqa: F811
    uploaded(phone)
    settings.UPLOAD_BYTES_IN_ALL = 2 * Upload.objects.get(user_id=phone.user_id).size_bytes
    assert upload(Phone().sign_in()).status_code == 201

    refused = upload(Phone().sign_in())

    assert_refused(refused, 503, "ERR_6003")
    assert int(refused["Retry-After"]) > 0


def test_forms_of_direct_uploads_count_as_full_pictures(phone, storage, settings):  # noqa: F811
    settings.UPLOAD_BYTES_IN_ALL = 2 * settings.MAX_UPLOAD_BYTES
    FileDeletion.objects.bulk_create(
        FileDeletion(
            name=f"incoming/{uuid4()}/{uuid4()}", due_at=timezone.now() + timedelta(hours=1)
        )
        for _ in range(2)
    )

    assert_refused(upload(phone), 503, "ERR_6003")


def test_a_picture_that_a_job_keeps_takes_no_room(phone, storage, settings):  # noqa: F811
    settings.UPLOADS_PER_USER = 1
    uploaded(phone)
    Upload.objects.filter(user_id=phone.user_id).update(remove_at=None)

    assert upload(phone).status_code == 201


def test_pictures_sent_at_once_do_not_go_beyond(committed, sandbox, storage, settings):  # noqa: F811
    settings.UPLOADS_PER_USER = 1
    phone = Phone().sign_in()

    answers = at_once(*[lambda: upload(phone)] * 3)

    assert sorted(answer.status_code for answer in answers) == [201, 429, 429]
    assert Upload.objects.filter(user_id=phone.user_id).count() == 1


# --- Sessions and devices ---------------------------------------------------------------------


def test_a_user_has_no_more_live_sessions_than_the_most(db, sandbox):
    phone = Installation().signed_in()
    now = timezone.now()
    old = now - timedelta(days=1)
    Session.objects.bulk_create(
        Session(
            user_id=phone.user_id,
            refresh_hash=uuid4().hex,
            created_at=old,
            last_used_at=old,
            expires_at=now + timedelta(days=1),
        )
        for _ in range(MAX_SESSIONS + 5)
    )
    before = phone.refresh_token

    assert phone.check().status_code == 200

    shown = phone.get("sessions").json()["sessions"]
    assert len(shown) == MAX_SESSIONS
    assert phone.refresh().status_code == phone.refresh(before).status_code == 200


def test_an_account_has_no_more_devices_than_the_most(db, sandbox):
    identity_tokens.keys.clear()
    person, account, guest = Person(sandbox), Installation().signed_in(), Installation()
    assert person.signs_in(account).status_code == 200
    old = timezone.now() - timedelta(days=1)
    Device.objects.bulk_create(
        Device(device_id=uuid4(), user_id=account.user_id, created_at=old, last_seen_at=old)
        for _ in range(MAX_DEVICES + 5)
    )

    assert person.signs_in(guest.signed_in()).json()["merged"] is True

    shown = guest.get("devices").json()["devices"]
    assert len(shown) == MAX_DEVICES
    used = Device.objects.filter(device_id__in=[account.device_id, guest.device_id])
    assert {str(device.user_id) for device in used} == {account.user_id}


# --- Purchases and webhooks -------------------------------------------------------------------


def test_a_user_has_no_more_unconfirmed_purchases_than_the_most(phone, sandbox):
    now = timezone.now()
    UnconfirmedPurchase.objects.bulk_create(
        UnconfirmedPurchase(
            user_id=phone.user_id, transaction_id=f"9{number}", created_at=now, due_at=now
        )
        for number in range(MAX_UNCONFIRMED)
    )
    sandbox.control("apple/outage", service="storekit", status=503)
    other = Phone().sign_in()

    for asked in (phone, other):
        refused = asked.post("update-credits", {"transaction_id": "2000000000000001"})
        assert refused.status_code == 503

    waiting = UnconfirmedPurchase.objects
    assert waiting.filter(user_id=phone.user_id).count() == MAX_UNCONFIRMED
    assert waiting.filter(user_id=other.user_id).count() == 1


def test_of_a_webhooks_body_no_more_than_the_most_is_kept(db, signer):  # noqa: F811
    body = b'{"request_id": "id", "padding": "' + b"x" * 500_000 + b'"}'

    assert signer.deliver("id", body=body) == 200

    assert len(WebhookDelivery.objects.get().body) == MAX_BODY_CHARS


# --- An export --------------------------------------------------------------------------------


def test_a_long_export_is_not_kept_in_memory(phone):
    now = timezone.now()
    ErrorLog.objects.bulk_create(
        ErrorLog(at=now, code="ERR_4001", status=400, endpoint="GET x" * 20, user_id=phone.user_id)
        for _ in range(8000)
    )

    with export.export_user(UUID(str(phone.user_id)), now=now) as file:
        # The number of an open file; in memory it has no name.
        assert isinstance(file.name, int)
        assert file.seek(0, 2) > export.IN_MEMORY_BYTES


# --- Sweeps -----------------------------------------------------------------------------------

LONG_AGO = timezone.now() - timedelta(days=500)


def quote(user: UUID, number: int) -> Model:
    return Quote(
        user_id=user, model_id=SORA, settings={}, credits=4, price_usd=1, expires_at=LONG_AGO
    )


def delivery(user: UUID, number: int) -> Model:
    return WebhookDelivery(
        provider="fal", body="{}", received_at=LONG_AGO, processed_at=LONG_AGO, outcome="unknown"
    )


def violation(user: UUID, number: int) -> Model:
    return Violation(
        user_id=user,
        at=LONG_AGO,
        input="prompt",
        moderator="blocklist",
        categories=[],
        attempt=str(number),
    )


def letter(user: UUID, number: int) -> Model:
    return DeadLetter(
        kind="task", subject=str(number), why="x", first_at=LONG_AGO, last_at=LONG_AGO,
        state=DeadState.DISMISSED, closed_at=LONG_AGO,
    )  # fmt: skip


def notification(user: UUID, number: int) -> Model:
    return Notification(
        notification_uuid=uuid4(), environment=Environment.PRODUCTION, type="TEST",
        signed_payload="x", signed_at=LONG_AGO, received_at=LONG_AGO, processed_at=LONG_AGO,
    )  # fmt: skip


def record(user: UUID, number: int) -> Model:
    return IdempotencyRecord(
        user_id=user, operation="x", key=uuid4(), fingerprint="f" * 64, status=200, response={},
        expires_at=LONG_AGO,
    )  # fmt: skip


def session(user: UUID, number: int) -> Model:
    return Session(
        user_id=user, refresh_hash=uuid4().hex, created_at=LONG_AGO, last_used_at=LONG_AGO,
        expires_at=LONG_AGO,
    )  # fmt: skip


def spent(user: UUID, number: int) -> Model:
    return UsedToken(name=f"{number:064}", expires_at=LONG_AGO)


def push(user: UUID, number: int) -> Model:
    return Push(
        id=UUID(int=lowest_uuid7(LONG_AGO).int + number), user_id=user, token_id=uuid4(),
        kind=PushKind.JOB_COMPLETED, subject_id=uuid4(), job_id=uuid4(), credits=4, is_image=False,
        created_at=LONG_AGO, expires_at=LONG_AGO, outcome="sent", ended_at=LONG_AGO,
    )  # fmt: skip


def refusal(user: UUID, number: int) -> Model:
    return ErrorLog(at=LONG_AGO, code="ERR_4001", status=400, endpoint="GET x")


def staff_session(user: UUID, number: int) -> Model:
    return StaffSession(session_key=f"{number:032}", session_data="x", expire_date=LONG_AGO)


def attempt(user: UUID, number: int) -> Model:
    return AccessAttempt(username=str(number), ip_address="192.0.2.1", failures_since_start=1)


def alert(user: UUID, number: int) -> Model:
    return Alert(key=str(number), text="x", raised_at=LONG_AGO, due_at=None)


def purge(kind: DueWork) -> Callable[[], int]:
    return lambda: kind.run_batch(now=timezone.now())


@pytest.mark.parametrize(
    ("sweep", "old"),
    [
        (purge(generation_work.PURGE), quote),
        (purge(generation_work.PURGE), delivery),
        (purge(generation_work.PURGE), violation),
        (purge(generation_work.PURGE), letter),
        (purge(billing_work.PURGE), notification),
        (purge(credit_work.EXPIRE_AND_PURGE), record),
        (purge(account_work.PURGE), session),
        (purge(account_work.PURGE), spent),
        (purge(account_work.PURGE), push),
        (purge(adminops_work.PURGE), refusal),
        (purge(adminops_work.PURGE), staff_session),
        (purge(adminops_work.PURGE), attempt),
        (purge(adminops_work.PURGE), alert),
    ],
)
def test_a_sweep_deletes_all_that_has_served_its_time(
    phone, sweep: Callable[[], None], old: Callable[[UUID, int], Model]
):
    """And not a batch of it a minute, which callers can outrun."""
    rows = [old(UUID(str(phone.user_id)), number) for number in range(BATCH * 2 + 5)]
    table = type(rows[0])._default_manager
    before = table.count()
    table.bulk_create(rows)
    # Its time is always that of its making.
    AccessAttempt.objects.update(attempt_time=LONG_AGO)

    sweep()

    assert table.count() == before
