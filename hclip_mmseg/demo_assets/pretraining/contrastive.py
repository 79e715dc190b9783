"""What the pretraining scripts of the tiny CLIPs share: rendered batches, the loss, the loop and its resuming."""

from __future__ import annotations

import argparse
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
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from hclip_mmseg.demo_assets.scenes import (
    BACKGROUNDS,
    LIST_TEMPLATES,
    NAME_TEMPLATES,
    SCENE_CLASSES,
    Scene,
    render_scene,
)
from hclip_mmseg.demo_assets.tiny_clip import save_compressed
from hclip_mmseg.engine.memory import keep_freed_memory
from hclip_mmseg.files.writing import whole


@dataclass(frozen=True)
class Phase:
    """A stretch of the curriculum; written on the command line as SIZE:BATCH:OBJECTS:STEPS[:DROP]."""

    size: int
    batch: int
    objects: tuple[int, int]
    steps: int
    drop: float = 0.0  # fraction of the image tokens that is left out

    @classmethod
    def parse(cls, text: str) -> Phase:
        try:
            size, batch, objects, steps, *drop = text.split(":")
            low, high = objects.split("-")
            dropped = float(drop[0]) if drop else 0.0
            phase = cls(int(size), int(batch), (int(low), int(high)), int(steps), dropped)
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not of the form 64:128:1-1:500 or 64:128:1-1:500:0.5"
            ) from error
        if phase.size % 8 or not 32 <= phase.size <= 192 or min(phase.batch, phase.steps) < 1:
            raise argparse.ArgumentTypeError(f"{text!r}: size must be 32..192 by 8, batch and steps positive")
        return phase


class Batches(Dataset[dict[str, Tensor]]):
    """Item ``i`` is the rendered batch of step ``i`` of a phase, a function of the seed alone."""

    def __init__(self, phase: Phase, seed: int, start: int) -> None:
        self.phase, self.seed, self.start = phase, seed, start
        self.tokenizer = open_clip.get_tokenizer("ViT-B-32")  # every open_clip model has CLIP's own BPE

    def __len__(self) -> int:
        return self.phase.steps - self.start

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        if item >= len(self):
            raise IndexError(item)
        first = (self.start + item) * self.phase.batch
        size, objects = self.phase.size, self.phase.objects
        indices = range(first, first + self.phase.batch)
        batch = [render_scene(self.seed, i, size, num_objects=objects) for i in indices]
        rng = np.random.default_rng((self.seed, first, 1))
        names = [NAME_TEMPLATES[rng.integers(len(NAME_TEMPLATES))].format(name) for name in SCENE_CLASSES]
        return {
            "images": torch.from_numpy(np.stack([scene.image for scene in batch])),
            "present": presence(batch),
            "tokens": self.tokenizer([scene.caption for scene in batch] + names),
        }


def presence(batch: list[Scene]) -> Tensor:
    """Which names each scene shows, ``float [B, names]`` of zeros and ones."""
    table = torch.zeros(len(batch), len(SCENE_CLASSES))
    for row, scene in zip(table, batch, strict=True):
        row[[SCENE_CLASSES.index(name) for name in scene.names]] = 1
    return table


def used_tokens() -> Tensor:
    """Sorted ids of all tokens that captions can hold; the rest of the embedding is never trained."""
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    texts = [t.format("x") for t in NAME_TEMPLATES] + list(SCENE_CLASSES)
    texts += [t.format(objects="a x, a x and a x", backgrounds="x and x") for t in LIST_TEMPLATES]
    return torch.unique(tokenizer([f"{text} a b" for text in texts]))


class Trainee(nn.Module):
    """An open_clip CLIP with an embedding of the used tokens only.

    A gradient and an optimizer state for all 49408 rows would cost more than the text tower itself.
    """

    def __init__(self, clip: open_clip.model.CLIP) -> None:
        super().__init__()
        self.clip = clip
        self.register_buffer("ids", used_tokens(), persistent=False)
        full = clip.token_embedding
        clip.token_embedding = nn.Embedding(len(self.ids), full.embedding_dim)
        clip.token_embedding.weight.data.copy_(full.weight.data[self.ids])
        self.vocab_size = full.num_embeddings

    def rows(self, tokens: Tensor) -> Tensor:
        """The embedding's rows of tokens of any shape; the end token is the largest number in both."""
        return torch.searchsorted(self.ids, tokens.contiguous())

    def export(self) -> dict[str, Tensor]:
        """An open_clip state dict in half precision; untrained tokens all get the trained ones' mean."""
        state = {name: value.detach().half() for name, value in self.clip.state_dict().items()}
        trained = state["token_embedding.weight"]
        full = trained.float().mean(0).half().repeat(self.vocab_size, 1)
        full[self.ids] = trained
        return {**state, "token_embedding.weight": full}


def contrastive_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """InfoNCE with any number of positives, each against the negatives alone, over both directions.

    Args:
        logits: ``[B, N]``, scaled similarities of images and texts.
        positive: ``bool [B, N]``, which text is true of which image.
    """

    def one_way(logits: Tensor, positive: Tensor) -> Tensor:
        negatives = logits.masked_fill(positive, -1e4).logsumexp(1, keepdim=True)
        losses = F.softplus(negatives - logits) * positive
        rows = positive.sum(1)
        return (losses.sum(1) / rows.clamp(min=1))[rows > 0].mean()

    return (one_way(logits, positive) + one_way(logits.t(), positive.t())) / 2


def true_captions(present: Tensor) -> Tensor:
    """Which text is true of which image, ``[B, names] -> bool [B, B + names]``: all captions, then all names.

    A caption is true of every image that shows all that it mentions.
    """
    mentioned = torch.cat([present, torch.eye(present.shape[1])])
    return (present @ mentioned.t()) == mentioned.sum(1)


def name_accuracy(scores: Tensor, present: Tensor) -> float:
    """How often (0..1) the object name of the highest score ``[B, names]`` is one that the image shows."""
    things = torch.tensor([name not in BACKGROUNDS for name in SCENE_CLASSES])
    nearest = scores.masked_fill(~things, -math.inf).argmax(1)
    return present[torch.arange(len(present)), nearest].mean().item()


def learning_rate(step: int, total: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then linear decay to a hundredth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * max(0.01, (total - step) / max(1, total - warmup))


def optimizer_of(model: nn.Module, lr: float) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))


def save_atomically(state: dict[str, Any], path: Path) -> None:
    with whole(path) as part:
        torch.save(state, part)


class Log:
    """JSON lines, to a file and to the screen."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, **entry: Any) -> None:
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
        arguments: those of :func:`parser`.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Trainee],
        step_loss: Callable[[Any, dict[str, Tensor], Phase], tuple[Tensor, dict[str, float]]],
        evaluate: Callable[[Any, int], dict[str, float]],
        arguments: argparse.Namespace,
    ) -> None:
        self.name, self.step_loss, self.evaluate, self.arguments = name, step_loss, evaluate, arguments
        self.folder = Path(arguments.work_dir)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = Log(self.folder / f"{name}.log")
        torch.manual_seed(arguments.seed)
        self.model = make().train()
        self.optimizer = optimizer_of(self.model, arguments.lr)
        self.done, self.seconds = 0, 0.0
        if (self.folder / "last.pt").exists():
            state = torch.load(self.folder / "last.pt", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.done, self.seconds = state["step"], state["seconds"]

    def run(self) -> None:
        """Every step that is left."""
        keep_freed_memory()
        phases: Sequence[Phase] = self.arguments.phases
        self.log(
            event="resume" if self.done else "start",
            step=self.done,
            phases=[asdict(phase) for phase in phases],
            lr=self.arguments.lr,
            seed=self.arguments.seed,
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
            batches = Batches(phase, self.arguments.seed + number, start)
            loader = DataLoader(batches, batch_size=None, num_workers=1)
            for step, batch in enumerate(loader, first - phase.steps + start):
                numbers = self.step(step, batch, phase)
                self.seconds = time.perf_counter() - began
                self.report(step + 1, number, numbers, ended=step + 1 == first)
        self.log(event="end", step=first, seconds=self.seconds)

    def step(self, step: int, batch: dict[str, Tensor], phase: Phase) -> dict[str, float]:
        """One update, and what the log is to say of it."""
        torch.manual_seed(self.arguments.seed + 1000003 * (step + 1))  # what a step draws, the same when resumed
        total = sum(phase.steps for phase in self.arguments.phases)
        lr = learning_rate(step, total, self.arguments.lr, self.arguments.warmup)
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
        arguments = self.arguments
        if step % arguments.log_every == 0 or ended:
            self.log(event="train", step=step, phase=phase, **numbers, seconds=self.seconds)
        if step % arguments.save_every == 0 or ended:
            state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
            save_atomically(state | {"step": step, "seconds": self.seconds}, self.folder / "last.pt")
            save_compressed(self.model.export(), self.folder / f"{self.name}.pt")
        if step % arguments.eval_every == 0 or ended:
            metrics = self.evaluate(self.model, arguments.eval_scenes)
            self.log(event="evaluation", step=step, phase=phase, seconds=self.seconds, **metrics)


def parser(description: str | None, work_dir: str, phases: Sequence[str]) -> argparse.ArgumentParser:
    """The options of a pretraining script, with its default folder and curriculum."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work-dir", default=work_dir, help="where checkpoints and the log go")
    options.add_argument(
        "--phases",
        nargs="+",
        type=Phase.parse,
        metavar="SIZE:BATCH:OBJECTS:STEPS[:DROP]",
        default=[Phase.parse(text) for text in phases],
        help="the curriculum",
    )
    options.add_argument("--lr", type=float, default=1e-3, help="peak learning rate")
    options.add_argument("--warmup", type=int, default=150, help="steps of linear warm-up")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--log-every", type=int, default=25)
    options.add_argument("--save-every", type=int, default=200)
    options.add_argument("--eval-every", type=int, default=500)
    options.add_argument("--eval-scenes", type=int, default=48)
    return options
