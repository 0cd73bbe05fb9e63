"""Whose it is: every call of the phone, and every id that a call takes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from adminops.api import StaffView
from generation.lifecycle import settle
from generation.models import Job, TrainedModel
from generation.providers.base import FailureReason
from rendio.common.web.api import PublicView
from rendio.openapi.schema import document
from rendio.urls import v1
from tests.generation.kinds.test_trained_models import PATHS as TAKE_A_TRAINED_MODEL
from tests.generation.training.orders import make_set, start, started
from tests.helpers.job_driver import grant
from tests.helpers.phone import Phone, assert_refused

pytestmark = pytest.mark.django_db

NOBODYS = "01a1fc89-91ea-73fa-8415-4b583de90bfb"  # always the same: it becomes a test's name
VIEWS = {
    re.sub("<.+?>", NOBODYS, pattern.pattern._route): pattern.callback.view_class for pattern in v1
}
# All but the public ones and staff's, who say in the body whom they act upon.
OWN_CALLS = [
    (method, route)
    for route, view in VIEWS.items()
    for method in ("get", "post", "delete")
    if hasattr(view, method) and not issubclass(view, PublicView | StaffView)
]


def call(phone: Phone, method: str, route: str, **sent: Any) -> Any:
    if method == "get":
        return phone.get(route, **sent)
    if method == "delete":
        return phone.delete(route, sent)
    if route in {"upload-image", "uploads", "train/upload"}:  # which take a form
        return phone.client.post(f"/v1/{route}", sent, headers=phone._headers())
    return phone.post(route, sent, Idempotency_Key=str(uuid4()))


@pytest.mark.parametrize(("method", "route"), OWN_CALLS)
def test_a_call_needs_a_session(sandbox, method, route):
    assert_refused(call(Phone(), method, route), 401, "ERR_4005")


@pytest.mark.parametrize(("method", "route"), OWN_CALLS)
def test_a_call_in_anothers_name_is_refused_and_in_ones_own_is_not(phone, new_guest, method, route):
    other = new_guest()

    refused = call(phone, method, route, user_id=str(other.user_id))

    assert_refused(refused, 403, "ERR_4006")
    assert call(phone, method, route, user_id=str(phone.user_id).upper()).status_code not in {
        401,
        403,
    }


def pending(phone: Phone) -> str:
    answer = phone.generate(settings={"duration": 4})
    assert answer.status_code == 200, answer.content
    return str(answer.json()["job_id"])


def cancelled(phone: Phone) -> str:
    job_id = pending(phone)
    assert phone.post("cancel-video-job", {"job_id": job_id}).json()["refunded"] is True
    return job_id


def failed(phone: Phone) -> str:
    job_id = pending(phone)
    assert settle.fail(Job.objects.get(id=job_id), FailureReason.PROVIDER_ERROR, now=timezone.now())
    return job_id


def quoted(phone: Phone) -> str:
    order = {"prompt": "A red balloon", "settings": {"duration": 4}}
    return str(phone.post("quote-video", order).json()["quote_id"])


def session(phone: Phone) -> str:
    return str(phone.get("sessions").json()["sessions"][0]["session_id"])


def device(phone: Phone) -> str:
    return str(phone.get("devices").json()["devices"][0]["device_id"])


def a_set(phone: Phone) -> str:
    grant(phone.user_id, 100)
    return make_set(phone)


def training(phone: Phone) -> str:
    return str(started(phone, set_id=a_set(phone)).id)


def trained_model(phone: Phone) -> str:
    return str(TrainedModel.objects.get(job_id=training(phone)).id)


# What is made by its owner, and how it is named in a call. (Pictures: tests/generation/uploads; the
# events of a job, which need a server: tests/events.)
TAKES_AN_ID: dict[str, tuple[Callable[[Phone], str], Callable[[Phone, str], Any]]] = {
    "get-video-status": (pending, lambda by, id_: by.get("get-video-status", job_id=id_)),
    "provenance": (pending, lambda by, id_: by.get(f"provenance/{id_}")),
    "video-jobs/events": (pending, lambda by, id_: by.get(f"video-jobs/{id_}/events")),
    "cancel-video-job": (pending, lambda by, id_: by.post("cancel-video-job", {"job_id": id_})),
    "delete-video-job": (cancelled, lambda by, id_: by.post("delete-video-job", {"job_id": id_})),
    "retry-video-job": (
        failed,
        lambda by, id_: call(by, "post", "retry-video-job", job_id=id_),
    ),
    "generate-video": (
        quoted,
        lambda by, id_: by.generate(
            model_id=None, prompt="A red balloon", settings={"duration": 4}, quote_id=id_
        ),
    ),
    "train/start": (a_set, lambda by, id_: start(by, set_id=id_)),
    "train": (training, lambda by, id_: by.get(f"train/{id_}")),
    "train/cancel": (training, lambda by, id_: by.post(f"train/{id_}/cancel")),
    "train/models/withdraw-consent": (
        trained_model,
        lambda by, id_: by.post(f"train/models/{id_}/withdraw-consent"),
    ),
    "train/models": (trained_model, lambda by, id_: by.delete(f"train/models/{id_}")),
    "revoke-session": (session, lambda by, id_: by.post("revoke-session", {"session_id": id_})),
    "revoke-device": (device, lambda by, id_: by.post("revoke-device", {"device_id": id_})),
}


@pytest.mark.parametrize("route", TAKES_AN_ID)
def test_anothers_is_as_if_it_were_not_there_and_ones_own_is_there(phone, new_guest, route):
    make, name_it = TAKES_AN_ID[route]
    theirs, stranger = make(phone), new_guest()

    foreign, unknown = name_it(stranger, theirs), name_it(stranger, str(uuid4()))

    assert_refused(foreign, 404, "ERR_4007")
    assert_refused(unknown, 404, "ERR_4007")
    assert said(foreign) == said(unknown)
    assert stranger.balance() == 10
    own = name_it(phone, theirs)
    assert own.status_code == 200, own.content


def test_every_call_that_takes_a_training_or_a_trained_model_is_tried_by_a_stranger():
    """The others take one in their body: tests/generation/kinds/test_trained_models.py."""
    described = json.loads(document().body)
    in_body, in_path = set(), set()
    for path, operations in described["paths"].items():
        route = path.removeprefix("/v1/")
        if route.startswith("train/") and "{" in route:
            in_path.add(re.sub(r"/{.+?}", "", route))
        for operation in operations.values():
            if "trained_model_id" in properties_of_body(operation, described):
                in_body.add(route)

    assert in_body == set(TAKE_A_TRAINED_MODEL)
    assert in_path == {route for route in TAKES_AN_ID if route.startswith("train")} - {
        "train/start"
    }


def properties_of_body(operation: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    return described["components"]["schemas"].get(name, schema).get("properties", {})


def said(answer: Any) -> dict[str, Any]:
    """What a refusal says, but for when and to which request."""
    error = answer.json()["error"]
    return {name: error[name] for name in error.keys() - {"request_id", "timestamp"}}
