"""Measure time and memory against the direct form of the equations: python tools/benchmark.py [ROW ...] [--json F].

Every measurement runs in a process of its own, ours and the other form in turn, so that peak memory is its own and
both meet the same machine. On a GPU times are device events and memory is the device's. Beside ours stands its floor:
the operations of its matrix products and convolutions over the rate that a large matrix product reaches here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from benchmark_report import plot, table_of
from benchmark_rows import ROWS, Row, Step
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from hclip_mmseg.apis.memory import keep_freed_memory


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure time and peak memory, ours against another form.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)} (all)")
    parser.add_argument("--repeat", type=int, default=5, help="timed repetitions after one warm-up (5)")
    parser.add_argument("--direct-repeat", type=int, default=2, help="the same for the direct form (2)")
    parser.add_argument("--rounds", type=int, default=1, help="how often every process is started (1)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", metavar="FILE", help="write all numbers there, after every row")
    parser.add_argument("--plot", metavar="FILE", help="write a plot against the number of names and the image's size")
    parser.add_argument("--worker", nargs=2, metavar=("ROW", "FORM"), help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(row: Row, form: str, repeat: int, device: str) -> dict[str, object]:
    """Times one row in this process: seconds of each repetition, peak memory, and the operations of one."""
    keep_freed_memory()
    step = row.prepare(form, device)
    seconds = []
    with (
        torch.set_grad_enabled(row.training),
        torch.autocast(device, torch.bfloat16, enabled=row.bf16(form)),
    ):
        with FlopCounterMode(display=False) as counter:
            _timed(step, device)
        for _ in range(repeat):
            seconds.append(_timed(step, device))
    return {"seconds": seconds, "peak_mib": _peak_mib(device), "flop": counter.get_total_flops()}


def _timed(step: Step, device: str) -> float:
    if device == "cpu":
        start = time.perf_counter()
        step()
        return time.perf_counter() - start
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    step()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1000


def _peak_mib(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def matrix_product_rate(device: str, dtype: torch.dtype, side: int = 4096) -> float:
    """Operations a second of the best of five products of two large matrices."""
    a, b = torch.randn(2, side, side, device=device, dtype=dtype)
    return 2 * side**3 / min(_timed(lambda: a @ b, device) for _ in range(5))


def in_own_process(row: Row, form: str, args: argparse.Namespace) -> dict[str, object]:
    repeat = args.direct_repeat if form == "direct" else args.repeat
    command = [sys.executable, __file__, "--worker", row.name, form, "--repeat", str(repeat), "--device", args.device]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(f"error: {row.name} ({form}) ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def summary(runs: list[dict]) -> dict[str, float]:
    seconds = [second for run in runs for second in run["seconds"]]
    return {
        "median_s": statistics.median(seconds),
        "least_s": min(seconds),
        "most_s": max(seconds),
        "peak_mib": max(run["peak_mib"] for run in runs),
        "flop": runs[0]["flop"],
        "count": len(seconds),
    }


def main() -> None:
    args = parse_arguments()
    if args.worker:
        name, form = args.worker
        print(json.dumps(measure(ROWS[name], form, args.repeat, args.device)))
        return
    unknown = [row for row in args.rows if row not in ROWS]
    if unknown:
        raise SystemExit(f"error: no rows {unknown}; choose from {', '.join(ROWS)}")
    rates = {str(dtype)[6:]: matrix_product_rate(args.device, dtype) for dtype in (torch.float32, torch.bfloat16)}
    record = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else f"cpu, {torch.get_num_threads()} threads",
        "operations_a_second": rates,
        "results": {},
    }
    for row in (ROWS[name] for name in args.rows or ROWS):
        runs: dict[str, list[dict]] = {"ours": [], row.other: []}
        for _ in range(args.rounds):
            for form in runs:
                runs[form].append(in_own_process(row, form, args))
        record["results"][row.name] = {form: summary(found) for form, found in runs.items()}
        print(row.name, json.dumps(record["results"][row.name]), flush=True)
        if args.json:
            Path(args.json).write_text(json.dumps(record, indent=2) + "\n")
    Console(width=160).print(table_of(record))
    if args.plot:
        plot(record["results"], args.plot)


if __name__ == "__main__":
    main()
