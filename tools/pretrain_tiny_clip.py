"""Pretrain the tiny CLIP contrastively on rendered scenes and their captions, without masks.

    python tools/pretrain_tiny_clip.py --work-dir work_dirs/tiny_clip

The same command resumes an interrupted run from ``last.pt`` in the work folder. The finished model is written
as ``tiny_clip.pt``, in open_clip's format in half precision, with ``tiny_clip.log`` (JSON lines) beside it.
Captions cover all names of the scenes, held-out ones included.

Each step has two kinds of captions: the full caption of every image, and one sentence for every single name.
A caption is a positive of every image that shows all that it mentions, so that equal or vaguer captions are
never false negatives. Two losses of the same form are added: CLIP's, which reads an image at its CLS token, and
one that reads it at the soft maximum of a few of its patches for each name (as FILIP compares patches and words),
through a projection of their own that is thrown away in the end. Which patches is drawn anew for each image, so that
every part of an object has to tell what the whole is. It makes so small a CLIP keep shapes in its dense tokens, not
only colours, while the frozen value path stays a by-product, as in CLIP itself. No mask is used.

Images grow over the phases while objects keep their size in pixels: a small image takes a window of the 24 x 24
positional embeddings, at a random place; nothing is ever interpolated.

The committed checkpoint was trained in stretches while this script took shape, the first of them with CLIP's loss
alone; its log tells which. The default phases are what one would begin with today.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hclip_mmseg.apis.memory import keep_freed_memory
from hclip_mmseg.demo_assets import scenes
from hclip_mmseg.demo_assets.scenes import BACKGROUNDS, NAME_TEMPLATES, SCENE_CLASSES, Scene, render_scene
from hclip_mmseg.demo_assets.tiny_clip import CONFIG_PATH, frozen_metrics, save_compressed

MEAN = torch.tensor(open_clip.constants.OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
STD = torch.tensor(open_clip.constants.OPENAI_DATASET_STD).view(1, 3, 1, 1)
SHARPNESS = 10.0  # of the soft maximum over an image's patches
ASKED_PATCHES = 1 / 8  # the share of an image's patches that the soft maximum is taken over
DEFAULT_PHASES = ("64:128:1-1:1800", "96:64:1-2:300", "192:32:2-4:1500:0.5", "192:24:2-4:400")


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
        self.tokenizer = open_clip.get_tokenizer("ViT-B-32")  # every open_clip ViT has CLIP's own BPE

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
    texts += [t.format(objects="a x, a x and a x", backgrounds="x and x") for t in scenes.LIST_TEMPLATES]
    return torch.unique(tokenizer([f"{text} a b" for text in texts]))


def residual_block(block: nn.Module, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """open_clip's block on tokens ``[B, N, C]``, with plain matrix products for attention.

    The fused attention kernel's backward pass takes half of a step's time on CPU at these few tokens.
    """
    attention = block.attn
    y = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = y.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    scores = (q * attention.head_dim**-0.5) @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores + mask.to(scores.dtype)
    y = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    x = x + attention.out_proj(y)
    return x + block.mlp(block.ln_2(x))


def cls_output(block: nn.Module, x: Tensor) -> Tensor:
    """open_clip's block at the CLS token alone: tokens ``[B, N, C]`` -> ``[B, C]``."""
    attention = block.attn
    y = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = y.chunk(3, dim=-1)
    q, k, v = (t.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for t in (q[:, :1], k, v))
    scores = (q * attention.head_dim**-0.5) @ k.transpose(-2, -1)
    pooled = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    cls: Tensor = x[:, 0] + attention.out_proj(pooled)[:, 0]
    return cls + block.mlp(block.ln_2(cls))


def soft_maximum(similarity: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """``[B, N, names] -> [B, names]``: log-mean-exp over the patches, between the mean and the maximum."""
    patches = similarity.shape[1]
    return (torch.logsumexp(sharpness * similarity, dim=1) - math.log(patches)) / sharpness


def any_of(patches: Tensor, count: int) -> Tensor:
    """``[B, N, C] -> [B, min(count, N), C]``: as many patches of each image, drawn at random."""
    drawn = torch.rand(patches.shape[:2]).argsort(1)[:, :count]
    return patches.gather(1, drawn[..., None].expand(-1, -1, patches.shape[-1]))


def sine_positions(side: int, width: int) -> Tensor:
    """Sines and cosines of the row and the column, ``[side * side, width]``, periods of 6 patches and more.

    A start from which neighbours look alike, as shapes are told apart by where their parts lie.
    """
    frequencies = 100.0 ** -torch.linspace(0, 1, width // 4)
    angles = torch.arange(side)[:, None] * frequencies
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = axis.repeat_interleave(side, dim=0), axis.repeat(side, 1)
    return torch.cat([rows, columns], dim=1)


class Trainee(nn.Module):
    """An open_clip CLIP trained on images of several sizes, with an embedding of the used tokens only."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.clip = open_clip.model.CLIP(**config)
        self.register_buffer("ids", used_tokens(), persistent=False)
        # a gradient and an optimizer state for 49408 rows would cost more than the text tower itself
        full = self.clip.token_embedding
        self.clip.token_embedding = nn.Embedding(len(self.ids), full.embedding_dim)
        self.clip.token_embedding.weight.data.copy_(full.weight.data[self.ids])
        self.vocab_size = full.num_embeddings
        visual = self.clip.visual
        width, embed_dim = visual.proj.shape
        self.patch_projection = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, embed_dim))
        positions = sine_positions(visual.grid_size[0], visual.conv1.out_channels)
        visual.positional_embedding.data[1:] = 0.3 * positions

    def patches(self, size: int) -> int:
        """Number of patches of an image of ``size x size`` pixels, before any is left out."""
        return (size // self.clip.visual.conv1.stride[0]) ** 2

    def encode_image(self, images: Tensor, drop: float = 0.0) -> tuple[Tensor, Tensor]:
        """Unit embeddings of images ``[B, 3, H, W]``, H = W at most the full size, and of their patches.

        Returns:
            ``[B, embed_dim]`` read at CLS, and ``[B, N, embed_dim]``, the last block's input projected.
        """
        v = self.clip.visual
        x = v.conv1(images).flatten(2).transpose(1, 2)
        batch, tokens, width = x.shape
        side, grid = math.isqrt(tokens), v.grid_size[0]
        y0, x0 = torch.randint(0, grid - side + 1, (2, batch, 1, 1))
        steps = torch.arange(side)
        index = ((y0 + steps[:, None]) * grid + x0 + steps[None, :]).flatten(1)
        x = x + v.positional_embedding[1:][index]
        if drop > 0:
            kept = torch.rand(batch, tokens).argsort(1)[:, : round(tokens * (1 - drop))]
            x = x.gather(1, kept[..., None].expand(-1, -1, width))
        cls = (v.class_embedding + v.positional_embedding[0]).expand(batch, 1, width).to(x.dtype)
        x = v.ln_pre(torch.cat([cls, x], dim=1))
        *blocks, last = v.transformer.resblocks
        for block in blocks:
            x = residual_block(block, x)
        embeddings = v.ln_post(cls_output(last, x)) @ v.proj, self.patch_projection(x[:, 1:])
        return F.normalize(embeddings[0].float(), dim=-1), F.normalize(embeddings[1].float(), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Unit embeddings ``[N, embed_dim]``; in a causal tower nothing after the longest EOT can matter."""
        c = self.clip
        end = tokens.argmax(-1)
        length = int(end.max()) + 1
        rows = torch.searchsorted(self.ids, tokens[:, :length].contiguous())
        x = c.token_embedding(rows) + c.positional_embedding[:length]
        for block in c.transformer.resblocks:
            x = residual_block(block, x, c.attn_mask[:length, :length])
        x = c.ln_final(x)[torch.arange(len(x)), end] @ c.text_projection
        return F.normalize(x.float(), dim=-1)

    def export(self) -> dict[str, Tensor]:
        """An open_clip state dict in half precision; untrained tokens all get the trained ones' mean."""
        state = {name: value.detach().half() for name, value in self.clip.state_dict().items()}
        trained = state["token_embedding.weight"]
        full = trained.float().mean(0).half().repeat(self.vocab_size, 1)
        full[self.ids] = trained
        state["token_embedding.weight"] = full
        return state


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


def step_loss(model: Trainee, batch: dict[str, Tensor], drop: float) -> tuple[Tensor, list[float]]:
    """Loss of a batch, and how often an image's nearest object name is its own (0..1), by CLS and by patches."""
    images = (batch["images"].permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    present = batch["present"]
    with torch.autocast("cpu", torch.bfloat16):
        x, patches = model.encode_image(images, drop)
        t = model.encode_text(batch["tokens"])
    patches = any_of(patches, round(ASKED_PATCHES * model.patches(images.shape[-1])))
    names = t[len(x) :]
    mentioned = torch.cat([present, torch.eye(present.shape[1])])
    positive = (present @ mentioned.t()) == mentioned.sum(1)
    scale = model.clip.logit_scale.exp()
    loss = contrastive_loss(scale * x @ t.t(), positive)
    loss = loss + contrastive_loss(scale * soft_maximum(patches @ names.t()), present > 0)
    with torch.no_grad():
        things = torch.tensor([name not in BACKGROUNDS for name in SCENE_CLASSES])
        right = [
            present[torch.arange(len(x)), scores.masked_fill(~things, -2).argmax(1)].mean().item()
            for scores in (x @ names.t(), soft_maximum(patches @ names.t()))
        ]
    return loss, right


def learning_rate(step: int, total: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then linear decay to a hundredth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * max(0.01, (total - step) / max(1, total - warmup))


def optimizer_of(model: Trainee, lr: float) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))


def save_atomically(state: dict[str, Any], path: Path) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


class Log:
    """JSON lines, to a file and to the screen."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, **entry: Any) -> None:
        line = json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in entry.items()})
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")


def train(arguments: argparse.Namespace) -> None:
    keep_freed_memory()
    work = Path(arguments.work_dir)
    work.mkdir(parents=True, exist_ok=True)
    log, last = Log(work / "tiny_clip.log"), work / "last.pt"
    torch.manual_seed(arguments.seed)
    model = Trainee(json.loads(CONFIG_PATH.read_text()))
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
        event="resume" if done else "start", step=done, phases=[asdict(p) for p in phases], lr=arguments.lr,
        seed=arguments.seed, python=platform.python_version(), torch=torch.__version__,
        open_clip=open_clip.__version__, numpy=np.__version__, threads=torch.get_num_threads(),
        parameters_image=sum(p.numel() for p in model.clip.visual.parameters()),
        parameters=sum(p.numel() for p in model.parameters()),
    )  # fmt: skip

    def save(step: int) -> None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        save_atomically(state | {"step": step, "seconds": seconds}, last)
        save_compressed(model.export(), work / "tiny_clip.pt")

    first, began = 0, time.perf_counter() - seconds
    for number, phase in enumerate(phases):
        start, first = max(0, done - first), first + phase.steps
        if start >= phase.steps:
            continue
        loader = DataLoader(Batches(phase, arguments.seed + number, start), batch_size=None, num_workers=1)
        for step, batch in enumerate(loader, first - phase.steps + start):
            torch.manual_seed(arguments.seed + 1000003 * (step + 1))  # dropped tokens, the same when resumed
            lr = learning_rate(step, total, arguments.lr, arguments.warmup)
            for group in optimizer.param_groups:
                group["lr"] = lr
            loss, right = step_loss(model, batch, phase.drop)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                model.clip.logit_scale.clamp_(max=math.log(100))
            seconds = time.perf_counter() - began
            if (step + 1) % arguments.log_every == 0:
                log(event="train", step=step + 1, phase=number, loss=loss.item(), name_accuracy=right[0],
                    patch_accuracy=right[1], scale=model.clip.logit_scale.exp().item(), lr=lr,
                    seconds=seconds)  # fmt: skip
            if (step + 1) % arguments.save_every == 0 or step + 1 == first:
                save(step + 1)
            if (step + 1) % arguments.eval_every == 0 or step + 1 == first:
                metrics = frozen_metrics(model.export(), scenes=arguments.eval_scenes)
                log(event="frozen", step=step + 1, phase=number, seconds=seconds, **metrics)
    log(event="end", step=total, seconds=seconds)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work-dir", default="work_dirs/tiny_clip", help="where checkpoints and the log go")
    parser.add_argument(
        "--phases",
        nargs="+",
        type=Phase.parse,
        metavar="SIZE:BATCH:OBJECTS:STEPS[:DROP]",
        default=[Phase.parse(text) for text in DEFAULT_PHASES],
        help="the curriculum",
    )
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--warmup", type=int, default=150, help="steps of linear warm-up")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-every", type=int, default=25)
    parser.add_argument("--save-every", type=int, default=200)
    parser.add_argument("--eval-every", type=int, default=500)
    parser.add_argument("--eval-scenes", type=int, default=48)
    return parser.parse_args()


if __name__ == "__main__":
    train(parse_arguments())
