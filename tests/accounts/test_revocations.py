"""A revoked session loses its access on every process, without a query per request."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts import services, tokens
from accounts.languages import ChangedLanguages
from accounts.models import RevokedReason, Session
from accounts.revocations import RevokedSessions
from tests.helpers.wait import wait_for

# The last statement of each round, by which the thread's connection is known.
LAST_READ = "%accounts_user%language_changed_at%>=%"


@pytest.fixture
def elsewhere(settings):
    """What another process knows, with a thread and a connection of its own."""
    settings.REVOCATION_REFRESH_SECONDS = 0.05
    other = RevokedSessions(ChangedLanguages())
    yield other
    other.stop()


def session_id_of(phone):
    return tokens.read_refresh(phone.refresh_token).session_id


def revoke(phone):
    services.revoke_user_sessions(
        user_id=UUID(phone.user_id), reason=RevokedReason.LOGOUT, now=timezone.now()
    )


def test_a_logout_reaches_the_other_processes(committed_guest, elsewhere):
    session_id = session_id_of(committed_guest)
    elsewhere.start()
    assert session_id not in elsewhere

    committed_guest.log_out()

    wait_for(lambda: session_id in elsewhere)


def test_a_process_that_starts_knows_who_was_revoked_before(committed_guest, elsewhere):
    session_id = session_id_of(committed_guest)
    committed_guest.log_out()

    elsewhere.start()

    assert session_id in elsewhere


def test_a_revocation_that_commits_late_is_seen(committed_guest, elsewhere):
    session_id = session_id_of(committed_guest)
    now = timezone.now()
    elsewhere.refresh(now=now)
    # Its time lies before the last reading, its commit after it.
    Session.objects.filter(id=session_id).update(
        revoked_at=now - timedelta(seconds=30), revoked_reason="logout"
    )

    elsewhere.refresh(now=now + timedelta(seconds=2))

    assert session_id in elsewhere


def test_what_was_read_before_is_not_read_again(committed_guest, elsewhere):
    session_id = session_id_of(committed_guest)
    now = timezone.now()
    Session.objects.filter(id=session_id).update(
        revoked_at=now - timedelta(seconds=90), revoked_reason="logout"
    )
    knowing, late = elsewhere, RevokedSessions(ChangedLanguages())
    late._read_until = now

    knowing.refresh(now=now)
    late.refresh(now=now)

    assert session_id in knowing
    assert session_id not in late


def test_a_session_is_forgotten_once_its_last_token_has_expired(
    committed_guest, elsewhere, settings
):
    session_id = session_id_of(committed_guest)
    committed_guest.log_out()
    now = timezone.now()
    elsewhere.refresh(now=now)
    lifetime = timedelta(seconds=settings.ACCESS_TOKEN_SECONDS)

    elsewhere.refresh(now=now + lifetime)
    still_there = session_id in elsewhere
    elsewhere.refresh(now=now + lifetime + timedelta(minutes=2))

    assert still_there
    assert session_id not in elsewhere


def test_the_thread_outlives_the_loss_of_its_connection(committed_guest, elsewhere):
    elsewhere.start()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND query LIKE %s",
            [LAST_READ],
        )
        assert cursor.fetchone()[0] >= 1

    committed_guest.log_out()

    wait_for(lambda: session_id_of(committed_guest) in elsewhere)


def test_the_thread_takes_its_connection_with_it(committed, elsewhere):
    def readers():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND query LIKE %s",
                [LAST_READ],
            )
            return cursor.fetchone()[0]

    elsewhere.start()
    assert readers() == 1

    elsewhere.stop()

    wait_for(lambda: readers() == 0)


def test_here_it_counts_from_the_commit_on_and_not_before(committed_guest):
    access = committed_guest.get
    assert access("auth/profile").status_code == 200

    with transaction.atomic():
        revoke(committed_guest)
        transaction.set_rollback(True)
    assert access("auth/profile").status_code == 200

    with transaction.atomic():
        revoke(committed_guest)
        assert access("auth/profile").status_code == 200
    assert access("auth/profile").status_code == 401


def test_the_question_is_answered_by_an_index(db):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    plan = Session.objects.filter(revoked_at__gte=timezone.now()).values_list("id").explain()

    assert "accounts_session_revoked" in plan
