"""The training-free field, written out directly: one window, one name, one pair of patches at a time.

Slow on purpose: an independent statement of what `hclip_mmseg.training_free` computes, and the other form in
`tools/benchmark.py`. Everything is of one image; ``x`` are tokens [1 + patches, width], the CLS token first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.reference.cliptrase import heads_of

Dense = Callable[[Tensor], tuple[Tensor, tuple[int, int]]]
"""A window's pixels [3, h, w] -> projected tokens of its patches [patches, C] and their rows and columns."""


# ---- the last block


def out(block: Any, mixed: Sequence[Tensor]) -> Tensor:
    """The output projection of what the heads mixed."""
    return F.linear(torch.cat(list(mixed), dim=-1), block.attn.out_proj.weight, block.attn.out_proj.bias)


def plain_block(block: Any, x: Tensor) -> Tensor:
    """CLIP's own block."""
    mixed = [(q @ k.T * q.shape[-1] ** -0.5).softmax(dim=-1) @ v for q, k, v in heads_of(block, x)]
    x = x + out(block, mixed)
    return x + block.mlp(block.ln_2(x))


def before_last(tower: Any, image: Tensor) -> Tensor:
    """Tokens that go into the last block."""
    x = tower.embed(image[None])[0]
    for block in list(tower.blocks)[:-1]:
        x = plain_block(block, x)
    return x


@lru_cache
def neighbour_window(grid: tuple[int, int], sigma: float) -> Tensor:
    """NACLIP's w, pair by pair."""
    patches = grid[0] * grid[1]
    w = torch.zeros(1 + patches, 1 + patches)
    for p in range(patches):
        for r in range(patches):
            squared = (p // grid[1] - r // grid[1]) ** 2 + (p % grid[1] - r % grid[1]) ** 2
            w[1 + p, 1 + r] = math.exp(-squared / (2 * sigma**2))
    return w


def attention_weights(form: str, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], sigma: float = 5.0) -> Tensor:
    """A [tokens, tokens] of one head."""
    scale = q.shape[-1] ** -0.5
    if form == "value":
        return torch.eye(len(q))
    if form == "naclip":
        return (scale * k @ k.T + neighbour_window(grid, sigma)).softmax(dim=-1)
    pairs = {"clip": [(q, k)], "sclip": [(q, q), (k, k)], "clearclip": [(q, q)], "cliptrase": [(q, q), (k, k), (v, v)]}
    return torch.stack([(scale * a @ b.T).softmax(dim=-1) for a, b in pairs[form]]).sum(dim=0)


def dense_of_form(tower: Any, form: str, residual: bool, mlp: bool) -> Dense:
    """Dense tokens by one of the attentions of one line."""

    def dense(pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        patch, block = tower.patch_size, list(tower.blocks)[-1]
        grid = (pixels.shape[1] // patch, pixels.shape[2] // patch)
        x = before_last(tower, pixels[:, : grid[0] * patch, : grid[1] * patch])
        y = out(block, [attention_weights(form, q, k, v, grid) @ v for q, k, v in heads_of(block, x)])
        y = x + y if residual else y
        y = y + block.mlp(block.ln_2(y)) if mlp else y
        return (tower.ln_post(y) @ tower.proj)[1:], grid

    return dense


# ---- the protocol


def window_logits(dense: Dense, pixels: Tensor, text: Tensor, pad: int) -> Tensor:
    """Cosines of a window's pixels and all names [names, h, w]."""
    height, width = pixels.shape[1:]
    more = [(-side) % pad for side in (height, width)]
    before = [number // 2 for number in more]
    padded = F.pad(pixels, (before[1], more[1] - before[1], before[0], more[0] - before[0]))
    tokens, grid = dense(padded)
    maps = torch.stack([token / token.norm() @ text.T for token in tokens]).T.reshape(-1, *grid)
    large = F.interpolate(maps[None], size=padded.shape[1:], mode="bilinear", align_corners=False)[0]
    return large[:, before[0] : before[0] + height, before[1] : before[1] + width]


def sliding_logits(
    dense: Dense, image: Tensor, text: Tensor, window: int, stride: int, pad: int, size: tuple[int, int]
) -> Tensor:
    """Cosines of an image's pixels at its own size, window by window [names, *size]."""
    height, width = image.shape[1:]
    if window == 0:
        return resize(window_logits(dense, image, text, pad), size)
    total, visits = torch.zeros(len(text), height, width), torch.zeros(1, height, width)
    for i in range(max(height - window + stride - 1, 0) // stride + 1):
        for j in range(max(width - window + stride - 1, 0) // stride + 1):
            bottom, right = min(i * stride + window, height), min(j * stride + window, width)
            top, left = max(bottom - window, 0), max(right - window, 0)
            own = window_logits(dense, image[:, top:bottom, left:right], text, pad)
            total = total + F.pad(own, (left, width - right, top, height - bottom))
            visits[:, top:bottom, left:right] += 1
    return resize(total / visits, size)


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, corners not aligned."""
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def at_protocol_size(image: Tensor, short: int, long: int = 2048) -> Tensor:
    """The image [3, H, W] with its shorter side at ``short``, its longer at most at ``long``."""
    height, width = image.shape[1:]
    scale = min(long / max(height, width), short / min(height, width))
    return resize(image, (int(height * scale + 0.5), int(width * scale + 0.5)))


def decide(
    logits: Tensor, scale: float, classes: Sequence[int], prob_thd: float = 0.0, area_thd: float | None = None
) -> Tensor:
    """Classes [H, W] of cosines [names, H, W]: softmax over names, best name of each class, the two thresholds."""
    probabilities = (scale * logits).softmax(dim=0)
    of_class = torch.stack(
        [torch.stack([probabilities[i] for i in range(len(classes)) if classes[i] == c]).amax(dim=0)
         for c in range(max(classes) + 1)]
    )  # fmt: skip
    if area_thd is not None:
        first = of_class.argmax(dim=0)
        areas = [int((first == c).sum()) for c in range(1, len(of_class))]
        for c, area in enumerate(areas, 1):
            if not area > area_thd * sum(areas):
                of_class[c] = 0
    labels = of_class.argmax(dim=0)
    labels[of_class.amax(dim=0) < prob_thd] = 0
    return labels


def segment(
    dense: Dense,
    image: Tensor,
    text: Tensor,
    size: tuple[int, int],
    classes: Sequence[int],
    *,
    short_side: int = 336,
    window: int = 224,
    stride: int = 112,
    pad: int = 1,
    logit_scale: float = 40.0,
    prob_thd: float = 0.0,
    area_thd: float | None = None,
) -> Tensor:
    """Classes [*size] of a normalised image [3, H, W] by the protocol of the field."""
    logits = sliding_logits(dense, at_protocol_size(image, short_side), text, window, stride, pad, size)
    return decide(logits, logit_scale, classes, prob_thd, area_thd)


# ---- methods of their own


def dense_of_gem(tower: Any, depth: int, iterations: int) -> Dense:
    """GEM's second path."""

    def dense(pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        grid = (pixels.shape[1] // tower.patch_size, pixels.shape[2] // tower.patch_size)
        x = tower.embed(pixels[None])[0]
        blocks = list(tower.blocks)
        beside = x
        for index, block in enumerate(blocks):
            if index == len(blocks) - depth:
                beside = x
            if index >= len(blocks) - depth:
                mixed = []
                norm = torch.stack([token.norm() for token in block.ln_1(x)]).mean()
                for q, k, v in heads_of(block, x):
                    ensemble = []
                    for y in (v, k, q):
                        for step in range(iterations + 1):
                            y = torch.stack([row / row.norm() for row in y])
                            weights = (norm * v.shape[-1] ** -0.5 * y @ y.T).softmax(dim=-1)
                            y = weights @ (y if step < iterations else v)
                        ensemble.append(y)
                    mixed.append(torch.stack(ensemble).mean(dim=0))
                beside = beside + out(block, mixed)
            x = plain_block(block, x)
        return (tower.ln_post(beside) @ tower.proj)[1:], grid

    return dense


def dense_of_recursion(tower: Any, scale: float) -> Dense:
    """RADSeg's SCRA in the last block."""

    def dense(pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        grid = (pixels.shape[1] // tower.patch_size, pixels.shape[2] // tower.patch_size)
        block, x = list(tower.blocks)[-1], before_last(tower, pixels)
        heads = heads_of(block, x)
        first = out(block, [(q @ k.T * q.shape[-1] ** -0.5).softmax(dim=-1) @ v for q, k, v in heads])
        size, mixed = block.attn.head_dim, []
        for h, (_, _, v) in enumerate(heads):
            y = first[:, h * size : (h + 1) * size]
            mixed.append(softmax_of_positive(scale * F.cosine_similarity(y[:, None], y[None], dim=-1)) @ v)
        y = x + out(block, mixed)
        y = y + block.mlp(block.ln_2(y))
        return (tower.ln_post(y) @ tower.proj)[1:], grid

    return dense


def softmax_of_positive(scores: Tensor) -> Tensor:
    """Softmax of each row over the entries that are not negative."""
    rows = []
    for row in scores:
        weights = torch.tensor([math.exp(float(score)) if score >= 0 else 0.0 for score in row])
        rows.append(weights / weights.sum())
    return torch.stack(rows)


def dense_of_proxy(
    tower: Any, features: Callable[[Tensor], tuple[Tensor, tuple[int, int]]], beta: float, gamma: float
) -> Dense:
    """ProxyCLIP, head by head; ``features`` gives unit-norm patches [m, C] of a window and their grid."""

    def dense(pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        grid = (pixels.shape[1] // tower.patch_size, pixels.shape[2] // tower.patch_size)
        f, own = features(pixels)
        cosines = f @ f.T
        weights = softmax_of_positive(gamma * (cosines - beta * cosines.mean()))
        block, mixed = list(tower.blocks)[-1], []
        for _, _, v in heads_of(block, before_last(tower, pixels)):
            maps = F.interpolate(v[1:].T.reshape(1, -1, *grid), size=own, mode="bilinear", align_corners=False)
            mixed.append(weights @ maps[0].flatten(1).T)
        return tower.ln_post(out(block, mixed)) @ tower.proj, own

    return dense


# ---- over the whole image


def global_aggregation(tokens: Tensor, scale: float) -> Tensor:
    """RADSeg's SCGA of an image's tokens [tokens, C]."""
    cosines = F.cosine_similarity(tokens[:, None], tokens[None], dim=-1)
    return softmax_of_positive(scale * (cosines - cosines.mean())) @ tokens


def propagated(
    scores: Tensor, features: Tensor, middles: Tensor, neighbours: int, power: float, decay: float, alpha: float
) -> Tensor:
    """LPOSS of patches' scores [patches, names], by a dense solve."""
    count = len(features)
    one_way = torch.zeros(count, count, dtype=torch.double)
    for i in range(count):
        similar = features[i] @ features.T
        for j in similar.argsort(descending=True)[:neighbours].tolist():
            far = float((middles[i] - middles[j]).norm())
            one_way[i, j] = max(float(similar[j]), 0) ** power * math.exp(-decay * far)
    return spread(one_way + one_way.T, scores, alpha)


def spread(weights: Tensor, scores: Tensor, alpha: float) -> Tensor:
    """F of (I - alpha D^-1/2 W D^-1/2) F = Y."""
    weights = weights - torch.diag(torch.diagonal(weights))
    sums = weights.sum(dim=1)
    root = torch.diag(torch.where(sums > 0, sums, torch.ones_like(sums)) ** -0.5)
    matrix = torch.eye(len(weights), dtype=torch.double) - alpha * root @ weights @ root
    return torch.linalg.solve(matrix, scores.double())


# ---- along the image's edges


def pamr(image: Tensor, mask: Tensor, steps: int, dilations: Sequence[int]) -> Tensor:
    """PAMR of score maps [C, H, W] by an image [K, H, W], pixel by pixel."""
    height, width = image.shape[1:]

    def at(maps: Tensor, row: int, column: int) -> Tensor:
        return maps[:, min(max(row, 0), height - 1), min(max(column, 0), width - 1)]

    for _ in range(steps):
        result = torch.zeros_like(mask)
        for row in range(height):
            for column in range(width):
                around = [(d * i, d * j) for d in dilations for i in (-1, 0, 1) for j in (-1, 0, 1)]
                samples = torch.stack([at(image, row + i, column + j) for i, j in around])
                divisor = 1e-8 + 0.1 * samples.std(dim=0)
                others = [shift for shift in around if shift != (0, 0)]
                alike = torch.stack(
                    [
                        -((at(image, row + i, column + j) - image[:, row, column]).abs() / divisor).mean()
                        for i, j in others
                    ]
                ).softmax(dim=0)
                values = torch.stack([at(mask, row + i, column + j) for i, j in others])
                result[:, row, column] = alike @ values
        mask = result
    return mask
