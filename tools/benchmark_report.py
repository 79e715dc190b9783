"""The table and the plot of tools/benchmark.py."""

from __future__ import annotations

from benchmark_rows import ROWS, Row
from rich.table import Table


def table_of(record: dict) -> Table:
    """One line a row: both forms, their ratios beside the targets, and ours' distance from its floor."""
    table = Table(title="ours against another form of the same work")
    for heading in ("row", "ours s (spread)", "other s (spread)", "time ratio", "target", "floor s"):
        table.add_column(heading, justify="left" if heading == "row" else "right")
    for heading in ("ours MiB", "other MiB", "memory ratio", "target"):
        table.add_column(heading, justify="right")
    for name, forms in record["results"].items():
        row = ROWS[name]
        ours, other = forms["ours"], forms[row.other]
        rate = record["operations_a_second"]["bfloat16" if row.bf16("ours") else "float32"]
        table.add_row(
            f"{name} / {row.other}",
            *(f"{f['median_s']:.3f} ({f['least_s']:.3f}-{f['most_s']:.3f})" for f in (ours, other)),
            *_against(ours["median_s"] / other["median_s"], row.time_target),
            f"{ours['flop'] / rate:.3f}",
            *(f"{f['peak_mib']:.0f}" for f in (ours, other)),
            *_against(ours["peak_mib"] / other["peak_mib"], row.memory_target),
        )
    return table


def _against(ratio: float, target: float | None) -> tuple[str, str]:
    if target is None:
        return f"{ratio:.3f}", ""
    return f"{ratio:.3f}", f"{target:.3f} {'met' if ratio <= target else 'missed'}"


def plot(results: dict, path: str) -> None:
    """Time and memory of a whole view against the number of names and against the image's size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels: dict[str, list[Row]] = {}
    for name in results:
        row = ROWS[name]
        if row.plot:
            panels.setdefault(row.plot[0], []).append(row)
    if not panels:
        raise SystemExit("error: none of these rows belongs to the plot; measure whole-7, whole-59 ... too")
    figure, axes = pyplot.subplots(len(panels), 2, figsize=(9, 3.2 * len(panels)), layout="constrained", squeeze=False)
    for (label, rows), line in zip(panels.items(), axes, strict=True):
        for axis, key, unit in zip(line, ("median_s", "peak_mib"), ("seconds", "peak memory, MiB"), strict=True):
            for form in ("direct", "ours"):
                places = [row.plot[1] for row in rows]
                axis.plot(places, [results[row.name][form][key] for row in rows], marker="o", label=form)
            axis.set(xlabel=label, ylabel=unit, ylim=(0, None))
            axis.legend()
    figure.savefig(path, dpi=120)
