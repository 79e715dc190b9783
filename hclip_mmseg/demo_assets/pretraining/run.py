"""A pretraining run: its schedule, its log and its going on from where it was."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hclip_mmseg.demo_assets.pretraining.batches import Batches, Phase
from hclip_mmseg.demo_assets.pretraining.trainee import Trainee
from hclip_mmseg.demo_assets.tiny_clip import save_compressed
from hclip_mmseg.files.writing import write_tensors


@dataclass(frozen=True)
class Settings:
    """What a pretraining run is told.

    Attributes:
        work_dir: folder of checkpoints and of the log.
        phases: the curriculum.
        lr: peak learning rate.
        warmup: steps of linear warm-up.
        seed: of scenes and weights.
        log_every, save_every, eval_every: steps between lines of the log, checkpoints and evaluations.
        eval_scenes: scenes of an evaluation.
    """

    work_dir: str | Path
    phases: Sequence[Phase]
    lr: float = 1e-3
    warmup: int = 150
    seed: int = 0
    log_every: int = 25
    save_every: int = 200
    eval_every: int = 500
    eval_scenes: int = 48


def learning_rate(step: int, total: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then linear decay to a hundredth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * max(0.01, (total - step) / max(1, total - warmup))


def optimizer_of(model: nn.Module, lr: float) -> torch.optim.AdamW:
    """AdamW with weight decay of matrices alone."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))


class Log:
    """Writes JSON lines to a file and to the screen."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, **entry: Any) -> None:
        """Write one line."""
        line = json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in entry.items()})
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")


class Pretraining:
    """A run in a folder: ``last.pt`` to resume from, and ``NAME.pt`` and ``NAME.log``.

    Args:
        name: stem of the finished checkpoint and of the log.
        make: builds the model, after the seed is set.
        step_loss: ``(model, batch, phase) ->`` the loss and what the log is to say of the step.
        evaluate: ``(model, scenes) ->`` what the log is to say of the model, now and then.
        settings: of the run.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Trainee],
        step_loss: Callable[[Any, dict[str, Tensor], Phase], tuple[Tensor, dict[str, float]]],
        evaluate: Callable[[Any, int], dict[str, float]],
        settings: Settings,
    ) -> None:
        self.name, self.step_loss, self.evaluate, self.settings = name, step_loss, evaluate, settings
        self.folder = Path(settings.work_dir)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = Log(self.folder / f"{name}.log")
        torch.manual_seed(settings.seed)
        self.model = make().train()
        self.optimizer = optimizer_of(self.model, settings.lr)
        self.done, self.seconds = 0, 0.0
        if (self.folder / "last.pt").exists():
            state = torch.load(self.folder / "last.pt", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.done, self.seconds = state["step"], state["seconds"]

    def run(self) -> None:
        """Every step that is left."""
        phases = self.settings.phases
        self.log(
            event="resume" if self.done else "start",
            step=self.done,
            phases=[asdict(phase) for phase in phases],
            lr=self.settings.lr,
            seed=self.settings.seed,
            python=platform.python_version(),
            torch=torch.__version__,
            open_clip=open_clip.__version__,
            numpy=np.__version__,
            threads=torch.get_num_threads(),
            parameters_image=sum(p.numel() for p in self.model.clip.visual.parameters()),
            parameters=sum(p.numel() for p in self.model.parameters()),
        )
        first, began = 0, time.perf_counter() - self.seconds
        for number, phase in enumerate(phases):
            start, first = max(0, self.done - first), first + phase.steps
            if start >= phase.steps:
                continue
            batches = Batches(phase, self.settings.seed + number, start)
            loader = DataLoader(batches, batch_size=None, num_workers=1)
            for step, batch in enumerate(loader, first - phase.steps + start):
                numbers = self.step(step, batch, phase)
                self.seconds = time.perf_counter() - began
                self.report(step + 1, number, numbers, ended=step + 1 == first)
        self.log(event="end", step=first, seconds=self.seconds)

    def step(self, step: int, batch: dict[str, Tensor], phase: Phase) -> dict[str, float]:
        """One update, and what the log is to say of it."""
        torch.manual_seed(self.settings.seed + 1000003 * (step + 1))  # what a step draws, the same when resumed
        total = sum(phase.steps for phase in self.settings.phases)
        lr = learning_rate(step, total, self.settings.lr, self.settings.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss, numbers = self.step_loss(self.model, batch, phase)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.clip.logit_scale.clamp_(max=math.log(100))
        return {"loss": loss.item(), **numbers, "scale": self.model.clip.logit_scale.exp().item(), "lr": lr}

    def report(self, step: int, phase: int, numbers: dict[str, float], ended: bool) -> None:
        """Log, save and evaluate after ``step`` steps where it is time to, and at the end of a phase."""
        settings = self.settings
        if step % settings.log_every == 0 or ended:
            self.log(event="train", step=step, phase=phase, **numbers, seconds=self.seconds)
        if step % settings.save_every == 0 or ended:
            state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
            write_tensors(self.folder / "last.pt", state | {"step": step, "seconds": self.seconds})
            save_compressed(self.model.export(), self.folder / f"{self.name}.pt")
        if step % settings.eval_every == 0 or ended:
            metrics = self.evaluate(self.model, settings.eval_scenes)
            self.log(event="evaluation", step=step, phase=phase, seconds=self.seconds, **metrics)
