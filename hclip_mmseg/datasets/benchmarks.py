"""The benchmarks that models are compared on, found by any of their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mmengine.config import Config

from hclip_mmseg.datasets.benchmark import Benchmark, same_name
from hclip_mmseg.datasets.preparation.registry import PREPARATIONS

COLUMNS = (
    *("A-847", "PC-459", "A-150", "PC-59", "PC-60", "PAS-20", "PAS-20b", "VOC21"),
    *("COCO-Object", "COCO-Stuff", "COCO-27", "Cityscapes-27", "Cityscapes", "Mapillary"),
    *("COCO-panoptic", "ADE20K-panoptic", "Mapillary-panoptic"),
)
"""The order of the papers' tables; benchmarks that are in none come last."""


def _in_order() -> dict[str, Benchmark]:
    declared = {
        benchmark.name: replace(benchmark, preparation=preparation.name)
        for preparation in PREPARATIONS.values()
        for benchmark in preparation.benchmarks
    }
    return {name: declared[name] for name in dict.fromkeys((*COLUMNS, *declared))}


BENCHMARKS = _in_order()
"""Name -> benchmark, in the order of the papers' tables, as the modules of :mod:`.preparation` declare them."""


def find_benchmark(name: str) -> Benchmark | None:
    """The benchmark of a name in any spelling: "A-847", "ade20k_847", "ADE20K-847", "A847", "ADEfull"; None if none.

    Upper and lower case, hyphens, underscores and blanks make no difference.
    """
    own = (benchmark for benchmark in BENCHMARKS.values() if same_name(benchmark.name, name))
    any_name = (benchmark for benchmark in BENCHMARKS.values() if benchmark.is_called(name))
    return next(own, None) or next(any_name, None)


def benchmark_of(dataset: Mapping[str, Any]) -> Benchmark | None:
    """The benchmark that a dataset's settings read, in whatever folder; None if it is none's."""
    for benchmark in BENCHMARKS.values():
        if reads_same_data(dataset, Config.fromfile(benchmark.config_path).test_dataloader.dataset):
            return benchmark
    return None


def reads_same_data(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two datasets' settings are of one type and read files of the same names, the folder aside."""
    return all(first.get(key) == second.get(key) for key in ("type", "ann_file", "data_prefix"))
