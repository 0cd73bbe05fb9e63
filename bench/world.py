"""The initial data: guests with credits, each with one finished video.

User ids contain the user's number, so that pgbench can build them too (transaction.sql).
"""

from __future__ import annotations

import json
from datetime import datetime
from uuid import UUID, uuid4

from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from accounts import tokens
from accounts.models import User
from bench.load import FRESH_KEY
from credits import ledger_check
from credits import services as credit_services
from generation.catalogue import cache
from generation.models import Job, JobStatus, Stage

CREDITS = 1_000_000


def user_id(number: int) -> UUID:
    return UUID(f"00000000-0000-4000-8000-{number:012d}")


class World:
    """The guests, and the requests of their phones. Needs Django set up and an empty database."""

    def __init__(self, *, users: int) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        now = timezone.now()
        self.model = cache.current().default_model()
        self.users = [user_id(number) for number in range(1, users + 1)]
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
            self.finished = Job.objects.bulk_create(self._finished(one, now) for one in self.users)
        self._tokens = {
            one: tokens.issue_access(user_id=one, session_id=uuid4(), language="en", now=now)
            for one in self.users
        }

    def token_of(self, owner: UUID) -> str:
        return self._tokens[owner]

    def _finished(self, owner: UUID, now: datetime) -> Job:
        return Job(
            user_id=owner,
            model_id=self.model.id,
            prompt="A red balloon over the sea",
            credits=4,
            price_usd=0,
            status=JobStatus.COMPLETED,
            stage=Stage.DONE,
            progress=100,
            queue=self.model.kind.queue,
            media_name="videos/bench.mp4",
            thumbnail_name="videos/bench.jpg",
            completed_at=now,
        )

    def generate_video(self) -> list[str]:
        body = json.dumps(
            {
                "model_id": str(self.model.id),
                "prompt": "A red balloon over the sea, filmed from a boat at dawn",
                "settings": {"duration": 4},
            }
        )
        return [
            self._request("POST", "generate-video", owner, body=body, key=FRESH_KEY.decode())
            for owner in self.users
        ]

    def get_video_status(self) -> list[str]:
        return [
            self._request("GET", f"get-video-status?job_id={job.id}", job.user_id)
            for job in self.finished
        ]

    def get_models(self) -> list[str]:
        return [self._request("GET", "get-models", self.users[0])]

    def _request(
        self, method: str, path: str, owner: UUID, *, body: str = "", key: str = ""
    ) -> str:
        lines = [
            f"{method} /v1/{path} HTTP/1.1",
            "Host: 127.0.0.1",
            "User-Agent: Rendio/1.0 CFNetwork/1494.0.7 Darwin/23.4.0",
            "Accept: application/json",
            "Accept-Language: en-GB,en;q=0.9",
            f"Authorization: Bearer {self._tokens[owner]}",
        ]
        if key:
            lines.append(f"Idempotency-Key: {key}")
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", body])


def proof() -> tuple[int, list[str]]:
    """The number of ledger entries, and every discrepancy."""
    _wallets, entries = ledger_check.count_wallets_and_entries()
    return entries, [f"{found.problem}: {found}" for found in ledger_check.find_discrepancies()]
