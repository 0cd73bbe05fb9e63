"""bench/record.json: the ratios that a run is judged against."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.rows import Figures

if TYPE_CHECKING:
    from bench.report import Report

FILE = Path(__file__).with_name("record.json")
# A ratio may fall by this share of what is recorded, and growth may rise by it.
TOLERANCE = 0.1
# More than this share of the cores for other work disturbs requests a second: they are compared
# only if neither run was disturbed. CPU seconds are always compared.
QUIET = 0.05
# Growth is not judged below this ratio.
GOOD_GROWTH = 1.3


@dataclass(frozen=True)
class Ratios:
    """As in bench.rows.Figures."""

    of_limit: float
    cpu_of_limit: float


@dataclass(frozen=True)
class Record:
    """The ratios of one run. `other_work` is the share of the cores that other processes used."""

    date: str
    machine: str
    other_work: float
    rows: dict[str, Ratios]
    growth: dict[str, float]

    @classmethod
    def of_report(cls, report: Report) -> Record:
        return cls(
            date=report.date,
            machine=report.machine,
            other_work=round(report.other_work, 2),
            rows={
                row.name: Ratios(round(row.of_limit, 4), round(row.cpu_of_limit, 4))
                for row in [*report.calls, *report.jobs]
            },
            growth={
                one.name: round(max(one.ratios.values()), 2) for one in report.growth if one.ratios
            },
        )

    def problems(self, recorded: Record) -> list[str]:
        """What is worse than recorded by more than the tolerance. New rows are not judged."""
        is_quiet = max(self.other_work, recorded.other_work) <= QUIET
        found = []
        for name in self.rows.keys() & recorded.rows.keys():
            now, before = self.rows[name], recorded.rows[name]
            if _has_fallen(now.cpu_of_limit, before.cpu_of_limit):
                found.append(
                    f"{name}: cpu of limit {now.cpu_of_limit:.3f},"
                    f" {before.cpu_of_limit:.3f} recorded"
                )
            if is_quiet and _has_fallen(now.of_limit, before.of_limit):
                found.append(f"{name}: of limit {now.of_limit:.3f}, {before.of_limit:.3f} recorded")
        for name in self.growth.keys() & recorded.growth.keys():
            ratio, before_ratio = self.growth[name], recorded.growth[name]
            if ratio > max(before_ratio * (1 + TOLERANCE), GOOD_GROWTH):
                found.append(f"{name}: grows by {ratio:.2f}, {before_ratio:.2f} recorded")
        return sorted(found)

    def save(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")


def load(file: Path) -> Record:
    fields = json.loads(file.read_text())
    rows = {name: Ratios(**ratios) for name, ratios in fields.pop("rows").items()}
    return Record(rows=rows, **fields)


def fallen(rows: Sequence[Figures], recorded: Record) -> set[str]:
    """Names of the rows that need more CPU time beside the limit than recorded."""
    return {
        row.name
        for row in rows
        if row.name in recorded.rows
        and _has_fallen(row.cpu_of_limit, recorded.rows[row.name].cpu_of_limit)
    }


def _has_fallen(now: float, recorded: float) -> bool:
    return now < recorded * (1 - TOLERANCE)
