"""A benchmark: rows measured one after the other, with a record that is written after each."""

from __future__ import annotations

import json
import platform
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from hclip_mmseg.costs.measure import Measured, MeasurementError, measure_started, preload, start
from hclip_mmseg.costs.report import markdown_of, plot, table_of
from hclip_mmseg.costs.rows import ROWS, Row
from hclip_mmseg.files.writing import write_whole

AHEAD = {"cpu": 0, "cuda": 3}
"""How many further rows' processes do their imports while a row is measured; on a CPU they would disturb it."""
Record = dict[str, Any]
"""``python``, ``torch``, ``device``, ``precision``, ``clock``, ``results`` (row -> form -> figures), ``failed`` (row ->
why)."""


def check_request(
    rows: Sequence[str], repeat: int, outputs: Sequence[str | None], precision: str = "fp32", device: str | None = None
) -> None:
    """Check what is asked for, before anything is measured.

    Args:
        rows: names of rows.
        repeat: timed steps of a form.
        outputs: files that will be written; None for those that are not wanted.
        precision: of both forms.
        device: 'cpu' or 'cuda'; None: a GPU where there is one.

    Raises:
        ValueError: if there is no such row, no step, no folder for a file, no such GPU, or a row compares precisions
            itself.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no GPU; leave it out, or give --device cpu")
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        raise ValueError(f"no rows {unknown}; choose from {', '.join(ROWS)}")
    own = [row for row in rows if ROWS[row].other == "fp32"]
    if own and precision != "fp32":
        raise ValueError(f"rows {own} compare bf16 with fp32 themselves; leave --precision {precision} out for them")
    if repeat < 1:
        raise ValueError(f"--repeat must be at least 1, not {repeat}")
    for path in (Path(output) for output in outputs if output is not None):
        if not path.resolve().parent.is_dir():
            raise ValueError(f"no folder {path.resolve().parent} to write {path.name} into")


def run_benchmark(
    rows: Sequence[str],
    repeat: int,
    seconds: float,
    device: str | None = None,
    json_file: str | None = None,
    markdown_file: str | None = None,
    plot_file: str | None = None,
    precision: str = "fp32",
    clock: str = "wall",
) -> Record:
    """Measure rows and print their table; a row that fails does not stop the others.

    Args:
        rows: their names; none for all that the precision has.
        repeat: timed steps of a form.
        seconds: when the steps of a form that is compared with a direct one end.
        device: 'cpu' or 'cuda'; None: a GPU where there is one.
        json_file: written after every row, for it may be the last one that there is time for; None for none.
        markdown_file: the same.
        plot_file: written at the end; None for none.
        precision: of both forms, one of ``measure.PRECISIONS``.
        clock: of steps on a CPU, one of ``measure.CLOCKS``.

    Returns:
        All numbers, and the rows that failed.
    """
    preload()
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    record: Record = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device == "cuda" else f"cpu, {torch.get_num_threads()} threads",
        "precision": precision,
        "clock": clock,
        "results": {},
        "failed": {},
    }
    console = Console()
    every = [
        name
        for name, row in ROWS.items()
        if (precision == "fp32" or row.other != "fp32") and (device == "cuda" or not row.gpu)
    ]
    wanted = [ROWS[name] for name in rows or every]
    started = _started(wanted, device, precision, clock)
    for row, processes in track(started, "rows", total=len(wanted), console=console):
        try:
            record["results"][row.name] = measure_started(row, processes, repeat, seconds)
        except MeasurementError as error:
            record["failed"][row.name] = str(error)
            console.print(f"[red]{error}[/red]; going on with the other rows")
        if json_file:
            write_whole(Path(json_file), json.dumps(record, indent=2) + "\n")
        if markdown_file:
            write_whole(Path(markdown_file), markdown_of(record))
    Console(width=max(console.width, 150)).print(table_of(record["results"]))
    if plot_file:
        plot(record["results"], plot_file)
    return record


def _started(
    rows: Sequence[Row], device: str, precision: str, clock: str
) -> Iterator[tuple[Row, dict[str, Measured]]]:
    """Rows with the processes of their forms; those of the rows behind are started as ``AHEAD`` says."""
    waiting: deque[tuple[Row, dict[str, Measured]]] = deque()
    left = iter(rows)
    try:
        for _ in rows:
            for row in islice(left, AHEAD[device] + 1 - len(waiting)):
                waiting.append((row, start(row, device, precision, clock)))
            yield waiting.popleft()
    finally:
        for _, processes in waiting:
            for process in processes.values():
                process.kill()
