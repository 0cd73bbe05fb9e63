"""The initial data: guests with credits, jobs in several states, and the requests of their phones.

User ids contain the user's number. Needs Django set up and an empty database.
"""

from __future__ import annotations

import base64
import json
import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import requests
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from accounts import tokens
from accounts.models import User
from bench.instant_provider import webhook_body, webhook_headers
from bench.load import FRESH_KEY
from credits import idempotency, ledger_check
from credits import services as credit_services
from generation import services
from generation.catalogue import cache
from generation.models import Job, JobStatus, ModelKind, Stage, Upload

CREDITS = 1_000_000
# Of each of the users whose lists and history are read: a full page of each.
ORDERS_OF_REGULARS = 20
LONGER_THAN_A_RUN = timedelta(days=1)
PHONES = 32
DELIVERIES = 200
PROMPT = "A red balloon over the sea, filmed from a boat at dawn"


def user_id(number: int) -> UUID:
    return UUID(f"00000000-0000-4000-8000-{number:012d}")


class World:
    """The guests, and the requests of their phones."""

    def __init__(self, *, users: int, regulars: int = 0) -> None:
        """`regulars` of the users have ordered before, for their lists and history."""
        call_command("migrate", interactive=False, verbosity=0)
        now = timezone.now()
        self.model = cache.current().default_model()
        self.users = [user_id(number) for number in range(1, users + 1)]
        self.regulars = self.users[:regulars]
        with transaction.atomic():
            User.objects.bulk_create(User(id=one) for one in self.users)
            for one in self.users:
                credit_services.open_wallet(user_id=one)
                credit_services.grant(
                    user_id=one,
                    amount=CREDITS,
                    source=credit_services.Source.PROMOTION,
                    reason="bench",
                    now=now,
                )
            self.finished = Job.objects.bulk_create(self._job(one, now) for one in self.users)
            self._running = Job.objects.bulk_create(
                self._job(
                    one,
                    now,
                    status=JobStatus.PROCESSING,
                    stage=Stage.RUNNING,
                    due_at=now + LONGER_THAN_A_RUN,
                    deadline_at=now + LONGER_THAN_A_RUN,
                    completed_at=None,
                    media_name="",
                    thumbnail_name="",
                )
                for one in self.users
            )
        self._tokens = {
            one: tokens.issue_access(user_id=one, session_id=uuid4(), language="en", now=now)
            for one in self.users
        }
        for owner in self.regulars:
            for _number in range(ORDERS_OF_REGULARS):
                self._order(owner, key=uuid4())
        finish_open_jobs()

    def token_of(self, owner: UUID) -> str:
        return self._tokens[owner]

    def _job(self, owner: UUID, now: datetime, **fields: Any) -> Job:
        """A finished job; `fields` say otherwise."""
        finished = {
            "status": JobStatus.COMPLETED,
            "stage": Stage.DONE,
            "progress": 100,
            "completed_at": now,
            "media_name": "videos/bench.mp4",
            "thumbnail_name": "videos/bench.jpg",
        }
        return Job(
            user_id=owner,
            model_id=self.model.id,
            prompt="A red balloon over the sea",
            credits=4,
            price_usd=0,
            queue=self.model.kind.queue,
            **finished | fields,
        )

    def _body(self) -> dict[str, Any]:
        return {"model_id": str(self.model.id), "prompt": PROMPT, "settings": {"duration": 4}}

    def _order(self, owner: UUID, *, key: UUID) -> None:
        attempt = idempotency.parse_request(
            user_id=owner, operation="generate-video", key=str(key), body=self._body()
        )
        services.generate(attempt=attempt, body=self._body(), now=timezone.now())

    # --- Requests -----------------------------------------------------------------------------

    def generate_video(self) -> list[str]:
        return [self._generate(owner, self._body()) for owner in self.users]

    def generate_with_quote_and_image(self) -> list[str]:
        """Of a model that starts from an image. The settings of the benchmark let a quote be used
        any number of times."""
        now = timezone.now()
        model = next(
            one
            for one in cache.current().models.values()
            if one.kind.name == ModelKind.IMAGE_TO_VIDEO
        )
        uploads = Upload.objects.bulk_create(
            Upload(
                user_id=owner,
                width=1280,
                height=720,
                size_bytes=100_000,
                created_at=now,
                expires_at=now + LONGER_THAN_A_RUN,
            )
            for owner in self.users
        )
        bodies = [
            {"model_id": str(model.id), "prompt": PROMPT, "upload_id": str(upload.id)}
            for upload in uploads
        ]
        return [
            self._generate(owner, body | {"quote_id": self._quote(owner, body)})
            for owner, body in zip(self.users, bodies, strict=True)
        ]

    def _quote(self, owner: UUID, body: dict[str, Any]) -> str:
        return str(services.quote(user_id=owner, body=body, now=timezone.now()).quote_id)

    def repeat_generate_video(self) -> list[str]:
        """Each an order that was placed before, with the same idempotency key."""
        found = []
        for owner in self.users:
            key = uuid4()
            self._order(owner, key=key)
            found.append(self._generate(owner, self._body(), key=str(key)))
        finish_open_jobs()
        return found

    def quote_video(self) -> list[str]:
        return [self._post("quote-video", owner, self._body()) for owner in self.users]

    def get_running_status(self) -> list[str]:
        return [
            self._get(f"get-video-status?job_id={job.id}", job.user_id) for job in self._running
        ]

    def get_finished_status(self) -> list[str]:
        return [
            self._get(f"get-video-status?job_id={job.id}", job.user_id) for job in self.finished
        ]

    def get_jobs(self) -> list[str]:
        return [self._get("get-video-jobs?limit=20", owner) for owner in self.regulars]

    def get_history(self) -> list[str]:
        return [self._get("get-credit-history?limit=20", owner) for owner in self.regulars]

    def get_credits(self) -> list[str]:
        return [self._get("get-user-credits", owner) for owner in self.users]

    def get_models(self) -> list[str]:
        return [_request("GET", "/v1/get-models")]

    def check_devices(self, url: str) -> list[str]:
        """Of phones that the server at `url` knows: it signs each of them in here."""
        bodies = [
            {
                "device_id": str(uuid4()),
                "device_token": base64.b64encode(secrets.token_bytes(24)).decode(),
                "installation_secret": secrets.token_urlsafe(32),
            }
            for _number in range(PHONES)
        ]
        for body in bodies:
            requests.post(f"{url}/v1/device-check", json=body, timeout=60).raise_for_status()
        return [_request("POST", "/v1/device-check", body=json.dumps(body)) for body in bodies]

    def webhooks(self) -> list[str]:
        """Signed now; a provider's signature is accepted for some minutes."""
        found = []
        for _number in range(DELIVERIES):
            name = str(uuid4())
            body = webhook_body(name)
            found.append(
                _request(
                    "POST",
                    f"/webhooks/fal?token={secrets.token_urlsafe(24)}",
                    body=body.decode(),
                    headers=webhook_headers(name, body),
                )
            )
        return found

    def _generate(self, owner: UUID, body: dict[str, Any], *, key: str = FRESH_KEY.decode()) -> str:
        return self._post("generate-video", owner, body, headers={"Idempotency-Key": key})

    def _get(self, path: str, owner: UUID) -> str:
        return _request("GET", f"/v1/{path}", headers=self._signed_in(owner))

    def _post(
        self,
        path: str,
        owner: UUID,
        body: dict[str, Any],
        *,
        headers: dict[str, str] | None = None,
    ) -> str:
        return _request(
            "POST",
            f"/v1/{path}",
            body=json.dumps(body),
            headers=self._signed_in(owner) | (headers or {}),
        )

    def _signed_in(self, owner: UUID) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._tokens[owner]}"}


def _request(
    method: str, target: str, *, body: str = "", headers: dict[str, str] | None = None
) -> str:
    """A complete request, as the app sends it."""
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: 127.0.0.1",
        "User-Agent: Rendio/1.0 CFNetwork/1494.0.7 Darwin/23.4.0",
        "Accept: application/json",
        "Accept-Language: en-GB,en;q=0.9",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", body])


def finish_open_jobs() -> None:
    """End all jobs that were ordered and not made, so that no worker has anything to do with
    them."""
    Job.objects.exclude(stage__in=[Stage.DONE, Stage.RUNNING]).update(
        status=JobStatus.COMPLETED,
        stage=Stage.DONE,
        due_at=None,
        media_name="videos/bench.mp4",
        completed_at=timezone.now(),
    )


def proof() -> tuple[int, list[str]]:
    """The number of ledger entries, and every discrepancy."""
    _wallets, entries = ledger_check.count_wallets_and_entries()
    return entries, [f"{found.problem}: {found}" for found in ledger_check.find_discrepancies()]
