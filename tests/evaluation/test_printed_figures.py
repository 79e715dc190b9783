"""Every figure that a config says a paper prints is one that it prints, and every printed row has its config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from golden_numbers import read_json
from miniature import REPOSITORY
from mmengine.config import Config

from hclip_mmseg.evaluation.printed_figures import METRICS, printed_figures

Figures = dict[tuple[str, str], float]
CONFIGS = sorted(
    path.relative_to(REPOSITORY / "configs").as_posix()
    for path in (REPOSITORY / "configs").rglob("*.py")
    if "_base_" not in path.parts and "ablation" not in path.parts
)
HEADINGS = {"VOC": "VOC20", "ADE": "ADE150", "COCO": "COCO-Stuff", "PC": "PC59"}
"""Columns of the table of self-correlation; elsewhere COCO is COCO panoptic."""

WITHOUT_CONFIG = {
    "models of other projects": {
        "ZegFormer", "OVSeg", "SAN", "ODISE", "MaskCLIP", "MasQCLIP", "OPSNet", "OpenSeg (ALIGN)", "OVSeg (ViT-L)",
        "SAN (ViT-L)", "ODISE (ViT-L)", "MAFT (ViT-L)", "PiCIE", "STEGO", "HP", "SmooSeg",
    },
    "rows of other papers' configs, printed again": {
        "hclip_main FC-CLIP (ConvNeXt-L)", "fisa_main FC-CLIP", "fisa_main MAFT+",
    },
    "descriptions of classes that were not published": {"GPT descriptions", "Llama descriptions"},
}  # fmt: skip


def as_figures(columns: list[str], values: list[float | None], metric: str = "mIoU") -> Figures:
    """(benchmark, metric) -> figure, of columns that name a benchmark, a metric, or both."""
    headed = {}
    for column, value in zip(columns, values, strict=True):
        if value is not None and "params" not in column:
            headed[column if column.split()[-1] in METRICS else f"{column} {metric}"] = value
    return {key: entry.figure for key, entry in printed_figures(dict(figures=headed)).items()}


def rows_of(name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Figures]]:
    columns = table.get("columns", [])
    for row, values in table.items():
        if row in ("columns", "note"):
            continue
        if name == "hclip_main":
            yield from ((own, as_figures(columns, figures)) for own, figures in values.items())
        elif isinstance(values, dict):  # benchmark -> metrics
            found = [as_figures([f"{heading} {m}" for m in columns], own) for heading, own in values.items()]
            yield row, {key: figure for each in found for key, figure in each.items()}
        elif name == "fisa_ablation_ade150_pq_10k":
            values = values if isinstance(values, list) else [values]
            yield row, as_figures(["ADE150 PQ", "ADE150 mIoU"][: len(values)], values)
        elif name == "cliptrase_scr_224":
            yield row, as_figures([HEADINGS[column] for column in columns], values)
        elif set(columns) <= set(METRICS):
            yield row, as_figures([f"ADE150 {column}" for column in columns], values)
        else:
            yield row, as_figures(columns, values)


@pytest.fixture(scope="module")
def printed() -> list[tuple[str, str, Figures]]:
    """(table, row, figures) of all tables that the configs' metrics are printed in."""
    tables = {
        name: table
        for name, table in read_json("published").items()
        if name not in ("note", "hclip_ov_coco", "fisa_efficiency")  # AP50; seconds and gigabytes
    }
    return [(name, row, figures) for name, table in tables.items() for row, figures in rows_of(name, table)]


@pytest.fixture(scope="module")
def of_configs() -> dict[str, Figures]:
    """Config -> the figures that it says its paper prints."""
    papers = {name: Config.fromfile(REPOSITORY / "configs" / name).get("paper") for name in CONFIGS}
    found = {name: printed_figures(paper) for name, paper in papers.items() if paper}
    return {name: {key: one.figure for key, one in entries.items()} for name, entries in found.items() if entries}


def test_configs_print_the_figures_of_a_row_of_their_papers(of_configs, printed):
    assert len(of_configs) > 60
    rows = [figures.items() for *_, figures in printed]
    assert not [name for name, own in of_configs.items() if not any(own.items() <= row for row in rows)]


def test_every_printed_row_has_a_config_or_a_reason(of_configs, printed):
    excused = set().union(*WITHOUT_CONFIG.values())
    configs = [own.items() for own in of_configs.values()]
    lacking = []
    for table, row, figures in printed:
        whole = any(figures.items() <= own for own in configs)
        parts = set().union(*(own for own in configs if own <= figures.items()))  # a config a column
        if not whole and parts != set(figures.items()) and not {row, f"{table} {row}"} & excused:
            lacking.append(f"{table} {row}")
    assert not lacking
    rows = {row for _, row, _ in printed} | {f"{table} {row}" for table, row, _ in printed}
    assert excused <= rows, "a reason for a row that no table has"
