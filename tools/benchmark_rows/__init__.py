"""What tools/benchmark.py measures: a file for each system, whose ``ROWS`` are collected here."""

from benchmark_rows import fisa, hclip
from benchmark_rows.row import Row, Step

ROWS: dict[str, Row] = {row.name: row for system in (hclip, fisa) for row in system.ROWS}

__all__ = ["ROWS", "Row", "Step"]
