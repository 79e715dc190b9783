"""CLIPtrase and what it is compared with, written as loops over heads, patches, regions and pixels.

Slow on purpose: an independent statement of what `hclip_mmseg.training_free` computes, and the other form in
`tools/benchmark.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from sklearn.cluster import DBSCAN
from torch import Tensor


def heads_of(block: Any, x: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """q, k and v [tokens, head_dim] of every head; x is [tokens, width]."""
    attention = block.attn
    q, k, v = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
    size = attention.head_dim
    heads = [slice(h * size, (h + 1) * size) for h in range(attention.num_heads)]
    return [(q[:, head], k[:, head], v[:, head]) for head in heads]


def attended(block: Any, x: Tensor, form: str) -> Tensor:
    """out(attention(ln_1(x))) of one image's tokens, without residual."""
    mixed = []
    for q, k, v in heads_of(block, x):
        scale = q.shape[-1] ** -0.5
        if form == "value":
            mixed.append(v)
            continue
        pairs = {"clip": [(q, k)], "sclip": [(q, q), (k, k)], "cliptrase": [(q, q), (k, k), (v, v)]}[form]
        attention = torch.zeros(len(x), len(x))
        for a, b in pairs:
            attention = attention + (scale * a @ b.T).softmax(dim=-1)
        mixed.append(attention @ v)
    projection = block.attn.out_proj
    return F.linear(torch.cat(mixed, dim=-1), projection.weight, projection.bias)


def block_of_clip(block: Any, x: Tensor, form: str = "clip") -> Tensor:
    x = x + attended(block, x, form)
    return x + block.mlp(block.ln_2(x))


def self_correlation(block: Any, x: Tensor) -> Tensor:
    """Mean over heads of the mean of the cosines of q with q, k with k and v with v."""
    total = torch.zeros(len(x), len(x))
    for of_head in heads_of(block, x):
        for y in of_head:
            total = total + F.cosine_similarity(y[:, None], y[None], dim=-1) / 3
    return total / block.attn.num_heads


def look(tower: Any, image: Tensor, form: str) -> tuple[Tensor, Tensor]:
    """(projected tokens, self-correlation of the last block but one) of one image [3, H, W]."""
    x = tower.embed(image[None])[0]
    blocks = list(tower.blocks)
    for block in blocks[:-2]:
        x = block_of_clip(block, x)
    correlation = self_correlation(blocks[-2], x)
    x = block_of_clip(blocks[-2], x)
    x = attended(blocks[-1], x, form) if form == "value" else block_of_clip(blocks[-1], x, form)
    return tower.ln_post(x) @ tower.proj, correlation


def denoised(correlation: Tensor) -> NDArray[Any]:
    rows = []
    for row in correlation[1:]:
        rows.append(torch.clamp(row[1:] - correlation[0, 1:], min=0))
    return torch.stack(rows).numpy()


def clusters_of(correlation: Tensor, epsilon: float, min_samples: int) -> NDArray[Any]:
    return DBSCAN(eps=epsilon, min_samples=min_samples).fit(denoised(correlation)).labels_


def enlarged(one_map: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(one_map[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]


def regions_of(
    correlation: Tensor, clusters: NDArray[Any], grid: tuple[int, int], size: tuple[int, int]
) -> NDArray[Any]:
    rows, maps = denoised(correlation), []
    for cluster in range(clusters.max() + 1):
        mean = torch.from_numpy(np.mean([rows[i] for i in range(len(rows)) if clusters[i] == cluster], axis=0))
        smooth = median_filter(enlarged(mean.view(grid), (4 * grid[0], 4 * grid[1])).numpy(), size=7)
        maps.append(enlarged(torch.from_numpy(smooth), size).numpy())
    return np.argmax(maps, axis=0)


def patch_logits(tokens: Tensor, text: Tensor, logit_scale: Tensor, times_cls: bool) -> Tensor:
    """[patches, prompts]"""
    rows = []
    for token in tokens:
        rows.append(logit_scale.exp() * text @ (token / token.norm()))
    return torch.stack([rows[0] * row for row in rows[1:]] if times_cls else rows[1:])


def segment(
    tower: Any,
    image: Tensor,
    text: Tensor,
    logit_scale: Tensor,
    form: str,
    epsilon: float | None = None,
    min_samples: int = 1,
    times_cls: bool = False,
) -> NDArray[Any]:
    """Labels [H, W] of one normalised image; without regions where ``epsilon`` is None."""
    size, grid = (image.shape[1], image.shape[2]), tower.grid_of(*image.shape[1:])
    tokens, correlation = look(tower, image, form)
    maps = patch_logits(tokens, text, logit_scale, times_cls).T.reshape(-1, *grid)
    labels = torch.stack([enlarged(scores, size) for scores in maps]).argmax(dim=0).numpy()
    if epsilon is None:
        return labels
    clusters = clusters_of(correlation, epsilon, min_samples)
    if clusters.max() < 0:
        return labels
    regions = regions_of(correlation, clusters, grid, size)
    result = labels.copy()
    for region in range(clusters.max() + 1):
        inside = regions == region
        if inside.any():
            votes = [np.sum(labels[inside] == label) for label in range(labels.max() + 1)]
            result[inside] = int(np.argmax(votes))
    return result
