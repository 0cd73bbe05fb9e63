"""The audit log is written in the transaction of the change, and is append-only."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.urls import reverse
from structlog.contextvars import bound_contextvars

from adminops.actions import credits
from adminops.admin.staff.audit_log import SUBJECT_PAGES
from adminops.models import AuditLogEntry, Subject
from credits.services import balance_of
from rendio.common.errors import InvalidState
from rendio.common.ids import uuid7
from tests.adminops.conftest import WHY, staff_user
from tests.helpers.staff import staff_action


@pytest.fixture
def perform(phone):
    """A staff action that can be repeated: grant 5 credits to the phone's user."""

    def again(**changes):
        return credits.refund_credits(
            staff_action(actor, **changes), user_id=phone.user_id, amount=5
        )

    actor = staff_user("sam", role="agent")
    return again


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE adminops_adminaction SET reason = 'nothing to see'",
        "DELETE FROM adminops_adminaction",
        "TRUNCATE adminops_adminaction",
    ],
)
def test_database_refuses_to_change_the_audit_log(perform, statement):
    perform()
    connection.check_constraints()  # as at the commit, which a test does not reach

    with (
        pytest.raises(IntegrityError, match="never changed or deleted"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)

    assert AuditLogEntry.objects.get().reason == WHY


def test_same_form_id_performs_the_action_once(perform, phone):
    form = uuid7()
    perform(form_id=form)

    with pytest.raises(InvalidState):
        perform(form_id=form)

    assert balance_of(phone.user_id).balance == 15
    assert AuditLogEntry.objects.get().id == form


def test_failed_log_entry_rolls_the_action_back(perform, phone):
    too_long_for_the_record = "x" * 65

    with bound_contextvars(request_id=too_long_for_the_record), pytest.raises(DataError):
        perform()

    assert balance_of(phone.user_id).balance == 10
    assert not AuditLogEntry.objects.exists()


def test_every_kind_of_subject_has_a_page_to_link_to():
    assert set(SUBJECT_PAGES) == set(Subject)
    for page in SUBJECT_PAGES.values():
        assert reverse(page, args=[uuid4()])
