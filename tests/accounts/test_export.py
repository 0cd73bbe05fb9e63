"""Export: everything held about the caller, nothing of others, and nothing that opens a door."""

import json
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts import export
from accounts.models import BanBit, Device, PersonKey, Session, WelcomeClaim
from generation.lifecycle import settle
from generation.models import Job
from generation.providers.base import FailureReason
from rendio.common.times import iso
from tests.helpers.model_ids import SORA
from tests.helpers.phone import Phone

pytestmark = pytest.mark.django_db

# 32 bytes and more in hex or base64: what a hash, a token or a key looks like.
SECRET_LIKE = re.compile(r"[0-9a-fA-F]{64}|[A-Za-z0-9+/_-]{43,}")


def exported(phone):
    answer = phone.get("export-user-data")
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.fixture
def customer(phone):
    """A guest with something in every section."""
    phone.post("update-user-profile", {"language": "tr", "tos_version": "3"})
    phone.post("record-consent", {"kind": "terms", "version": "3"})
    phone.post("record-consent", {"kind": "terms", "version": "3", "granted": False})
    phone.post(
        "quote-video",
        {"model_id": str(SORA), "prompt": "A red balloon", "settings": {"duration": 4}},
    )
    assert phone.generate(settings={"duration": 4}, prompt="A çay garden").status_code == 200
    return phone


def test_an_export_has_every_kind_of_data(customer):
    assert list(exported(customer)) == [
        "exported_at",
        "profile",
        "sign_in_with_apple",
        "devices",
        "welcomes",
        "kept_against_fraud",
        "sessions",
        "consents",
        "push_tokens",
        "notifications",
        "wallet",
        "lots",
        "ledger",
        "promotion_codes",
        "jobs",
        "quotes",
        "uploads",
        "training_sets",
        "trained_models",
        "training_consents",
        "refused_content",
        "purchases",
        "subscriptions",
        "refund_requests",
        "unreadable_purchases",
        "fraud_marks",
        "refusals",
    ]


def test_an_export_says_who_the_caller_is(customer):
    profile = exported(customer)["profile"]

    assert profile["id"] == str(customer.user_id)
    assert (profile["language"], profile["tos_version"]) == ("tr", "3")
    assert profile["is_guest"] is True


def test_an_export_has_devices_sessions_and_what_was_agreed_to(customer):
    data = exported(customer)

    shown = Device.objects.get(user_id=customer.user_id).public_id
    for section in ["devices", "welcomes", "sessions"]:
        assert [row["device_id"] for row in data[section]] == [shown]
    assert len(data["sessions"]) == 1
    assert [consent["granted"] for consent in data["consents"]] == [True, False]


def test_an_export_says_what_is_kept_against_fraud(guest, person, settings):
    settings.DEVICE_TOKEN_HOURS = 48
    person.signs_in(guest)

    in_english = exported(guest)["kept_against_fraud"]
    headers = guest._headers(None) | {"Accept-Language": "tr"}
    in_turkish = guest.client.get("/v1/export-user-data", headers=headers).json()

    key, token = PersonKey.objects.get(), BanBit.objects.get()
    assert [(kept["kind"], kept["last_seen_at"], kept["kept_until"]) for kept in in_english] == [
        ("apple_account", iso(key.seen_at), iso(key.seen_at + timedelta(days=365))),
        ("device_token", iso(token.received_at), iso(token.received_at + timedelta(hours=48))),
    ]
    words = [kept["explanation"] for kept in in_english]
    assert "prevent fraud" in words[0]
    assert "Apple hesabınızdan" in in_turkish["kept_against_fraud"][0]["explanation"]
    text = json.dumps(in_english)
    assert key.key not in text
    assert token.device_token_encrypted not in text


def test_an_export_has_the_phones_and_what_they_were_told(customer):
    token = customer.register_for_pushes()
    job = Job.objects.get()
    settle.fail(job, FailureReason.TIMEOUT, now=timezone.now())

    data = exported(customer)

    assert [one["token"] for one in data["push_tokens"]] == [token]
    [told] = data["notifications"]
    assert (told["kind"], told["job_id"]) == ("job_failed", str(job.id))


def test_an_exports_ledger_adds_up_to_its_wallet(customer):
    data = exported(customer)

    assert [entry["change"] for entry in data["ledger"]] == [10, -4]
    assert data["wallet"]["balance"] == sum(entry["change"] for entry in data["ledger"]) == 6
    assert sum(lot["remaining"] for lot in data["lots"]) == 6


def test_an_export_has_jobs_with_what_was_asked_and_quotes(customer):
    data = exported(customer)

    job = data["jobs"][0]
    assert job["prompt"] == "A çay garden"
    assert (job["status"], job["credits_used"], job["settings"]["duration"]) == ("pending", 4, 4)
    assert data["ledger"][1]["job_id"] == job["job_id"]
    assert data["quotes"][0]["credits"] == 4


def test_an_export_of_much_is_complete(customer):
    first = Job.objects.get()
    for number in range(600):
        first.pk = None
        first.id = Job._meta.get_field("id").get_default()
        first.prompt = f"prompt {number}"
        first.save(force_insert=True)

    prompts = [job["prompt"] for job in exported(customer)["jobs"]]

    assert sorted(prompts[1:]) == sorted(f"prompt {number}" for number in range(600))


def test_an_export_has_nothing_of_another_user(customer, guest):
    guest.post("record-consent", {"kind": "privacy", "version": "other"})

    mine, theirs = customer.get("export-user-data"), guest.get("export-user-data")

    assert guest.user_id not in mine.content.decode()
    assert guest.public_id not in mine.content.decode()
    assert str(customer.user_id) not in theirs.content.decode()
    assert theirs.json()["jobs"] == []


def test_an_export_holds_no_token_and_no_hash(customer):
    refreshed = customer.post(
        "auth/refresh", {"refresh_token": customer.session["refresh_token"]}
    ).json()["session"]
    customer.session = refreshed
    session, claim = Session.objects.get(), WelcomeClaim.objects.get()
    secrets = [session.refresh_hash, session.previous_hash, claim.token_hash, *refreshed.values()]

    answer = customer.get("export-user-data")

    assert answer.status_code == 200
    text = answer.content.decode()
    assert not [secret for secret in secrets if str(secret) in text and len(str(secret)) > 8]
    assert SECRET_LIKE.search(session.refresh_hash)
    assert not SECRET_LIKE.search(text)


def test_an_export_needs_a_session(client, refusal):
    assert refusal(client.get("/v1/export-user-data")) == (401, "ERR_4005")


def test_another_users_id_is_refused(customer, guest, refusal):
    assert refusal(customer.get("export-user-data", user_id=guest.user_id)) == (403, "ERR_4006")
    assert customer.get("export-user-data", user_id=str(customer.user_id)).status_code == 200


def test_exports_are_limited_by_user(customer, sandbox, settings):
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"export_per_user": (2, 3600)}
    other = Phone().sign_in()

    statuses = [customer.get("export-user-data").status_code for _ in range(3)]

    assert statuses == [200, 200, 429]
    assert other.get("export-user-data").status_code == 200


def test_an_export_is_a_file_that_nobody_keeps_in_between(customer):
    answer = customer.get("export-user-data")

    assert answer["Cache-Control"] == "no-store"
    assert "attachment" in answer["Content-Disposition"]
    json.loads(answer.content.decode("utf-8"))


def test_two_apps_cannot_claim_the_same_section():
    with pytest.raises(ValueError, match="jobs"):
        export.register("jobs", lambda user_id: [])
