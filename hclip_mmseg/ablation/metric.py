"""What the rows of an ablation are compared by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Result = Mapping[str, Any]
"""What a run has written, see `hclip_mmseg.ablation.runs.Runs.run`."""


@dataclass(frozen=True)
class Metric:
    """What rows are compared by; a table may name another one in ``metric``.

    Attributes:
        title: its name, in percent.
        train, held_out: what a run's results call it on training names and on held-out names.
        paper: where a config's entry ``paper`` holds the paper's figure for the row.
        printed: what that figure is.
    """

    title: str = "mIoU"
    train: str = "mIoU_seen"
    held_out: str = "mIoU_unseen"
    paper: tuple[str, str] = ("mIoU", "A-150")
    printed: str = "mIoU, ViT-B/16 on A-150"

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Metric:
        """The metric of a table of rows."""
        return cls(**dict(table.get("metric") or {}))


MIOU = Metric()
