"""Refresh tokens rotate, are good once, and end their session when somebody uses a copy."""

import base64
import hashlib
import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models import F
from django.utils import timezone

from accounts import services, tokens
from accounts.models import RevokedReason, Session

pytestmark = pytest.mark.django_db


def session_of(phone):
    return Session.objects.get(id=tokens.read_refresh(phone.refresh_token).session_id)


def next_tokens(phone, refresh_token=None):
    answer = phone.refresh(refresh_token)
    assert answer.status_code == 200, answer.content
    return answer.json()["session"]


def let_pass(phone, **time):
    """As if the last rotation were so much longer ago."""
    Session.objects.filter(user_id=phone.user_id).update(
        rotated_at=F("rotated_at") - timedelta(**time)
    )


def test_a_refresh_gives_new_tokens_of_the_same_session(guest):
    fresh = next_tokens(guest)

    assert set(fresh) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert fresh["refresh_token"] != guest.refresh_token
    assert guest.get("auth/profile", access_token=fresh["access_token"]).status_code == 200
    assert (
        tokens.read_access(fresh["access_token"]).session_id
        == tokens.read_access(guest.session["access_token"]).session_id
    )
    assert next_tokens(guest, fresh["refresh_token"])


def test_a_refresh_needs_no_access_token_and_minds_no_bad_one(guest):
    answer = guest.post(
        "auth/refresh", {"refresh_token": guest.refresh_token}, access_token="expired"
    )

    assert answer.status_code == 200


def test_the_database_holds_hashes_only(guest):
    fresh = next_tokens(guest)
    fresh = next_tokens(guest, fresh["refresh_token"])

    row = json.dumps(Session.objects.filter(user_id=guest.user_id).values().get(), default=str)

    raw = base64.urlsafe_b64decode(fresh["refresh_token"])
    assert hashlib.sha256(raw).hexdigest() in row
    for secret in (fresh["refresh_token"], raw[16:].hex(), base64.b64encode(raw[16:]).decode()):
        assert secret not in row


def test_a_lost_answer_can_be_asked_for_again(guest, refusal):
    lost = next_tokens(guest)

    again = next_tokens(guest)

    assert again["refresh_token"] != lost["refresh_token"]
    # The lost one is no longer good, and does no harm: it was an honest answer.
    assert refusal(guest.refresh(lost["refresh_token"])) == (401, "ERR_4005")
    assert next_tokens(guest, again["refresh_token"])


def test_after_the_grace_the_token_before_ends_the_session(guest, refusal):
    fresh = next_tokens(guest)
    let_pass(guest, seconds=31)

    stolen = guest.refresh()

    assert refusal(stolen) == (401, "ERR_4005")
    assert refusal(guest.refresh(fresh["refresh_token"])) == (401, "ERR_4005")
    assert session_of(guest).revoked_reason == RevokedReason.REUSE


def test_within_the_grace_the_token_before_the_one_before_ends_the_session(guest, refusal):
    one = next_tokens(guest)
    two = next_tokens(guest, one["refresh_token"])

    assert refusal(guest.refresh()) == (401, "ERR_4005")

    assert refusal(guest.refresh(two["refresh_token"])) == (401, "ERR_4005")
    assert session_of(guest).revoked_reason == RevokedReason.REUSE


def test_a_superseded_token_ends_the_session_once_the_grace_is_over(guest, refusal):
    lost = next_tokens(guest)
    current = next_tokens(guest)
    row = session_of(guest)
    row.superseded_hashes = {hash_: at - 31 for hash_, at in row.superseded_hashes.items()}
    row.save(update_fields=["superseded_hashes"])

    assert refusal(guest.refresh(lost["refresh_token"])) == (401, "ERR_4005")

    assert refusal(guest.refresh(current["refresh_token"])) == (401, "ERR_4005")


def test_the_grace_is_counted_from_the_rotation_however_often_it_is_used(guest, refusal):
    next_tokens(guest)
    let_pass(guest, seconds=20)
    current = next_tokens(guest)
    let_pass(guest, seconds=11)

    assert refusal(guest.refresh()) == (401, "ERR_4005")
    assert refusal(guest.refresh(current["refresh_token"])) == (401, "ERR_4005")


def test_a_forged_secret_for_a_session_ends_it(guest, refusal):
    session_id = tokens.read_refresh(guest.refresh_token).session_id

    assert refusal(guest.refresh(tokens.new_refresh(session_id).text)) == (401, "ERR_4005")

    assert refusal(guest.refresh()) == (401, "ERR_4005")


def test_one_session_of_a_user_ends_without_the_other(guest):
    first = guest.refresh_token
    guest.signed_in()
    session_id = tokens.read_refresh(first).session_id

    guest.refresh(tokens.new_refresh(session_id).text)

    assert guest.refresh().status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"expires_at": timezone.now() - timedelta(seconds=1)},
        {"revoked_at": timezone.now(), "revoked_reason": "logout"},
    ],
)
def test_an_ended_session_is_not_refreshed(guest, refusal, change):
    rows = Session.objects.filter(user_id=guest.user_id)
    before = rows.values(*change).get()
    rows.update(**change)

    assert refusal(guest.refresh()) == (401, "ERR_4005")

    rows.update(**before)
    assert guest.refresh().status_code == 200


def test_the_session_of_a_closed_account_is_not_refreshed(guest, refusal):
    row = session_of(guest)
    row.user.closed_at = timezone.now()
    row.user.save(update_fields=["closed_at"])

    assert refusal(guest.refresh()) == (401, "ERR_4005")
    assert refusal(guest.get("get-user-profile")) == (401, "ERR_4005")


def test_each_refresh_prolongs_the_session(guest, settings):
    Session.objects.filter(user_id=guest.user_id).update(
        expires_at=timezone.now() + timedelta(days=1)
    )

    next_tokens(guest)

    left = session_of(guest).expires_at - timezone.now()
    assert left > timedelta(days=settings.REFRESH_TOKEN_DAYS - 1)


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ("nonsense", 401, "ERR_4005"),
        ("é" * 64, 401, "ERR_4005"),
        pytest.param(tokens.new_refresh(uuid4()).text, 401, "ERR_4005", id="unknown"),
        pytest.param(tokens.new_refresh(uuid4()).text[:-4], 401, "ERR_4005", id="cut"),
        ("", 400, "ERR_4008"),
        (None, 400, "ERR_4008"),
        (17, 400, "ERR_4008"),
        (["a"], 400, "ERR_4008"),
        ("A" * 10_000, 400, "ERR_4008"),
    ],
)
def test_what_is_no_refresh_token_is_refused(guest, refusal, sent, status, code):
    assert refusal(guest.post("auth/refresh", {"refresh_token": sent})) == (status, code)
    assert guest.post("auth/refresh", {"refresh_token": guest.refresh_token}).status_code == 200


def test_logging_another_session_out_twice_is_as_once(guest):
    other = guest.refresh_token
    guest.signed_in()

    first, second = guest.log_out(other), guest.log_out(other)

    assert first.json() == second.json() == {"success": True}
    assert guest.refresh().status_code == 200
    assert guest.refresh(other).status_code == 401


def test_logging_out_a_session_that_is_long_gone_succeeds(guest):
    assert guest.log_out(tokens.new_refresh(uuid4()).text).json() == {"success": True}


def test_an_older_token_of_the_session_logs_it_out_too(guest, refusal):
    fresh = next_tokens(guest)

    assert guest.log_out().json() == {"success": True}

    assert refusal(guest.refresh(fresh["refresh_token"])) == (401, "ERR_4005")


def test_nobody_logs_another_user_out(guest, new_signed_in, refusal):
    stranger = new_signed_in()

    assert refusal(stranger.log_out(guest.refresh_token)) == (403, "ERR_4006")

    assert guest.refresh().status_code == 200
    assert stranger.log_out().status_code == 200


@pytest.mark.parametrize("sent", ["nonsense", "", None, 17])
def test_logging_out_what_is_no_refresh_token_is_a_400(guest, refusal, sent):
    refused = guest.post("auth/logout", {"refresh_token": sent})

    assert refusal(refused) == (400, "ERR_4008")
    assert list(refused.json()["error"]["details"]["fields"]) == ["refresh_token"]


def test_logging_out_needs_an_access_token(guest, refusal):
    refused = guest.post(
        "auth/logout", {"refresh_token": guest.refresh_token}, access_token="nobody"
    )

    assert refusal(refused) == (401, "ERR_4005")
    assert guest.refresh().status_code == 200


def test_the_sweep_deletes_what_ended_long_ago_in_batches(guest):
    now = timezone.now()
    live = session_of(guest).id
    for age in (29, 31, 32, 33):
        guest.signed_in()
        Session.objects.filter(id=session_of(guest).id).update(
            revoked_at=now - timedelta(days=age), revoked_reason="logout"
        )
    guest.signed_in()
    Session.objects.filter(id=session_of(guest).id).update(expires_at=now - timedelta(days=31))
    ours = Session.objects.filter(user_id=guest.user_id)

    swept = [services.purge_sessions(now=now, limit=3) for _ in range(3)]

    assert swept == [3, 1, 0]
    assert ours.count() == 2
    assert ours.filter(id=live).exists()
