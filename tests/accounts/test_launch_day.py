"""Many phones behind one address start, and an attacker among them does not keep them out.

docs/decisions/0028-shared-addresses.md has the arithmetic. Here the limits are small.
"""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.conf import settings as real_settings
from django.utils import timezone

from accounts import services
from accounts.models import AttestedKey, User
from rendio.local.data_dir import PROJECT
from tests.accounts.conftest import Installation, one_phone
from tests.helpers.phone import assert_refused
from tests.helpers.secure_enclave import ROOT, AttestedApp

pytestmark = pytest.mark.usefixtures("db", "sandbox")
LIMITS = dict(real_settings.RATE_LIMITS)


@pytest.fixture
def limits(settings):
    """Sets limits; their windows do not end while a test runs."""

    def limit(**most):
        settings.RATE_LIMITS |= {name: (number, 3600) for name, number in most.items()}

    return limit


@pytest.fixture(autouse=True)
def our_root(settings):
    settings.APP_ATTEST_ROOT = ROOT.pem


def unknown_token():
    """A device token that Apple does not vouch for."""
    return base64.b64encode(uuid4().bytes * 6).decode()


def fresh_installs(sandbox, count):
    """One iPhone under other names, each time with another token."""
    return one_phone(sandbox, *(Installation() for _ in range(count)))


# --- Ten thousand phones start ----------------------------------------------------------------


def test_new_phones_at_one_address_are_only_in_the_generous_limit(limits):
    limits(
        first_check_per_ip=8,
        reinstall_per_ip=1,
        unproven_per_ip=1,
        device_check_per_installation=1,
    )

    answers = [Installation().check() for _ in range(8)]

    assert [answer.status_code for answer in answers] == [200] * 8
    assert {answer.json()["credits_remaining"] for answer in answers} == {10}


def test_the_limits_that_phones_of_one_address_share_have_room_for_ten_thousand():
    """Each checks in and attests a key, and half of them once more, as an answer was lost."""
    text = (PROJECT / ".env.example").read_text()
    shown = {name: int(n) for name, n in re.findall(r"#(RATE_LIMIT_\w+)=(\d+)", text)}

    for name in ("RATE_LIMIT_FIRST_CHECK_PER_HOUR", "RATE_LIMIT_ATTEST_PER_HOUR"):
        assert shown[name] >= 15_000
    by_address = {
        name: most
        for name, (most, _) in LIMITS.items()
        if name.endswith("_per_ip") and name != "forgeries_per_ip"
    }
    # The others count what phones do not do that prove something.
    assert {name for name, most in by_address.items() if most < 15_000} == {
        "reinstall_per_ip", "unproven_per_ip", "refused_refresh_per_ip", "unknown_code_per_ip",
    }  # fmt: skip


def test_phones_that_are_known_start_where_all_limits_of_their_address_are_used_up(limits):
    phones = [Installation().signed_in() for _ in range(3)]
    limits(first_check_per_ip=1, unproven_per_ip=1, refused_refresh_per_ip=1)
    assert Installation(device_token=unknown_token()).check().status_code == 403
    assert_refused(Installation().check(), 429, "ERR_4004")
    assert phones[0].refresh("x" * 64).status_code == 401
    assert phones[0].refresh("x" * 64).status_code == 429

    assert [phone.check().status_code for phone in phones] == [200] * 3
    assert [phone.refresh().status_code for phone in phones] == [200] * 3


def test_an_installation_that_is_known_is_counted_by_itself(limits):
    limits(device_check_per_installation=2)
    one, other = Installation().signed_in(), Installation().signed_in()

    assert [one.check().status_code for _ in range(3)] == [200, 200, 429]
    assert other.check().status_code == 200


def test_a_session_is_counted_by_itself(limits):
    limits(refresh_per_session=1)
    one, other = Installation().signed_in(), Installation().signed_in()

    one.session = one.refresh().json()["session"]
    assert one.refresh().status_code == 429
    assert other.refresh().status_code == 200


def test_who_has_attested_its_key_starts_where_others_proved_nothing(limits, sandbox):
    app = AttestedApp(Installation())
    assert app.attests(challenge=app.challenge()).status_code == 200
    limits(unproven_per_ip=1)
    assert Installation(device_token=unknown_token()).check().status_code == 403
    assert_refused(Installation().check(), 429, "ERR_4004")

    assert app.checks().status_code == 200


def test_who_has_not_guessed_at_codes_has_a_first_try(limits):
    limits(unknown_code_per_ip=2)
    guesser, other = Installation().signed_in(), Installation().signed_in()
    guesses = [guesser.post("redeem-code", {"code": f"GUESS{n}"}).status_code for n in range(3)]
    assert guesses == [404, 404, 429]

    assert other.post("redeem-code", {"code": "GUESS"}).status_code == 404
    assert other.post("redeem-code", {"code": "GUESS"}).status_code == 429


# --- An attacker does not ---------------------------------------------------------------------


def test_one_iphone_makes_no_more_guests_than_the_limit(limits, sandbox):
    limits(reinstall_per_ip=3, unproven_per_ip=2)
    before = User.objects.count()

    answers = [phone.check() for phone in fresh_installs(sandbox, 8)]

    assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 4
    assert User.objects.count() == before + 4
    assert [answer.json()["credits_remaining"] for answer in answers[:4]] == [10, 0, 0, 0]


def test_apple_is_asked_no_more_for_one_iphone_than_the_limits_allow(limits, sandbox):
    limits(reinstall_per_ip=1, unproven_per_ip=2)
    phones = fresh_installs(sandbox, 8)
    for phone in phones[:4]:
        phone.check()
    asked = len(sandbox.requests("apple"))

    assert [phone.check().status_code for phone in phones[4:]] == [429] * 4

    assert len(sandbox.requests("apple")) == asked


def test_apple_is_asked_no_more_for_false_tokens_than_the_limit(limits, sandbox):
    limits(unproven_per_ip=2)

    codes = [Installation(device_token=unknown_token()).check().status_code for _ in range(4)]

    assert codes == [403, 403, 429, 429]
    assert len(sandbox.requests("apple")) == 2


def test_guesses_at_a_secret_are_no_first_checks(limits):
    known = Installation().signed_in()
    limits(first_check_per_ip=1, unproven_per_ip=2)

    guesses = [Installation(device_id=known.device_id).check().status_code for _ in range(3)]

    assert guesses == [403] * 3
    # And use up what their address may do without proof.
    assert_refused(Installation().check(), 429, "ERR_4004")


def test_keys_that_no_device_check_uses_go_after_a_day(sandbox):
    unused, used = AttestedApp(Installation()), AttestedApp(Installation())
    for app in (unused, used):
        assert app.attests(challenge=app.challenge()).status_code == 200
    assert used.checks().status_code == 200
    assert services.purge_unused_keys(now=timezone.now() + timedelta(hours=23)) == 0

    services.purge_unused_keys(now=timezone.now() + timedelta(hours=25))

    assert set(AttestedKey.objects.values_list("device_id", flat=True)) == {
        UUID(used.phone.device_id)
    }
