"""Plots of an ablation's rows: held-out names against training names and against drift, curves of training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hclip_mmseg.ablation.metric import Metric, Result
from hclip_mmseg.files.writing import write_figure

Figures = Mapping[str, Mapping[str, tuple[float, float]]]
"""Row -> figure -> mean and spread over the seeds."""


def plot(
    out: Path, figures: Figures, results: Mapping[str, Sequence[Result]], titles: Mapping[str, str], metric: Metric
) -> None:
    """Write held_out_against_train.png, drift_against_held_out.png and curves.png.

    Args:
        out: folder.
        figures: of the rows, at least one.
        results: row -> its results, one a seed.
        titles: row -> how legends name it.
        metric: what rows are compared by.
    """
    _save(_held_out_against_train(figures, titles, metric), out / "held_out_against_train.png")
    _save(_drift_against_held_out(figures, titles, metric), out / "drift_against_held_out.png")
    _save(_curves(results, titles, metric), out / "curves.png")


def _held_out_against_train(figures: Figures, titles: Mapping[str, str], metric: Metric) -> Figure:
    figure = Figure(figsize=(9, 5.5))
    axes = figure.subplots()
    _scatter(axes, figures, "train", "held_out", titles)
    axes.set(xlabel=f"{metric.title} of training names (%)", ylabel=f"{metric.title} of held-out names (%)")
    _legend(axes)
    return figure


def _drift_against_held_out(figures: Figures, titles: Mapping[str, str], metric: Metric) -> Figure:
    figure = Figure(figsize=(14, 5))
    both = figure.subplots(1, 2, sharey=True)
    for axes, tower in zip(both, ("image", "text"), strict=True):
        _scatter(axes, figures, f"drift_{tower}", "held_out", titles)
        axes.set(xlabel=f"drift of the {tower} tower's hyperspherical energy (%)")
    both[0].set_ylabel(f"{metric.title} of held-out names (%)")
    _legend(both[1])
    return figure


def _curves(results: Mapping[str, Sequence[Result]], titles: Mapping[str, str], metric: Metric) -> Figure:
    figure = Figure(figsize=(16, 5))
    panels = figure.subplots(1, 3)
    for name, style in _styles(list(results)).items():
        runs = results[name]
        curves = [run["loss"]["value"] for run in runs]
        length = min(map(len, curves))
        losses = [statistics.fmean(curve[i] for curve in curves) for i in range(length)]
        panels[0].plot(runs[0]["loss"]["iteration"][:length], losses, color=style["color"], lw=1)
        for axes, key in zip(panels[1:], (metric.train, metric.held_out), strict=True):
            times = zip(*(run["validations"] for run in runs), strict=False)
            points = [
                (step[0]["iteration"], statistics.fmean(v["metrics"].get(key, math.nan) for v in step))
                for step in times
            ]
            axes.plot(*zip(*points, strict=True), lw=1, markersize=4, label=titles[name], **style)
    panels[0].set(xlabel="iteration", ylabel="loss", yscale="log")
    for axes, which in zip(panels[1:], ("training", "held-out"), strict=True):
        axes.set(xlabel="iteration", ylabel=f"{metric.title} of {which} names (%)")
    for axes in panels:
        axes.grid(alpha=0.3)
    _legend(panels[2])
    return figure


def _styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    colours = colormaps["tab20"]
    return {name: dict(color=colours(index % 20), marker="osD^v"[index % 5]) for index, name in enumerate(names)}


def _scatter(axes: Axes, figures: Figures, x: str, y: str, titles: Mapping[str, str]) -> None:
    for name, style in _styles(list(figures)).items():
        (across, width), (up, height) = figures[name][x], figures[name][y]
        errors = [0 if math.isnan(spread) else spread for spread in (width, height)]
        axes.errorbar(
            across, up, xerr=errors[0], yerr=errors[1], ls="", capsize=2, markersize=6, label=titles[name], **style
        )
    axes.grid(alpha=0.3)


def _legend(axes: Axes) -> None:
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    write_figure(path, figure, 130)
