"""FISA's mask embeddings written out directly: image and mask tokens as one sequence under one attention mask.

The yardstick of ``tools/benchmark.py`` and of an equality test. It runs on the weights of this project's modules and
shares none of their code: every block attends over the whole sequence by explicit softmax, all tokens belong to the
graph, all masks are resized at once, and the keys of the class tokens are computed again in every block.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def sequence_mask(mask_logits: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """Eq. 5, [B, 1 + P + Q, 1 + P + Q]: image tokens see image tokens, mask tokens the patches of their mask."""
    batch, proposals = mask_logits.shape[:2]
    size = (grid[0] * patch, grid[1] * patch)
    pixels = F.interpolate(mask_logits, size=size, mode="bilinear", align_corners=False) > 0
    covered = F.max_pool2d(pixels.float(), patch).flatten(2) > 0
    covered[~covered.any(-1)] = True
    image = 1 + grid[0] * grid[1]
    allowed = torch.zeros(batch, image + proposals, image + proposals, dtype=torch.bool, device=mask_logits.device)
    allowed[:, :image, :image] = True
    allowed[:, image:, 1:image] = covered
    return torch.zeros(allowed.shape, device=mask_logits.device).masked_fill(~allowed, -torch.inf)


def split_heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    q, k, v = (split_heads(x, heads) for x in (q, k, v))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if bias is not None:
        scores = scores + bias
    return (scores.softmax(-1) @ v).transpose(-2, -3).flatten(-2)


def enriched(seve: Any, layer: int, tokens: Tensor, class_tokens: Tensor) -> Tensor:
    """What f_q reads: Eqs. 3 and 4 as they are printed, or the form that adds to the mask token."""
    g = seve.sets[0 if len(seve.sets) == 1 else layer]
    classes = F.normalize(class_tokens, dim=-1) * class_tokens.shape[1] ** 0.5
    q, k, v = g.g_q(tokens), g.g_k(classes), g.g_v(classes)  # Eq. 4
    if not hasattr(g, "g_o"):
        return (q @ k.T).softmax(-1) @ v  # Eq. 3
    k, v = (x.expand(len(tokens), -1, -1) for x in (k, v))
    return tokens + g.g_o(attention(q, k, v, g.heads))


def embeddings(clip: Any, images: Tensor, mask_logits: Tensor, class_tokens: Tensor) -> Tensor:
    """What ``FISACLIP`` computes of square images: [B, Q, embed_dim]."""
    model = clip.mask_tokens
    tower = model.tower
    patch = tower.patch_size
    grid = (images.shape[2] // patch, images.shape[3] // patch)
    x = tower.embed(images)
    image = x.shape[1]
    x = torch.cat([x, x[:, :1].expand(-1, mask_logits.shape[1], -1)], dim=1)
    bias = sequence_mask(mask_logits, grid, patch)[:, None]
    for layer, block in enumerate(tower.blocks):
        own = block.attn
        normed = block.ln_1(x)
        q, k, v = F.linear(normed, own.in_proj_weight, own.in_proj_bias).chunk(3, dim=-1)
        asking = normed[:, image:]
        if model.seve is not None:
            asking = enriched(model.seve, layer, asking, class_tokens)
        rows = slice(None, x.shape[-1])
        weight, shift = own.in_proj_weight[rows], own.in_proj_bias[rows]
        if model.queries is not None:
            weight, shift = model.queries.weight[layer], model.queries.bias[layer]
        q = torch.cat([q[:, :image], F.linear(asking, weight, shift)], dim=1)  # Eq. 2; below Eq. 1
        x = x + block.ls_1(own.out_proj(attention(q, k, v, own.num_heads, bias)))
        x = x + block.ls_2(block.mlp(block.ln_2(x)))
    return tower.project(x[:, image:])
