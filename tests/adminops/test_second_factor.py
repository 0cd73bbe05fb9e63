"""The second factor: set up at the first sign-in, required at every later one."""

from __future__ import annotations

import base64
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from urllib.parse import quote
from uuid import uuid4

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.models import User
from adminops.auth import otp
from tests.adminops.conftest import WHY, StaffAtTheForm, get_log_entry, staff_user
from tests.helpers.concurrency import at_once, waiting_for_locks
from tests.helpers.phone import assert_refused
from tests.helpers.wait import wait_for

PAGE = "/admin/second-factor/"
CODES = "/admin/second-factor/codes/"
RESET = "accounts_user_reset_second_factor"
RESET_ACT = "reset_second_factor"


class Half(StaffAtTheForm):
    """A member of staff who has given the password but not the second factor."""

    def go(self, path):
        return self.client.get(path, follow=True)

    def show(self, code, path=PAGE, **fields):
        return self.client.post(
            path, {"code": code, "csrfmiddlewaretoken": self.csrf_token, **fields}, follow=True
        )

    def set_up(self):
        """Set up the app as the page says; keep the recovery codes."""
        self.key = self.go(PAGE).context["key"]
        shown = self.show(self.code())
        self.codes = shown.context.get("codes", [])
        return shown

    def code(self, *, steps_from_now=0):
        moment = TOTP(base64.b32decode(self.key))
        moment.time = time.time() + 30 * steps_from_now
        return f"{moment.token():06}"


def is_in(staff):
    return staff.client.get("/admin/", follow=True).request["PATH_INFO"] == "/admin/"


@pytest.fixture(autouse=True)
def _required(settings):
    """The second factor is required, and the time is frozen: a code is valid for 30 seconds."""
    settings.REQUIRE_SECOND_FACTOR = True
    with time_machine.travel(timezone.now(), tick=False):
        yield


@pytest.fixture
def half(db):
    return Half(staff_user("root", is_superuser=True))


def test_password_alone_opens_no_page_and_no_call(half, phone):
    assert half.go("/admin/accounts/user/").request["PATH_INFO"] == PAGE
    assert_refused(half.stats(phone.user_id), 403, "ERR_4006")
    refused = half.call("admin-refund-credits", user_id=str(phone.user_id), amount=5, reason=WHY)
    assert_refused(refused, 403, "ERR_4006")
    assert phone.balance() == 10


def test_first_member_of_staff_sets_up_the_app_and_is_signed_in(half, phone):
    page = half.go("/admin/")
    assert "<svg" in page.content.decode()

    half.set_up()

    assert is_in(half)
    assert half.stats(phone.user_id).status_code == 200


def test_second_factor_redirects_to_next_on_this_site_only(half):
    half.set_up()
    again = Half(half.user)
    page = again.go("/admin/accounts/user/?q=sam")
    again.key = half.key

    shown = again.show(again.code(steps_from_now=1), f"{PAGE}?{page.request['QUERY_STRING']}")

    assert shown.redirect_chain[-1][0] == "/admin/accounts/user/?q=sam"
    third = Half(half.user)
    third.key = half.key
    TOTPDevice.objects.update(last_t=-1)
    left = third.show(third.code(), f"{PAGE}?next={quote('https://evil.example/')}")
    assert left.redirect_chain[-1][0] == "/admin/"


def test_user_with_an_app_is_asked_for_a_code_and_shown_no_key(half):
    half.set_up()
    again = Half(half.user)
    again.key = half.key

    page = again.go("/admin/")

    assert "key" not in page.context
    assert "<svg" not in page.content.decode().partition("<form")[0]
    assert not is_in(again)
    again.show(again.code(steps_from_now=1))
    assert is_in(again)


def test_totp_code_works_once(half):
    half.set_up()
    again = Half(half.user)
    again.key = half.key

    answer = again.show(half.code())

    assert "used before" in answer.content.decode()
    assert not is_in(again)


def test_concurrent_use_of_one_code_signs_one_browser_in(committed):
    user = staff_user(f"race-{uuid4().hex}", is_superuser=True)
    first = Half(user)
    first.set_up()
    two = [Half(user), Half(user)]
    for one in two:
        one.key = first.key
    code = two[0].code(steps_from_now=1)

    with ThreadPoolExecutor() as threads:
        with transaction.atomic():
            User.objects.select_for_update().get(id=user.id)
            shown = threads.submit(at_once, *[partial(one.show, code) for one in two])
            wait_for(lambda: waiting_for_locks("accounts_user") > 0)
        shown.result()

    assert sorted(is_in(one) for one in two) == [False, True]
    TOTPDevice.objects.filter(user=user).delete()


def test_setup_with_a_wrong_code_is_refused(half, subtests):
    half.go(PAGE)
    for code in ["000000", "", "12345", "1234567", "१२३४५६", "abcdef", "0" * 9999]:
        with subtests.test(code=code[:10]):
            assert half.show(code).status_code == 200
            assert not is_in(half)
            assert not TOTPDevice.objects.exists()


def test_each_browser_gets_its_own_setup_key(half):
    """Otherwise an attacker with the password could read the key before the user sets it up."""
    other = Half(half.user)

    assert half.go(PAGE).context["key"] != other.go(PAGE).context["key"]
    assert half.go(PAGE).context["key"] == half.go(PAGE).context["key"]


def test_second_setup_of_one_user_is_refused(half):
    slower = Half(half.user)
    slower.key = slower.go(PAGE).context["key"]
    half.set_up()

    slower.show(slower.code())

    assert not is_in(slower)
    assert TOTPDevice.objects.count() == 1


def test_wrong_codes_double_the_delay_up_to_a_maximum(half):
    half.set_up()
    again = Half(half.user)
    again.key = half.key
    again.show("000000")
    device = TOTPDevice.objects.get()
    TOTPDevice.objects.update(
        throttling_failure_count=500, throttling_failure_timestamp=timezone.now()
    )

    assert "Too many wrong codes" in again.show(again.code(steps_from_now=1)).content.decode()

    TOTPDevice.objects.update(throttling_failure_timestamp=timezone.now() - timedelta(days=36500))
    device.refresh_from_db()
    assert device.throttling_failure_count == 500
    TOTPDevice.objects.update(throttling_failure_count=otp.MAX_FAILURES)
    TOTPDevice.objects.update(throttling_failure_timestamp=timezone.now() - timedelta(minutes=35))
    again.show("000000")
    device.refresh_from_db()
    assert device.throttling_failure_count == otp.MAX_FAILURES
    TOTPDevice.objects.update(throttling_failure_timestamp=timezone.now() - timedelta(minutes=35))
    again.show(again.code(steps_from_now=1))
    assert is_in(again)


def test_user_can_sign_out_from_the_second_factor_page(half):
    left = half.show("", leave="")

    assert left.request["PATH_INFO"] == "/admin/login/"
    assert "_auth_user_id" not in half.client.session


def test_second_factor_page_redirects_everyone_else(db, half, phone):
    assert Client().get(PAGE).status_code == 302
    half.set_up()
    assert half.go(PAGE).request["PATH_INFO"] == "/admin/"


def test_session_id_changes_after_the_second_factor(half):
    before = half.client.cookies["sessionid"].value

    half.set_up()

    assert half.client.cookies["sessionid"].value != before


def test_reset_command_deletes_the_app_and_unverifies_sessions(half):
    half.set_up()

    call_command("reset_second_factor", "root")

    assert not is_in(half)
    assert half.set_up().status_code == 200
    assert is_in(half)
    with pytest.raises(CommandError):
        call_command("reset_second_factor", "nobody")


def test_no_admin_page_shows_the_keys_of_others(half):
    half.set_up()

    assert half.client.get("/admin/otp_totp/totpdevice/").status_code == 404
    assert half.client.get("/admin/otp_static/staticdevice/").status_code == 404
    assert not re.search("otp_(totp|static)", half.go("/admin/").content.decode())


# --- Recovery codes -------------------------------------------------------------------------------


def again(half):
    """The same person at another browser."""
    other = Half(half.user)
    other.key = half.key
    return other


def test_recovery_code_works_once_in_any_spelling(half):
    half.set_up()
    code = half.codes[0]

    back = again(half)
    page = back.show(f" {code[:4].upper()}-{code[4:]}")

    assert len(set(half.codes)) == otp.RECOVERY_CODES
    assert is_in(back)
    assert "9 are left" in page.content.decode()
    third = again(half)
    assert "used before" in third.show(code).content.decode()
    assert not is_in(third)


def test_recovery_codes_are_shown_once_only(half):
    half.set_up()

    pages = [half.go(path).content.decode() for path in (PAGE, CODES, "/admin/")]

    assert [code for code in half.codes for page in pages if code in page] == []


def test_new_recovery_codes_need_a_code_and_replace_the_old_ones(half):
    half.set_up()
    assert "codes" not in half.show("000000", CODES).context
    TOTPDevice.objects.update(throttling_failure_count=0)

    made = half.show(half.code(steps_from_now=1), CODES).context["codes"]

    assert not set(made) & set(half.codes)
    back = again(half)
    back.show(half.codes[0])
    assert not is_in(back)
    StaticDevice.objects.update(throttling_failure_count=0)
    back.show(made[0])
    assert is_in(back)


def test_password_alone_creates_no_recovery_codes(half):
    half.set_up()
    back = again(half)

    shown = back.show(half.code(steps_from_now=1), CODES)

    assert shown.request["PATH_INFO"] == PAGE
    assert half.codes[0] in StaticToken.objects.values_list("token", flat=True)
    assert Client().get(CODES).status_code == 302


def test_wrong_recovery_codes_do_not_delay_the_app(half):
    half.set_up()
    back = again(half)
    back.show("aaaaaaaa")

    assert "Too many wrong codes" in back.show(half.codes[0]).content.decode()
    back.show(back.code(steps_from_now=1))
    assert is_in(back)


# --- Somebody else resets it ----------------------------------------------------------------------


@pytest.fixture
def lead(db):
    lead = Half(staff_user("lea", role="lead"))
    lead.set_up()
    return lead


def reset(by, user):
    return by.act(RESET, user.id, reason=WHY)


def test_lead_resets_the_second_factor_of_staff_with_a_log_entry(lead):
    ann = Half(staff_user("ann", role="agent"))
    ann.set_up()

    reset(lead, ann.user)

    assert not is_in(ann)
    back = again(ann)
    assert "picture" in back.show(ann.codes[0]).context
    assert not is_in(back)
    log_entry = get_log_entry(ann.user.id)
    assert (log_entry.action, log_entry.actor, log_entry.reason) == (RESET_ACT, lead.user, WHY)
    assert (log_entry.before, log_entry.after) == (
        {"apps": 1, "recovery_codes": 10},
        {"apps": 0, "recovery_codes": 0},
    )


def test_reset_of_the_own_or_a_superusers_second_factor_is_refused(lead, half):
    half.set_up()

    for subject in (lead, half):
        lead.submit(RESET, subject.user.id, reason=WHY, form_id=str(uuid4()))

    assert is_in(lead)
    assert is_in(half)
    reset(half, lead.user)
    assert not is_in(lead)


def test_development_needs_no_second_factor(half, settings):
    settings.REQUIRE_SECOND_FACTOR = False

    assert is_in(half)
