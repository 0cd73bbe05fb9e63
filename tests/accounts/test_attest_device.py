"""App Attest, first half: a key is taken in if Apple vouches for it, and only then."""

import hashlib
from copy import deepcopy
from uuid import uuid4

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from accounts.apple import app_attest
from accounts.models import AttestedKey, UsedToken
from accounts.services import purge_used_tokens
from accounts.services.attestation import MAX_KEYS
from tests.helpers.secure_enclave import (
    APP_ID,
    DAY,
    INTERMEDIATE,
    ROOT,
    AttestedApp,
    Authority,
    Enclave,
)

pytestmark = pytest.mark.django_db

REFUSED = (403, "ERR_4012")


@pytest.fixture(autouse=True)
def our_root(settings):
    settings.APP_ATTEST_ROOT = ROOT.pem


@pytest.fixture
def app(installation):
    return AttestedApp(installation)


def details_of(answer):
    return answer.json()["error"]["details"]


def test_a_key_that_apple_vouches_for_is_taken_in(app):
    answer = app.attests()

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    key = AttestedKey.objects.get()
    assert (key.key_id, str(key.device_id)) == (app.enclave.key_name, app.phone.device_id)
    assert (bytes(key.public_key), bytes(key.receipt)) == (app.enclave.point, b"a receipt")
    assert (key.counter, key.app_id) == (0, APP_ID)


def test_a_device_has_no_more_keys_than_the_most(app):
    """A genuine phone makes as many as it likes, and each brings a receipt of some kilobytes."""
    names = []
    for _ in range(MAX_KEYS + 2):
        app.enclave = Enclave()
        assert app.attests().status_code == 200
        names.append(app.enclave.key_name)

    kept = AttestedKey.objects.filter(device_id=app.phone.device_id)
    assert set(kept.values_list("key_id", flat=True)) == set(names[2:])
    assert app.checks().status_code == 200


def test_the_root_is_the_one_that_apple_publishes():
    root = x509.load_pem_x509_certificate(app_attest.APPLE_ROOT.read_bytes())

    assert hashlib.sha256(root.public_bytes(app_attest.Encoding.DER)).hexdigest() == (
        "1cb9823ba28ba6ad2d33a006941de2ae4f513ef1d4e831b9f7e0fa7b6242c932"
    )
    root.verify_directly_issued_by(root)


def test_without_a_root_in_the_settings_only_apples_counts(app, settings, refusal):
    settings.APP_ATTEST_ROOT = ""

    assert refusal(app.attests()) == REFUSED


FLAWS = {
    "intermediate of another root": {"authority": Authority("Intermediate", Authority())},
    "leaf of another root": {"authority": Authority()},
    "issued by what may not issue": {"authority": Authority("Intermediate", ROOT, is_ca=False)},
    "an intermediate left out": {"authority": Authority("Deeper", INTERMEDIATE)},
    "expired": {"since": -3 * DAY},
    "not yet valid": {"since": DAY},
    "another nonce": {"nonce": b"\0" * 32},
    "short nonce": {"nonce": b"\0" * 31},
    "nonce without its envelope": {"nonce_prefix": b""},
    "another key": {"public_key": Enclave().key.public_key()},
    "RSA": {"public_key": rsa.generate_private_key(65537, 2048).public_key()},
    "another app": {"app_id": "SANDBOXTEAM.com.somebody.else"},
    "no team": {"app_id": "com.rendio.app"},
    "counter 1": {"counter": 1},
    "no aaguid": {"aaguid": bytes(16)},
    "another aaguid": {"aaguid": b"appattestsandbox"},
    "another credential": {"credential_id": b"\1" * 32},
    "longer credential": {"credential_id": b"\1" * 40},
}


@pytest.mark.parametrize("flaws", FLAWS.values(), ids=FLAWS)
def test_a_flawed_attestation_is_refused_where_a_good_one_is_not(app, refusal, flaws):
    refused = app.attests(**flaws)

    assert refusal(refused) == REFUSED
    assert details_of(refused) == {"app_attest": "refused"}
    assert not AttestedKey.objects.exists()
    assert app.attests().status_code == 200


def without(parts, *path):
    *folders, last = path
    for folder in folders:
        parts = parts[folder]
    del parts[last]


def put(parts, value, *path):
    *folders, last = path
    for folder in folders:
        parts = parts[folder]
    parts[last] = value


def deep(levels):
    return b"\x81" * levels + b"\x00"


FORGERIES = {
    "another format": lambda p: put(p, "packed", "fmt"),
    "no format": lambda p: without(p, "fmt"),
    "no statement": lambda p: without(p, "attStmt"),
    "statement is a list": lambda p: put(p, [], "attStmt"),
    "no authenticator data": lambda p: without(p, "authData"),
    "authenticator data is a text": lambda p: put(p, "x", "authData"),
    "authenticator data is short": lambda p: put(p, p["authData"][:36], "authData"),
    "authenticator data ends early": lambda p: put(p, p["authData"][:80], "authData"),
    "authenticator data is longer": lambda p: put(p, p["authData"] + b"x", "authData"),
    "no receipt": lambda p: without(p, "attStmt", "receipt"),
    "no certificates": lambda p: without(p, "attStmt", "x5c"),
    "empty chain": lambda p: put(p, [], "attStmt", "x5c"),
    "leaf alone": lambda p: without(p, "attStmt", "x5c", 1),
    "leaf and intermediate swapped": lambda p: p["attStmt"]["x5c"].reverse(),
    "certificate is a number": lambda p: put(p, 7, "attStmt", "x5c", 0),
    "certificate is nonsense": lambda p: put(p, b"0\x82", "attStmt", "x5c", 0),
    "certificate of an unknown version": lambda p: put(
        p, p["attStmt"]["x5c"][0].replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x1a", 1),
        "attStmt", "x5c", 0,
    ),
    "root in place of the intermediate": lambda p: put(
        p, ROOT.certificate.public_bytes(app_attest.Encoding.DER), "attStmt", "x5c", 1
    ),
    "leaf's signature changed": lambda p: put(
        p, p["attStmt"]["x5c"][0][:-1] + bytes([p["attStmt"]["x5c"][0][-1] ^ 1]),
        "attStmt", "x5c", 0,
    ),
}  # fmt: skip
ENCODINGS = {
    "nothing": lambda raw: b"\xf6",
    "truncated": lambda raw: raw[:-1],
    "half": lambda raw: raw[: len(raw) // 2],
    "bytes behind": lambda raw: raw + b"\0",
    "twice": lambda raw: raw + raw,
    "a text": lambda raw: cbor2.dumps("apple-appattest"),
    "a list": lambda raw: cbor2.dumps([1, 2]),
    "deep nesting": lambda raw: deep(10_000),
    "bytes without end": lambda raw: b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "list without end": lambda raw: b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "map without end": lambda raw: b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff",
    "indefinite length": lambda raw: b"\xbf" + raw[1:] + b"\xff",
    "a key twice": lambda raw: b"\xa4" + cbor2.dumps("fmt") + cbor2.dumps("packed") + raw[1:],
    "itself": lambda raw: cbor2.dumps(cbor2.CBORTag(28, [cbor2.CBORTag(29, 0)])),
    "huge number": lambda raw: b"\xc5\x82\x1a\x3b\x9a\xca\x00\xc2\x59\x10\x00" + b"\xff" * 4096,
    "bad date": lambda raw: b"\xc0\x63abc",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_tampered_attestation_is_refused_where_the_untouched_one_is_not(app, refusal, forge):
    challenge = app.challenge()
    parts = app.enclave.parts(challenge.encode())
    forged = deepcopy(parts)
    forge(forged)

    refused = app.attests(challenge=challenge, attestation=cbor2.dumps(forged))

    assert refusal(refused) == REFUSED
    assert not AttestedKey.objects.exists()
    assert app.attests(challenge=challenge, attestation=cbor2.dumps(parts)).status_code == 200


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_what_is_no_single_cbor_object_is_refused(app, refusal, encode):
    challenge = app.challenge()
    good = app.enclave.attestation(challenge.encode())

    assert refusal(app.attests(challenge=challenge, attestation=encode(good))) == REFUSED
    assert app.attests(challenge=challenge, attestation=good).status_code == 200


def test_production_believes_no_build_of_xcodes(app, settings, refusal):
    settings.PRODUCTION = True

    assert refusal(app.attests(aaguid=app_attest.XCODE_AAGUID)) == REFUSED
    assert app.attests(aaguid=app_attest.STORE_AAGUID).status_code == 200


def test_a_key_on_another_curve_is_refused(app, refusal):
    good, app.enclave.key = app.enclave.key, ec.generate_private_key(ec.SECP384R1())
    assert refusal(app.attests()) == REFUSED

    app.enclave.key = good
    assert app.attests().status_code == 200


def test_another_keys_name_is_refused(app, refusal):
    body = app.body()

    refused = app.phone.post("attest-device", body | {"key_id": Enclave().key_name})

    assert refusal(refused) == REFUSED
    assert app.phone.post("attest-device", body).status_code == 200


# --- The challenge -------------------------------------------------------------------------------


def test_a_challenge_that_nobody_answers_leaves_nothing(app):
    first, second = app.challenge(), app.challenge()

    assert first != second
    assert not UsedToken.objects.exists()


def test_a_challenge_is_good_for_one_key(app, installation, refusal):
    challenge = app.challenge()
    other = AttestedApp(installation)
    assert app.attests(challenge=challenge).status_code == 200

    assert refusal(other.attests(challenge=challenge)) == REFUSED
    assert AttestedKey.objects.count() == 1
    assert other.attests().status_code == 200


def test_the_same_attestation_again_changes_nothing(app):
    body = app.body()
    assert app.phone.post("attest-device", body).status_code == 200
    AttestedKey.objects.update(counter=5)

    again = app.phone.post("attest-device", body)

    assert (again.status_code, again.json()) == (200, {"success": True})
    assert AttestedKey.objects.get().counter == 5


@pytest.mark.parametrize(
    "forge",
    [
        lambda app: "a text of the phone's own",
        lambda app: app.challenge()[:-1] + "?",
        lambda app: "x" + app.challenge(),
        lambda app: app.challenge(device_id=str(uuid4())),
    ],
    ids=["own", "another signature", "changed", "of another device"],
)
def test_a_challenge_that_is_not_ours_to_this_device_is_refused(app, refusal, forge):
    assert refusal(app.attests(challenge=forge(app))) == REFUSED
    assert app.attests().status_code == 200


def test_a_challenge_expires(app, settings, refusal):
    challenge = app.challenge()
    settings.APP_ATTEST_CHALLENGE_SECONDS = 0
    assert refusal(app.attests(challenge=challenge)) == REFUSED

    settings.APP_ATTEST_CHALLENGE_SECONDS = 300
    assert app.attests(challenge=challenge).status_code == 200


def test_a_spent_challenge_is_remembered_for_longer_than_it_is_good(app, settings):
    app.attests()
    spent = UsedToken.objects.get()

    lifetime = DAY / 86_400 * settings.APP_ATTEST_CHALLENGE_SECONDS
    created_at = AttestedKey.objects.get().created_at
    assert purge_used_tokens(now=created_at + lifetime) == 0
    assert spent.expires_at > created_at + lifetime


def test_a_key_speaks_for_the_device_that_it_was_attested_for(app, new_installation, refusal):
    assert app.attests().status_code == 200
    thief = AttestedApp(new_installation())
    thief.enclave = app.enclave

    assert refusal(thief.attests()) == REFUSED
    assert str(AttestedKey.objects.get().device_id) == app.phone.device_id


# --- Bodies and limits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"device_id": "x"}, "device_id"),
        ({"device_id": None}, "device_id"),
        ({"key_id": None}, "key_id"),
        ({"key_id": "AAAA"}, "key_id"),
        ({"key_id": "not base64!"}, "key_id"),
        ({"key_id": 7}, "key_id"),
        ({"challenge": ""}, "challenge"),
        ({"challenge": ["x"]}, "challenge"),
        ({"challenge": "x" * 513}, "challenge"),
        ({"attestation": ""}, "attestation"),
        ({"attestation": "A"}, "attestation"),
        ({"attestation": {}}, "attestation"),
        ({"attestation": "A" * 16_385}, "attestation"),
    ],
)
def test_a_malformed_body_names_its_field(app, refusal, change, field):
    body = app.body()

    refused = app.phone.post("attest-device", body | change)

    assert refusal(refused) == (400, "ERR_4008")
    assert set(details_of(refused)["fields"]) == {field}
    assert app.phone.post("attest-device", body).status_code == 200


@pytest.mark.parametrize("body", [{}, {"device_id": 5}, {"device_id": "x"}])
def test_a_challenge_is_for_a_device(installation, refusal, body):
    assert refusal(installation.post("attest-challenge", body)) == (400, "ERR_4008")


def test_phones_write_base64_as_they_like(app):
    body = app.body()
    for field in ("key_id", "attestation"):
        body[field] = body[field].replace("+", "-").replace("/", "_").rstrip("=")

    assert app.phone.post("attest-device", body).status_code == 200


def test_attestations_of_an_address_are_counted_together(app, settings, refusal):
    settings.RATE_LIMITS |= {"attest_per_ip": (1, 3600)}
    assert app.attests(challenge=app.challenge()).status_code == 200

    refused = app.attests(challenge=app.challenge())
    assert refusal(refused) == (429, "ERR_4004")


def test_without_redis_nothing_is_attested_uncounted(app, settings, refusal, redis_gone):
    body = app.body()
    settings.RATE_LIMITS |= {"attest_per_ip": (60, 3600)}

    with redis_gone():
        assert refusal(app.phone.post("attest-device", body)) == (503, "ERR_5004")

    assert app.phone.post("attest-device", body).status_code == 200
