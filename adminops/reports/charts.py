"""Bars, drawn by the server as SVG: no script, and nothing from elsewhere.

Numbers of one day stand upon each other, those below 0 under the line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

# Between light and dark, so that they are seen on both.
COLOURS = ["#2563eb", "#16a34a", "#d97706", "#9333ea", "#0891b2", "#db2777", "#65a30d", "#6b7280"]
WIDTH, HEIGHT, FOOT = 600, 160, 18
GAP = 0.25  # of a day's room

Series = Mapping[date, float]


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    colour: str
    text: str


@dataclass(frozen=True)
class Chart:
    """What a template draws, and the same as a table."""

    title: str
    explanation: str  # what is counted, in which unit
    legend: list[tuple[str, str]]  # colour and name
    bars: list[Bar]
    labels: list[tuple[float, date]]  # where a day's name stands
    zero: float  # where the line is
    table: dict[str, list[Any]]
    width: int = WIDTH
    height: int = HEIGHT
    foot: int = HEIGHT + FOOT


def stacked_chart(
    *,
    title: str,
    explanation: str,
    days: Sequence[date],
    series: Mapping[str, Series],
    colours: Mapping[str, str] | None = None,
    form: str = "{:,.0f}",
) -> Chart:
    """One bar for each day, in which a series that has nothing at all is left out."""
    shown = {name: numbers for name, numbers in series.items() if any(numbers.values())}
    of = {name: (colours or {}).get(name) or _colour(n) for n, name in enumerate(shown)}
    top, bottom = _extent(days, shown)
    scale = HEIGHT / ((top - bottom) or 1)
    room = WIDTH / len(days)
    bars = []
    for position, day in enumerate(days):
        up, down = 0.0, 0.0
        for name, numbers in shown.items():
            number = float(numbers.get(day, 0))
            start = up if number > 0 else down + number
            if number:
                bars.append(
                    Bar(
                        x=round((position + GAP / 2) * room, 2),
                        y=round((top - start - abs(number)) * scale, 2),
                        width=round(room * (1 - GAP), 2),
                        height=round(abs(number) * scale, 2),
                        colour=of[name],
                        text=f"{day:%Y-%m-%d} {name}: {form.format(number)}",
                    )
                )
            up, down = up + max(number, 0), down + min(number, 0)
    return Chart(
        title=title,
        explanation=explanation,
        legend=[(colour, name) for name, colour in of.items()],
        bars=bars,
        labels=_labels(days, room),
        zero=round(top * scale, 2),
        table={
            "headers": ["Day", *shown],
            "rows": [
                [f"{day:%Y-%m-%d}", *(form.format(of_day.get(day, 0)) for of_day in shown.values())]
                for day in reversed(days)
            ]
            if shown
            else [],
        },
    )


def _colour(position: int) -> str:
    return COLOURS[position % len(COLOURS)]


def _extent(days: Sequence[date], shown: Mapping[str, Series]) -> tuple[float, float]:
    """The highest and the lowest that any day's bar reaches."""
    by_day = [[float(numbers.get(day, 0)) for numbers in shown.values()] for day in days]
    return (
        max(sum(number for number in of_day if number > 0) for of_day in by_day),
        min(sum(number for number in of_day if number < 0) for of_day in by_day),
    )


def _labels(days: Sequence[date], room: float) -> list[tuple[float, date]]:
    """Seven at most, the last day always among them."""
    step = -(-len(days) // 7)
    return [
        (round((position + 0.5) * room, 2), day)
        for position, day in enumerate(days)
        if (len(days) - 1 - position) % step == 0
    ]
