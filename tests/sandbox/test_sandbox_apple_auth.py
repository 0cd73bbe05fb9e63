"""PyJWT and its client of key sets, which others wrote, judge the tokens."""

import base64
import hashlib
import hmac
import json
import os
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

BUNDLE_ID = os.environ.get("APPSTORE_BUNDLE_ID") or "com.rendio.app"
ISSUER = "https://appleid.apple.com"
SUB = "001234.0123456789abcdef.0042"
RAW_NONCE = "what-the-app-made-up"
NONCE = hashlib.sha256(RAW_NONCE.encode()).hexdigest()
RELAYED = "k7x2@privaterelay.appleid.com"


class WrongNonce(Exception):
    pass


def client_secret(*, header=None, **claims):
    """As Apple asks for it, but for a signature; `None` leaves a claim out."""
    header = {"alg": "ES256", "kid": "KEY1234567"} | (header or {})
    now = int(time.time())
    claims = {
        "iss": "TEAM123456",
        "iat": now,
        "exp": now + 300,
        "aud": ISSUER,
        "sub": BUNDLE_ID,
    } | claims
    claims = {name: value for name, value in claims.items() if value is not None}
    return f"{part(header)}.{part(claims)}.c2lnbmF0dXJl"


def part(content):
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def unverified(token):
    return jwt.decode(token, options={"verify_signature": False})


class Apple:
    """Asks Apple as our server does; `None` leaves a field out."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        # By default it looks for a key it does not know once in 30 seconds.
        self.jwks = jwt.PyJWKClient(f"{sandbox.url}/apple/auth/keys", cooldown_duration=0)

    def sign_in(self, **fields):
        return self.sandbox.control("apple/identity", **({"sub": SUB, "nonce": NONCE} | fields))

    def identity_token(self, **fields):
        return self.sign_in(**fields)["identity_token"]

    def code(self, **fields):
        return self.sign_in(**fields)["authorization_code"]

    def verify(self, token, *, audience=BUNDLE_ID):
        return jwt.decode(
            token,
            self.jwks.get_signing_key_from_jwt(token),
            algorithms=["RS256"],
            audience=audience,
            issuer=ISSUER,
            options={"require": ["exp", "iat", "aud", "iss"]},
        )

    def admit(self, token):
        """The claims of an identity token, as a careful server takes them."""
        claims = self.verify(token)
        if claims.get("nonce") != NONCE:
            raise WrongNonce
        return claims

    def read_notice(self, delivery):
        """The claims of a notice and its event, as a careful server takes them."""
        body = json.loads(delivery["body"])
        assert set(body) == {"payload"}
        claims = self.verify(body["payload"])
        assert type(claims["events"]) is str
        return claims, json.loads(claims["events"])

    def post(self, what, **fields):
        form = {"client_id": BUNDLE_ID, "client_secret": client_secret()} | fields
        return self.sandbox.http.post(
            f"/apple/auth/{what}",
            data={name: value for name, value in form.items() if value is not None},
        )

    def exchange(self, code, /, **fields):
        return self.post("token", **({"grant_type": "authorization_code", "code": code} | fields))

    def refresh(self, token, /, **fields):
        return self.post(
            "token", **({"grant_type": "refresh_token", "refresh_token": token} | fields)
        )

    def revoke(self, token, /, **fields):
        return self.post("revoke", **({"token": token} | fields))

    def exchanged(self, **fields):
        """The tokens of one who has just signed in."""
        answer = self.exchange(self.code(**fields))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def revoked(self):
        return self.sandbox.http.get("/control/apple/revoked").json()["tokens"]

    def notify(self, **fields):
        return self.sandbox.control("apple/identity-notice", **({"sub": SUB} | fields))


@pytest.fixture
def apple(sandbox, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # PyJWT asks through urllib
    return Apple(sandbox)


def refused(answer, error):
    assert (answer.status_code, answer.json()) == (400, {"error": error})
    return True


def sha256(token):
    return hashlib.sha256(token.encode()).hexdigest()


# The key set


def test_the_key_set_has_several_keys_for_rs256(apple):
    keys = apple.sandbox.http.get("/apple/auth/keys").json()["keys"]

    assert len({key["kid"] for key in keys}) == len(keys) >= 2
    for key in keys:
        assert set(key) == {"kty", "kid", "use", "alg", "n", "e"}
        assert (key["kty"], key["use"], key["alg"], key["e"]) == ("RSA", "sig", "RS256", "AQAB")


def test_a_rotation_adds_a_key_and_the_old_still_verifies(apple):
    before = apple.identity_token()

    told = apple.sandbox.control("apple/rotate-keys")
    after = apple.identity_token()

    assert jwt.get_unverified_header(after)["kid"] == told["signing"]
    assert jwt.get_unverified_header(before)["kid"] in told["keys"]
    assert apple.admit(before)["sub"] == apple.admit(after)["sub"] == SUB


def test_a_client_that_has_the_old_key_set_finds_the_new_key(apple):
    apple.admit(apple.identity_token())

    apple.sandbox.control("apple/rotate-keys")

    assert apple.admit(apple.identity_token())["sub"] == SUB


def test_a_rotation_can_drop_all_earlier_keys(apple):
    first = apple.identity_token()
    apple.sandbox.control("apple/rotate-keys")
    second = apple.identity_token()

    told = apple.sandbox.control("apple/rotate-keys", drop=True)

    assert len(told["keys"]) >= 2
    for old in (first, second):
        with pytest.raises(jwt.PyJWKClientError):
            apple.admit(old)
    assert apple.admit(apple.identity_token())["sub"] == SUB


def test_the_key_set_survives_a_reset(apple):
    told = apple.sandbox.control("apple/rotate-keys")

    apple.sandbox.control("reset")

    keys = apple.sandbox.http.get("/apple/auth/keys").json()["keys"]
    assert [key["kid"] for key in keys] == told["keys"]


# Identity tokens


def test_an_identity_token_verifies_and_names_the_subject(apple):
    answer = apple.sign_in(email="ada@example.com")

    claims = apple.admit(answer["identity_token"])

    half = hashlib.sha256(answer["authorization_code"].encode()).digest()[:16]
    assert set(answer) == {"identity_token", "authorization_code"}
    assert abs(claims["iat"] - time.time()) < 5
    assert claims == {
        "iss": ISSUER,
        "aud": BUNDLE_ID,
        "iat": claims["iat"],
        "exp": claims["iat"] + 86_400,
        "auth_time": claims["iat"],
        "sub": SUB,
        "nonce": NONCE,
        "nonce_supported": True,
        "email": "ada@example.com",
        "email_verified": True,
        "c_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
        "real_user_status": 2,
    }


def test_omitted_claims_are_not_in_the_token(apple):
    token = apple.sandbox.control("apple/identity", sub=SUB)["identity_token"]

    claims = apple.verify(token)

    assert not {"nonce", "email", "email_verified", "is_private_email", "nbf"} & set(claims)


@pytest.mark.parametrize(
    ("given", "private"), [(True, True), (False, True), ("true", "true"), ("false", "true")]
)
def test_boolean_claims_have_the_requested_form(apple, given, private):
    claims = apple.admit(apple.identity_token(email=RELAYED, email_verified=given))

    assert claims["email_verified"] is given or claims["email_verified"] == given
    assert claims["is_private_email"] == private
    assert type(claims["is_private_email"]) is type(given)


def test_a_token_can_name_another_app(apple):
    token = apple.identity_token(audience="com.example.other")

    assert apple.verify(token, audience="com.example.other")["sub"] == SUB


# One row per attack, each on the same sign-in that is admitted without it.
@pytest.mark.parametrize(
    ("flaw", "error"),
    [
        ({"algorithm": "none"}, jwt.InvalidAlgorithmError),
        ({"algorithm": "HS256"}, jwt.InvalidAlgorithmError),
        ({"kid": "NOBODYSKEY"}, jwt.PyJWKClientError),
        ({"audience": "com.example.other"}, jwt.InvalidAudienceError),
        ({"issuer": "https://appleid.example.com"}, jwt.InvalidIssuerError),
        ({"expires_in": -1}, jwt.ExpiredSignatureError),
        ({"not_before_in": 60}, jwt.ImmatureSignatureError),
        ({"issued_in": 60}, jwt.ImmatureSignatureError),
        ({"nonce": hashlib.sha256(b"another's").hexdigest()}, WrongNonce),
        ({"nonce": RAW_NONCE}, WrongNonce),
    ],
    ids=str,
)
def test_a_flawed_identity_token_is_refused_for_its_flaw(apple, flaw, error):
    with pytest.raises(error):
        apple.admit(apple.identity_token(**flaw))

    assert apple.admit(apple.identity_token())["sub"] == SUB


def test_another_key_does_not_sign_under_a_known_kid(apple):
    for key in apple.sandbox.http.get("/apple/auth/keys").json()["keys"]:
        forged = apple.identity_token(kid=key["kid"])

        assert jwt.get_unverified_header(forged)["kid"] == key["kid"]
        with pytest.raises(jwt.InvalidSignatureError):
            apple.admit(forged)


def test_a_payload_that_was_tampered_with_does_not_verify(apple):
    header, payload, signature = apple.identity_token().split(".")
    claims = unverified(f"{header}.{payload}.{signature}")

    # Written anew without a change it verifies: it is the change that does not.
    rewritten = base64.urlsafe_b64encode(json.dumps(claims, separators=(",", ":")).encode())
    assert rewritten.rstrip(b"=").decode() == payload
    with pytest.raises(jwt.InvalidSignatureError):
        apple.admit(f"{header}.{part(claims | {'sub': 'someone-else'})}.{signature}")


def test_an_hs256_token_is_signed_with_the_public_key(apple):
    signed, _, signature = apple.identity_token(algorithm="HS256").rpartition(".")

    token = apple.identity_token()
    pem = apple.jwks.get_signing_key_from_jwt(token).key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    expected = hmac.digest(pem, signed.encode(), "sha256")
    assert base64.urlsafe_b64decode(signature + "=") == expected


def test_a_token_with_algorithm_none_has_no_signature(apple):
    token = apple.identity_token(algorithm="none")

    assert token.endswith(".")
    assert jwt.get_unverified_header(token)["alg"] == "none"
    assert unverified(token)["sub"] == SUB


def test_an_expired_token_has_a_valid_signature(apple):
    claims = unverified(apple.identity_token(expires_in=-60))

    assert claims["iat"] == claims["auth_time"] < claims["exp"] < time.time()


# The token endpoint


def test_a_code_is_exchanged_for_tokens(apple):
    answer = apple.exchange(apple.code(email=RELAYED))

    tokens = answer.json()
    assert answer.status_code == 200
    assert set(tokens) == {
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "id_token",
    }
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 3600)
    claims = apple.admit(tokens["id_token"])
    assert (claims["sub"], claims["email"]) == (SUB, RELAYED)


def test_a_code_is_accepted_once(apple):
    code = apple.code()

    assert apple.exchange(code).status_code == 200
    assert refused(apple.exchange(code), "invalid_grant")


def test_a_code_expires(apple):
    assert refused(apple.exchange(apple.code(code_expires_in=0)), "invalid_grant")
    assert apple.exchange(apple.code(code_expires_in=300)).status_code == 200


def test_a_code_is_accepted_only_for_its_app(apple):
    code = apple.code()
    other = "com.example.other"

    stolen = apple.exchange(code, client_id=other, client_secret=client_secret(sub=other))

    assert refused(stolen, "invalid_grant")
    assert apple.exchange(code).status_code == 200


def test_the_code_of_a_forged_token_is_genuine(apple):
    tokens = apple.exchanged(algorithm="none", issuer="https://appleid.example.com")

    assert apple.admit(tokens["id_token"])["sub"] == SUB


def test_a_refresh_token_can_be_reused_and_is_not_rotated(apple):
    first = apple.exchanged()

    second, third = (apple.refresh(first["refresh_token"]) for _ in range(2))

    assert second.status_code == third.status_code == 200
    assert set(second.json()) == {"access_token", "token_type", "expires_in", "id_token"}
    assert second.json()["access_token"] != first["access_token"]
    assert apple.verify(second.json()["id_token"])["sub"] == SUB


def test_only_a_refresh_token_refreshes(apple):
    tokens = apple.exchanged()

    for other in (tokens["access_token"], tokens["id_token"], "rubbish"):
        assert refused(apple.refresh(other), "invalid_grant")
    assert apple.refresh(tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"client_id": None}, "invalid_request"),
        ({"client_secret": None}, "invalid_client"),
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"code": None}, "invalid_request"),
        ({"code": ""}, "invalid_request"),
        ({"code": ["one", "two"]}, "invalid_request"),
        ({"code": "rubbish"}, "invalid_grant"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
    ],
    ids=str,
)
def test_a_bad_request_is_refused_by_its_oauth_name(apple, fields, error):
    code = apple.code()

    assert refused(apple.exchange(code, **fields), error)
    assert apple.exchange(code).status_code == 200


def test_json_is_not_a_form(apple):
    form = {
        "client_id": BUNDLE_ID,
        "client_secret": client_secret(),
        "grant_type": "authorization_code",
        "code": apple.code(),
    }

    assert refused(apple.sandbox.http.post("/apple/auth/token", json=form), "invalid_request")
    assert apple.sandbox.http.post("/apple/auth/token", data=form).status_code == 200


@pytest.mark.parametrize(
    "secret",
    [
        "abc",
        "a.b.c",
        client_secret(header={"alg": "HS256"}),
        client_secret(header={"kid": ""}),
        client_secret(iss=None),
        client_secret(iat=None),
        client_secret(iat=int(time.time()) + 3600),
        client_secret(exp=None),
        client_secret(exp=int(time.time()) - 10),
        client_secret(exp=int(time.time()) + 16_000_000),  # two days too late
        client_secret(aud=None),
        client_secret(aud="https://appleid.example.com"),
        client_secret(sub=None),
        client_secret(sub="com.example.other"),
    ],
    ids=lambda secret: str(jwt.get_unverified_header(secret)) if len(secret) > 9 else secret,
)
def test_an_invalid_client_secret_is_refused(apple, secret):
    code, token = apple.code(), apple.exchanged()["refresh_token"]

    assert refused(apple.exchange(code, client_secret=secret), "invalid_client")
    assert refused(apple.revoke(token, client_secret=secret), "invalid_client")
    assert apple.exchange(code).status_code == apple.refresh(token).status_code == 200


# Revocation


def test_a_revoked_refresh_token_is_refused(apple):
    token, other = (apple.exchanged()["refresh_token"] for _ in range(2))

    answer = apple.revoke(token, token_type_hint="refresh_token")

    assert (answer.status_code, answer.content) == (200, b"")
    assert refused(apple.refresh(token), "invalid_grant")
    assert apple.refresh(other).status_code == 200


def test_revoking_the_access_token_ends_the_refresh_token_too(apple):
    tokens = apple.exchanged()

    apple.revoke(tokens["access_token"], token_type_hint="access_token")

    assert refused(apple.refresh(tokens["refresh_token"]), "invalid_grant")


def test_every_revocation_is_listed_with_its_subject(apple):
    token = apple.exchanged()["refresh_token"]
    apple.revoke(token, token_type_hint="refresh_token")
    apple.revoke(token)
    unknown = apple.revoke("rubbish")

    told = apple.revoked()

    assert (unknown.status_code, unknown.content) == (200, b"")
    assert [(one["sha256"], one["token_type_hint"], one["sub"]) for one in told] == [
        (sha256(token), "refresh_token", SUB),
        (sha256(token), None, SUB),
        (sha256("rubbish"), None, None),
    ]
    assert {one["client_id"] for one in told} == {BUNDLE_ID}


def test_a_token_is_revoked_by_the_app_it_belongs_to(apple):
    token = apple.exchanged()["refresh_token"]
    other = "com.example.other"

    answer = apple.revoke(token, client_id=other, client_secret=client_secret(sub=other))

    assert answer.status_code == 200
    assert apple.refresh(token).status_code == 200


def test_a_revocation_needs_a_token(apple):
    assert refused(apple.revoke(None), "invalid_request")
    assert apple.revoked() == []


def test_a_reset_forgets_codes_tokens_and_revocations(apple):
    code, token = apple.code(), apple.exchanged()["refresh_token"]
    apple.revoke("rubbish")

    apple.sandbox.control("reset")

    assert refused(apple.exchange(code), "invalid_grant")
    assert refused(apple.refresh(token), "invalid_grant")
    assert apple.revoked() == []


# Notices


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"type": "consent-revoked"}, {}),
        ({"type": "account-delete"}, {}),
        ({"type": "account-deleted"}, {}),
        ({"type": "email-disabled", "email": RELAYED}, {"is_private_email": "true"}),
        ({"type": "email-enabled", "email": "ada@example.com"}, {"is_private_email": "false"}),
    ],
    ids=lambda fields: fields.get("type"),
)
def test_a_notice_is_delivered_and_verifies(apple, receiver, fields, told):
    answer = apple.notify(url=receiver.url, **fields)

    (delivery,) = receiver.deliveries
    claims, event = apple.read_notice(delivery)
    assert answer == {
        "delivered_status": 200,
        "payload": json.loads(delivery["body"])["payload"],
    }
    assert delivery["headers"]["Content-Type"] == "application/json"
    assert set(claims) == {"iss", "aud", "exp", "iat", "jti", "events"}
    assert abs(event.pop("event_time") / 1000 - time.time()) < 5
    assert event == {"sub": SUB, **fields, **told}


def test_each_notice_has_an_id_of_its_own(apple, receiver):
    for _ in range(2):
        apple.notify(type="consent-revoked", url=receiver.url)

    (first, _), (second, _) = (apple.read_notice(delivery) for delivery in receiver.deliveries)
    assert first["jti"] != second["jti"]


@pytest.mark.parametrize(
    ("flaw", "error"),
    [
        ({"bad_signature": True}, jwt.InvalidSignatureError),
        ({"audience": "com.example.other"}, jwt.InvalidAudienceError),
    ],
    ids=str,
)
def test_a_flawed_notice_does_not_verify(apple, receiver, flaw, error):
    apple.notify(type="account-delete", url=receiver.url, **flaw)
    apple.notify(type="account-delete", url=receiver.url)

    flawed, genuine = receiver.deliveries
    with pytest.raises(error):
        apple.read_notice(flawed)
    assert apple.read_notice(genuine)[1]["type"] == "account-delete"


def test_a_notice_returns_the_receivers_status_and_is_not_retried(apple, receiver):
    receiver.answers = [500, 302]

    told = [apple.notify(type="consent-revoked", url=receiver.url) for _ in range(3)]

    assert [one["delivered_status"] for one in told] == [500, 302, 200]
    assert len(receiver.deliveries) == 3


def test_a_notice_without_a_receiver_has_no_status(apple):
    told = apple.notify(type="consent-revoked", url="http://127.0.0.1:1/")

    assert told["delivered_status"] is None


def test_withdrawn_consent_ends_the_tokens(apple, receiver):
    mine = apple.exchanged()["refresh_token"]
    anothers = apple.exchanged(sub="someone-else")["refresh_token"]
    apple.notify(type="consent-revoked", url=receiver.url, bad_signature=True)
    apple.notify(type="email-disabled", email=RELAYED, url=receiver.url)
    assert apple.refresh(mine).status_code == 200

    apple.notify(type="consent-revoked", url=receiver.url)

    assert refused(apple.refresh(mine), "invalid_grant")
    assert apple.refresh(anothers).status_code == 200
    assert apple.exchanged()["refresh_token"] != mine


@pytest.fixture
def own_app(receiver, monkeypatch, request):
    """A sandbox that was started for an app of another name, which is at the receiver."""
    monkeypatch.setenv("PUBLIC_URL", receiver.url.partition("/webhooks")[0] + "/")
    monkeypatch.setenv("APPLE_CLIENT_IDS", "com.example.served,com.example.web")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    _, sandbox, _ = request.getfixturevalue("own_process")
    return Apple(sandbox)


def test_it_serves_the_app_that_its_environment_names(own_app, receiver):
    token = own_app.identity_token()
    own_app.notify(type="account-delete")

    (delivery,) = receiver.deliveries
    assert own_app.verify(token, audience="com.example.served")["sub"] == SUB
    assert delivery["path"] == "/webhooks/apple-id"
    payload = json.loads(delivery["body"])["payload"]
    assert own_app.verify(payload, audience="com.example.served")


# Outages and the record


def test_no_call_succeeds_during_an_outage(apple):
    code, token = apple.code(), apple.exchanged()["refresh_token"]

    def all_three():
        answers = (
            apple.sandbox.http.get("/apple/auth/keys"),
            apple.exchange(code),
            apple.revoke(token),
        )
        return [answer.status_code for answer in answers]

    apple.sandbox.control("apple/outage", service="auth", status=500)
    during = all_three()
    apple.sandbox.control("apple/outage", service="auth", times=0)

    assert during == [500, 500, 500]
    assert apple.revoked() == []
    assert all_three() == [200, 200, 200]


def test_an_outage_applies_to_its_number_of_calls(apple):
    code = apple.code()

    apple.sandbox.control("apple/outage", service="auth", times=2)

    assert [apple.exchange(code).status_code for _ in range(3)] == [503, 503, 200]


def test_an_outage_of_device_check_does_not_affect_sign_in(apple):
    apple.sandbox.control("apple/outage", service="devicecheck")

    assert apple.exchange(apple.code()).status_code == 200


def test_requests_are_recorded_without_secrets(apple):
    code = apple.code()
    tokens = apple.exchange(code).json()
    apple.refresh(tokens["refresh_token"])
    apple.revoke(tokens["refresh_token"], token_type_hint="refresh_token")

    asked = apple.sandbox.requests("apple")

    exchange, refresh, revocation = (one["body"] for one in asked)
    assert [one["path"].rpartition("/")[2] for one in asked] == ["token", "token", "revoke"]
    assert exchange == {
        "client_id": BUNDLE_ID,
        "client_secret": "…" + client_secret()[-4:],
        "grant_type": "authorization_code",
        "code": "…" + code[-4:],
    }
    assert refresh["refresh_token"] == revocation["token"] == "…" + tokens["refresh_token"][-4:]
    assert revocation["token_type_hint"] == "refresh_token"
    for secret in (code, *client_secret().split("."), tokens["refresh_token"]):
        assert secret not in json.dumps(asked)
