"""The order of work of the training-free repositories' segmentors: one window at a time, all names at full size.

What `tools/benchmark.py` measures ours against. Heads are batched and CLIP's blocks are as fast as ours; what differs
is what comes around them: windows one by one, maps of all names padded to the whole image and summed, softmax and the
best name of every class over maps of all names and classes at the image's own size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.clip.attention import PlainProjections, run_block


def correlative_tokens(tower: Any, window: Tensor) -> Tensor:
    """SCLIP's projected tokens [1 + patches, C] of a window [3, h, w]."""
    blocks, x = list(tower.blocks), tower.embed(window[None])
    for block in blocks[:-1]:
        x = run_block(block, x, PlainProjections.of(block.attn))
    block = blocks[-1]
    heads = block.attn.num_heads
    q, k, v = (
        part.unflatten(-1, (heads, -1)).transpose(1, 2)
        for part in F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
    )
    scale = q.shape[-1] ** -0.5
    weights = (scale * q @ q.mT).softmax(dim=-1) + (scale * k @ k.mT).softmax(dim=-1)
    x = x + block.attn.out_proj((weights @ v).transpose(1, 2).flatten(2))
    x = x + block.mlp(block.ln_2(x))
    tokens: Tensor = tower.ln_post(x) @ tower.proj
    return tokens[0]


def segment(
    tower: Any, image: Tensor, text: Tensor, classes: Sequence[int], size: tuple[int, int], window: int = 224,
    stride: int = 112, scale: float = 40.0, prob_thd: float = 0.0,
) -> Tensor:  # fmt: skip
    """Classes [*size] of a normalised image [3, H, W] at the protocol's size, by SCLIP."""
    height, width = image.shape[1:]
    total, visits = torch.zeros(len(text), height, width), torch.zeros(1, height, width)
    for i in range(max(height - window + stride - 1, 0) // stride + 1):
        for j in range(max(width - window + stride - 1, 0) // stride + 1):
            bottom, right = min(i * stride + window, height), min(j * stride + window, width)
            top, left = max(bottom - window, 0), max(right - window, 0)
            tokens = F.normalize(correlative_tokens(tower, image[:, top:bottom, left:right]), dim=-1)[1:]
            side = (bottom - top) // tower.patch_size, (right - left) // tower.patch_size
            maps = (tokens @ text.T).T.reshape(1, -1, *side)
            own = F.interpolate(maps, size=(bottom - top, right - left), mode="bilinear", align_corners=False)[0]
            total = total + F.pad(own, (left, width - right, top, height - bottom))
            visits[:, top:bottom, left:right] += 1
    logits = F.interpolate((total / visits)[None], size=size, mode="bilinear", align_corners=False)[0]
    probabilities = (scale * logits).softmax(dim=0)
    member = F.one_hot(torch.tensor(classes)).T[:, :, None, None]
    of_class = (probabilities[None] * member).max(dim=1).values
    best, labels = of_class.max(dim=0)
    labels[best < prob_thd] = 0
    return labels
