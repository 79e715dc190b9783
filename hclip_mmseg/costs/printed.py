"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table


def number_table(*headings: str, title: str | None = None, names: int = 1) -> Table:
    """An empty table whose first ``names`` columns hold names, on the left, and the others numbers, on the right."""
    table = Table(title=title)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < names else "right")
    return table


def markdown_table(headings: Sequence[str], lines: Sequence[Sequence[str]], names: int = 1) -> str:
    """A table for a page, a line of text for each of its lines; the first ``names`` columns are aligned to the left."""
    rows = [headings, [*["---"] * names, *["---:"] * (len(headings) - names)], *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
