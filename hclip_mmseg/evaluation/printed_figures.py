"""What a paper prints for a config's row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hclip_mmseg.datasets.benchmarks import find_benchmark

METRICS = ("PQ", "SQ", "RQ", "mIoU", "mAcc", "pAcc", "fwIoU")
PANOPTIC = ("PQ", "SQ", "RQ")

_LABELLED = {"mIoU": "mIoU_labelled"}
MEASURED_AS: Mapping[str, Mapping[str, str]] = {
    "cat-seg": _LABELLED,
    "h-clip": _LABELLED,
    "fc-clip": _LABELLED,
    "cliptrase": {**_LABELLED, "mAcc": "mAcc_all"},
    "maft-plus": {},
    "san": {},
}
"""Method -> metric of its paper -> what :class:`~.open_vocab_iou.OpenVocabIoUMetric` calls what its code computes.

Metrics that are not listed have the same name in both. CAT-Seg, H-CLIP and FC-CLIP call detectron2's evaluator of
today, CLIPtrase has its own; both leave out classes that are never labelled. MAFT+ and SAN count those that are
predicted as 0, as detectron2 0.6 did. CLIPtrase's mAcc is divided by all classes.
"""


def measured_as(style: str | None, metric: str) -> str:
    """What to measure for a metric of a paper.

    Args:
        style: the method whose published code made the figure; None, or one not known: MMSegmentation's own metrics.
        metric: its name in the paper, such as 'mIoU'.

    Returns:
        A name such as 'mIoU_labelled'.
    """
    return MEASURED_AS.get(style or "", {}).get(metric, metric)


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
