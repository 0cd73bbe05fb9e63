"""What no view answers: staff get a page, the phone the contract's envelope."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.adminops.conftest import Staff, staff_user
from tests.helpers.phone import assert_refused


def test_an_address_of_the_admin_without_a_page_is_a_page(root):
    answer = root.client.get("/admin/nothing/here/")

    assert answer.status_code == 404
    assert b"There is nothing at this address" in answer.content


def test_staff_without_the_role_see_the_reason(db):
    newcomer = Staff(staff_user("newcomer"))

    answer = newcomer.client.get("/admin/credits/wallet/")

    assert answer.status_code == 403
    assert b"Your roles do not cover this" in answer.content


def test_an_expired_form_states_that_nothing_was_changed(db):
    answer = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a"})

    assert answer.status_code == 403
    assert b"Nothing has been changed" in answer.content


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/administration/"])
def test_elsewhere_it_is_the_envelope(db, path):
    assert_refused(Client().get(path), 404, "ERR_4007")
