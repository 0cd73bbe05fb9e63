"""How responses spell moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from rendio.common.times import iso

NOON = datetime(2026, 3, 29, 12, 0, 7, 999_999, tzinfo=UTC)


def test_moments_are_spelled_in_utc_to_the_second(subtests):
    zones = (
        UTC,
        ZoneInfo("UTC"),
        ZoneInfo("Europe/Istanbul"),
        timezone(timedelta(hours=-3, minutes=-30)),
    )
    for zone in zones:
        with subtests.test(zone=str(zone)):
            assert iso(NOON.astimezone(zone)) == "2026-03-29T12:00:07Z"
    assert iso(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00Z"
    assert iso(None) is None
