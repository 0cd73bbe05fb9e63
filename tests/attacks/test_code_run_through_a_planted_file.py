"""An attacker with another account on the machine makes the scheduler's file in /tmp first."""

from __future__ import annotations

import shelve

from rendio.beat_scheduler import Scheduler
from rendio.celery import app
from tests.attacks.test_code_run_through_redis import Bomb, exploded  # noqa: F401 - a fixture


def test_the_scheduler_reads_no_file(db, tmp_path, exploded):  # noqa: F811
    planted = tmp_path / "rendio-beat-schedule"
    with shelve.open(str(planted)) as file:  # noqa: S301
        file["entries"] = Bomb(exploded)

    scheduler = Scheduler(app, schedule_filename=str(planted), lazy=True)
    scheduler.setup_schedule()

    assert not exploded.exists()
    assert {entry.task for entry in scheduler.schedule.values()} >= {"credits.sweep"}


def test_a_tick_touches_the_file_for_the_health_check(db, tmp_path):
    file = tmp_path / "rendio-beat-schedule"
    scheduler = Scheduler(app, schedule_filename=str(file), lazy=True)

    scheduler.tick()

    assert file.exists()
