"""MAFT+'s classification of masks and its losses written out directly.

The yardstick of ``tools/benchmark.py`` and of an equality test. It runs on the weights of this project's modules and
shares none of their code: attention by explicit softmax, masks pooled and compared with the ground truth one by one,
each word's scores looked through by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Sine positions of y, then of x, scaled to 0..2 pi, [height * width, channels]."""
    half = channels // 2
    frequencies = 10000 ** (2 * (torch.arange(half, device=device) // 2) / half)
    axes = []
    for size in (height, width):
        angles = (torch.arange(1, size + 1, device=device) / (size + 1e-6) * 2 * math.pi)[:, None] / frequencies
        axes.append(torch.where(torch.arange(half, device=device) % 2 == 0, angles.sin(), angles.cos()))
    rows = axes[0][:, None].expand(-1, width, -1)
    columns = axes[1][None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


def attention(module: Any, texts: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    q, k, v = (
        F.linear(x, weight, bias)
        for x, weight, bias in zip(
            (texts, keys, values), module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3), strict=True
        )
    )
    q, k, v = (x.unflatten(-1, (module.num_heads, -1)).transpose(-2, -3) for x in (q, k, v))
    shares = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return module.out_proj((shares @ v).transpose(-2, -3).flatten(-2))


def transferred(cdt: Any, words: Tensor, projected: Tensor) -> Tensor:
    """Eqs. 5 and 6, [W, C] words and a projected map [B, C, H, W] -> [B, W, C].

    T + MHA(T, F, F) and a layer norm, as they are printed; without a norm of its own, a layer is of this project's
    form, which adds positions to the keys.
    """
    keys = projected.flatten(2).transpose(1, 2)
    channels, height, width = projected.shape[1:]
    where = positions(height, width, channels, projected.device)
    texts = words.repeat(len(projected), 1, 1)
    for layer in cdt.layers:
        norm = getattr(layer, "norm", None)
        if norm is None:
            texts = texts + attention(layer.attention, texts, keys + where, keys)
        else:
            texts = texts + attention(layer.attention, texts, keys, keys)
            texts = F.layer_norm(texts, texts.shape[-1:], norm.weight, norm.bias, norm.eps)
    return texts


def project(tower: Any, features: Tensor) -> Tensor:
    """Features of the last stage [..., C] -> their embeddings."""
    norm = tower.trunk.head.norm
    return tower.head(F.layer_norm(features, features.shape[-1:], norm.weight, norm.bias, norm.eps))


def clip_scores(model: Any, dense: Tensor, words: Tensor, groups: Sequence[Any], masks: Tensor) -> Tensor:
    """Probabilities of names [B, Q, T], ``groups`` being the places of each name's words."""
    projected = project(model.backbone.image_tower, dense.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    texts = F.normalize(transferred(model.cdt, words, projected), dim=-1)
    inside = F.interpolate(masks, dense.shape[-2:], mode="bilinear", align_corners=False) > 0
    scale = model.backbone.logit_scale.exp().clamp(max=100)
    found = []
    for image in range(len(dense)):
        rows = []
        for mask in inside[image]:
            pooled = (dense[image] * mask).sum((1, 2)) / (mask.sum() + 1e-8)
            logits = scale * texts[image] @ F.normalize(project(model.backbone.image_tower, pooled), dim=-1)
            rows.append(torch.stack([logits[group].max() for group in groups]).softmax(0))
        found.append(torch.stack(rows))
    return torch.stack(found)


def mask_aware_loss(scores: Tensor, masks: Tensor, targets: Sequence[Any]) -> Tensor:
    """Eq. 1 with rescaled overlaps, pair by pair."""
    terms = []
    for own, proposals, target in zip(scores, masks, targets, strict=True):
        size = tuple(target.masks.shape[-2:])
        inside = F.interpolate(proposals[None], size, mode="bilinear", align_corners=False)[0] > 0
        ious = []
        for truth in target.masks.bool():
            ious.append(torch.stack([(truth & m).sum() / (truth | m).sum().clamp(min=1) for m in inside]))
        for n, label in enumerate(target.labels.tolist()):
            low, high = ious[n].min(), ious[n].max()
            rivals = [m for m, other in enumerate(target.labels.tolist()) if other == label]
            for q in range(len(inside)):
                overlaps = [float(ious[m][q]) for m in rivals]
                if rivals[overlaps.index(max(overlaps))] == n:  # of equal ones the first
                    terms.append((own[q, label], (ious[n][q] - low) / (high - low).clamp(min=1e-6)))
    found, wanted = (torch.stack(each) for each in zip(*terms, strict=True))
    return F.smooth_l1_loss(found, wanted)


def compensation(tuned: Tensor, frozen: Tensor, grids: Sequence[int] = (1, 2, 4), weight: float = 0.1) -> Tensor:
    """The paper's form, region by region, for maps that the grids divide."""
    total = tuned.new_zeros(())
    for grid in grids:
        height, width = tuned.shape[-2] // grid, tuned.shape[-1] // grid
        parts = []
        for row in range(grid):
            for column in range(grid):
                region = (..., slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width))
                parts.append(F.smooth_l1_loss(tuned[region].mean((-2, -1)), frozen[region].mean((-2, -1))))
        total = total + torch.stack(parts).mean()
    return weight * total
