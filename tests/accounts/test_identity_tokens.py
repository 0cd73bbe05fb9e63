"""Forged, stale and foreign identity tokens: each with the same request as its success."""

import base64
import json
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from accounts.apple import identity_tokens
from accounts.models import AppleIdentity, UsedToken

pytestmark = pytest.mark.django_db

DAY = 86_400


def nothing_has_changed(guest):
    return (
        guest.get("get-user-profile").json()["is_guest"] is True
        and not AppleIdentity.objects.exists()
        and not UsedToken.objects.exists()
    )


def token_requests(sandbox):
    return [one for one in sandbox.requests("apple") if one["path"].endswith("/auth/token")]


@pytest.mark.parametrize(
    "flaws",
    [
        {"algorithm": "none"},
        {"algorithm": "HS256"},  # signed with the public key, which all know
        {"kid": "NOBODYS"},
        {"audience": "com.somebody.else"},
        {"issuer": "https://appleid.apple.com.example"},
        {"expires_in": -1},
        {"expires_in": -DAY},
        {"issued_in": 3600},
        {"not_before_in": 3600},
        {"nonce": "0" * 64},
        {"nonce": None},
    ],
    ids=lambda flaws: "-".join(f"{name}={value}" for name, value in flaws.items()),
)
def test_a_flawed_token_is_refused_where_a_good_one_is_not(guest, person, sandbox, refusal, flaws):
    refused = person.signs_in(guest, **flaws)

    assert refusal(refused) == (401, "ERR_4020")
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert nothing_has_changed(guest)
    # A token that is refused costs Apple no exchange, and the person no code.
    assert token_requests(sandbox) == []
    assert person.signs_in(guest).status_code == 200


def changed(token, **claims):
    header, body, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=="))
    body = base64.urlsafe_b64encode(json.dumps(told | claims).encode()).decode().rstrip("=")
    return f"{header}.{body}.{signature}"


def signed_by_a_stranger(token):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = jwt.decode(token, options={"verify_signature": False})
    kid = jwt.get_unverified_header(token)["kid"]
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": kid})


def carrying_its_own_key(token):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = jwt.decode(token, options={"verify_signature": False})
    own = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "own", "jwk": own})


@pytest.mark.parametrize(
    "forge",
    [
        lambda token: changed(token, sub="somebody-else"),
        lambda token: token.rsplit(".", 1)[0] + ".",
        lambda token: token[:-6] + "AAAAAA",
        signed_by_a_stranger,
        carrying_its_own_key,
        lambda token: "not.a.token",
        lambda token: "x",
        lambda token: "." * 3,
        lambda token: "[" * 5000,
        lambda token: f"{token}.{token}",
    ],
)
def test_a_tampered_token_is_refused(guest, person, refusal, forge):
    tokens = person.tokens()
    forged = tokens | {"identity_token": forge(tokens["identity_token"])}

    assert refusal(person.signs_in(guest, tokens=forged)) == (401, "ERR_4020")
    assert nothing_has_changed(guest)
    assert person.signs_in(guest, tokens=tokens).status_code == 200


def test_the_nonce_is_the_raw_one(guest, person, refusal):
    tokens = person.tokens()
    claims = jwt.decode(tokens["identity_token"], options={"verify_signature": False})

    for wrong in [claims["nonce"], tokens["nonce"].upper(), f" {tokens['nonce']}", uuid4().hex]:
        refused = person.signs_in(guest, tokens=tokens | {"nonce": wrong})
        assert refusal(refused) == (401, "ERR_4020")

    assert nothing_has_changed(guest)
    assert person.signs_in(guest, tokens=tokens).status_code == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"identity_token": None}, "identity_token"),
        ({"identity_token": ""}, "identity_token"),
        ({"identity_token": 7}, "identity_token"),
        ({"identity_token": ["x"]}, "identity_token"),
        ({"identity_token": "x" * 20_000}, "identity_token"),
        ({"nonce": None}, "nonce"),
        ({"nonce": ""}, "nonce"),
        ({"nonce": {}}, "nonce"),
        ({"authorization_code": 5}, "authorization_code"),
    ],
)
def test_a_malformed_body_names_its_field(guest, person, change, field):
    tokens = person.tokens()

    refused = person.signs_in(guest, tokens=tokens | change)

    assert refused.status_code == 400
    assert set(refused.json()["error"]["details"]["fields"]) == {field}
    assert person.signs_in(guest, tokens=tokens).status_code == 200


def test_a_bare_apple_sub_proves_nothing(guest, person):
    refused = guest.post("merge-guest-to-user", {"apple_sub": person.sub})

    assert refused.status_code == 400
    assert set(refused.json()["error"]["details"]["fields"]) == {"identity_token", "nonce"}
    assert nothing_has_changed(guest)


def test_an_identity_token_is_good_for_one_sign_in(guest, person, new_signed_in, refusal):
    tokens = person.tokens()
    assert person.signs_in(guest, tokens=tokens).status_code == 200
    thief = new_signed_in()
    # The signature may be written in several ways: its last character holds unused bits.
    head, last = tokens["identity_token"][:-1], tokens["identity_token"][-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = head + alphabet[alphabet.index(last) ^ 1]

    for token in (tokens["identity_token"], twin):
        for code in (tokens["authorization_code"], None):
            again = tokens | {"identity_token": token, "authorization_code": code}
            assert refusal(person.signs_in(thief, tokens=again)) == (401, "ERR_4020")

    assert thief.get("get-user-profile").json()["is_guest"] is True


def test_a_sign_in_needs_a_session(installation, person, refusal):
    tokens = person.tokens()

    assert refusal(person.signs_in(installation, tokens=tokens)) == (401, "ERR_4005")
    assert person.signs_in(installation.signed_in(), tokens=tokens).status_code == 200


def test_another_persons_code_is_refused(guest, person, new_person, refusal):
    tokens, others = person.tokens(), new_person().tokens()

    mixed = tokens | {"authorization_code": others["authorization_code"]}

    assert refusal(person.signs_in(guest, tokens=mixed)) == (401, "ERR_4020")
    assert nothing_has_changed(guest)
    assert person.signs_in(guest, tokens=tokens).status_code == 200


@pytest.mark.parametrize("code", ["unknown", "used", "expired"])
def test_a_code_that_apple_does_not_take_is_refused(guest, person, refusal, code, settings):
    tokens = person.tokens(code_expires_in=0 if code == "expired" else 300)
    if code == "used":
        identity = identity_tokens.read_identity_token(
            tokens["identity_token"], nonce=tokens["nonce"]
        )
        assert identity_tokens.exchange_code(tokens["authorization_code"], identity=identity)
    if code == "unknown":
        tokens["authorization_code"] = "c-nobodys"

    assert refusal(person.signs_in(guest, tokens=tokens)) == (401, "ERR_4020")
    assert nothing_has_changed(guest)
    assert person.signs_in(guest).status_code == 200


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_apple_in_trouble_at_the_exchange_changes_nothing(guest, person, sandbox, refusal, status):
    person.signs_in(guest, nonce="0" * 64)  # the key set is known from here on
    sandbox.control("apple/outage", service="auth", status=status, times=1)
    tokens = person.tokens()

    assert refusal(person.signs_in(guest, tokens=tokens)) == (503, "ERR_5004")
    assert nothing_has_changed(guest)
    assert person.signs_in(guest, tokens=tokens).status_code == 200


def test_apple_out_of_reach_changes_nothing(guest, person, settings, refusal):
    tokens = person.tokens()

    for name in ("APPLE_KEYS_URL", "APPLE_TOKEN_URL"):
        there = getattr(settings, name)
        setattr(settings, name, "http://127.0.0.1:9/apple")
        assert refusal(person.signs_in(guest, tokens=tokens)) == (503, "ERR_5004")
        assert nothing_has_changed(guest)
        setattr(settings, name, there)

    assert person.signs_in(guest, tokens=tokens).status_code == 200


def test_we_say_who_we_are_in_apples_form(guest, person, sandbox, settings):
    person.signs_in(guest)

    (asked,) = token_requests(sandbox)
    assert set(asked["body"]) == {"client_id", "client_secret", "grant_type", "code"}
    secret = identity_tokens._client_secret("com.rendio.app", 7)
    claims = jwt.decode(secret, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] <= 15_777_000
    assert (claims["iss"], claims["sub"]) == (settings.APPLE_TEAM_ID, "com.rendio.app")
    assert claims["aud"] == "https://appleid.apple.com"
    header = jwt.get_unverified_header(secret)
    assert (header["alg"], header["kid"]) == ("ES256", settings.SIGN_IN_KEY_ID)
