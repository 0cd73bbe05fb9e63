"""Access tokens: verified without a query, and nothing else passes for one."""

import base64
import json
import time
from uuid import uuid4

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import rsa

from accounts import tokens
from accounts.authentication import AccessTokenAuthentication, Caller

KEY_ID, OLD_KEY_ID = "current", "old"
SECRET, OLD_SECRET = "s" * 64, "o" * 64
USER_ID, SESSION_ID = uuid4(), uuid4()
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(autouse=True)
def two_keys(settings):
    settings.SESSION_SIGNING_KEYS = {KEY_ID: SECRET, OLD_KEY_ID: OLD_SECRET}


def signed(*, key=SECRET, algorithm="HS256", headers=None, without=(), **changes):
    now = int(time.time())
    claims = {
        "typ": "access",
        "sub": str(USER_ID),
        "sid": str(SESSION_ID),
        "lang": "tr",
        "iat": now,
        "exp": now + 60,
    } | changes
    kept = {name: value for name, value in claims.items() if name not in without}
    return jwt.encode(
        kept, key, algorithm=algorithm, headers={"kid": KEY_ID} if headers is None else headers
    )


def tampered(**changes):
    """A good token with other claims under the old signature."""
    head, body, signature = signed().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    body = base64.urlsafe_b64encode(json.dumps(claims | changes).encode()).decode().rstrip("=")
    return f"{head}.{body}.{signature}"


def ask(client, authorization):
    """Any call that needs a caller; 400 says that it was let in and looked at the body."""
    return client.post(
        "/v1/auth/logout",
        {"refresh_token": "nonsense"},
        content_type="application/json",
        headers={"Authorization": authorization} if authorization else {},
    )


LET_IN = 400


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(lambda: signed(key="", algorithm="none"), id="alg none"),
        pytest.param(
            lambda: signed(key="", algorithm="none").rstrip(".") + ".x", id="alg none, signed"
        ),
        pytest.param(lambda: signed(algorithm="HS512"), id="another HMAC"),
        pytest.param(lambda: signed(key=RSA_KEY, algorithm="RS256"), id="RS256"),
        pytest.param(lambda: signed(key="x" * 40), id="wrong key"),
        pytest.param(lambda: signed(headers={"kid": "unknown"}), id="unknown kid"),
        pytest.param(lambda: signed(headers={"kid": OLD_KEY_ID}), id="another key's kid"),
        pytest.param(lambda: signed(headers={}), id="no kid"),
        pytest.param(lambda: tampered(sub=str(uuid4())), id="claims changed"),
        pytest.param(lambda: signed(exp=int(time.time()) - 1), id="expired"),
        pytest.param(lambda: signed(nbf=int(time.time()) + 60), id="not yet valid"),
        pytest.param(lambda: signed(iat=int(time.time()) + 3600), id="issued in the future"),
        pytest.param(lambda: signed(exp="tomorrow"), id="expiry is a text"),
        pytest.param(lambda: signed(iat="today"), id="issue is a text"),
        pytest.param(lambda: signed(exp=None), id="expiry is null"),
        *[
            pytest.param(lambda name=name: signed(without=[name]), id=f"without {name}")
            for name in ("typ", "sub", "sid", "iat", "exp")
        ],
        pytest.param(lambda: signed(typ="refresh"), id="another kind of token"),
        pytest.param(lambda: signed(sub="root"), id="subject is no UUID"),
        pytest.param(lambda: signed(sid="1"), id="session is no UUID"),
        pytest.param(lambda: tokens.new_refresh(SESSION_ID).text, id="refresh token"),
        pytest.param(lambda: "a.b.c", id="nonsense"),
        pytest.param(lambda: "", id="empty"),
        pytest.param(lambda: "é", id="not ASCII"),
        pytest.param(lambda: signed() + " " + signed(), id="two tokens"),
    ],
)
def test_what_is_no_good_token_is_a_401(db, client, refusal, token):
    refused = ask(client, f"Bearer {token()}")

    assert refusal(refused) == (401, "ERR_4005")
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert ask(client, f"Bearer {signed()}").status_code == LET_IN


@pytest.mark.parametrize("scheme", ["Basic", "Token", "", "Key"])
def test_only_bearer_counts(db, client, refusal, scheme):
    assert refusal(ask(client, f"{scheme} {signed()}")) == (401, "ERR_4005")
    assert ask(client, f"bearer {signed()}").status_code == LET_IN


def test_without_a_token_a_protected_call_is_a_401(db, client, refusal):
    refused = ask(client, None)

    assert refusal(refused) == (401, "ERR_4005")
    assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_a_cookie_of_the_staff_pages_is_no_token(db, client, admin_user, refusal):
    client.force_login(admin_user)

    assert refusal(ask(client, None)) == (401, "ERR_4005")


def test_every_known_key_verifies_and_the_first_one_signs(db, client, settings, rf):
    issued = tokens.issue_access(
        user_id=USER_ID, session_id=SESSION_ID, language="en", now=tokens.clock.now()
    )
    by_the_old_key = signed(key=OLD_SECRET, headers={"kid": OLD_KEY_ID})

    assert jwt.get_unverified_header(issued) == {"alg": "HS256", "kid": KEY_ID, "typ": "JWT"}
    assert ask(client, f"Bearer {by_the_old_key}").status_code == LET_IN
    settings.SESSION_SIGNING_KEYS = {KEY_ID: SECRET}
    assert ask(client, f"Bearer {by_the_old_key}").status_code == 401
    assert ask(client, f"Bearer {issued}").status_code == LET_IN


def test_a_token_that_was_good_before_ends_with_its_time(db, client):
    now = int(time.time())
    token = signed(exp=now + 60)
    assert ask(client, f"Bearer {token}").status_code == LET_IN

    with time_machine.travel(now + 59, tick=False):
        assert ask(client, f"Bearer {token}").status_code == LET_IN
    with time_machine.travel(now + 60, tick=False):
        assert ask(client, f"Bearer {token}").status_code == 401


def test_a_token_that_was_good_before_ends_with_its_key(db, client, settings):
    token = signed()
    assert ask(client, f"Bearer {token}").status_code == LET_IN

    settings.SESSION_SIGNING_KEYS = {KEY_ID: OLD_SECRET, OLD_KEY_ID: OLD_SECRET}

    assert ask(client, f"Bearer {token}").status_code == 401


def test_a_token_that_was_good_before_ends_with_its_session(committed_guest):
    assert committed_guest.get("get-user-profile").status_code == 200

    committed_guest.log_out()

    assert committed_guest.get("get-user-profile").status_code == 401


def test_a_good_token_is_checked_in_full_once_and_a_bad_one_each_time(settings):
    tokens._signed.cache_clear()
    good, bad = signed(), tampered(sub=str(uuid4()))

    for _ in range(3):
        tokens.read_access(good)
        with pytest.raises(tokens.InvalidToken):
            tokens.read_access(bad)

    seen = tokens._signed.cache_info()
    assert (seen.hits, seen.currsize) == (2, 1)
    assert seen.maxsize == tokens.REMEMBERED


def test_verifying_makes_no_query(db, rf, django_assert_num_queries):
    request = rf.get("/", headers={"Authorization": f"Bearer {signed()}"})

    with django_assert_num_queries(0):
        caller, _ = AccessTokenAuthentication().authenticate(request)

    assert caller == Caller(USER_ID, SESSION_ID, "tr")
    assert caller.is_authenticated is True


def test_a_profile_takes_two_queries_and_none_of_them_for_the_token(
    guest, settings, django_assert_num_queries
):
    settings.SESSION_SIGNING_KEYS = {KEY_ID: SECRET}
    guest.signed_in()

    with django_assert_num_queries(2) as queries:
        assert guest.get("get-user-profile").status_code == 200

    assert "accounts_session" not in str(queries.captured_queries)


def test_a_foreign_user_id_is_refused_and_the_own_accepted(guest, settings, refusal):
    settings.SESSION_SIGNING_KEYS = {KEY_ID: SECRET}
    guest.signed_in()

    refused = guest.get(f"get-user-profile?user_id={uuid4()}")

    assert refusal(refused) == (403, "ERR_4006")
    assert guest.get(f"get-user-profile?user_id={guest.user_id.upper()}").status_code == 200
    body = {"language": "es"}
    assert refusal(guest.post("update-user-profile", body | {"user_id": str(uuid4())})) == (
        403,
        "ERR_4006",
    )
    assert guest.post("update-user-profile", body | {"user_id": guest.user_id}).status_code == 200
