"""A table of hostile requests: each is refused with the code beside it, and nothing is charged,
stored or logged that should not be."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jwt
import pytest
from django.conf import settings
from django.core import signing
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from accounts import tokens
from tests.generation.uploads.conftest import storage
from tests.helpers import pictures
from tests.helpers.capture_log import capture_log
from tests.helpers.model_ids import SORA
from tests.helpers.phone import Phone

__all__ = ["storage"]  # a fixture

# Stand for what another user has, where a row names it.
THEIR_ID, THEIR_JOB, THEIR_QUOTE, THEIR_UPLOAD, THEIR_SESSION = (
    f"<their {what}>" for what in ("id", "job", "quote", "upload", "session")
)
SORA_FROM_PICTURE = "00000000-0000-4000-8000-000000000004"
# Stands in every text that must not reach the log.
CANARY = "canary0123456789"
ORDER = {"model_id": str(SORA), "prompt": f"A red balloon {CANARY}"}

UNKNOWN_DEVICE = base64.b64encode(CANARY.encode()).decode()

Request = Callable[["World"], Any]


class World:
    """Who attacks, what of another user's there is, and what an attack must not change."""

    def __init__(self, attacker: Phone) -> None:
        self.attacker = attacker
        self.client = Client()
        victim = Phone().sign_in()
        self.theirs = {
            THEIR_ID: str(victim.user_id),
            THEIR_JOB: victim.generate().json()["job_id"],
            THEIR_QUOTE: victim.post("quote-video", ORDER).json()["quote_id"],
            THEIR_UPLOAD: pictures.uploaded(victim)["upload_id"],
            THEIR_SESSION: victim.get("sessions").json()["sessions"][0]["session_id"],
        }

    def named(self, value: Any) -> Any:
        """The same with real ids for those that stand for them."""
        if isinstance(value, dict):
            return {name: self.named(inner) for name, inner in value.items()}
        return self.theirs.get(value, value) if isinstance(value, str) else value

    def kept(self) -> list[Any]:
        """What the tables hold that money, people and media are in."""
        with connection.cursor() as cursor:
            cursor.execute(KEPT)
            return list(cursor.fetchone())


TABLES = [
    "credits_ledgerentry", "credits_lot", "credits_redemption", "credits_idempotencyrecord",
    "generation_job", "generation_quote", "generation_upload", "generation_webhookdelivery",
    "generation_providerrequest", "billing_purchase", "billing_notification",
    "billing_unconfirmedpurchase", "accounts_user", "accounts_session", "accounts_device",
    "accounts_appleidentity", "adminops_adminaction",
]  # fmt: skip
COUNTS = ", ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)  # noqa: S608
KEPT = f"SELECT (SELECT sum(balance) FROM credits_wallet), {COUNTS}"  # noqa: S608


def get(path: str, **query: Any) -> Request:
    return lambda world: world.attacker.get(path, **world.named(query))


def post(path: str, body: Any = None, **headers: str) -> Request:
    return lambda world: world.attacker.post(path, world.named(body), **headers)


def check_body(device_token: str) -> dict[str, Any]:
    """The body of a new phone's device-check with this token."""
    phone = Phone()
    phone.device_token = device_token
    return phone.check_body


def order(**body: Any) -> Request:
    return lambda world: world.attacker.generate(**world.named(ORDER | body))


def order_from(**picture: Any) -> Request:
    """An order of a video that starts from a picture."""
    return order(model_id=SORA_FROM_PICTURE, **picture)


def raw(body: bytes | str, content_type: str = "application/json", **headers: str) -> Request:
    """An order in these very bytes."""
    return lambda world: world.client.post(
        "/v1/generate-video",
        body,
        content_type=content_type,
        headers=world.attacker._headers() | {"Idempotency-Key": str(uuid4())} | headers,
    )


def as_who(authorization: str | Callable[[World], str]) -> Request:
    """The caller's credits, asked for with this Authorization."""

    def ask(world: World) -> Any:
        header = authorization if isinstance(authorization, str) else authorization(world)
        return world.client.get("/v1/get-user-credits", headers={"Authorization": header})

    return ask


def outside(method: str, path: str, body: bytes | str = b"", **headers: str) -> Request:
    """Without a session, at any path."""
    return lambda world: world.client.generic(
        method, path, body, content_type="application/json", headers=headers
    )


def file(content: bytes | Callable[[], bytes], name: str = "picture.png") -> Request:
    def send(world: World) -> Any:
        sent = content if isinstance(content, bytes) else content()
        return world.client.post(
            "/v1/upload-image",
            {"file": SimpleUploadedFile(name, sent, "image/png")},
            headers=world.attacker._headers(),
        )

    return send


def token(key: str | None = None, *, alg: str = "HS256", kid: str = "", **changes: Any) -> str:
    """An access token as ours but for this."""
    known, secret = next(iter(settings.SESSION_SIGNING_KEYS.items()))
    now = int(time.time())
    claims = {"typ": "access", "sub": str(uuid4()), "sid": str(uuid4()), "iat": now, "exp": now + 9}
    signed_by = None if alg == "none" else secret if key is None else key
    return jwt.encode(claims | changes, signed_by, algorithm=alg, headers={"kid": kid or known})


def bearer(*args: Any, **changes: Any) -> Request:
    return as_who(lambda world: f"Bearer {token(*args, **changes)}")


def unsigned(payload: dict[str, Any]) -> str:
    return jwt.encode(payload, None, algorithm="none")


def media(name: str, *, until: int, salt: str = "rendio.media.until") -> Request:
    return lambda world: world.client.get(
        "/media/" + signing.Signer(salt=salt).sign_object([name, until])
    )


def with_prompt(literal: str) -> str:
    return json.dumps(ORDER | {"prompt": "PROMPT"}).replace('"PROMPT"', literal)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
STRANGER = "a-key-of-somebody-else-that-is-long-enough"

HOSTILE: dict[str, tuple[int, str, Request]] = {
    # Who says who they are
    "no token": (401, "ERR_4005", outside("GET", "/v1/get-user-credits")),
    "an empty token": (401, "ERR_4005", as_who("Bearer ")),
    "no token at all but words": (401, "ERR_4005", as_who(f"Bearer {CANARY}")),
    "a token that nobody signed": (401, "ERR_4005", bearer(alg="none")),
    "a token that a stranger signed": (401, "ERR_4005", bearer(STRANGER)),
    "a token under a key that is not ours": (401, "ERR_4005", bearer(kid="../../etc/passwd")),
    "a token that has ended": (401, "ERR_4005", bearer(exp=1)),
    "a token from next year": (401, "ERR_4005", bearer(iat=int(time.time()) + 9**9, exp=9**11)),
    "a token of another kind": (401, "ERR_4005", bearer(typ="refresh")),
    "a token without an end": (401, "ERR_4005", bearer(exp=None)),
    "a token whose user is no id": (401, "ERR_4005", bearer(sub="1 OR 1=1")),
    "a refresh token in its place": (
        401, "ERR_4005", as_who(lambda world: f"Bearer {world.attacker.session['refresh_token']}")
    ),
    "a password": (401, "ERR_4005", as_who("Basic c3RhZmY6c3RhZmY=")),
    "a token of a megabyte": (401, "ERR_4005", as_who("Bearer " + "e" * 1_000_000)),
    "a token in the address": (
        401, "ERR_4005", outside("GET", f"/v1/get-user-credits?access_token={CANARY}")
    ),
    "a token beyond ASCII": (401, "ERR_4005", as_who("Bearer é")),
    "a refresh token that is none": (
        401, "ERR_4005", post("auth/refresh", {"refresh_token": CANARY})
    ),
    "a refresh token of a session and a guess": (
        401, "ERR_4005",
        lambda world: world.attacker.post("auth/refresh", {"refresh_token": guess(world)}),
    ),
    "a refresh token that is a list": (
        400, "ERR_4008", post("auth/refresh", {"refresh_token": []})
    ),
    "a device that Apple does not know": (
        403, "ERR_4012",
        post("device-check", check_body(UNKNOWN_DEVICE)),
    ),
    "a device without an id": (400, "ERR_4008", post("device-check", {"device_token": "Y2E="})),
    "a device whose token is no base64": (
        400, "ERR_4008",
        post("device-check", check_body("\" OR \"\"=\"")),
    ),
    "an Apple user by name only": (
        400, "ERR_4008", post("merge-guest-to-user", {"apple_sub": "001"})
    ),
    "an identity that Apple did not sign": (
        401, "ERR_4020",
        post("merge-guest-to-user", {"identity_token": unsigned({"sub": "001"}), "nonce": CANARY}),
    ),
    # What is not theirs
    "another's name in the address": (403, "ERR_4006", get("get-user-credits", user_id=THEIR_ID)),
    "another's name in the body": (403, "ERR_4006", order(user_id=THEIR_ID)),
    "another's job": (404, "ERR_4007", get("get-video-status", job_id=THEIR_JOB)),
    "to cancel another's job": (404, "ERR_4007", post("cancel-video-job", {"job_id": THEIR_JOB})),
    "to delete another's job": (404, "ERR_4007", post("delete-video-job", {"job_id": THEIR_JOB})),
    "to follow another's job": (
        404, "ERR_4007", lambda world: get(f"video-jobs/{world.named(THEIR_JOB)}/events")(world)
    ),
    "to repeat another's job": (
        404, "ERR_4007",
        lambda world: post(
            "retry-video-job", {"job_id": THEIR_JOB}, Idempotency_Key=str(uuid4())
        )(world),
    ),
    "another's price": (404, "ERR_4007", order(quote_id=THEIR_QUOTE)),
    "another's picture": (404, "ERR_4007", order_from(upload_id=THEIR_UPLOAD)),
    "to end another's session": (
        404, "ERR_4007", post("revoke-session", {"session_id": THEIR_SESSION})
    ),
    "a media address that we did not sign": (403, "ERR_4006", outside("GET", f"/media/{CANARY}")),
    "a media address that is over": (403, "ERR_4006", media("a.mp4", until=1)),
    "a media address signed for something else": (
        403, "ERR_4006", media("a.mp4", until=9**11, salt="another")
    ),
    # What is for staff
    "to refund oneself": (
        403, "ERR_4006",
        post("admin-refund-credits", {"user_id": THEIR_ID, "amount": 5, "reason": CANARY}),
    ),
    "to adjust oneself": (
        403, "ERR_4006",
        post("admin-adjust-credits", {"user_id": THEIR_ID, "amount": 5, "reason": CANARY}),
    ),
    "to ban another": (
        403, "ERR_4006", post("admin-ban-user", {"user_id": THEIR_ID, "reason": CANARY})
    ),
    "to take a model off sale": (
        403, "ERR_4006",
        post("admin-toggle-model", {"model_id": str(SORA), "is_available": False, "reason": "?"}),
    ),
    "to look another up": (403, "ERR_4006", get("admin-user-stats", user_id=THEIR_ID)),
    "staff's call by nobody": (401, "ERR_4005", outside("POST", "/v1/admin-refund-credits", "{}")),
    # Bodies
    "a body cut off": (400, "ERR_4008", raw('{"prompt": "A red')),
    "a body that is a list": (400, "ERR_4008", raw("[]")),
    "a number that is none": (400, "ERR_4008", raw('{"prompt": "abc", "n": NaN}')),
    "a number of 5,000 digits": (400, "ERR_4008", raw('{"n": ' + "9" * 5000 + "}")),
    "a NUL": (400, "ERR_4008", raw(with_prompt(r'"A \u0000 balloon"'))),
    "half a character": (400, "ERR_4008", raw(with_prompt(r'"A \ud800 balloon"'))),
    "bytes that are no text": (400, "ERR_4008", raw(b'{"prompt": "\xff\xfe"}')),
    "200,000 arrays": (400, "ERR_4008", raw('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}")),
    "objects 30 deep": (400, "ERR_4008", raw('{"a":' * 30 + "1" + "}" * 30)),
    "two megabytes": (413, "ERR_4008", raw(json.dumps(ORDER | {"more": "x" * 2_000_000}))),
    "XML with an entity": (
        415, "ERR_4008",
        raw('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "application/xml"),
    ),
    "a form": (415, "ERR_4008", raw("prompt=abc", "application/x-www-form-urlencoded")),
    "another method named in a header": (
        400, "ERR_4008", raw("[]", **{"X-HTTP-Method-Override": "DELETE"})
    ),
    "another method": (405, "ERR_4008", outside("DELETE", "/v1/get-models")),
    "a method of nobody's": (405, "ERR_4008", outside("TRACE", "/v1/get-models")),
    # Orders
    "an order without a key": (400, "ERR_4009", post("generate-video", ORDER)),
    "an order whose key is no UUID": (
        400, "ERR_4009", post("generate-video", ORDER, Idempotency_Key="1; DROP TABLE x")
    ),
    "no prompt": (400, "ERR_4003", order(prompt=None)),
    "a prompt of blanks": (400, "ERR_4003", order(prompt="      ")),
    "a prompt of fillers": (400, "ERR_4003", order(prompt="\u3164" * 6)),
    "a prompt too long": (400, "ERR_4003", order(prompt="x" * 2001)),
    "a prompt that is an object": (400, "ERR_4003", order(prompt={"$gt": ""})),
    "a model that there is not": (404, "ERR_4002", order(model_id=str(uuid4()))),
    "a model in SQL": (400, "ERR_4008", order(model_id="' OR 1=1 --")),
    "a theme that there is not": (404, "ERR_4002", order(theme_id=str(uuid4()))),
    "minus four seconds": (400, "ERR_4008", order(settings={"duration": -4})),
    "a fraction of a second": (400, "ERR_4008", order(settings={"duration": 4.5})),
    "2^70 seconds": (400, "ERR_4008", order(settings={"duration": 2**70})),
    "a duration that is true": (400, "ERR_4008", order(settings={"duration": True})),
    "a resolution that is an object": (400, "ERR_4008", order(settings={"resolution": {"a": 1}})),
    "settings that are a list": (400, "ERR_4008", order(settings=["duration"])),
    "more than is there": (402, "ERR_4001", order(settings={"duration": 12})),
    "a price that nobody quoted": (404, "ERR_4007", order(quote_id=str(uuid4()))),
    "the metadata of the cloud": (
        400, "ERR_4008", order_from(image_url="https://169.254.169.254/latest/meta-data/")
    ),
    "a file of this machine": (400, "ERR_4008", order_from(image_url="file:///etc/passwd")),
    "our own Redis": (400, "ERR_4008", order_from(image_url="gopher://127.0.0.1:6379/_FLUSHALL")),
    "our own admin": (400, "ERR_4008", order_from(image_url="https://localhost/admin/")),
    "our own host in one number": (400, "ERR_4008", order_from(image_url="https://2130706433/")),
    "our own host as IPv6": (400, "ERR_4008", order_from(image_url="https://[::ffff:127.0.0.1]/")),
    "a host behind a password": (
        400, "ERR_4008", order_from(image_url="https://example.com@127.0.0.1/")
    ),
    "a picture that is a path": (400, "ERR_4008", order_from(upload_id="../../etc/passwd")),
    # Questions
    "a job that is no id": (400, "ERR_4008", get("get-video-status", job_id="1 OR 1=1")),
    "a job that is a NUL": (400, "ERR_4008", get("get-video-status", job_id="\0")),
    "no entries": (400, "ERR_4008", get("get-credit-history", limit="0")),
    "a million jobs": (400, "ERR_4008", get("get-video-jobs", limit="1000000")),
    "jobs in other digits": (400, "ERR_4008", get("get-video-jobs", limit="१")),
    "jobs before the first": (400, "ERR_4008", get("get-video-jobs", offset="-1")),
    "a cursor of nobody's": (400, "ERR_4008", get("get-video-jobs", cursor="' OR 1=1")),
    "a status that there is not": (400, "ERR_4008", get("get-video-jobs", status="paid")),
    "a language that there is not": (
        400, "ERR_4008", post("update-user-profile", {"language": "xx' --"})
    ),
    # Purchases
    "a purchase of nothing": (400, "ERR_4008", post("update-credits", {})),
    "a purchase that Apple does not know": (
        400, "ERR_4013", post("update-credits", {"transaction_id": "2000000999999999"})
    ),
    "a purchase that nobody signed": (
        400, "ERR_4013",
        post("update-credits", {"signed_transaction": unsigned({"productId": "x", "credits": 9})}),
    ),
    "a transaction that is a path": (
        400, "ERR_4013", post("update-credits", {"transaction_id": "../../v1/refund"})
    ),
    "a code that nobody made": (404, "ERR_4007", post("redeem-code", {"code": "FREE-CREDITS"})),
    # Webhooks
    "fal without a signature": (401, "ERR_4005", outside("POST", "/webhooks/fal", "{}")),
    "fal with a made-up signature": (
        401, "ERR_4005",
        outside(
            "POST", "/webhooks/fal", "{}",
            **{
                "X-Fal-Webhook-Request-Id": str(uuid4()),
                "X-Fal-Webhook-User-Id": "sandbox-user",
                "X-Fal-Webhook-Timestamp": str(int(time.time())),
                "X-Fal-Webhook-Signature": "ab" * 64,
            },
        ),
    ),
    "fal for another account": (
        401, "ERR_4005",
        outside(
            "POST", "/webhooks/fal", "{}",
            **{
                "X-Fal-Webhook-Request-Id": str(uuid4()),
                "X-Fal-Webhook-User-Id": "somebody-else",
                "X-Fal-Webhook-Timestamp": str(int(time.time())),
                "X-Fal-Webhook-Signature": "ab" * 64,
            },
        ),
    ),
    "fal from yesterday": (
        401, "ERR_4005",
        outside(
            "POST", "/webhooks/fal", "{}",
            **{
                "X-Fal-Webhook-Request-Id": str(uuid4()),
                "X-Fal-Webhook-User-Id": "sandbox-user",
                "X-Fal-Webhook-Timestamp": "1700000000",
                "X-Fal-Webhook-Signature": "ab" * 64,
            },
        ),
    ),
    "a provider with an empty signature": (
        401, "ERR_4005", outside("POST", "/webhooks/runway", "{}", **{"X-Webhook-Signature": ""})
    ),
    "a provider that there is not": (404, "ERR_4007", outside("POST", "/webhooks/nobody", "{}")),
    "a webhook that is asked for": (405, "ERR_4008", outside("GET", "/webhooks/fal")),
    "a notification that nobody signed": (
        401, "ERR_4005",
        outside("POST", "/webhooks/app-store", json.dumps({"signedPayload": unsigned({"a": 1})})),
    ),
    "a notification of nothing": (400, "ERR_4008", outside("POST", "/webhooks/app-store", "{}")),
    "a notice that nobody signed": (
        401, "ERR_4005",
        outside("POST", "/webhooks/apple-id", json.dumps({"payload": unsigned({"a": 1})})),
    ),
    # Files
    "a drawing with a script": (400, "ERR_4017", file(SVG)),
    "a page named as a picture": (400, "ERR_4017", file(b"<html><script>alert(1)</script>")),
    "a picture with a page behind it": (
        400, "ERR_4017", file(lambda: pictures.png() + b"<script>alert(1)</script>")
    ),
    "half a picture": (400, "ERR_4017", file(lambda: pictures.jpeg()[:-40])),
    "a picture of a billion pixels": (
        400, "ERR_4017", file(lambda: pictures.png_of(40_000, 40_000))
    ),
    "an empty file": (400, "ERR_4017", file(b"")),
    "no file": (415, "ERR_4008", post("upload-image", {"file": "aGk="})),
    # Paths and hosts
    "the environment": (404, "ERR_4007", outside("GET", "/.env")),
    "the repository": (404, "ERR_4007", outside("GET", "/.git/config")),
    "a way out of the static files": (
        404, "ERR_4007", outside("GET", "/static/..%2f..%2frendio/settings.py")
    ),
    "a way out of the media": (404, "ERR_4007", outside("GET", "/media/..%2f..%2fetc%2fpasswd")),
    "a version of next year": (404, "ERR_4007", outside("GET", "/v2/get-models")),
}  # fmt: skip


def guess(world: World) -> str:
    """A refresh token of a session that there is, its secret guessed."""
    [session] = world.attacker.get("sessions").json()["sessions"]
    parts = tokens.read_refresh(world.attacker.session["refresh_token"])
    assert str(parts.session_id) == session["session_id"]
    return base64.urlsafe_b64encode(parts.session_id.bytes + b"?" * tokens.SECRET_BYTES).decode()


@pytest.fixture
def world(phone: Phone, storage: Any, settings: Any) -> World:
    """Where pictures that lie elsewhere are fetched, as in production."""
    settings.ALLOW_EXTERNAL_IMAGE_URLS = True
    settings.ALLOW_PRIVATE_ADDRESSES = False
    return World(phone)


def test_a_hundred_hostile_requests_are_refused_by_their_code_and_leave_nothing(world, sandbox):
    assert len(HOSTILE) >= 100
    before, wrong = world.kept(), {}

    with capture_log() as log:
        for name, (status, code, request) in HOSTILE.items():
            answer = request(world)
            got = answer.status_code, said(answer)
            if got != (status, code):
                wrong[name] = got
            elif (after := world.kept()) != before:
                wrong[name] = dict(zip(["balance", *TABLES], after, strict=True))
                before = after

    assert wrong == {}
    assert world.attacker.balance() == 10
    lines = log.getvalue()
    assert "unhandled_exception" not in lines
    assert "database_error" not in lines
    for secret in (
        CANARY,
        UNKNOWN_DEVICE,
        world.attacker.session["access_token"],
        "eyJ",
        "DROP TABLE",
    ):
        assert secret not in lines, secret


def said(answer: Any) -> str | None:
    try:
        return str(answer.json()["error"]["code"])
    except (ValueError, KeyError):
        return None


# Each is sent with an order that is right, and the order is as if it had not been.
TRUSTED_NEVER = {
    "credits": 0, "credits_used": 0, "price": 0, "price_usd": "0", "cost": 0, "status": "completed",
    "job_id": str(uuid4()), "is_staff": True, "refund": True, "seed_credits": 99,
    "user": str(uuid4()), "video_url": "https://evil.example/x.mp4", "__proto__": {"admin": True},
}  # fmt: skip


def test_fields_that_nobody_asked_for_change_nothing(phone):
    answer = phone.post(
        "generate-video?credits=0&status=completed", ORDER | TRUSTED_NEVER,
        Idempotency_Key=str(uuid4()),
    )  # fmt: skip

    assert (answer.status_code, answer.json()["credits_used"]) == (200, 4)
    assert answer.json()["job_id"] != TRUSTED_NEVER["job_id"]
    assert phone.balance() == 6
    of_a_user = {"is_admin": True, "tier": "premium"}  # an order has another tier
    phone.post("update-user-profile", {"language": "tr"} | TRUSTED_NEVER | of_a_user)
    profile = phone.get("get-user-profile").json()
    assert (profile["is_admin"], profile["tier"], profile["credits_remaining"]) == (
        False, "free", 6,
    )  # fmt: skip
