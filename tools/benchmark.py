"""Measure time and memory against other forms of the same work: python tools/benchmark.py [ROW ...] [--json F].

Every form runs in a process of its own, for its peak memory. On a GPU times are device events and memory is the
device's. Beside ours stands its floor: the operations of its matrix products and convolutions, over the rate that a
large matrix product reaches in the same process. docs/results/speed.md says what the rows are.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import sys
from pathlib import Path

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from benchmark_measure import MeasurementError, measure, preload
from benchmark_report import markdown_of, plot, table_of
from benchmark_rows import ROWS
from rich.console import Console
from rich.progress import track


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure time and peak memory, ours against another form.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)} (all)")
    parser.add_argument("--repeat", type=int, default=5, help="timed steps of a form, after one that is not (5)")
    parser.add_argument(
        "--seconds", type=float, default=20, help="end the steps of a form that is compared with a direct one then (20)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], help="(cuda where there is one)")
    parser.add_argument("--json", metavar="FILE", help="write all numbers there, after every row")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there")
    parser.add_argument("--plot", metavar="FILE", help="write a plot of time and memory there")
    args = parser.parse_args()
    unknown = [row for row in args.rows if row not in ROWS]
    if unknown:
        parser.error(f"no rows {unknown}; choose from {', '.join(ROWS)}")
    if args.repeat < 1:
        parser.error(f"--repeat must be at least 1, not {args.repeat}")
    for path in filter(None, (args.json, args.markdown, args.plot)):
        if not Path(path).resolve().parent.is_dir():
            parser.error(f"no folder {Path(path).resolve().parent} to write {Path(path).name} into")
    return args


def main() -> int:
    args = parse_arguments()
    preload()
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    record = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device == "cuda" else f"cpu, {torch.get_num_threads()} threads",
        "results": {},
        "failed": {},
    }
    console = Console()
    for row in track([ROWS[name] for name in args.rows or ROWS], "rows", console=console):
        try:
            record["results"][row.name] = measure(row, device, args.repeat, args.seconds)
        except MeasurementError as error:
            record["failed"][row.name] = str(error)
            console.print(f"[red]{error}[/red]; going on with the other rows")
        if args.json:
            Path(args.json).write_text(json.dumps(record, indent=2) + "\n")
    Console(width=max(console.width, 150)).print(table_of(record["results"]))
    if args.markdown:
        Path(args.markdown).write_text(markdown_of(record))
    if args.plot:
        plot(record["results"], args.plot)
    return 1 if record["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
