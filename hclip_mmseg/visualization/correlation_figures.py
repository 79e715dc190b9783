"""Figures of correlations: heat maps of points, attention by depth, matrices of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

MOST_NAMES = 60
"""Classes up to which a matrix names its rows."""


def _lay_over(axis: Axes, image: NDArray[np.uint8], heat: NDArray[np.floating], title: str, **limits: Any) -> None:
    height, width = image.shape[:2]
    axis.imshow(image.mean(axis=-1), cmap="gray", extent=(0, width, height, 0))
    axis.imshow(heat, cmap="inferno", alpha=0.65, extent=(0, width, height, 0), interpolation="bilinear", **limits)
    axis.set_title(title, fontsize=8)
    axis.set_axis_off()


def _height(image: NDArray[np.uint8], width: float) -> float:
    """Inches of a panel that is ``width`` inches wide and has a title; at most three times as high as wide."""
    return width * min(image.shape[0] / image.shape[1], 3.0) + 0.3


def point_figure(
    image: NDArray[np.uint8], points: Sequence[tuple[int, int]], maps: Mapping[str, NDArray[np.floating]]
) -> Figure:
    """A row for every point: the image with it, then its heat maps, each on a scale of its own.

    Args:
        image: RGB [H, W, 3].
        points: (x, y) in pixels.
        maps: title -> [points, h, w].
    """
    shape = (len(points), 1 + len(maps))
    figure = Figure(figsize=(2.6 * shape[1], _height(image, 2.6) * shape[0]), layout="constrained")
    axes = figure.subplots(*shape, squeeze=False)
    for index, (point, line) in enumerate(zip(points, axes, strict=True)):
        line[0].imshow(image)
        line[0].set_title(f"point {point[0]}, {point[1]}", fontsize=8)
        line[0].set_axis_off()
        for axis, (title, heat) in zip(line[1:], maps.items(), strict=True):
            _lay_over(axis, image, heat[index], title)
        for axis in line:
            axis.plot(*point, marker="+", markersize=12, markeredgewidth=2, color="cyan")
    return figure


def depth_figure(image: NDArray[np.uint8], received: NDArray[np.floating], threshold: float) -> Figure:
    """What every patch gets of the others' attention in each block, and how much goes to global patches.

    Args:
        image: RGB [H, W, 3].
        received: [blocks, h, w], as a multiple of an even share.
        threshold: multiple from which a patch counts as global.
    """
    blocks, columns = len(received), 6
    rows = -(-blocks // columns)
    height = _height(image, 2.2)
    figure = Figure(figsize=(2.2 * columns, height * rows + 2.6), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(height * rows, 2.6))
    maps, curve = parts
    axes = maps.subplots(rows, columns, squeeze=False).ravel()
    for number, axis in enumerate(axes):
        axis.set_axis_off()
        if number < blocks:
            heat = received[number]
            title = f"block {number + 1}: {int((heat >= threshold).sum())} global, most {heat.max():.1f}"
            _lay_over(axis, image, heat, title, vmin=0, vmax=max(threshold, float(heat.max())))
    flat = received.reshape(blocks, -1)
    share = np.where(flat >= threshold, flat, 0).sum(axis=1) / flat.sum(axis=1)
    axis = curve.subplots()
    axis.plot(range(1, blocks + 1), 100 * share, marker="o")
    axis.set(xlabel="block", ylabel="% of attention among patches", ylim=(0, None))
    axis.set_title(f"to global patches, which get at least {threshold:g} times an even share", fontsize=9)
    return figure


def name_figure(image: NDArray[np.uint8], maps: Mapping[str, NDArray[np.floating]]) -> Figure:
    """The probability map of every name over the image, all on the scale from 0 to 1.

    Args:
        image: RGB [H, W, 3].
        maps: name -> [H, W].
    """
    columns = min(len(maps), 4)
    rows = -(-len(maps) // columns)
    figure = Figure(figsize=(2.6 * columns, _height(image, 2.6) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(maps) :]:
        axis.set_axis_off()
    for axis, (name, heat) in zip(axes, maps.items(), strict=False):
        _lay_over(axis, image, heat, f"{name}: at most {np.max(heat):.2f}", vmin=0, vmax=1)
    return figure


def matrix_figure(names: Sequence[str], models: Mapping[str, Mapping[str, NDArray[np.floating]]]) -> Figure:
    """Matrices of cosines between classes: a line for each kind on one colour scale, the models side by side.

    Args:
        names: of the classes.
        models: model -> kind of matrix -> [classes, classes].
    """
    kinds = list(next(iter(models.values())))
    side = float(np.clip(0.14 * len(names), 3.6, 9))
    figure = Figure(figsize=(side * len(models) + 1.5, (side + 0.4) * len(kinds)), layout="constrained")
    axes = figure.subplots(len(kinds), len(models), squeeze=False)
    for line, kind in zip(axes, kinds, strict=True):
        every = [np.asarray(of_model[kind]) for of_model in models.values()]
        limits = dict(vmin=min(matrix.min() for matrix in every), vmax=max(matrix.max() for matrix in every))
        for axis, model, matrix in zip(line, models, every, strict=True):
            shown = axis.imshow(matrix, cmap="viridis", **limits)
            axis.set_title(f"{model}: {kind}\ndiagonal above the rest by {contrast(matrix):.3f}", fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
        if len(names) <= MOST_NAMES:
            line[0].set_yticks(range(len(names)), names, fontsize=5)
        figure.colorbar(shown, ax=line, shrink=0.8)
    return figure


def contrast(matrix: NDArray[np.floating]) -> float:
    """Mean of the diagonal less the mean of the rest: how far classes agree with themselves more than with others."""
    diagonal = np.eye(len(matrix), dtype=bool)
    return float(matrix[diagonal].mean() - matrix[~diagonal].mean()) if len(matrix) > 1 else 0.0
