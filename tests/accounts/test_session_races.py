"""Sessions with real commits: refreshes at the same time, and access that ends at once."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from accounts import services, tokens
from accounts.models import RevokedReason, Session
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.usefixtures("committed")


def session_of(phone):
    return Session.objects.get(id=tokens.read_refresh(phone.refresh_token).session_id)


def test_eight_refreshes_at_once_leave_one_valid_chain(committed_guest, at_once):
    phone = committed_guest

    answers = at_once(*[phone.refresh] * 8)

    assert [answer.status_code for answer in answers] == [200] * 8
    successors = {answer.json()["session"]["refresh_token"] for answer in answers}
    assert len(successors) == 8
    chains = [phone.refresh(successor) for successor in successors]
    assert sorted(answer.status_code for answer in chains) == [200] + [401] * 7
    last = next(answer for answer in chains if answer.status_code == 200).json()["session"]
    assert phone.refresh(last["refresh_token"]).status_code == 200


def test_eight_reuses_at_once_end_the_session_once(committed_guest, at_once, settings):
    settings.REFRESH_GRACE_SECONDS = 0
    assert committed_guest.refresh().status_code == 200

    answers = at_once(*[committed_guest.refresh] * 8)

    assert [answer.status_code for answer in answers] == [401] * 8
    assert session_of(committed_guest).revoked_reason == RevokedReason.REUSE


def test_a_reused_token_ends_access_at_once(committed_guest, settings, refusal):
    settings.REFRESH_GRACE_SECONDS = 0
    access_token = committed_guest.refresh().json()["session"]["access_token"]
    assert committed_guest.get("auth/profile", access_token=access_token).status_code == 200

    committed_guest.refresh()

    refused = committed_guest.get("auth/profile", access_token=access_token)
    assert refusal(refused) == (401, "ERR_4005")


def test_logout_ends_the_session_and_its_access_token(committed_guest, refusal):
    assert committed_guest.get("auth/profile").status_code == 200

    answer = committed_guest.log_out()

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert refusal(committed_guest.get("auth/profile")) == (401, "ERR_4005")
    assert refusal(committed_guest.refresh()) == (401, "ERR_4005")
    assert session_of(committed_guest).revoked_reason == RevokedReason.LOGOUT


def test_the_sweep_passes_by_a_row_that_is_in_use(committed_guest, at_once):
    now = timezone.now()
    rows = Session.objects.filter(user_id=committed_guest.user_id)
    rows.update(expires_at=now - timedelta(days=31))
    held, swept = [], []

    def hold():
        with transaction.atomic():
            held.append(rows.select_for_update().get())
            wait_for(lambda: swept)

    def sweep():
        wait_for(lambda: held)
        swept.append(services.purge_sessions(now=now))

    at_once(hold, sweep)

    assert rows.exists()
    services.purge_sessions(now=now)
    assert not rows.exists()
