"""What is logged of a whole journey: events and ids, and nothing that opens a door or names a
person."""

from __future__ import annotations

import base64
import hashlib
import json
from uuid import uuid4

from django.db import OperationalError, connection
from django.test import Client

from accounts.apple import identity_tokens
from accounts.push import sending
from generation.models import ProviderRequest
from tests.adminops.conftest import PASSWORD, StaffAtTheForm, staff_user
from tests.billing.conftest import AppStore
from tests.billing.conftest import deliver_and_apply as tell_purchase
from tests.generation.conftest import life, signer, stub_server
from tests.generation.uploads.conftest import storage
from tests.helpers import pictures
from tests.helpers.capture_log import capture_log
from tests.helpers.job_driver import assert_completed, assert_refunded, create_job, send_webhook
from tests.helpers.phone import Phone
from tests.helpers.sandbox_control import Sandbox

__all__ = ["life", "signer", "storage", "stub_server"]  # fixtures

PROMPT = "Grandmother dances on the kitchen table"
CANARY = "canary0123456789"
EMAIL = "ada.lovelace@example.com"


def test_a_whole_journey_logs_no_secret_and_no_person(db, sandbox, life, signer, storage, settings):
    secrets = {
        "the prompt": PROMPT,
        "the address": EMAIL,
        "staff's password": PASSWORD,
        "a webhook's token": CANARY,
    }
    for name, access in settings.PROVIDERS.items():
        secrets |= {
            f"{name}'s key {label}": access.keys.secret(label) for label in access.keys.labels()
        }

    with capture_log() as log:
        phone = Phone().sign_in()
        secrets |= {
            "device token": phone.device_token,
            "device token in clear": base64.b64decode(phone.device_token).decode(),
        }
        secrets |= tokens_of(phone, "guest")
        answer = phone.post("auth/refresh", {"refresh_token": phone.session["refresh_token"]})
        phone.session = answer.json()["session"]
        secrets |= tokens_of(phone, "refreshed")
        secrets |= sign_in_with_apple(phone, sandbox)
        secrets |= tokens_of(phone, "account")
        secrets["push token"] = phone.register_for_pushes()
        picture = pictures.uploaded(phone)
        secrets["media address"] = picture["image_url"].rpartition("/")[2]
        sandbox.provider(queue_seconds=0, run_seconds=0, webhooks=False)
        job = create_job(phone, prompt=PROMPT)
        life.submit()
        send_webhook(signer, job)
        life.deliver()
        secrets["job's webhook token"] = ProviderRequest.objects.get(job=job).webhook_token
        assert_completed(life.run_until_done(job))
        sandbox.provider(outcome="error")
        assert_refunded(life.run_until_done(create_job(phone, prompt=PROMPT)), code="ERR_5002")
        while sending.send_due(now=life.advance(60).now):
            pass
        assert sandbox.pushes(secrets["push token"])
        secrets |= buy(phone, sandbox)
        signer.send(b"{}", {"X-Fal-Webhook-Signature": "ab"}, token=CANARY)
        Client().post("/admin/login/", {"username": PASSWORD, "password": PASSWORD})
        staff = StaffAtTheForm(staff_user("sam", is_superuser=True))
        secrets["staff's session"] = staff.client.cookies["sessionid"].value
        phone.post("delete-account")

    lines = log.getvalue()
    assert "video_generation_completed" in lines
    assert {what for what, secret in secrets.items() if secret in lines} == set()
    for line in lines.splitlines():
        assert json.loads(line)["event"]


def test_a_call_that_fails_is_logged_by_its_route_without_its_query(db, sandbox, signer):
    def fail(*args):
        raise OperationalError("no connection")

    with capture_log() as log:
        assert Client().get("/statusz", {"for": EMAIL}).status_code == 503
        with connection.execute_wrapper(fail):
            assert signer.deliver("a-request", token=CANARY) == 503

    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [
        (line["event"], line["method"], line["route"]) for line in lines if "route" in line
    ] == [
        ("Service Unavailable", "GET", "statusz"),
        ("Service Unavailable", "POST", "webhooks/<str:provider>"),
    ]
    assert CANARY not in log.getvalue()
    assert "ada.lovelace" not in log.getvalue()


def tokens_of(phone: Phone, whose: str) -> dict[str, str]:
    return {f"{kind} of {whose}": phone.session[kind] for kind in ("access_token", "refresh_token")}


def sign_in_with_apple(phone: Phone, sandbox: Sandbox) -> dict[str, str]:
    """The phone's guest becomes somebody with an address; gives what Apple's proof was."""
    identity_tokens.keys.clear()
    nonce = uuid4().hex
    proof = sandbox.control(
        "apple/identity",
        sub=f"001{uuid4().hex}",
        email=EMAIL,
        nonce=hashlib.sha256(nonce.encode()).hexdigest(),
    )
    answer = phone.post("merge-guest-to-user", proof | {"nonce": nonce})
    assert answer.status_code == 200, answer.content
    phone.session = answer.json()["session"]
    return {f"apple's {name}": text for name, text in proof.items()} | {"nonce": nonce}


def buy(phone: Phone, sandbox: Sandbox) -> dict[str, str]:
    """Ten credits, of which Apple tells; gives what Apple signed."""
    bought = AppStore(sandbox).buy(phone=phone)
    body = {"signed_transaction": bought["signed_transaction"]}
    answer = phone.post("update-credits", body)
    assert answer.json()["credits_added"] == 10, answer.content
    tell_purchase(bought)
    return {"apple's transaction": bought["signed_transaction"]}
