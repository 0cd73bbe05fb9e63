"""A plot of CPU seconds as SVG: a bar for each row, stacked by part."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.rows import PARTS, Figures

COLOURS = {"app": "#2563eb", "workers": "#9333ea", "pg": "#16a34a", "redis": "#d97706"}
NAMES = {
    "app": "web processes",
    "workers": "workers, beat and Flower",
    "pg": "PostgreSQL",
    "redis": "Valkey",
}
WIDTH, LABEL_WIDTH, NUMBER_WIDTH = 760, 240, 50
ROW_HEIGHT, BAR_HEIGHT, HEAD_HEIGHT = 22, 14, 52
TEXT = 'font-family="sans-serif" font-size="12" fill="#111"'


def as_svg(rows: Sequence[Figures], *, title: str) -> str:
    """A picture on white, which is readable in light and dark pages."""
    scale = (WIDTH - LABEL_WIDTH - NUMBER_WIDTH) / max((row.cpu_sum for row in rows), default=1)
    height = HEAD_HEIGHT + ROW_HEIGHT * len(rows) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _text(8, 20, title),
        *_legend(),
    ]
    for number, row in enumerate(rows):
        top = HEAD_HEIGHT + number * ROW_HEIGHT
        lines.append(_text(8, top + BAR_HEIGHT - 3, row.name))
        left = float(LABEL_WIDTH)
        for part in PARTS:
            width = row.cpu.get(part, 0.0) * scale
            lines.append(_rectangle(left, top, width, BAR_HEIGHT, COLOURS[part]))
            left += width
        lines.append(_text(left + 5, top + BAR_HEIGHT - 3, f"{row.cpu_sum:.2f}"))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _legend() -> list[str]:
    lines = []
    left = 8.0
    for part in PARTS:
        lines += [
            _rectangle(left, 30, 10, 10, COLOURS[part]),
            _text(left + 15, 39, NAMES[part]),
        ]
        left += 40 + 6.5 * len(NAMES[part])
    return lines


def _rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{colour}"/>'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {TEXT}>{escape(text)}</text>'
