"""Stacked bar charts, rendered by the server as SVG, without JavaScript.

The numbers of a day are stacked. Negative numbers are below the line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

# Colours with enough contrast on light and on dark backgrounds.
COLOURS = ["#2563eb", "#16a34a", "#d97706", "#9333ea", "#0891b2", "#db2777", "#65a30d", "#6b7280"]
WIDTH, HEIGHT, FOOT = 600, 160, 18
GAP = 0.25  # between bars, as a share of a day's width

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
    """A chart for the template, and the same numbers as a table."""

    title: str
    explanation: str  # the content and the unit
    legend: list[tuple[str, str]]  # colour and name
    bars: list[Bar]
    labels: list[tuple[float, date]]  # x and day
    zero: float  # y of the line
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
    number_format: str = "{:,.0f}",
) -> Chart:
    """A chart with one bar for each day. Series without numbers are left out."""
    visible = {name: numbers for name, numbers in series.items() if any(numbers.values())}
    colour_of = {name: (colours or {}).get(name) or _colour(n) for n, name in enumerate(visible)}
    top, bottom = _extent(days, visible)
    scale = HEIGHT / ((top - bottom) or 1)
    day_width = WIDTH / len(days)
    bars = []
    for position, day in enumerate(days):
        up, down = 0.0, 0.0
        for name, numbers in visible.items():
            number = float(numbers.get(day, 0))
            start = up if number > 0 else down + number
            if number:
                bars.append(
                    Bar(
                        x=round((position + GAP / 2) * day_width, 2),
                        y=round((top - start - abs(number)) * scale, 2),
                        width=round(day_width * (1 - GAP), 2),
                        height=round(abs(number) * scale, 2),
                        colour=colour_of[name],
                        text=f"{day:%Y-%m-%d} {name}: {number_format.format(number)}",
                    )
                )
            up, down = up + max(number, 0), down + min(number, 0)
    return Chart(
        title=title,
        explanation=explanation,
        legend=[(colour, name) for name, colour in colour_of.items()],
        bars=bars,
        labels=_labels(days, day_width),
        zero=round(top * scale, 2),
        table={
            "headers": ["Day", *visible],
            "rows": [
                [
                    f"{day:%Y-%m-%d}",
                    *(number_format.format(numbers.get(day, 0)) for numbers in visible.values()),
                ]
                for day in reversed(days)
            ]
            if visible
            else [],
        },
    )


def _colour(position: int) -> str:
    return COLOURS[position % len(COLOURS)]


def _extent(days: Sequence[date], visible: Mapping[str, Series]) -> tuple[float, float]:
    """The top of the highest bar and the bottom of the lowest."""
    by_day = [[float(numbers.get(day, 0)) for numbers in visible.values()] for day in days]
    return (
        max(sum(number for number in of_day if number > 0) for of_day in by_day),
        min(sum(number for number in of_day if number < 0) for of_day in by_day),
    )


def _labels(days: Sequence[date], day_width: float) -> list[tuple[float, date]]:
    """At most seven labels, the last day included."""
    step = -(-len(days) // 7)
    return [
        (round((position + 0.5) * day_width, 2), day)
        for position, day in enumerate(days)
        if (len(days) - 1 - position) % step == 0
    ]
