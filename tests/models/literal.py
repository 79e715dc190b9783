"""The equations of the cost-aggregation head written out directly, with nothing saved.

Guidance is repeated for every class, padding tokens stand as often as they count, windows are cut by
slices, and guidance is concatenated. Works on the weights of this project's modules.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from hclip_mmseg.reference.cost_aggregation import decode


def window_attention(attention, x, guidance, height, width, window, shift):
    """x [N, H W, C], guidance [N, H W, G]; softmax attention within shifted windows, with Swin's -100 mask."""
    n, _, c = x.shape
    joined = x if guidance is None else torch.cat([x, guidance], dim=-1)
    grid = torch.roll(joined.view(n, height, width, -1), (-shift, -shift), dims=(1, 2))
    regions = torch.zeros(height, width)
    cuts = (slice(0, -window), slice(-window, -shift), slice(-shift, None)) if shift else (slice(None),)
    for i, rows in enumerate(cuts):
        for j, columns in enumerate(cuts):
            regions[rows, columns] = 3 * i + j
    out = torch.zeros(n, height, width, c)
    heads = attention.heads
    for top in range(0, height, window):
        for left in range(0, width, window):
            part = grid[:, top : top + window, left : left + window].reshape(n, window * window, -1)
            region = regions[top : top + window, left : left + window].flatten()
            mask = torch.where(region[:, None] == region[None, :], 0.0, -100.0)
            q, k = attention.q(part), attention.k(part)
            v = attention.v(part[..., :c])
            mixed = torch.zeros_like(v)
            for head in range(heads):
                own = slice(head * c // heads, (head + 1) * c // heads)
                scores = q[..., own] @ k[..., own].transpose(1, 2) / math.sqrt(c // heads) + mask
                mixed[..., own] = scores.softmax(dim=-1) @ v[..., own]
            out[:, top : top + window, left : left + window] = attention.proj(mixed).view(n, window, window, c)
    return torch.roll(out, (shift, shift), dims=(1, 2)).view(n, height * width, c)


def spatial(module, x, appearance):
    """x [B, C, T, H, W], appearance [B, G, H, W]."""
    b, c, t, h, w = x.shape
    tokens = x.permute(0, 2, 3, 4, 1).reshape(b * t, h * w, c)
    guidance = None
    if appearance is not None:
        guidance = module.guidance_norm(appearance.flatten(2).transpose(1, 2))
        guidance = guidance.repeat_interleave(t, dim=0)
    window = min(module.window, h, w)
    for block, shift in zip(module.blocks, (0, window // 2 if max(h, w) > window else 0), strict=True):
        tokens = tokens + window_attention(block.attention, block.norm1(tokens), guidance, h, w, window, shift)
        tokens = tokens + block.mlp(block.norm2(tokens))
    return tokens.view(b, t, h, w, c).permute(0, 4, 1, 2, 3)


def classes(module, x, text):
    """x [B, C, T, H, W], text [B, T, G]; the padding stands length - T times."""
    b, c, t, h, w = x.shape
    pooling = module.pooling if module.training else 1
    pooled = F.avg_pool2d(x.transpose(1, 2).reshape(b * t, c, h, w), pooling)
    ph, pw = pooled.shape[-2:]
    places = pooled.view(b, t, c, ph, pw).permute(0, 3, 4, 1, 2).reshape(b * ph * pw, t, c)
    missing = max(module.length - t, 0)
    places = torch.cat([places, module.padding_token.expand(len(places), missing, -1)], dim=1)
    guidance = None
    if text is not None:
        guidance = torch.cat([text, module.padding_guidance.expand(b, missing, -1)], dim=1)
        guidance = guidance.repeat_interleave(ph * pw, dim=0)
    attention, normed = module.attention, module.norm1(places)
    joined = normed if guidance is None else torch.cat([normed, guidance], dim=-1)
    q, k, v = F.elu(attention.q(joined)) + 1, F.elu(attention.k(joined)) + 1, attention.v(normed)
    length = places.shape[1]
    mixed = torch.zeros_like(v)
    for head in range(attention.heads):
        own = slice(head * c // attention.heads, (head + 1) * c // attention.heads)
        weights = torch.einsum("nqc,nkc->nqk", q[..., own], k[..., own])
        total = weights.sum(dim=-1, keepdim=True) + 1e-6
        mixed[..., own] = (weights @ (v[..., own] / length)) / total * length
    places = places + mixed
    places = (places + module.mlp(module.norm2(places)))[:, :t]
    maps = places.view(b, ph, pw, t, c).permute(0, 3, 4, 1, 2).reshape(b * t, c, ph, pw)
    maps = F.interpolate(maps, size=(h, w), mode="bilinear", align_corners=True)
    return x + maps.view(b, t, c, h, w).transpose(1, 2)


def aggregate(module, dense, guidance, text):
    """The whole head: dense [B, C, H, W], guidance maps, text [T, P, C] -> logits [B, T, 4 H, 4 W]."""
    b, _, h, w = dense.shape
    unit_dense, unit_text = F.normalize(dense, dim=1), F.normalize(text, dim=-1)
    cost = torch.einsum("bchw,tpc->bpthw", unit_dense, unit_text)
    kept = [list(range(len(text)))] * b
    if len(text) > module.class_length:
        best = cost.permute(0, 2, 1, 3, 4).flatten(2).max(dim=-1).values
        kept = [sorted(row.topk(module.class_length).indices.tolist()) for row in best]
    out = torch.full((b, len(text), 4 * h, 4 * w), -100.0)
    for image in range(b):
        chosen = torch.tensor(kept[image])
        own = cost[image, :, chosen]
        maps = module.embed_cost(own.transpose(0, 1))
        x = maps.transpose(0, 1)[None]
        appearance = None
        if module.appearance_projection is not None:
            appearance = module.appearance_projection(dense[image : image + 1])
        guided = None
        if module.text_projection is not None:
            mean = unit_text[chosen].mean(dim=1)
            guided = module.text_projection(mean / mean.norm(dim=-1, keepdim=True))[None]
        for layer in module.layers:
            x = spatial(layer.spatial, x, appearance)
            x = classes(layer.classes, x, guided)
        given = tuple(g[image : image + 1] for g in guidance)
        out[image, chosen] = decode(module.decoder, x, given)[0]
    return out
