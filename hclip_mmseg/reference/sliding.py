"""The order of work of the training-free repositories' segmentors: one window at a time, all names at full size.

What `tools/benchmark.py` measures ours against. Heads are batched and CLIP's blocks are as fast as ours; what differs
is what comes around them: windows one by one, maps of all names padded to the whole image and summed, softmax and the
best name of every class over maps of all names and classes at the image's own size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.clip.attention import PlainProjections, run_block

Grid = tuple[int, int]
Dense = Callable[[Tensor], tuple[Tensor, Grid]]
"""A window's pixels [3, h, w] -> projected tokens of its patches [patches, C] and their rows and columns."""


def before_last(tower: Any, window: Tensor) -> Tensor:
    """Tokens [1, 1 + patches, width] that go into the last block, of a window [3, h, w]."""
    x: Tensor = tower.embed(window[None])
    for block in list(tower.blocks)[:-1]:
        x = run_block(block, x, PlainProjections.of(block.attn))
    return x


def heads_of(block: Any, x: Tensor) -> list[Tensor]:
    """q, k and v, each [1, heads, tokens, head_dim]."""
    parts = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
    return [part.unflatten(-1, (block.attn.num_heads, -1)).transpose(1, 2) for part in parts]


def sclip(tower: Any) -> Dense:
    """SCLIP's dense tokens."""

    def dense(window: Tensor) -> tuple[Tensor, Grid]:
        block, x = list(tower.blocks)[-1], before_last(tower, window)
        q, k, v = heads_of(block, x)
        scale = q.shape[-1] ** -0.5
        weights = (scale * q @ q.mT).softmax(dim=-1) + (scale * k @ k.mT).softmax(dim=-1)
        x = x + block.attn.out_proj((weights @ v).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.ln_2(x))
        tokens: Tensor = tower.ln_post(x) @ tower.proj
        return tokens[0, 1:], tower.grid_of(*window.shape[1:])

    return dense


def proxyclip(tower: Any, features: Dense, beta: float = 1.2, gamma: float = 3.0) -> Dense:
    """ProxyCLIP's dense tokens, its attention written out for every head.

    Args:
        tower: CLIP's.
        features: unit-norm patches of a window by the other model, and their grid.
        beta, gamma: of the attention.
    """

    def dense(window: Tensor) -> tuple[Tensor, Grid]:
        patches, grid = features(window)
        cosines = patches @ patches.T
        scores = gamma * (cosines - beta * cosines.mean())
        block = list(tower.blocks)[-1]
        _, _, v = heads_of(block, before_last(tower, window))
        left_out = scores < 0
        left_out.fill_diagonal_(False)  # else a row of a very even window is empty
        scores[left_out] = -torch.inf
        weights = scores.repeat(v.shape[1], 1, 1).softmax(dim=-1)
        maps = v[0, :, 1:].transpose(1, 2).unflatten(2, tower.grid_of(*window.shape[1:]))
        large = F.interpolate(maps, size=grid, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)
        mixed = block.attn.out_proj((weights @ large).transpose(0, 1).flatten(1))
        return tower.ln_post(mixed) @ tower.proj, grid

    return dense


def segment(
    dense: Dense, image: Tensor, text: Tensor, classes: Sequence[int], size: tuple[int, int], *, window: int = 224,
    stride: int = 112, pad: int = 1, scale: float = 40.0, prob_thd: float = 0.0, area_thd: float = 0.0,
) -> Tensor:  # fmt: skip
    """Classes [*size] of a normalised image [3, H, W] at the protocol's size."""
    height, width = image.shape[1:]
    total, visits = torch.zeros(len(text), height, width), torch.zeros(1, height, width)
    for i in range(max(height - window + stride - 1, 0) // stride + 1):
        for j in range(max(width - window + stride - 1, 0) // stride + 1):
            bottom, right = min(i * stride + window, height), min(j * stride + window, width)
            top, left = max(bottom - window, 0), max(right - window, 0)
            own = window_maps(dense, image[:, top:bottom, left:right], text, pad)
            total = total + F.pad(own, (left, width - right, top, height - bottom))
            visits[:, top:bottom, left:right] += 1
    logits = F.interpolate((total / visits)[None], size=size, mode="bilinear", align_corners=False)[0]
    probabilities = (scale * logits).softmax(dim=0)
    of_class = probabilities
    if len(classes) != max(classes) + 1:  # a class has several names
        member = F.one_hot(torch.tensor(classes)).T[:, :, None, None]
        of_class = (probabilities[None] * member).max(dim=1).values
    if area_thd > 0:
        areas = torch.bincount(of_class.argmax(dim=0).flatten(), minlength=len(of_class))[1:]
        of_class[1:] *= (areas > area_thd * areas.sum())[:, None, None]
    best, labels = of_class.max(dim=0)
    labels[best < prob_thd] = 0
    return labels


def window_maps(dense: Dense, window: Tensor, text: Tensor, pad: int) -> Tensor:
    """Cosines of a window's pixels [3, h, w] and all names, [names, h, w]."""
    (height, width), more = window.shape[1:], [(-side) % pad for side in window.shape[1:]]
    top, left = more[0] // 2, more[1] // 2
    padded = F.pad(window, (left, more[1] - left, top, more[0] - top))
    tokens, grid = dense(padded)
    maps = (F.normalize(tokens, dim=-1) @ text.T).T.reshape(1, -1, *grid)
    large = F.interpolate(maps, size=padded.shape[1:], mode="bilinear", align_corners=False)[0]
    return large[:, top : top + height, left : left + width]
