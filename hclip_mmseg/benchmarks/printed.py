"""What a paper prints for a config's row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hclip_mmseg.datasets.benchmarks import BENCHMARKS

METRICS = ("PQ", "SQ", "RQ", "mIoU", "mAcc", "pAcc", "fwIoU")
PANOPTIC = ("PQ", "SQ", "RQ")

# headings of papers that call a benchmark by another name than its entry
OTHER_HEADINGS = {
    "ADE847": "A-847",
    "ADEfull": "A-847",
    "ADE150": "A-150",
    "PC459": "PC-459",
    "PC60": "PC-60",
    "PC59": "PC-59",
    "VOC20": "PAS-20",
    "coco27": "COCO-27",
    "cityscapes27": "Cityscapes-27",
}
PANOPTIC_HEADINGS = {
    "ADE150": "ADE20K-panoptic",
    "COCO": "COCO-panoptic",
    "Mapillary": "Mapillary-panoptic",
}


@dataclass(frozen=True)
class Printed:
    """A figure as a paper prints it: percent, under its heading."""

    heading: str
    figure: float


def benchmark_under(heading: str, metric: str) -> str:
    """The name of the benchmark that a paper's heading stands for."""
    if metric in PANOPTIC or (heading in PANOPTIC_HEADINGS and heading not in {*OTHER_HEADINGS, *BENCHMARKS}):
        return PANOPTIC_HEADINGS.get(heading, heading)
    return OTHER_HEADINGS.get(heading, heading)


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
