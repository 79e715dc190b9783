"""What a GPU is to reach, beside what the published code and this project took on one H200 on 26 November 2026."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hclip_mmseg.costs.printed import markdown_table


@dataclass(frozen=True)
class Target:
    """A row of the benchmark in one precision.

    Attributes:
        row, precision: as the benchmark names them.
        milliseconds: an image of a batch may take at most, or a training step.
        published, before: what the published code and this project took, in words.
        gigabytes: of memory at most; None for no target.
        launches: operators at most; None for no target.
        images: of the row's batch, by which its time is divided.
    """

    row: str
    precision: str
    milliseconds: float
    published: str = ""
    before: str = ""
    gigabytes: float | None = None
    launches: int | None = None
    images: int = 1


TARGETS = (
    Target("train-171-images-4", "bf16", 100, "424, CAT-Seg 312", "898", gigabytes=24, launches=4000),
    Target("train-171-images-4", "fp32", 250, "536, CAT-Seg 475", "882"),
    Target("train-171-images-4-within-8-gb", "bf16", 200, "none can", "898", gigabytes=8),
    Target("train-l14-171-images-4", "bf16", 220, "CAT-Seg in fp32 621", "1151"),
    Target("slide-150", "bf16", 50, "216", "295"),
    Target("slide-847", "bf16", 60, "in fp32 356", "in fp32 288"),
    Target("slide-7", "bf16", 15, "in fp32 178", "62"),
    Target("slide-150-images-8", "bf16", 30, "", "as one", images=8),
    Target("cliptrase-224-images-16", "fp32", 2, "", "5.4", images=16),
    Target("cliptrase-336-images-16", "fp32", 3, "", "6.7", images=16),
)
HEADINGS = (
    "row", "precision", "published, ms", "before, ms", "now, ms", "to reach", "GB", "to reach", "launches", "to reach"
)  # fmt: skip


def table_of_targets(records: Mapping[str, Mapping[str, Any]]) -> str:
    """The targets beside what was measured, and the rows that bf16 does not speed up.

    Args:
        records: precision -> a benchmark's record.
    """
    lines = [_line(target, _ours(records, target.precision, target.row)) for target in TARGETS]
    text = markdown_table(HEADINGS, lines, names=2)
    for row in sorted(set(_rows(records, "bf16")) & set(_rows(records, "fp32"))):
        rounded, exact = (_ours(records, precision, row)["median_s"] for precision in ("bf16", "fp32"))
        if rounded > exact:
            text += f"\n{row}: bf16 is slower than fp32, {1000 * rounded:.1f} ms against {1000 * exact:.1f}.\n"
    return text


def table_of_folder(folder: str | Path) -> str:
    """:func:`table_of_targets` of the files ``bf16.json`` and ``fp32.json`` of a folder; of those that are there."""
    paths = {precision: Path(folder) / f"{precision}.json" for precision in ("bf16", "fp32")}
    return table_of_targets({name: json.loads(path.read_text()) for name, path in paths.items() if path.is_file()})


def _rows(records: Mapping[str, Mapping[str, Any]], precision: str) -> Mapping[str, Any]:
    rows: Mapping[str, Any] = records.get(precision, {}).get("results", {})
    return rows


def _ours(records: Mapping[str, Mapping[str, Any]], precision: str, row: str) -> Mapping[str, float]:
    found: Mapping[str, float] = _rows(records, precision).get(row, {}).get("ours", {})
    return found


def _line(target: Target, found: Mapping[str, float]) -> tuple[str, ...]:
    shown = (target.row, target.precision, target.published, target.before)
    if not found:
        return (*shown, "not measured", f"{target.milliseconds:g}", "", "", "", "")
    gigabytes = found["peak_mib"] * 2**20 / 1e9
    return (
        *shown,
        *_against(1000 * found["median_s"] / target.images, target.milliseconds, ".1f"),
        *_against(gigabytes, target.gigabytes, ".1f"),
        *_against(found["launches"], target.launches, ".0f"),
    )


def _against(value: float, most: float | None, form: str) -> tuple[str, str]:
    if most is None:
        return f"{value:{form}}", ""
    return f"{value:{form}}", f"{most:g} {'met' if value <= most else 'missed'}"
