"""What a training run came to, in one file."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from numpy.typing import NDArray

from hclip_mmseg.engine.dcrc_hook import adapted_backbones
from hclip_mmseg.engine.memory import peak_memory
from hclip_mmseg.files.writing import write_whole
from hclip_mmseg.models.backbones.drift import energy_drift_by_tower

CURVE_POINTS = 400


def thinned(values: NDArray[np.floating], points: int = CURVE_POINTS) -> dict[str, list[float]]:
    """A curve of at most ``points`` means of neighbours: ``iteration`` (of the last of them, from 1), ``value``."""
    parts = np.array_split(values, min(points, len(values)))
    ends = np.cumsum([len(part) for part in parts])
    return dict(iteration=ends.tolist(), value=[float(part.mean()) for part in parts])


@HOOKS.register_module()
class SummaryHook(Hook):
    """Writes ``summary.json`` into the run's folder when training has ended.

    It holds ``iterations``, ``metrics`` (of the last validation), ``validations`` (each with its iteration),
    ``loss`` (the curve), ``step_seconds`` (median, data included), ``peak_memory`` (bytes) and
    ``energy_drift`` (relative, by tower; 0 where nothing is adapted). The file appears whole or not at all.
    """

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self.validations: list[dict[str, Any]] = []

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Remembers the results."""
        found = (metrics or {}).items()
        numbers = {name: float(value) for name, value in found if isinstance(value, float | int | np.number)}
        self.validations.append(dict(iteration=runner.iter, metrics=numbers))

    def after_train(self, runner: Runner) -> None:
        """Writes the file."""
        if not is_main_process():
            return
        history = {name: runner.message_hub.get_scalar(f"train/{name}").data[0] for name in ("loss", "time")}
        drift = {"image": 0.0, "text": 0.0}
        for backbone in adapted_backbones(runner.model):
            drift |= energy_drift_by_tower(backbone)
        summary = dict(
            iterations=runner.iter,
            metrics=self.validations[-1]["metrics"] if self.validations else {},
            validations=self.validations,
            loss=thinned(history["loss"]),
            step_seconds=statistics.median(map(float, history["time"])),
            peak_memory=peak_memory("cuda" if torch.cuda.is_available() else "cpu"),
            energy_drift=drift,
        )
        write_whole(Path(runner.work_dir) / "summary.json", json.dumps(summary, indent=1) + "\n")
