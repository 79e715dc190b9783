"""Measure time and memory against the direct form of the equations: python tools/benchmark.py [ROW ...] [--json F].

Every measurement runs in a process of its own, ours and the other form in turn, so that peak memory is its own and
both meet the same machine. On a GPU times are device events and memory is the device's.
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

import benchmark_rows as rows
import torch
from rich.console import Console
from rich.table import Table

from hclip_mmseg.apis.memory import keep_freed_memory

FROZEN_ROWS = ("encode-folded", "train-adapters")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure time and peak memory, ours against the direct form.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(rows.ROWS)} (all)")
    parser.add_argument("--repeat", type=int, default=5, help="timed repetitions after one warm-up (5)")
    parser.add_argument("--direct-repeat", type=int, default=2, help="the same for the direct form (2)")
    parser.add_argument("--rounds", type=int, default=1, help="how often every process is started (1)")
    parser.add_argument("--amp", action="store_true", help="ours under bfloat16 autocast")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", metavar="FILE", help="write all numbers there")
    parser.add_argument("--plot", metavar="FILE", help="write a plot of the whole-view rows against the names")
    parser.add_argument("--worker", nargs=2, metavar=("ROW", "FORM"), help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(row: str, form: str, repeat: int, device: str, amp: bool) -> dict[str, object]:
    """Times one row in this process: seconds of each repetition, and the process's (or device's) peak memory."""
    keep_freed_memory()
    step = rows.prepare(row, form, device)
    training = row.startswith("train")
    seconds = []
    with torch.set_grad_enabled(training), torch.autocast(device, torch.bfloat16, enabled=amp and form != "direct"):
        for index in range(repeat + 1):
            taken = _timed(step, device)
            if index or repeat == 0:
                seconds.append(taken)
    return {"seconds": seconds, "peak_mib": _peak_mib(device)}


def _timed(step: rows.Step, device: str) -> float:
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


def in_own_process(row: str, form: str, args: argparse.Namespace) -> dict[str, object]:
    repeat = args.direct_repeat if form == "direct" else args.repeat
    command = [sys.executable, __file__, "--worker", row, form, "--repeat", str(repeat), "--device", args.device]
    ended = subprocess.run([*command, *(["--amp"] if args.amp else [])], capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(f"error: {row} ({form}) ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def summary(runs: list[dict]) -> dict[str, float]:
    seconds = [second for run in runs for second in run["seconds"]]
    return {
        "median_s": statistics.median(seconds),
        "least_s": min(seconds),
        "most_s": max(seconds),
        "peak_mib": max(run["peak_mib"] for run in runs),
        "count": len(seconds),
    }


def table_of(results: dict[str, dict[str, dict[str, float]]], amp: bool) -> Table:
    table = Table(title=f"ours{' (bf16)' if amp else ''} against the direct form, or against frozen CLIP")
    headings = ("row", "ours s (spread)", "other s (spread)", "time ratio", "ours MiB", "other MiB", "memory ratio")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "row" else "right")
    for row, forms in results.items():
        ours = forms["ours"]
        (other_name,) = [form for form in forms if form != "ours"]
        other = forms[other_name]
        table.add_row(
            f"{row} / {other_name}",
            *(f"{f['median_s']:.3f} ({f['least_s']:.3f}-{f['most_s']:.3f})" for f in (ours, other)),
            f"{ours['median_s'] / other['median_s']:.3f}",
            *(f"{f['peak_mib']:.0f}" for f in (ours, other)),
            f"{ours['peak_mib'] / other['peak_mib']:.3f}",
        )
    return table


def plot(results: dict, path: str) -> None:
    """Time and memory of a whole view against the number of names."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    counts = [count for count in rows.WHOLE if f"whole-{count}" in results]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for axis, key, label in zip(axes, ("median_s", "peak_mib"), ("seconds", "peak memory, MiB"), strict=True):
        for form in ("direct", "ours"):
            axis.plot(counts, [results[f"whole-{count}"][form][key] for count in counts], marker="o", label=form)
        axis.set(xlabel="names", ylabel=label, ylim=(0, None))
        axis.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    args = parse_arguments()
    if args.worker:
        print(json.dumps(measure(*args.worker, args.repeat, args.device, args.amp)))
        return
    unknown = [row for row in args.rows if row not in rows.ROWS]
    if unknown:
        raise SystemExit(f"error: no rows {unknown}; choose from {', '.join(rows.ROWS)}")
    results: dict[str, dict[str, dict[str, float]]] = {}
    for row in args.rows or rows.ROWS:
        forms = ("ours", "frozen" if row in FROZEN_ROWS else "direct")
        runs: dict[str, list[dict]] = {form: [] for form in forms}
        for _ in range(args.rounds):
            for form in forms:
                runs[form].append(in_own_process(row, form, args))
        results[row] = {form: summary(found) for form, found in runs.items()}
        print(row, json.dumps(results[row]), flush=True)
    Console(width=150).print(table_of(results, args.amp))
    record = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else f"cpu, {torch.get_num_threads()} threads",
        "amp": args.amp,
        "results": results,
    }
    if args.json:
        Path(args.json).write_text(json.dumps(record, indent=2) + "\n")
    if args.plot:
        plot(results, args.plot)


if __name__ == "__main__":
    main()
