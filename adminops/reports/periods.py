"""The period that a dashboard shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db.models import Min, TextChoices

from adminops.models import CountedDay


class Length(TextChoices):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


DAYS = {Length.DAY: 1, Length.WEEK: 7, Length.MONTH: 30}


@dataclass(frozen=True)
class Period:
    """Whole days in UTC. The last day is today."""

    length: Length
    days: list[date]

    @property
    def first(self) -> date:
        return self.days[0]

    @property
    def text(self) -> str:
        return " to ".join(f"{day:%Y-%m-%d}" for day in sorted({self.days[0], self.days[-1]}))


def parse_period(text: str, *, now: datetime) -> Period:
    """The period with this name. A week for an unknown name."""
    length = Length(text) if text in Length.values else Length.WEEK
    today = now.astimezone(UTC).date()
    return Period(length, [today - timedelta(days=n) for n in reversed(range(DAYS[length]))])


def refreshed_at(period: Period) -> datetime | None:
    """The earliest refresh of the period's last two days. None before the first refresh."""
    counted = CountedDay.objects.filter(date__in=period.days[-2:])
    at: datetime | None = counted.aggregate(at=Min("counted_at"))["at"]
    return at
