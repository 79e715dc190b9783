"""Tables and the plot of measured rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from hclip_mmseg.costs.printed import markdown_table, number_table
from hclip_mmseg.costs.rows import ROWS
from hclip_mmseg.files.writing import write_figure

Results = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Row -> form -> figures."""

HEADINGS = (
    "row", "against", "ours, s", "other, s", "ratio", "target", "TFLOP", "floor, s", "reached", "launches",
    "ours, MiB", "other, MiB", "ratio", "target",
)  # fmt: skip


def lines_of(results: Results) -> list[tuple[str, ...]]:
    """The cells of the table, as in ``HEADINGS``: medians (least-most) and ratios beside their targets.

    The floor is the time that ours would take if all its operations ran at the rate of a large matrix product;
    'reached' is its part of the time that ours does take. Both are left out where it is above that time.
    """
    lines: list[tuple[str, ...]] = []
    for name, forms in results.items():
        row = ROWS[name]
        ours, other = forms["ours"], forms[row.other]
        floor = ours["flop"] / ours["rate"]
        lines.append(
            (
                name,
                row.other,
                *(f"{f['median_s']:.3f} ({f['least_s']:.3f}-{f['most_s']:.3f})" for f in (ours, other)),
                *_against(ours["median_s"] / other["median_s"], row.time_target),
                f"{ours['flop'] / 1e12:.3f}",
                *((f"{floor:.3f}", f"{floor / ours['median_s']:.0%}") if floor <= ours["median_s"] else ("", "")),
                f"{ours['launches']:.0f}" if "launches" in ours else "",
                *(f"{f['peak_mib']:.0f}" for f in (ours, other)),
                *_against(ours["peak_mib"] / other["peak_mib"], row.memory_target),
            )
        )
    return lines


def _against(ratio: float, target: float | None) -> tuple[str, str]:
    if target is None:
        return f"{ratio:.3f}", ""
    return f"{ratio:.3f}", f"{target:.3g} {'met' if ratio <= target else 'missed'}"


def table_of(results: Results) -> Table:
    """The table for a terminal."""
    table = number_table(*HEADINGS, names=2)
    for line in lines_of(results):
        table.add_row(*line)
    return table


def markdown_of(record: Mapping[str, Any]) -> str:
    """The table for a page, with the machine that it was measured on and the rows that failed."""
    clock = ", processor time" if record.get("clock") == "processor" else ""
    text = f"Python {record['python']}, torch {record['torch']}, {record['device']}, {record['precision']}{clock}.\n\n"
    text += markdown_table(HEADINGS, lines_of(record["results"]), names=2)
    if record["failed"]:
        text += "\nNot measured:\n" + "".join(f"- {why}\n" for why in record["failed"].values())
    return text


def plot(results: Results, path: str) -> None:
    """Time and memory against what the rows' panels name, a line of two plots each; nothing without such rows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels: dict[str, list[tuple[int, str]]] = {}
    for name in results:
        for label, place in ROWS[name].plot:
            panels.setdefault(label, []).append((place, name))
    if not panels:
        return
    figure, axes = pyplot.subplots(len(panels), 2, figsize=(9, 3.2 * len(panels)), layout="constrained", squeeze=False)
    for (label, points), line in zip(panels.items(), axes, strict=True):
        for axis, key, unit in zip(line, ("median_s", "peak_mib"), ("seconds", "peak memory, MiB"), strict=True):
            highest = max(results[name][form][key] for _, name in points for form in ("direct", "ours"))
            for form in ("direct", "ours"):
                values = [(place, results[name][form][key]) for place, name in sorted(points)]
                axis.plot(*zip(*values, strict=True), marker="o", label=form)
            axis.set(xlabel=label, ylabel=unit, ylim=(0, 1.1 * highest))
            axis.legend()
    write_figure(path, figure, 110)
    pyplot.close(figure)
