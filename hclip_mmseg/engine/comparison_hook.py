"""A run beside the frozen CLIP that it started from: one table at the end of training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS, MODELS
from rich.console import Console
from rich.table import Table

from hclip_mmseg.engine.vocabulary_hook import ask_for_classes
from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.writing import write_whole
from hclip_mmseg.models.frozen import frozen_clip_config

METHODS = {"None": "Freeze", "TrainedProjections": "CAT-Seg", "HoulsbyAdapter": "Adapter"}
"""Adapter -> the method it stands for, where that has another name."""


@HOOKS.register_module()
class ComparisonHook(Hook):
    """Evaluates the run's frozen CLIP on the validation set, and prints both results after training.

    The table goes to the terminal and the run's log, the numbers to ``comparison.json`` in its folder, each row when
    it is known. A run that goes on reads the rows that are there.

    Args:
        frozen_name: heading of the first row.
        trained_name: heading of the second row; None: the method's name, see `method_of`.
        columns: heading of a column -> name of the metric that it shows.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        columns: Mapping[str, str],
        frozen_name: str = "frozen CLIP",
        trained_name: str | None = None,
    ) -> None:
        self.frozen_name, self.trained_name = frozen_name, trained_name
        self.columns = dict(columns)
        self.results: dict[str, dict[str, float]] = {}

    def before_run(self, runner: Runner) -> None:
        """Names the row of what is trained."""
        self.trained_name = self.trained_name or method_of(runner.cfg.model)

    def before_train(self, runner: Runner) -> None:
        """Evaluates the frozen CLIP, before anything is trained, or reads what an earlier part of the run found."""
        if runner.iter:
            self.results = self._read(runner)
        if self.frozen_name in self.results:
            return
        runner.logger.info(f"Evaluating {self.frozen_name} ...")
        model = MODELS.build(frozen_clip_config(runner.cfg.model.to_dict()))
        model.to(next(runner.model.parameters()).device).eval()
        loop = runner.val_loop
        self._note(runner, self.frozen_name, evaluate(model, loop.dataloader, loop.evaluator))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Remembers the newest result of the model that is trained."""
        if metrics and self.trained_name is not None:
            self._note(runner, self.trained_name, metrics)

    def after_train(self, runner: Runner) -> None:
        """Prints the table."""
        if not is_main_process():
            return
        table = Table("", *self.columns, title=f"{runner.experiment_name}, {runner.iter} iterations, percent")
        for row, values in self.results.items():
            table.add_row(row, *(f"{value:.1f}" for value in values.values()))
        Console().print(table)
        runner.logger.info(f"Comparison: {json.dumps(self.results)} (saved to {self._path(runner)})")

    def _note(self, runner: Runner, row: str, metrics: Mapping[str, float]) -> None:
        self.results[row] = {
            heading: float(metrics.get(key, float("nan"))) for heading, key in self.columns.items()
        }
        runner.logger.info(f"{row}: {', '.join(f'{name} {value:.1f}' for name, value in self.results[row].items())}")
        if is_main_process():
            write_whole(self._path(runner), json.dumps(self.results, indent=2) + "\n")

    def _read(self, runner: Runner) -> dict[str, dict[str, float]]:
        try:
            found = read_json(self._path(runner))
            rows = {row: {heading: float(found[row][heading]) for heading in self.columns} for row in found}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {row: rows[row] for row in (self.frozen_name, self.trained_name) if row is not None and row in rows}

    @staticmethod
    def _path(runner: Runner) -> Path:
        return Path(runner.work_dir) / "comparison.json"


@torch.no_grad()
def evaluate(model: Any, dataloader: Any, evaluator: Any) -> dict[str, float]:
    """The metrics of a model on a data set, whose names it is asked for and keeps.

    Args:
        model: in evaluation mode.
        dataloader: of the data set.
        evaluator: MMEngine's.
    """
    ask_for_classes(model, dataloader.dataset)
    for batch in dataloader:
        evaluator.process(data_samples=model.val_step(batch), data_batch=batch)
    found: dict[str, float] = evaluator.evaluate(len(dataloader.dataset))
    return found


def method_of(model: Mapping[str, Any]) -> str:
    """What the method that a model's config trains is called.

    Args:
        model: config of a segmentor with CLIP as its backbone, or of a wrapper round one.
    """
    model = model.get("module", model)
    adapter = model["backbone"].get("adapter") or {}
    kind = str(adapter.get("type"))
    if kind == "POP" and adapter.get("relation"):
        return "H-CLIP"
    return METHODS.get(kind, kind)
