"""Rows of the benchmark: what is measured alternately, and the figures of each.

Every row is compared with the limit (bench.limit) of the same round: other work on the machine
then affects both.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench import process_tree
from bench.load import Result

WARM_UP_SECONDS = 1.0
# Names of the processes whose CPU time counts, in the order of the table.
PARTS = ("app", "workers", "pg", "redis")


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Round:
    result: Result
    cpu_seconds: dict[str, float]

    @property
    def per_second(self) -> float:
        return self.result.requests / self.result.seconds

    @property
    def cpu_per_1000(self) -> float:
        return sum(self.cpu_seconds.values()) / max(self.result.requests, 1) * 1000


@dataclass
class Row:
    """One line of the table; each round adds to it.

    `drive` gets the seconds that it should take; `prepare` runs before it, and is not measured.
    """

    name: str
    drive: Callable[[float], Result]
    prepare: Callable[[], None] = _nothing
    rounds: list[Round] = field(default_factory=list)

    def measure(self, seconds: float, pids: Mapping[str, Sequence[int]]) -> None:
        self.prepare()
        before = {part: process_tree.cpu_seconds(*pids[part]) for part in pids}
        result = self.drive(seconds)
        used = {part: process_tree.cpu_seconds(*pids[part]) - before[part] for part in pids}
        self.rounds.append(Round(result, used))


@dataclass(frozen=True)
class Figures:
    """The figures of one row.

    `cpu` is CPU seconds for 1,000 requests by part. `of_limit` is the row's requests a second as a
    share of the limit's; `cpu_of_limit` is the limit's CPU seconds as a share of the row's. Larger
    is better in both. Latencies are of the quietest round; None where there are none.
    """

    name: str
    requests: int
    errors: int
    first_error: str
    per_second: float
    cpu: dict[str, float]
    of_limit: float
    cpu_of_limit: float
    p50_ms: float | None
    p99_ms: float | None

    @property
    def cpu_sum(self) -> float:
        return sum(self.cpu.values())


def measure(
    rows: Sequence[Row],
    limit: Row,
    *,
    pids: Mapping[str, Sequence[int]],
    seconds: float,
    rounds: int,
) -> list[Figures]:
    """Run all rows and the limit alternately, `seconds` each in `rounds` rounds; the limit last."""
    for row in (*rows, limit):
        if not row.rounds:
            row.prepare()
            row.drive(min(WARM_UP_SECONDS, seconds))
    for _ in range(rounds):
        for row in (*rows, limit):
            row.measure(seconds / rounds, pids)
    return [figures(row, limit) for row in (*rows, limit)]


def figures(row: Row, limit: Row) -> Figures:
    """Medians of the rounds; CPU seconds and errors of all rounds together."""
    results = [one.result for one in row.rounds]
    requests = sum(result.requests for result in results)
    pairs = list(zip(row.rounds, limit.rounds, strict=True))
    p50_ms, p99_ms = _quietest(results)
    return Figures(
        name=row.name,
        requests=requests,
        errors=sum(result.errors for result in results),
        first_error=next(filter(None, (one.first_error for one in results if one.errors)), ""),
        per_second=statistics.median(one.per_second for one in row.rounds),
        cpu={
            part: sum(one.cpu_seconds.get(part, 0.0) for one in row.rounds)
            / max(requests, 1)
            * 1000
            for part in PARTS
        },
        of_limit=statistics.median(one.per_second / bare.per_second for one, bare in pairs),
        cpu_of_limit=statistics.median(
            bare.cpu_per_1000 / max(one.cpu_per_1000, 1e-9) for one, bare in pairs
        ),
        p50_ms=p50_ms,
        p99_ms=p99_ms,
    )


def _quietest(results: Sequence[Result]) -> tuple[float, float] | tuple[None, None]:
    """Median and 99th percentile of the round whose 99th percentile is the lowest."""
    rounds = [sorted(result.latencies_ms) for result in results if result.latencies_ms]
    if not rounds:
        return None, None
    quietest = min(rounds, key=lambda latencies: _percentile(latencies, 0.99))
    return _percentile(quietest, 0.5), _percentile(quietest, 0.99)


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[int(share * (len(ordered) - 1))]
