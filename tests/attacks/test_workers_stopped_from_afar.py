"""Workers stopped, or taken off their queues, by who has Flower's login or reaches Redis."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from rendio.celery import app
from rendio.local.data_dir import PROJECT
from tests.generation.conftest import running
from tests.helpers.job_driver import ended
from tests.helpers.wait import wait_for

__all__ = ["running"]  # a fixture


# There is one worker: its answer is waited for, and no other. A worker that has just started does
# not hear a question yet: it is asked again.
ASKED = {"timeout": 30, "limit": 1}
AGAIN = {"timeout": 1, "limit": 1}


def asked(question):
    [(worker, answer)] = wait_for(lambda: getattr(app.control.inspect(**ASKED), question)()).items()
    return worker, answer


def test_a_worker_answers_questions_and_takes_no_orders(running, committed):
    wait_for(lambda: app.control.inspect(**AGAIN).ping())
    worker, _pong = asked("ping")
    pool = asked("stats")[1]["pool"]["max-concurrency"]
    orders = {"reply": True, **ASKED}

    answers = [
        app.control.shutdown(**orders),
        app.control.pool_shrink(1, **orders),
        app.control.pool_grow(5, **orders),
        *[app.control.cancel_consumer(name, **orders) for name in ("high", "low")],
        app.control.revoke("00000000-0000-4000-8000-000000000000", **orders),
        app.control.rate_limit("generation.submit_due", "1/h", **orders),
    ]

    assert ["error" in answer[worker] for [answer] in answers] == [True] * len(answers)
    assert asked("stats")[1]["pool"]["max-concurrency"] == pool
    assert {queue["name"] for queue in asked("active_queues")[1]} == {"high", "medium", "low"}
    job_id = running.phone().generate().json()["job_id"]
    assert ended(job_id)[job_id].status == "completed"


def test_flower_only_shows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "staff:long-enough-for-us")

    settings = runpy.run_path(str(Path(PROJECT, "flowerconfig.py")))

    assert settings["read_only"] is True
