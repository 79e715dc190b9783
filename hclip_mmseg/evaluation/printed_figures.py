"""What a paper prints for a config's row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hclip_mmseg.datasets.benchmarks import find_benchmark

METRICS = ("PQ", "SQ", "RQ", "mIoU", "mAcc", "pAcc", "fwIoU")
PANOPTIC = ("PQ", "SQ", "RQ")

PANOPTIC_COLUMNS = {"A-150": "ADE20K-panoptic", "Mapillary": "Mapillary-panoptic", "COCO": "COCO-panoptic"}
"""What a column of panoptic figures is called -> the benchmark that has segments."""


@dataclass(frozen=True)
class Printed:
    """A figure as a paper prints it: percent, under its heading."""

    heading: str
    figure: float


def benchmark_under(heading: str, metric: str) -> str:
    """The name of the benchmark that a paper's heading stands for; the heading itself where none is known."""
    benchmark = find_benchmark(heading)
    name = heading if benchmark is None else benchmark.name
    return PANOPTIC_COLUMNS.get(name, name) if benchmark is None or metric in PANOPTIC else name


def printed_figures(paper: Mapping[str, Any] | None) -> dict[tuple[str, str], Printed]:
    """(benchmark, metric) -> figure, of a config's entry ``paper``.

    The entry holds figures by metric, ``mIoU={"A-847": 12.5}``, or by heading and metric in one,
    ``figures={"ADE150 PQ": 28.1}``.
    """
    found: dict[tuple[str, str], Printed] = {}
    for key, values in (paper or {}).items():
        if not isinstance(values, Mapping):
            continue
        for heading, figure in values.items():
            name, metric = heading.rsplit(" ", 1) if key == "figures" and " " in heading else (heading, key)
            if metric in METRICS and isinstance(figure, (int, float)):
                found[benchmark_under(name, metric), metric] = Printed(name, figure)
    return found
