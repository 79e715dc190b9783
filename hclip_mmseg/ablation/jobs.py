"""The config of one training run of an ablation."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from hclip_mmseg.apis import launch
from hclip_mmseg.apis.settings import merge_settings

ADAPTER = "backbone.adapter"


@dataclass(frozen=True)
class Settings:
    """What all runs of an ablation share.

    Attributes:
        out: folder of the ablation.
        max_iters: length of every run; None for the base config's.
        scenes: validation scenes; None for the base config's.
        search_iters: length of a run of the search; None for that of all runs.
        validations: how often a run is evaluated, its end included; a run of the search only at its end.
        options: settings of the config to replace.
    """

    out: Path
    max_iters: int | None = None
    scenes: int | None = None
    search_iters: int | None = None
    validations: int = 3
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A row of the table, trained once.

    Attributes:
        row: its name.
        seed: of the run.
        factor: what the adapters' learning rate is multiplied by.
        search: whether the run is part of the search for that factor: other validation scenes, other folder.
    """

    row: str
    seed: int
    factor: float = 1.0
    search: bool = False

    def folder(self, out: Path) -> Path:
        """Where the run writes."""
        if self.search:
            return out / "search" / self.row / f"rate_x{self.factor:g}"
        return out / self.row / f"seed_{self.seed}"


def shorten(cfg: Config, iterations: int) -> None:
    """Train for that many iterations, with every schedule stretched or shrunk in proportion."""
    share = iterations / cfg.train_cfg.max_iters
    for schedule in cfg.param_scheduler:
        for key in ("begin", "end", "T_max"):
            if key in schedule:
                schedule[key] = round(schedule[key] * share)
        if "end" in schedule:
            schedule.end = max(schedule.end, schedule.begin + 2)
        if "T_max" in schedule:
            schedule.T_max = max(schedule.T_max, 1)
    cfg.train_cfg.max_iters = iterations


def job_config(table: Config, job: Job, settings: Settings) -> Config:
    """Make the config of a run.

    Args:
        table: has ``base``, the path of a config, and ``rows``, each with ``backbone``, settings of the backbone to
            replace, and ``model`` (optional), the same of the model.
        job: which run.
        settings: what all runs share.

    Raises:
        FileNotFoundError: if the base config is not there.
        ValueError: if the run is shorter than one iteration, or its learning rate cannot be searched.
    """
    cfg = launch.read_config(table.base)
    row = table.rows[job.row]
    for part, changes in ((cfg.model, row.get("model", {})), (cfg.model.backbone, row.backbone)):
        for key, value in copy.deepcopy(dict(changes)).items():
            part[key] = value  # update() would merge the rows' adapter into the base's
    if settings.options:
        merge_settings(cfg, settings.options)
    _set_length(cfg, job, settings)
    _set_scenes(cfg, job, settings)
    _scale_adapter_rate(cfg, job.factor)
    cfg.randomness = {**(cfg.get("randomness") or {}), "seed": job.seed}
    cfg.custom_hooks = [hook for hook in cfg.get("custom_hooks", []) if hook.type != "ComparisonHook"]
    cfg.custom_hooks.append(dict(type="mmseg.SummaryHook"))
    hooks = cfg.default_hooks
    hooks.checkpoint.update(interval=cfg.train_cfg.max_iters, save_optimizer=False, save_param_scheduler=False)
    if "visualization" in hooks:
        hooks.visualization.draw = False
    return cfg


def _set_length(cfg: Config, job: Job, settings: Settings) -> None:
    iterations = settings.max_iters
    if job.search and settings.search_iters is not None:
        iterations = settings.search_iters
    if iterations is not None:
        if iterations < 1:
            raise ValueError(f"a run needs at least 1 iteration, not {iterations}")
        shorten(cfg, iterations)
    length = cfg.train_cfg.max_iters
    most = 1 if job.search else max(settings.validations, 1)
    validations = next(number for number in range(most, 0, -1) if length % number == 0)
    cfg.train_cfg.val_interval = length // validations


def _set_scenes(cfg: Config, job: Job, settings: Settings) -> None:
    scenes = cfg.val_dataloader.dataset
    if settings.scenes is not None:
        scenes.length = settings.scenes
    if job.search and scenes.type in ("SceneDataset", "SceneDetectionDataset"):
        scenes.seed = scenes.get("seed", 0) + 1  # those that are reported decide nothing


def _scale_adapter_rate(cfg: Config, factor: float) -> None:
    if factor == 1:
        return
    keys = cfg.optim_wrapper.get("paramwise_cfg", {}).get("custom_keys", {})
    if ADAPTER not in keys:
        raise ValueError(f"{cfg.filename} gives {ADAPTER} no learning rate of its own, so there is none to search")
    for key in keys:
        if key.startswith(ADAPTER):  # parts of it that learn at a rate of their own too
            keys[key].lr_mult *= factor
