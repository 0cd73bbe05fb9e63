"""Results of a run's calls: by second, by phase, and every broken limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table

from bench.outages.load import LIMIT_SECONDS, Sent

HEALTH_PAGES = ("healthz", "readyz", "statusz")
HEALTH_SECONDS = 2.0
# From the return of a server until every call succeeds again.
RECOVERY_SECONDS = 2.0


@dataclass(frozen=True)
class Phase:
    """A part of the run, in seconds from its start. `answers_all` means that no call may fail."""

    name: str
    begins: float
    ends: float
    answers_all: bool

    def holds(self, sent: Sent) -> bool:
        return self.begins <= sent.at < self.ends

    def must_succeed(self, sent: Sent) -> bool:
        """Whether the call was sent and answered in a phase in which no call may fail.

        /statusz may report what an outage has made late, for as long as it is late: a job whose
        worker lost PostgreSQL midway waits for its lease.
        """
        whole = self.holds(sent) and sent.at + sent.seconds < self.ends
        return self.answers_all and whole and sent.kind != "statusz"


def phases(outages: list[tuple[str, float, float]], *, ends: float) -> list[Phase]:
    """Split the run into phases. `outages` holds (name, start, recovery time), in this order."""
    found, at = [], 0.0
    for name, began, back in outages:
        found.append(Phase("all is well", at, began, answers_all=True))
        found.append(Phase(name, began, back, answers_all=False))
        at = min(back + RECOVERY_SECONDS, ends)
        found.append(Phase(f"the {RECOVERY_SECONDS:.0f} s after it", back, at, answers_all=False))
    found.append(Phase("all is well", at, ends, answers_all=True))
    return found


def by_second(sent: list[Sent], parts: list[Phase]) -> Table:
    table = _table("second", "")
    for second in range(int(max(one.at for one in sent)) + 1):
        of_second = [one for one in sent if int(one.at) == second]
        names = [part.name for part in parts if second < part.ends and part.begins < second + 1]
        outages = [name for name in names if name != "all is well"]
        table.add_row(str(second), ", ".join(outages), *_figures(of_second))
    return table


def by_phase(sent: list[Sent], parts: list[Phase]) -> Table:
    table = _table("from", "phase")
    for part in parts:
        of_phase = [one for one in sent if part.holds(one)]
        table.add_row(f"{part.begins:.1f}", part.name, *_figures(of_phase))
    return table


def problems(sent: list[Sent], parts: list[Phase]) -> list[str]:
    """Broken limits in words, each kind once with its count."""
    breaches: Counter[str] = Counter()
    for one in sent:
        if one.kind in HEALTH_PAGES:
            if not one.status or one.seconds > HEALTH_SECONDS:
                breaches[f"{one.kind}: no answer within {HEALTH_SECONDS:.0f} s"] += 1
        elif not one.status:
            breaches[f"{one.kind}: no answer within {LIMIT_SECONDS:.0f} s"] += 1
        elif not _is_good(one) and one.status != 503:
            breaches[f"{one.kind}: status {one.status} {one.code}"] += 1
    for part in parts:
        for one in sent:
            if part.must_succeed(one) and not _is_good(one):
                breaches[f"{one.kind}: {one.status} {one.code}, while all was well"] += 1
    return [f"{breach}: {count} times" for breach, count in breaches.most_common()]


def _is_good(sent: Sent) -> bool:
    return 200 <= sent.status < 300


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=True)
    columns = ("sent", "2xx", "503", "other", "none", "slowest", "slowest health page")
    for title in columns:
        table.add_column(title, justify="right")
    return table


def _figures(sent: Iterable[Sent]) -> list[str]:
    sent = list(sent)
    good = sum(_is_good(one) for one in sent)
    unavailable = sum(one.status == 503 for one in sent)
    none = sum(one.status == 0 for one in sent)
    health = [one.seconds for one in sent if one.kind in HEALTH_PAGES]
    calls = [one.seconds for one in sent if one.kind not in HEALTH_PAGES]
    return [
        *map(str, (len(sent), good, unavailable, len(sent) - good - unavailable - none, none)),
        *(f"{max(seconds, default=0):.2f}" for seconds in (calls, health)),
    ]
