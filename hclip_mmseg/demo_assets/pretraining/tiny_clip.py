"""Pretrain the tiny CLIP contrastively on rendered scenes and their captions, without masks.

The same call resumes an interrupted run from ``last.pt`` in the work folder. The finished model is written as
``tiny_clip.pt``, in open_clip's format in half precision, with ``tiny_clip.log`` (JSON lines) beside it.
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

The committed checkpoint was trained in stretches while this module took shape, the first of them with CLIP's loss
alone; its log tells which. The default phases are what one would begin with today.
"""

from __future__ import annotations

import json
import math
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hclip_mmseg.demo_assets.pretraining.batches import Phase
from hclip_mmseg.demo_assets.pretraining.losses import contrastive_loss, name_accuracy, true_captions
from hclip_mmseg.demo_assets.pretraining.run import Pretraining, Settings
from hclip_mmseg.demo_assets.pretraining.trainee import Trainee
from hclip_mmseg.demo_assets.tiny_clip import CONFIG_PATH, frozen_metrics, preprocess

SHARPNESS = 10.0  # of the soft maximum over an image's patches
ASKED_PATCHES = 1 / 8  # the share of an image's patches that the soft maximum is taken over
DEFAULT_PHASES = ("64:128:1-1:1800", "96:64:1-2:300", "192:32:2-4:1500:0.5", "192:24:2-4:400")


def residual_block(block: Any, x: Tensor, mask: Tensor | None = None) -> Tensor:
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
    x = x + block.mlp(block.ln_2(x))
    return x


def cls_output(block: Any, x: Tensor) -> Tensor:
    """open_clip's block at the CLS token alone: tokens ``[B, N, C]`` -> ``[B, C]``."""
    attention = block.attn
    y = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = y.chunk(3, dim=-1)
    q, k, v = (t.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for t in (q[:, :1], k, v))
    scores = (q * attention.head_dim**-0.5) @ k.transpose(-2, -1)
    pooled = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    cls: Tensor = x[:, 0] + attention.out_proj(pooled)[:, 0]
    cls = cls + block.mlp(block.ln_2(cls))
    return cls


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


class TinyCLIP(Trainee):
    """An open_clip CLIP trained on images of several sizes."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(open_clip.model.CLIP(**config))
        visual = self.clip.visual
        width, embed_dim = visual.proj.shape
        self.patch_projection = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, embed_dim))
        positions = sine_positions(visual.grid_size[0], visual.conv1.out_channels)
        visual.positional_embedding.data[1:] = 0.3 * positions

    def patches(self, size: int) -> int:
        """Number of patches of an image of ``size x size`` pixels, before any is left out."""
        return int(size // self.clip.visual.conv1.stride[0]) ** 2

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
        x = c.token_embedding(self.rows(tokens[:, :length])) + c.positional_embedding[:length]
        for block in c.transformer.resblocks:
            x = residual_block(block, x, c.attn_mask[:length, :length])
        x = c.ln_final(x)[torch.arange(len(x)), end] @ c.text_projection
        return F.normalize(x.float(), dim=-1)


def step_loss(model: TinyCLIP, batch: dict[str, Tensor], phase: Phase) -> tuple[Tensor, dict[str, float]]:
    """Loss of a batch, and how often an image's nearest object name is its own (0..1), by CLS and by patches."""
    images, present = preprocess(batch["images"].numpy()), batch["present"]
    with torch.autocast("cpu", torch.bfloat16):
        x, patches = model.encode_image(images, phase.drop)
        t = model.encode_text(batch["tokens"])
    patches = any_of(patches, round(ASKED_PATCHES * model.patches(images.shape[-1])))
    names = t[len(x) :]
    scale = model.clip.logit_scale.exp()
    loss = contrastive_loss(scale * x @ t.t(), true_captions(present))
    loss = loss + contrastive_loss(scale * soft_maximum(patches @ names.t()), present > 0)
    with torch.no_grad():
        numbers = {
            "name_accuracy": name_accuracy(x @ names.t(), present),
            "patch_accuracy": name_accuracy(soft_maximum(patches @ names.t()), present),
        }
    return loss, numbers


def pretrain(settings: Settings) -> None:
    """Pretrain the tiny CLIP, or go on from where a run in that folder was."""

    def make() -> TinyCLIP:
        return TinyCLIP(json.loads(CONFIG_PATH.read_text()))

    def evaluate(model: TinyCLIP, scenes: int) -> dict[str, float]:
        return frozen_metrics(model.export(), scenes=scenes)

    Pretraining("tiny_clip", make, step_loss, evaluate, settings).run()
