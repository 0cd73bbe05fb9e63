"""App Attest, second half: a device check that an attested key has signed, once each."""

import base64
from uuid import uuid4

import cbor2
import pytest

from accounts.models import AttestedKey, Device, User
from tests.helpers.secure_enclave import ROOT, AttestedApp, Enclave

pytestmark = pytest.mark.django_db

REFUSED = (403, "ERR_4012")


@pytest.fixture(autouse=True)
def required(settings):
    settings.APP_ATTEST_ROOT = ROOT.pem
    settings.REQUIRE_APP_ATTEST = True


@pytest.fixture
def app(installation):
    """Has its key attested, and has signed one device check with it."""
    app = AttestedApp(installation)
    assert app.attests().status_code == 200
    assert app.checks().status_code == 200
    return app


def asked(answer):
    """What a refusal tells the app to do."""
    return answer.json()["error"]["details"]["app_attest"]


def test_a_signed_check_makes_a_guest_with_credits(installation):
    app = AttestedApp(installation)
    app.attests()

    answer = app.checks()

    assert answer.status_code == 200, answer.content
    assert (answer.json()["is_new"], answer.json()["credits_remaining"]) == (True, 10)
    key = AttestedKey.objects.get()
    assert key.counter == 1
    assert key.last_used_at is not None


def test_without_a_proof_nobody_is_let_in_and_apple_is_not_asked(installation, sandbox, refusal):
    refused = installation.check()

    assert refusal(refused) == REFUSED
    assert asked(refused) == "required"
    assert not User.objects.exists()
    assert not Device.objects.exists()
    assert sandbox.requests("apple") == []
    app = AttestedApp(installation)
    app.attests()
    assert app.checks().status_code == 200


def test_where_it_is_not_required_a_phone_without_it_is_let_in(installation, settings):
    settings.REQUIRE_APP_ATTEST = False

    assert installation.check().status_code == 200
    body = installation.check_body | {"app_attest": None}
    assert installation.post("device-check", body).status_code == 200


@pytest.mark.parametrize("is_required", [True, False])
def test_a_proof_that_does_not_hold_is_refused_whether_required_or_not(
    app, settings, refusal, is_required
):
    settings.REQUIRE_APP_ATTEST = is_required

    assert refusal(app.checks(key=Enclave().key)) == REFUSED
    assert app.checks().status_code == 200


def with_token(app):
    return base64.b64decode(app.phone.device_token)


SIGNED = {
    "by another key": lambda app: app.proof(key=Enclave().key),
    "for another app": lambda app: app.proof(app_id="SANDBOXTEAM.com.somebody.else"),
    "the challenge alone": lambda app: app.proof(
        challenge=(one := app.challenge()), client_data=one.encode()
    ),
    "another phone's token": lambda app: app.proof(
        challenge=(one := app.challenge()), client_data=one.encode() + b"sandbox-other"
    ),
    "another challenge": lambda app: app.proof(
        client_data=app.challenge().encode() + with_token(app)
    ),
    "a challenge of its own": lambda app: app.proof(challenge="mine"),
    "another device's challenge": lambda app: app.proof(
        challenge=app.challenge(device_id=str(uuid4()))
    ),
    "counter as before": lambda app: app.proof(counter=app.enclave.counter),
    "counter lower": lambda app: app.proof(counter=0),
}
WRITTEN = {
    "nothing": lambda parts: None,
    "a list": lambda parts: [parts["signature"], parts["authenticatorData"]],
    "no signature": lambda parts: {"authenticatorData": parts["authenticatorData"]},
    "no data": lambda parts: {"signature": parts["signature"]},
    "signature is a text": lambda parts: parts | {"signature": "x"},
    "signature is no DER": lambda parts: parts | {"signature": b"x" * 70},
    "signature is empty": lambda parts: parts | {"signature": b""},
    "data changed": lambda parts: (
        parts | {"authenticatorData": parts["authenticatorData"][:-1] + b"\xff"}
    ),
    "data is short": lambda parts: parts | {"authenticatorData": parts["authenticatorData"][:36]},
    "data is longer": lambda parts: (
        parts | {"authenticatorData": parts["authenticatorData"] + b"x"}
    ),
}
MALFORMED = [
    ({"key_id": None}, "app_attest.key_id"),
    ({"key_id": "AAAA"}, "app_attest.key_id"),
    ({"challenge": 5}, "app_attest.challenge"),
    ({"challenge": "x" * 513}, "app_attest.challenge"),
    ({"assertion": ""}, "app_attest.assertion"),
    ({"assertion": "A" * 4097}, "app_attest.assertion"),
    ({"assertion": "!"}, "app_attest.assertion"),
]
ENCODED = {
    "truncated": lambda raw: raw[:-1],
    "bytes behind": lambda raw: raw + b"\0",
    "deep nesting": lambda raw: b"\x81" * 3000 + b"\0",
    "bytes without end": lambda raw: b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
}


def test_what_is_signed_wrongly_is_refused_where_the_right_is_not(app, refusal, subtests):
    counter = AttestedKey.objects.get().counter

    for name, sign in SIGNED.items():
        with subtests.test(name):
            app.enclave.counter = counter
            refused = app.checks(sign(app))

            assert refusal(refused) == REFUSED
            assert asked(refused) == "refused"
            assert AttestedKey.objects.get().counter == counter

    assert app.checks(counter=counter + 1).status_code == 200


def test_a_tampered_assertion_is_refused_where_the_untouched_one_is_not(app, refusal, subtests):
    for name, write in WRITTEN.items():
        with subtests.test(name):
            good = app.proof()
            forged = cbor2.dumps(write(cbor2.loads(base64.b64decode(good["assertion"]))))

            refused = app.checks(good | {"assertion": base64.b64encode(forged).decode()})

            assert refusal(refused) == REFUSED
            assert app.checks(good).status_code == 200


def test_what_is_no_single_cbor_object_is_refused(app, refusal, subtests):
    for name, encode in ENCODED.items():
        with subtests.test(name):
            good = app.proof()
            forged = encode(base64.b64decode(good["assertion"]))

            refused = app.checks(good | {"assertion": base64.b64encode(forged).decode()})

            assert refusal(refused) == REFUSED
            assert app.checks(good).status_code == 200


def test_a_proof_is_good_once(app, refusal):
    proof = app.proof()
    assert app.checks(proof).status_code == 200

    assert refusal(app.checks(proof)) == REFUSED


def test_a_challenge_is_good_once_however_high_the_counter(app, refusal):
    challenge = app.challenge()
    assert app.checks(challenge=challenge).status_code == 200

    refused = app.checks(challenge=challenge)

    assert refusal(refused) == REFUSED
    assert AttestedKey.objects.get().counter == app.enclave.counter - 1
    assert app.checks().status_code == 200


def test_a_challenge_that_attested_a_key_signs_nothing_more(installation, refusal):
    app = AttestedApp(installation)
    challenge = app.challenge()
    app.attests(challenge=challenge)

    assert refusal(app.checks(challenge=challenge)) == REFUSED


def test_a_counter_may_skip_and_reaches_its_end(app, refusal):
    assert app.checks(counter=2**32 - 1).status_code == 200
    assert refusal(app.checks(counter=2**32 - 1)) == REFUSED


def test_a_key_that_we_do_not_know_is_to_be_attested(app, refusal):
    known, app.enclave = app.enclave, Enclave()

    refused = app.checks()

    assert refusal(refused) == REFUSED
    assert asked(refused) == "unknown_key"
    app.enclave = known
    assert app.checks().status_code == 200


def test_another_devices_key_signs_nothing_for_this_one(app, new_installation, refusal):
    thief = AttestedApp(new_installation())
    thief.enclave = app.enclave

    refused = thief.checks()

    assert refusal(refused) == REFUSED
    assert asked(refused) == "unknown_key"
    assert app.checks().status_code == 200


def test_a_phone_that_lost_its_key_attests_another_and_is_the_same_guest(app):
    user_id = app.checks().json()["user_id"]
    app.enclave = Enclave()

    assert app.attests().status_code == 200

    assert app.checks().json()["user_id"] == user_id


def test_apple_out_of_reach_after_the_proof_is_a_503_and_a_new_proof_gets_in(app, sandbox, refusal):
    sandbox.control("apple/outage", service="devicecheck", status=503, times=1)

    assert refusal(app.checks()) == (503, "ERR_5004")
    assert app.checks().status_code == 200


def test_a_malformed_proof_names_its_field(app, refusal, subtests):
    for change, field in MALFORMED:
        with subtests.test(str(change)[:40]):
            proof = app.proof()

            refused = app.checks(proof | change)

            assert refusal(refused) == (400, "ERR_4008")
            assert set(refused.json()["error"]["details"]["fields"]) == {field}
            assert app.checks(proof).status_code == 200


def test_a_proof_is_an_object(app, refusal, subtests):
    for proof in ("x", 7, ["x"]):
        with subtests.test(str(proof)):
            assert refusal(app.checks(proof)) == (400, "ERR_4008")


def test_the_keys_go_with_the_account_and_the_phone_attests_anew(app, new_installation):
    other = AttestedApp(new_installation())
    other.attests()
    app.phone.session = app.checks().json()["session"]

    assert app.phone.post("delete-account", {}).status_code == 200

    assert AttestedKey.objects.get().key_id == other.enclave.key_name
    app.phone.session = None
    assert asked(app.checks()) == "unknown_key"
    app.enclave = Enclave()
    app.attests()
    assert app.checks().json()["credits_remaining"] == 0


def test_an_export_says_when_a_device_was_attested(app):
    app.phone.session = app.checks().json()["session"]

    (device,) = app.phone.get("export-user-data").json()["devices"]

    assert device["attested_at"] is not None
    assert app.enclave.key_name not in app.phone.get("export-user-data").content.decode()
