"""An attacker reads what we log, show, list or export, and looks for device_ids."""

from __future__ import annotations

import logging
from urllib.parse import quote
from uuid import UUID

import pytest
from django.contrib import admin
from django.test import Client
from django.utils import timezone

from accounts import installations
from accounts.due_work import PURGE
from accounts.models import Device
from tests.adminops.conftest import Staff, staff_user
from tests.billing.conftest import AppStore, update_credits
from tests.helpers.capture_log import capture_log
from tests.helpers.phone import Phone
from tests.helpers.staff import registered_rows, rows_to_open
from tests.test_ownership import VIEWS
from tests.test_quiet_logs import sign_in_with_apple


@pytest.fixture
def before(db):
    return registered_rows()


@pytest.fixture
def customer(before, phone, sandbox) -> Phone:
    """An account with a job and a purchase."""
    assert phone.generate(settings={"duration": 4}).status_code == 200
    assert update_credits(phone, AppStore(sandbox).buy(phone=phone)).status_code == 200
    sign_in_with_apple(phone, sandbox)
    return phone


def shown_id(phone: Phone) -> str:
    return installations.public_id(UUID(phone.device_id))


def spellings(phone: Phone) -> set[str]:
    device_id = UUID(phone.device_id)
    return {
        str(device_id),
        str(device_id).upper(),
        device_id.hex,
        device_id.urn,
        quote(device_id.urn),
    }


def stands_in(text: str, phone: Phone) -> bool:
    return any(spelling in text for spelling in spellings(phone))


def test_no_log_line_holds_a_device_id(db, sandbox):
    with capture_log(logging.DEBUG) as log:
        phone = Phone().sign_in()
        sign_in_with_apple(phone, sandbox)
        thief = Phone()
        thief.device_id = phone.device_id
        assert thief.post("device-check", thief.check_body).status_code == 403
        unknown = Phone()
        unknown.device_token = "bm9uZQ=="
        assert unknown.post("device-check", unknown.check_body).status_code == 403
        listed = phone.get("devices").json()["devices"][0]["device_id"]
        assert phone.post("revoke-device", {"device_id": listed}).status_code == 200
        anew = Phone()
        vars(anew).update(device_id=phone.device_id, installation_secret=phone.installation_secret)
        assert anew.sign_in().post("delete-account").status_code == 200

    lines = log.getvalue()
    assert not stands_in(lines, phone)
    assert not stands_in(lines, unknown)
    # Support can still follow one device.
    assert lines.count(shown_id(phone)) == 3
    assert shown_id(unknown) in lines
    assert phone.installation_secret not in lines


def test_no_answer_to_the_phone_holds_its_device_id(customer):
    job_id = customer.get("get-video-jobs").json()["jobs"][0]["job_id"]
    answers = {
        route: customer.get(route.replace("<uuid:job_id>", job_id), job_id=job_id)
        for route, view in VIEWS.items()
        if hasattr(view, "get") and "events" not in route
    }

    seen = [route for route, answer in answers.items() if answer.status_code == 200]
    assert {"sessions", "devices", "export-user-data", "get-video-status"} <= set(seen)
    for route in seen:
        assert not stands_in(answers[route].content.decode(), customer), route
    assert shown_id(customer) in answers["export-user-data"].content.decode()


def test_no_page_of_staff_holds_a_device_id(customer, before):
    staff = Staff(staff_user("root", is_superuser=True))
    pages = {
        "story": staff.see("timeline", customer.user_id),
        "stats": staff.stats(customer.user_id),
    }
    for model in admin.site._registry:
        name = model._meta.label_lower.replace(".", "_")
        pages[name] = staff.see(f"{name}_changelist")
        for row in rows_to_open(model, before):
            row_id = row.public_id if isinstance(row, Device) else row.pk
            pages[f"{name} {row_id}"] = staff.see(f"{name}_change", row_id)

    assert f"accounts_device {shown_id(customer)}" in pages
    for name, page in pages.items():
        assert page.status_code == 200, name
        assert not stands_in(page.content.decode(), customer), name
    for name in ["accounts_device", f"accounts_device {shown_id(customer)}"]:
        assert shown_id(customer) in pages[name].content.decode()


@pytest.mark.parametrize("how", ["in full", "as it is shown"])
def test_support_still_finds_a_customer_by_the_device_id_that_they_read_out(customer, how):
    staff = Staff(staff_user("ann", role="agent"))
    term = customer.device_id if how == "in full" else shown_id(customer)

    found = staff.see("support_search", q=term)
    assert str(customer.user_id) in found.headers["Location"]
    for name in ["accounts_device", "accounts_session"]:
        page = staff.see(f"{name}_changelist", q=term.upper())
        rows = page.context["cl"].result_list
        assert {row.user_id for row in rows} == {customer.user_id}, name
        # The searched term is shown again, the rows have the short id.
        page = page.content.decode().replace(term.upper(), "")
        assert not stands_in(page, customer)


def test_the_metrics_hold_no_device_id(customer):
    page = Client().get("/metrics").content.decode()

    assert "rendio_" in page
    assert not stands_in(page, customer)


def test_the_sweep_gives_devices_of_the_release_before_their_short_id(customer):
    Device.objects.update(stored_public_id="")
    staff = Staff(staff_user("ann", role="agent"))
    assert shown_id(customer) in staff.see("accounts_device_changelist").content.decode()

    PURGE.run_batch(now=timezone.now())

    assert Device.objects.get(user_id=customer.user_id).stored_public_id == shown_id(customer)
    assert staff.see("accounts_device_change", shown_id(customer)).status_code == 200
