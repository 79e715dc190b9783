"""The report of an ablation: means over seeds, verdicts on the paper's claims, tables."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t as student_t

from hclip_mmseg.ablation.metric import MIOU, Metric, Result
from hclip_mmseg.ablation.plots import plot
from hclip_mmseg.files.writing import write_whole

FIGURES: Mapping[str, Callable[[Result, Metric], float]] = {
    "train": lambda result, metric: result["metrics"].get(metric.train, math.nan),
    "held_out": lambda result, metric: result["metrics"].get(metric.held_out, math.nan),
    "step_seconds": lambda result, _: result["step_seconds"],
    "memory_gib": lambda result, _: result["peak_memory"] / 2**30,
    "drift_image": lambda result, _: 100 * result["energy_drift"]["image"],
    "drift_text": lambda result, _: 100 * result["energy_drift"]["text"],
}
"""What is averaged over seeds: the metric in percent, seconds, GiB, energy drift in percent."""


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; the latter is not a number for one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def row_figures(results: Sequence[Result], metric: Metric) -> dict[str, tuple[float, float]]:
    """Compute each figure's mean and spread over the seeds of a row."""
    return {name: mean_and_spread([read(result, metric) for result in results]) for name, read in FIGURES.items()}


def judge(
    claim: Sequence[str], results: Mapping[str, Sequence[Result]], metric: Metric = MIOU
) -> dict[str, Any] | None:
    """Whether one row is above another on held-out names, seed by seed.

    Returns:
        None where no seed has both. Else the mean and spread of the differences, the ``interval`` of the mean at
        95 % by Student's t (plus or minus; claims are not corrected for each other), the seeds, and a verdict:
        'holds' or 'does not hold' where 0 is outside of the interval, and with one seed or less than that
        'undecided'.
    """
    sentence, above, below = claim
    of = [{r["seed"]: FIGURES["held_out"](r, metric) for r in results.get(row, ())} for row in (above, below)]
    seeds = sorted(of[0].keys() & of[1].keys())
    if not seeds:
        return None
    mean, spread = mean_and_spread([of[0][seed] - of[1][seed] for seed in seeds])
    interval = float(student_t.ppf(0.975, len(seeds) - 1)) * spread / math.sqrt(len(seeds))
    verdict = ("holds" if mean > 0 else "does not hold") if abs(mean) > interval else "undecided"
    return dict(claim=sentence, difference=mean, spread=spread, interval=interval, seeds=len(seeds), verdict=verdict)


def conditions(results: Mapping[str, Sequence[Result]]) -> list[str]:
    """What a reader has to know where not all runs were made in the same way; empty where they were."""
    runs = [run for own in results.values() for run in own]
    lines = []
    places = sorted({(run.get("cores"), run.get("threads")) for run in runs}, key=str)
    if len(places) > 1:
        told = ", ".join(f"{cores} cores with {threads} threads" for cores, threads in places)
        lines.append(f"Runs had {told}: seconds a step cannot be compared.")
    if len({run.get("code") for run in runs}) > 1:
        told = "; ".join(
            f"{code}: " + ", ".join(f"{run['row']}/{run['seed']}" for run in runs if run.get("code") == code)
            for code in sorted({run.get("code") for run in runs}, key=str)
        )
        lines.append(f"Runs were made with different states of the code ({told}).")
    return lines


def with_spread(figure: tuple[float, float], digits: int) -> str:
    """A mean with its spread, which is left out where there is none."""
    mean, spread = figure
    return f"{mean:.{digits}f}" + ("" if math.isnan(spread) else f" ± {spread:.{digits}f}")


def markdown(
    rows: Mapping[str, Mapping[str, Any]],
    figures: Mapping[str, Mapping[str, tuple[float, float]]],
    seeds: Mapping[str, int],
    verdicts: Sequence[Mapping[str, Any]],
    search: Mapping[str, Mapping[str, float]],
    metric: Metric,
) -> str:
    """The report as text; ``rows`` gives each row's ``title``, ``trained``, ``free``, ``paper``."""
    lines = [*_row_lines(rows, figures, seeds, metric)]
    if verdicts:
        lines += _verdict_lines(verdicts)
    if search:
        lines += _search_lines({name: row["title"] for name, row in rows.items()}, search, metric)
    return "\n".join(lines) + "\n"


def _row_lines(
    rows: Mapping[str, Mapping[str, Any]],
    figures: Mapping[str, Mapping[str, tuple[float, float]]],
    seeds: Mapping[str, int],
    metric: Metric,
) -> list[str]:
    lines = [
        f"{metric.title} in percent, mean ± standard deviation over the seeds. Trained: adapters and relations,",
        "positional embeddings, decoder and detector left out; half: numbers of orthogonal blocks counted half. The",
        "step is the median with its data, the memory the process's peak, the drift the mean size of the relative",
        f"change of the hyperspherical energy. The last column is the paper's ({metric.printed}): not measured here.",
        "",
        "| row | seeds | trained | half | train names | held-out names | s a step | GiB | drift image (%) "
        "| drift text (%) | paper |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, own in figures.items():
        row = rows[name]
        cells = [
            row["title"],
            str(seeds[name]),
            f"{row['trained']:,}",
            f"{row['free']:,}",
            with_spread(own["train"], 1),
            with_spread(own["held_out"], 1),
            f"{own['step_seconds'][0]:.2f}",
            f"{own['memory_gib'][0]:.2f}",
            with_spread(own["drift_image"], 2),
            with_spread(own["drift_text"], 2),
            str(row["paper"].get(metric.paper[0], {}).get(metric.paper[1], "")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _verdict_lines(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "",
        "Differences of paired seeds with their 95 % interval (Student's t); not corrected for their number.",
        "",
        "| the paper's order, on held-out names | difference | seeds | here |",
        "|---|---|---|---|",
    ]
    for verdict in verdicts:
        difference = with_spread((verdict["difference"], verdict["interval"]), 1)
        lines.append(f"| {verdict['claim']} | {difference} | {verdict['seeds']} | {verdict['verdict']} |")
    return lines


def _search_lines(titles: Mapping[str, str], search: Mapping[str, Mapping[str, float]], metric: Metric) -> list[str]:
    factors = sorted({float(factor) for found in search.values() for factor in found})
    lines = [
        "",
        f"Search for the adapters' learning rate, as a multiple of the base config's: {metric.title} on training",
        "names, on scenes of their own. The best, in bold, is taken; beyond an end of the range may be a better",
        "one.",
        "",
        "| row | " + " | ".join(f"x {factor:g}" for factor in factors) + " |",
        "|---|" + "---|" * len(factors),
    ]
    for name, found in search.items():
        shown = {float(factor): f"{value:.1f}" for factor, value in found.items()}
        best = float(max(found, key=found.__getitem__))
        shown[best] = f"**{shown[best]}**" + (" (end)" if best in (factors[0], factors[-1]) else "")
        lines.append(f"| {titles[name]} | " + " | ".join(shown.get(f, "") for f in factors) + " |")
    return lines


def write_report(
    out: Path,
    rows: Mapping[str, Mapping[str, Any]],
    claims: Sequence[Sequence[str]],
    results: Mapping[str, Sequence[Result]],
    search: Mapping[str, Mapping[str, float]],
    metric: Metric = MIOU,
) -> str:
    """Writes results.json, results.md and the plots of what there is.

    Args:
        out: folder.
        rows: row -> ``title``, ``trained`` and ``free`` parameters, ``paper`` (its config's entry).
        claims: (sentence, row above, row below).
        results: row -> its results, one a seed; rows without any are left out.
        search: row -> learning rate's factor -> the metric on training names.
        metric: what rows are compared by.

    Returns:
        The text of results.md.
    """
    results = {name: results[name] for name in rows if results.get(name)}
    figures = {name: row_figures(own, metric) for name, own in results.items()}
    verdicts = [verdict for claim in claims if (verdict := judge(claim, results, metric)) is not None]
    text = markdown(rows, figures, {name: len(own) for name, own in results.items()}, verdicts, search, metric)
    notes = conditions(results)
    text += "".join(f"\n{note}\n" for note in notes)
    numbers = dict(
        rows={
            name: dict(
                {key: rows[name][key] for key in ("title", "trained", "free", "paper")},
                **{figure: dict(mean=mean, spread=spread) for figure, (mean, spread) in figures[name].items()},
                runs=results[name],
            )
            for name in results
        },
        claims=verdicts,
        search=search,
        notes=notes,
    )
    write_whole(out / "results.json", json.dumps(numbers, indent=1) + "\n")
    write_whole(out / "results.md", text)
    if figures:
        plot(out, figures, results, {name: rows[name]["title"] for name in results}, metric)
    return text
