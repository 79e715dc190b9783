"""What the training-free field takes from CLIP's middle blocks and from regions, written out directly.

As in `hclip_mmseg.reference.training_free`, everything is of one image; ``x`` are tokens [1 + patches, width].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.reference.cliptrase import heads_of
from hclip_mmseg.reference.training_free import neighbour_window, out, plain_block, softmax_of_positive

# ---- middle blocks


def states(tower: Any, image: Tensor) -> list[Tensor]:
    """Tokens before the first block, and after each but the last."""
    found = [tower.embed(image[None])[0]]
    for block in list(tower.blocks)[:-1]:
        found.append(plain_block(block, found[-1]))
    return found


def alike_by_labels(labels: Tensor, sigma: float, begun: bool = True) -> Tensor:
    """ResCLIP's A_f, pair by pair, of patches' labels [rows, columns].

    ``begun``: as its code has it, whose points on the line between two patches are those of the longest line.
    """
    rows, columns = labels.shape
    places = [(row, column) for row in range(rows) for column in range(columns)]
    most = max(rows, columns) - 1
    alike = torch.zeros(len(places), len(places))
    for i, (top, left) in enumerate(places):
        for j, (bottom, right) in enumerate(places):
            if labels[top, left] != labels[bottom, right]:
                continue
            steps = max(abs(bottom - top), abs(right - left))
            parts = [t / max(most if begun else steps, 1) for t in range(steps + 1)]
            line = [(round(top + (bottom - top) * part), round(left + (right - left) * part)) for part in parts]
            whole = all(labels[place] == labels[top, left] for place in line)
            alike[i, j] = 1 if whole else math.exp(-steps / most)
    size = min(len(places), int(6 * sigma + 1))
    size += 1 - size % 2
    kernel = [math.exp(-((t - size // 2) ** 2) / (2 * sigma**2)) for t in range(size)]
    smooth = torch.zeros_like(alike)
    for i in range(len(places)):
        for j in range(len(places)):
            for t in range(size):
                other = j + t - size // 2
                if 0 <= other < len(places):
                    smooth[i, j] += alike[i, other] * kernel[t] / sum(kernel)
    return smooth / (smooth.sum(dim=1, keepdim=True) + 1e-8)


def residual_attention(
    tower: Any, image: Tensor, form: str, layers: Sequence[int], tau: float, weight: float, full: bool,
    alike: Tensor | None = None, feedback: tuple[float, float] = (1.0, 0.0),
) -> Tensor:  # fmt: skip
    """ResCLIP's tokens [patches, width] of a window, head by head."""
    before, blocks = states(tower, image), list(tower.blocks)
    grid = (image.shape[1] // tower.patch_size, image.shape[2] // tower.patch_size)
    block, x, mixed = blocks[-1], before[-1], []
    for h, (q, k, v) in enumerate(heads_of(block, x)):
        scale, middle = q.shape[-1] ** -0.5, torch.zeros(len(x), len(x))
        for layer in layers:
            of_layer = heads_of(blocks[layer], before[layer])[h]
            middle += (scale * of_layer[0] @ of_layer[1].T).softmax(dim=-1) / len(layers)
        total = torch.zeros(len(x), len(x))
        for a, b in {"naclip": [(k, k)], "sclip": [(q, q), (k, k)]}[form]:
            scores = scale * a @ b.T
            if alike is not None:
                own = F.pad(alike / alike.max(), (1, 0, 1, 0))
                scores = feedback[0] * ((1 - feedback[1]) * scores + feedback[1] * own)
            if form == "naclip":
                scores = scores + neighbour_window(grid, 5.0)
            total = total + scores.softmax(dim=-1)
        mixed.append(tau * ((1 - weight) * total + weight * middle) @ v)
    y = out(block, mixed)
    if full:
        y = x + y
        y = y + block.mlp(block.ln_2(y))
    return y[1:]


def outlier_factor(patches: Tensor, neighbours: int) -> list[float]:
    """SC-CLIP's local outlier factor of patches [patches, C], step by step, with each patch's own reach."""
    distances = [[float((a - b).double().square().sum()) for b in patches] for a in patches]
    near, density = [], []
    for i, own in enumerate(distances):
        near.append(sorted((j for j in range(len(own)) if j != i), key=lambda j: own[j])[:neighbours])
        farthest = own[near[i][-1]]
        reach = [max(own[j], farthest) for j in near[i]]
        density.append(neighbours / (sum(reach) / len(reach)))
    return [sum(density[j] / density[i] for j in near[i]) / neighbours for i in range(len(patches))]


def mended(patches: Tensor, outliers: Sequence[bool], grid: tuple[int, int]) -> Tensor:
    """SC-CLIP's patches [patches, C] without those that stand out."""
    result = patches.clone()
    for i, stands_out in enumerate(outliers):
        row, column = i // grid[1], i % grid[1]
        near = [
            r * grid[1] + c
            for r in range(max(row - 1, 0), min(row + 2, grid[0]))
            for c in range(max(column - 1, 0), min(column + 2, grid[1]))
        ]
        kept = [j for j in near if not outliers[j]]
        if stands_out and kept:
            result[i] = patches[kept].mean(dim=0)
    return result


def self_calibration(
    tower: Any, image: Tensor, outliers: Sequence[bool], similar: int, aggregate: int, collected: Sequence[int],
    threshold: float, scale: float, cls_weight: float,
) -> Tensor:  # fmt: skip
    """SC-CLIP's tokens [patches, width] of a window; ``outliers`` says which patches stand out."""
    before, block = states(tower, image), list(tower.blocks)[-1]
    grid = (image.shape[1] // tower.patch_size, image.shape[2] // tower.patch_size)

    def cosines(x: Tensor) -> Tensor:
        return F.cosine_similarity(x[:, None], x[None], dim=-1)

    def weights(c: Tensor) -> Tensor:
        kept = torch.where(c < threshold, torch.zeros_like(c), c)
        return kept / kept.sum(dim=1, keepdim=True)

    c = cosines(mended(before[similar + 1][1:], outliers, grid))
    by = weights(cosines(before[aggregate + 1][1:]))

    def last(patches: Tensor, cls: Tensor) -> Tensor:
        alike = softmax_of_positive(scale * (c - c.mean()))
        mixed = []
        for _, k, v in heads_of(block, patches):
            mixed.append((alike + (k @ k.T * k.shape[-1] ** -0.5).softmax(dim=-1)) / 2 @ v)
        return by @ (out(block, mixed) + cls_weight * cls)

    x = before[-1]
    total = torch.stack([before[layer + 1] for layer in collected]).sum(dim=0)
    return last(weights(c) @ mended(x[1:], outliers, grid), x[0]) + last(total[1:], total[0])


# ---- regions


def merged_regions(features: Tensor, regions: Sequence[int], reach: float) -> list[int]:
    """CorrCLIP's regions of alike means as one, named by their smallest number; 0 is none."""
    names = sorted({region for region in regions if region})
    means = {}
    for name in names:
        mean = torch.stack([f for f, region in zip(features, regions, strict=True) if region == name]).mean(dim=0)
        means[name] = mean / mean.norm()
    largest = max((float(means[a] @ means[b]) for a in names for b in names), default=0.0)
    merged = {0: 0} | {name: name for name in names}
    for _ in names:
        for a in names:
            for b in names:
                if largest - float(means[a] @ means[b]) <= reach:
                    merged[a] = merged[b] = min(merged[a], merged[b])
    return [merged[region] for region in regions]


def region_scope(
    tower: Any, image: Tensor, features: Tensor, fine: Sequence[int], grid: tuple[int, int], layers: Sequence[int],
    scale: float, spatial: float, semantic: float,
) -> Tensor:  # fmt: skip
    """CorrCLIP's tokens [patches, width] of a window, behind the last norm.

    ``features`` are unit-norm f of the other model's patches on ``grid``, ``fine`` their merged regions, 0 for none.
    """
    own = (image.shape[1] // tower.patch_size, image.shape[2] // tower.patch_size)
    blocks, before = list(tower.blocks), states(tower, image)
    similar = features @ features.T
    scores = torch.full_like(similar, -torch.inf)
    for i in range(len(fine)):
        for j in range(len(fine)):
            if fine[i] and fine[j]:
                allowed = fine[i] == fine[j]
            else:
                allowed = bool(similar[i, j] > similar.mean())
            if allowed or i == j:
                scores[i, j] = scale * similar[i, j]
    weights = scores.softmax(dim=1)

    def branch(x: Tensor) -> Tensor:
        mixed = []
        for _, _, v in heads_of(blocks[-1], x):
            maps = F.interpolate(v[1:].T.reshape(1, -1, *own), size=grid, mode="bilinear", align_corners=False)
            mixed.append(weights @ maps[0].flatten(1).T)
        return tower.ln_post(out(blocks[-1], mixed))

    result = branch(before[-1]) + spatial * branch(torch.stack([before[n + 1] for n in layers]).mean(dim=0))
    for i, copy in enumerate(copies_of_cls(tower, image, fine, grid)):
        result[i] = result[i] + semantic * tower.ln_post(copy)
    return result


def copies_of_cls(tower: Any, image: Tensor, fine: Sequence[int], grid: tuple[int, int]) -> list[Tensor]:
    """CorrCLIP's semantic branch of a window: what each of the other model's patches has, before the last norm.

    ``fine`` are regions of these patches on ``grid``; patches of the two models meet where the first ones begin.
    """
    own = (image.shape[1] // tower.patch_size, image.shape[2] // tower.patch_size)
    coarse = [
        fine[i * grid[0] // own[0] * grid[1] + j * grid[1] // own[1]] for i in range(own[0]) for j in range(own[1])
    ]
    before, copies = states(tower, image)[0], {}
    for region in set(coarse):
        copy, x = before[0], before
        seen = [0, *(1 + i for i, of_patch in enumerate(coarse) if of_patch == region)]
        for block in tower.blocks:
            tokens = torch.cat([copy[None], x])
            mixed = []
            for q, k, v in heads_of(block, tokens):
                keys = [1 + i for i in seen]  # not the copy itself
                mixed.append((q[:1] @ k[keys].T * q.shape[-1] ** -0.5).softmax(dim=-1) @ v[keys])
            copy = copy + out(block, mixed)[0]
            copy = copy + block.mlp(block.ln_2(copy))
            x = plain_block(block, x)
        copies[region] = copy
    return [
        copies[coarse[i * own[0] // grid[0] * own[1] + j * own[1] // grid[1]]]
        for i in range(grid[0])
        for j in range(grid[1])
    ]
