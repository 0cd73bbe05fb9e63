"""The report of a run: tables for the terminal and for docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench import idle, listeners
from bench.growth import Growth
from bench.plot import as_svg
from bench.rows import PARTS, Figures
from bench.tables import Grid
from rendio.local.data_dir import PROJECT

PAGE = PROJECT / "docs" / "performance.md"
PLOT = PROJECT / "docs" / "img" / "bench.svg"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
LEGEND = (
    "limit: pgbench with the bare money transaction (bench/transaction.sql).\n"
    "app, workers, pg, redis: CPU seconds for 1,000 requests or jobs. Compare their sum.\n"
    "of limit: the row's req/s as a share of the limit's. cpu of limit: the limit's CPU seconds as"
    " a share of the row's. p50 and p99: ms, of the quietest round."
)


@dataclass(frozen=True)
class Report:
    """What a run has measured. Parts that were left out are empty."""

    date: str
    machine: str
    other_work: float
    calls: list[Figures] = field(default_factory=list)
    jobs: list[Figures] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    idle: idle.Idle | None = None
    listening: listeners.Listening | None = None

    @property
    def setting(self) -> str:
        return (
            f"{self.date}, {self.machine}, fsync on;"
            f" other work on the machine used {self.other_work:.0%} of its cores."
        )

    def write(self) -> None:
        """Put the tables between the markers of docs/performance.md, and the plot beside it."""
        PAGE.write_text(replace_between_markers(PAGE.read_text(), self.as_markdown()))
        if self.calls:
            PLOT.write_text(as_svg(self.calls, title="CPU seconds for 1,000 requests"))

    def as_markdown(self) -> str:
        parts = [self.setting]
        if self.calls:
            parts.append(f"![CPU seconds for 1,000 requests](img/{PLOT.name})")
        return "\n\n".join([*parts, *(grid.as_markdown() for grid in self._grids())])

    def _grids(self) -> list[Grid]:
        grids = []
        if self.calls:
            grids.append(figures_grid("Calls", self.calls))
        if self.jobs:
            grids.append(figures_grid("Whole jobs", self.jobs))
        if self.growth:
            grids.append(growth_grid(self.growth))
        if self.idle:
            grids.append(idle.grid(self.idle))
        if self.listening:
            grids.append(listeners.grid(self.listening))
        return grids


def figures_grid(title: str, rows: Sequence[Figures]) -> Grid:
    head = ["", "n", "errors", "req/s", "of limit", *PARTS, "sum", "cpu of limit", "p50", "p99"]
    cells = [
        [
            row.name,
            f"{row.requests:,}",
            f"{row.errors}",
            f"{row.per_second:,.0f}",
            f"{row.of_limit:.3f}",
            *(f"{row.cpu[part]:.2f}" for part in PARTS),
            f"{row.cpu_sum:.2f}",
            f"{row.cpu_of_limit:.3f}",
            "" if row.p50_ms is None else f"{row.p50_ms:.1f}",
            "" if row.p99_ms is None else f"{row.p99_ms:.1f}",
        ]
        for row in rows
    ]
    return Grid(title, head, cells)


def growth_grid(growth: Sequence[Growth]) -> Grid:
    sizes = sorted(growth[0].cpu_ms)
    head = ["", *(f"{size:,}" for size in sizes), *(f"ratio at {size:,}" for size in sizes[1:])]
    cells = [
        [
            one.name,
            *(f"{one.cpu_ms[size]:.2f}" for size in sizes),
            *(f"{one.ratios[size]:.2f}" for size in sizes[1:]),
        ]
        for one in growth
    ]
    return Grid("PostgreSQL's CPU milliseconds for a call, by the number of jobs", head, cells)


def replace_between_markers(page: str, text: str) -> str:
    """The page with `text` between BEGIN and END. Raises ValueError without these markers."""
    before, found_begin, rest = page.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise ValueError(f"{PAGE} has no {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
