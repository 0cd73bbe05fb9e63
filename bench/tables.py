"""A table that is shown in the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Grid:
    """The first column has names, the others numbers. Cells are texts."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def as_table(self) -> Table:
        table = Table(box=None, pad_edge=False, title=self.title, title_justify="left")
        for number, name in enumerate(self.head):
            table.add_column(name, justify="right" if number else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        return table

    def as_markdown(self) -> str:
        lines = [self.head, ["---", *("---:" for _ in self.head[1:])], *self.rows]
        return f"{self.title}:\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
