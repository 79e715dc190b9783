"""Pretrain the tiny ConvNeXt CLIP contrastively on rendered scenes and their captions, without masks.

    python tools/pretrain_tiny_convnext.py --work-dir work_dirs/tiny_convnext

MAFT+ needs a CLIP whose image tower is a ConvNeXt; this is one for the scenes, with a small text tower of its own. The
same command resumes an interrupted run from `last.pt` in the work folder. The finished model is written as
`tiny_convnext.pt`, in open_clip's format in half precision, with `tiny_convnext.log` (JSON lines) beside it.

It is trained as CLIP is, by images and captions alone, each image read as the mean of its positions. Batches, captions
and the contrastive loss are those of `pretrain_tiny_clip.py`; names that no mask is ever shown for are in the captions,
as CLIP has read of everything. That positions know what lies there is a by-product, which the log follows: the part of
masks whose mean feature is nearest to its own name, of all names.
"""

from __future__ import annotations

import argparse
import copy
import math
import platform
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from pretrain_tiny_clip import (
    Batches,
    Log,
    Phase,
    contrastive_loss,
    learning_rate,
    save_atomically,
    used_tokens,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hclip_mmseg.apis.memory import keep_freed_memory
from hclip_mmseg.clip import TextTower, build_clip
from hclip_mmseg.clip.attention import PlainProjections
from hclip_mmseg.demo_assets.scenes import BACKGROUNDS, SCENE_CLASSES, TRAIN_NAMES, render_scene
from hclip_mmseg.demo_assets.tiny_clip import PROMPT, preprocess, save_compressed
from hclip_mmseg.demo_assets.tiny_convnext import CONFIG_PATH
from hclip_mmseg.mask_classification.maft_plus import ConvNeXtTower

DEFAULT_PHASES = ("64:128:1-1:2400", "96:64:1-2:600", "192:24:2-4:400")


class Trainee(nn.Module):
    """An open_clip CLIP with a ConvNeXt, and an embedding of the used tokens only."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = build_clip(str(CONFIG_PATH), timm_trunk=True)
        self.register_buffer("ids", used_tokens(), persistent=False)
        # a gradient and an optimizer state for 49408 rows would cost more than the text tower itself
        full = self.clip.token_embedding
        self.clip.token_embedding = nn.Embedding(len(self.ids), full.embedding_dim)
        self.clip.token_embedding.weight.data.copy_(full.weight.data[self.ids])
        self.vocab_size = full.num_embeddings

    def encode_image(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, H, W] -> unit embeddings [B, embed_dim]."""
        return F.normalize(self.clip.visual(images), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Tokens [N, 77] -> unit embeddings [N, embed_dim]."""
        tower = TextTower(self.clip)
        rows = torch.searchsorted(self.ids, tokens)  # the end token is the largest number in both
        blocks = tower.blocks
        return F.normalize(tower(rows, lambda layer: PlainProjections.of(blocks[layer].attn)), dim=-1)

    def export(self) -> dict[str, Tensor]:
        """An open_clip state dict in half precision; untrained tokens all get the trained ones' mean."""
        state = {name: value.detach().half() for name, value in self.clip.state_dict().items()}
        trained = state["token_embedding.weight"]
        full = trained.float().mean(0).half().repeat(self.vocab_size, 1)
        full[self.ids] = trained
        return {**state, "token_embedding.weight": full}


def step_loss(model: Trainee, batch: dict[str, Tensor]) -> tuple[Tensor, float]:
    """Loss of a batch, and how often an image's nearest object name is its own (0..1)."""
    images = preprocess(batch["images"].numpy())
    present = batch["present"]
    x, t = model.encode_image(images), model.encode_text(batch["tokens"])
    mentioned = torch.cat([present, torch.eye(present.shape[1])])
    positive = (present @ mentioned.t()) == mentioned.sum(1)
    loss = contrastive_loss(model.clip.logit_scale.exp() * x @ t.t(), positive)
    with torch.no_grad():
        things = torch.tensor([name not in BACKGROUNDS for name in SCENE_CLASSES])
        nearest = (x @ t[len(x) :].t()).masked_fill(~things, -2).argmax(1)
        right = present[torch.arange(len(x)), nearest].mean().item()
    return loss, right


@torch.no_grad()
def mask_accuracy(model: Trainee, scenes: int, seed: int = 2**20) -> dict[str, float]:
    """Percent of true masks whose pooled feature is nearest to its own name of all, for both groups of names."""
    tower = ConvNeXtTower(copy.deepcopy(model.clip.visual))  # which sets what it is given to inference
    tokens = open_clip.get_tokenizer("ViT-B-32")([PROMPT.format(name) for name in SCENE_CLASSES])
    text = model.encode_text(tokens)
    hits: dict[str, list[float]] = dict(train=[], held_out=[])
    for index in range(scenes):
        scene = render_scene(seed, index, 192)
        features = tower(preprocess(scene.image[None]))[-1][0]
        labels = torch.from_numpy(scene.labels).long()
        for label in labels.unique().tolist():
            mask = F.interpolate((labels == label).float()[None, None], features.shape[-2:], mode="area")[0, 0]
            pooled = (features * mask).sum((1, 2)) / mask.sum()
            nearest = int((text @ tower.project(pooled[None])[0]).argmax())
            hits["train" if label < len(TRAIN_NAMES) else "held_out"].append(100.0 * (nearest == label))
    return {f"masks_{group}": float(np.mean(values)) for group, values in hits.items() if values}


def optimizer_of(model: Trainee, lr: float) -> torch.optim.AdamW:
    parameters = [p for p in model.parameters() if p.requires_grad]
    matrices, vectors = ([p for p in parameters if (p.ndim > 1) == many] for many in (True, False))
    groups = [dict(params=matrices, weight_decay=0.05), dict(params=vectors, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))


def train(arguments: argparse.Namespace) -> None:
    keep_freed_memory()
    work = Path(arguments.work_dir)
    work.mkdir(parents=True, exist_ok=True)
    log, last = Log(work / "tiny_convnext.log"), work / "last.pt"
    torch.manual_seed(arguments.seed)
    model = Trainee().train()
    optimizer = optimizer_of(model, arguments.lr)
    done, seconds = 0, 0.0
    if last.exists():
        state = torch.load(last, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done, seconds = state["step"], state["seconds"]
    phases: list[Phase] = arguments.phases
    total = sum(phase.steps for phase in phases)
    log(
        event="resume" if done else "start",
        step=done,
        phases=[asdict(phase) for phase in phases],
        lr=arguments.lr,
        seed=arguments.seed,
        python=platform.python_version(),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        parameters_image=sum(p.numel() for p in model.clip.visual.parameters()),
        parameters=sum(p.numel() for p in model.parameters()),
    )
    first, began = 0, time.perf_counter() - seconds
    for number, phase in enumerate(phases):
        start, first = max(0, done - first), first + phase.steps
        if start >= phase.steps:
            continue
        loader = DataLoader(Batches(phase, arguments.seed + number, start), batch_size=None, num_workers=1)
        for step, batch in enumerate(loader, first - phase.steps + start):
            lr = learning_rate(step, total, arguments.lr, arguments.warmup)
            for group in optimizer.param_groups:
                group["lr"] = lr
            loss, right = step_loss(model, batch)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                model.clip.logit_scale.clamp_(max=math.log(100))
            seconds, ended = time.perf_counter() - began, step + 1 == first
            if (step + 1) % arguments.log_every == 0 or ended:
                numbers = dict(loss=loss.item(), name_accuracy=right, scale=model.clip.logit_scale.exp().item())
                log(event="train", step=step + 1, phase=number, **numbers, lr=lr, seconds=seconds)
            if (step + 1) % arguments.save_every == 0 or ended:
                state = dict(model=model.state_dict(), optimizer=optimizer.state_dict(), step=step + 1, seconds=seconds)
                save_atomically(state, last)
                save_compressed(model.export(), work / "tiny_convnext.pt")
            if (step + 1) % arguments.eval_every == 0 or ended:
                log(event="masks", step=step + 1, phase=number, **mask_accuracy(model, arguments.eval_scenes))
    log(event="end", step=total, seconds=seconds)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", default="work_dirs/tiny_convnext", help="where checkpoints and the log go")
    parser.add_argument(
        "--phases",
        nargs="+",
        type=Phase.parse,
        metavar="SIZE:BATCH:OBJECTS:STEPS",
        default=[Phase.parse(text) for text in DEFAULT_PHASES],
        help="the curriculum; sizes are multiples of 16 here",
    )
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--warmup", type=int, default=150, help="steps of linear warm-up")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-every", type=int, default=25)
    parser.add_argument("--save-every", type=int, default=200)
    parser.add_argument("--eval-every", type=int, default=400)
    parser.add_argument("--eval-scenes", type=int, default=48)
    arguments = parser.parse_args()
    if any(phase.size % 16 for phase in arguments.phases):
        parser.error("sizes must be multiples of 16, the tower's last stride")
    return arguments


if __name__ == "__main__":
    train(parse_arguments())
