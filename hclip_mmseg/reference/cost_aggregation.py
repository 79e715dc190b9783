"""H-CLIP and CAT-Seg written out directly from their equations, as their published code computes them.

The yardstick of ``tools/benchmark.py`` and of the equality tests. It runs on the weights of this project's
modules and shares none of their code: relations in every block and for all rows, whole block-diagonal matrices,
77 text positions, padding classes as tokens of their own, guidance repeated for every class and concatenated,
attention by explicit softmax, every window an image of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.adapters.base import Tower


def related_rows(pop: Any, layer: int) -> Tensor:
    """Rows 4 l to 4 l + 3 of (T x_4 M_l) x_3 Lambda: [q, q, 4, c]."""
    tensor = pop.tensor
    if pop.relation is not None:
        tensor = F.linear(tensor, pop.relation.columns[layer])
        tensor = F.linear(tensor.transpose(2, 3), pop.relation.layers).transpose(2, 3)
    return tensor[:, :, 4 * layer : 4 * layer + 4]


def block_diagonals(pop: Any, tower: Tower, layer: int, width: int) -> list[Tensor]:
    """D of q, k, v and out, each [width, width]."""
    q = pop.block_size
    count = width // q
    row, place = divmod(layer, pop.layers_per_row if tower == "image" else 1)
    start = pop.text_blocks + place * count if tower == "image" else 0
    matrices = related_rows(pop, row)[..., start : start + count]
    found = []
    for projection in range(4):
        blocks = [matrices[:, :, projection, column] for column in range(count)]
        if tower == "text":
            eye = torch.eye(q, device=matrices.device)
            skewed = [(block - block.T) / 2 for block in blocks]
            blocks = [(eye - s) @ torch.linalg.inv(eye + s) for s in skewed]
        found.append(torch.block_diag(*blocks))
    return found


class Pop:
    """What the transcription needs to know of an adapter."""

    def __init__(self, adapter: Any, text_width: int, image_layers: int, text_layers: int) -> None:
        self.tensor, self.relation = adapter.tensor, adapter.relation
        self.block_size = adapter.block_size
        self.text_blocks = text_width // adapter.block_size
        self.layers_per_row = image_layers // text_layers


def projections(attention: Any, pop: Any, adapter: Any, tower: Tower, layer: int) -> tuple[Tensor, Tensor]:
    """in_proj [3 w, w] and out_proj [w, w] of this step."""
    width = attention.embed_dim
    q, k, v = attention.in_proj_weight.chunk(3)
    out = attention.out_proj.weight
    if pop is not None:
        dq, dk, dv, dout = block_diagonals(pop, tower, layer, width)
        q, k, v, out = q @ dq, k @ dk, v @ dv, dout @ out
    elif adapter is not None:
        q, k, v, out = (
            adapter.adapted_weight(tower, layer, name, weight)
            for name, weight in zip(("q", "k", "v", "out"), (q, k, v, out), strict=True)
        )
    return torch.cat([q, k, v]), out


def block(module: Any, x: Tensor, weights: Any, mask: Tensor | None = None, dense: bool = False) -> Tensor:
    in_weight, out_weight = weights
    batch, length, width = x.shape
    heads = module.attn.num_heads
    qkv = F.linear(module.ln_1(x), in_weight, module.attn.in_proj_bias)
    q, k, v = qkv.view(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    if dense:
        mixed = v
    else:
        scores = q @ k.transpose(-2, -1) * (width // heads) ** -0.5
        mixed = (scores if mask is None else scores + mask).softmax(dim=-1) @ v
    mixed = F.linear(mixed.transpose(1, 2).reshape(batch, length, width), out_weight, module.attn.out_proj.bias)
    x = (x[:, :1] if dense else x) + mixed
    return x + module.mlp(module.ln_2(x))


def encode_image(backbone: Any, pop: Any, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Guidance maps and dense tokens as the backbone gives them."""
    tower = backbone.image_tower
    x = tower.embed(images)
    inner = {}
    last = len(tower.transformer.resblocks) - 1
    for layer, module in enumerate(tower.transformer.resblocks):
        weights = projections(module.attn, pop, backbone.adapter, "image", layer)
        x = block(module, x, weights, dense=layer == last)
        inner[layer] = x
    tokens = tower.ln_post(x) @ tower.proj
    grid = (images.shape[-2] // tower.patch_size, images.shape[-1] // tower.patch_size)

    def to_map(tensor: Tensor) -> Tensor:
        return tensor[:, 1:].transpose(1, 2).unflatten(2, grid)

    maps = [
        upsample(to_map(inner[layer]))
        for upsample, layer in zip(backbone.guidance_upsamples, backbone.guidance_layers, strict=True)
    ]
    return to_map(tokens), tuple(maps)


def encode_text(backbone: Any, pop: Any, tokens: Tensor) -> Tensor:
    """All positions of the context, whatever the texts' lengths."""
    tower = backbone.text_tower
    length = tokens.shape[1]
    mask = torch.full((length, length), float("-inf"), device=tokens.device).triu(1)
    x = tower.token_embedding(tokens) + tower.positional_embedding[:length]
    for layer, module in enumerate(tower.transformer.resblocks):
        x = block(module, x, projections(module.attn, pop, backbone.adapter, "text", layer), mask)
    x = tower.ln_final(x)[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)] @ tower.text_projection
    return F.normalize(x, dim=-1)


def swin(module: Any, x: Tensor, guidance: Tensor | None, height: int, width: int, window: int, shift: int) -> Tensor:
    """x [N, H W, C] with guidance [N, H W, G] concatenated to the input of q and k."""
    n, _, c = x.shape
    attention = module.attention
    shortcut = x
    joined = module.norm1(x)
    if guidance is not None:
        joined = torch.cat([joined, guidance], dim=-1)
    grid = joined.view(n, height, width, -1)
    mask = None
    if shift:
        grid = torch.roll(grid, (-shift, -shift), dims=(1, 2))
        regions = torch.zeros(1, height, width, 1, device=x.device)
        cuts = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
        for number, (rows, columns) in enumerate((r, k) for r in cuts for k in cuts):
            regions[:, rows, columns] = number
        same = partition(regions, window).squeeze(-1)
        mask = (same[:, None, :] != same[:, :, None]) * -100.0
    windows = partition(grid, window)
    heads = attention.heads

    def split(tensor: Tensor) -> Tensor:
        return tensor.view(*tensor.shape[:2], heads, c // heads).transpose(1, 2)

    q, k, v = split(attention.q(windows)), split(attention.k(windows)), split(attention.v(windows[..., :c]))
    scores = q @ k.transpose(-2, -1) * (c // heads) ** -0.5
    if mask is not None:
        scores = scores.view(n, len(mask), heads, *scores.shape[-2:]) + mask[None, :, None]
        scores = scores.flatten(0, 1)
    mixed = attention.proj((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
    grid_of_windows = (height // window, width // window)
    mixed = mixed.view(n, *grid_of_windows, window, window, c).transpose(2, 3).reshape(n, height, width, c)
    if shift:
        mixed = torch.roll(mixed, (shift, shift), dims=(1, 2))
    x = shortcut + mixed.view(n, height * width, c)
    return x + module.mlp(module.norm2(x))


def partition(grid: Tensor, window: int) -> Tensor:
    n, height, width, c = grid.shape
    grid = grid.view(n, height // window, window, width // window, window, c)
    return grid.transpose(2, 3).reshape(-1, window * window, c)


def spatial(module: Any, x: Tensor, appearance: Tensor | None) -> Tensor:
    b, c, t, h, w = x.shape
    tokens = x.permute(0, 2, 3, 4, 1).reshape(b * t, h * w, c)
    guidance = None
    if appearance is not None:
        guidance = appearance.unsqueeze(2).expand(-1, -1, t, -1, -1).permute(0, 2, 3, 4, 1)
        guidance = module.guidance_norm(guidance.reshape(b * t, h * w, -1))
    window = min(module.window, h, w)
    for one, shift in zip(module.blocks, (0, window // 2 if max(h, w) > window else 0), strict=True):
        tokens = swin(one, tokens, guidance, h, w, window, shift)
    return tokens.view(b, t, h, w, c).permute(0, 4, 1, 2, 3)


def classes(module: Any, x: Tensor, text: Tensor | None) -> Tensor:
    b, c, t, h, w = x.shape
    pooling = module.pooling if module.training else 1
    maps = x.transpose(1, 2).reshape(b * t, c, h, w)
    pooled = F.avg_pool2d(maps, pooling) if pooling > 1 else maps
    ph, pw = pooled.shape[-2:]
    missing = max(module.length - t, 0)
    places = pooled.view(b, t, c, ph, pw)
    padding = module.padding_token.view(1, 1, c, 1, 1).expand(b, missing, c, ph, pw)
    places = torch.cat([places, padding], dim=1).permute(0, 3, 4, 1, 2).reshape(b * ph * pw, -1, c)
    joined = module.norm1(places)
    if text is not None:
        guidance = torch.cat([text, module.padding_guidance.expand(b, missing, -1)], dim=1)
        guidance = guidance.repeat_interleave(ph * pw, dim=0)
        joined = torch.cat([joined, guidance], dim=-1)
    attention = module.attention

    def split(tensor: Tensor) -> Tensor:
        return tensor.view(*tensor.shape[:2], attention.heads, -1)

    q, k = split(F.elu(attention.q(joined)) + 1), split(F.elu(attention.k(joined)) + 1)
    v = split(attention.v(joined[..., :c])) / places.shape[1]
    context = torch.einsum("nshd,nshm->nhmd", k, v)
    scale = 1 / (torch.einsum("nlhd,nhd->nlh", q, k.sum(dim=1)) + 1e-6)
    mixed = torch.einsum("nlhd,nhmd,nlh->nlhm", q, context, scale) * places.shape[1]
    places = places + mixed.flatten(2)
    places = (places + module.mlp(module.norm2(places)))[:, :t]
    maps = places.view(b, ph, pw, t, c).permute(0, 3, 4, 1, 2).reshape(b * t, c, ph, pw)
    maps = F.interpolate(maps, size=(h, w), mode="bilinear", align_corners=True)
    return x + maps.view(b, t, c, h, w).transpose(1, 2)


def decode(module: Any, x: Tensor, guidance: Sequence[Tensor]) -> Tensor:
    """x [B, C, T, H, W]; every class's map with the image's guidance concatenated."""
    b, c, t, h, w = x.shape
    maps = x.transpose(1, 2).reshape(b * t, c, h, w)
    for index, step in enumerate(module.steps):
        maps = step.up(maps)
        if guidance:
            projected = module.guidance_projections[index](guidance[index])
            maps = torch.cat([maps, projected.repeat_interleave(t, dim=0)], dim=1)
        maps = F.relu(step.norm1(step.conv1(maps)))
        maps = F.relu(step.norm2(step.conv2(maps)))
    return module.score(maps).view(b, t, 4 * h, 4 * w)


def head(module: Any, dense: Tensor, guidance: Sequence[Tensor], text: Tensor) -> Tensor:
    """dense [B, C, H, W], guidance maps, unit text embeddings [T, P, C] -> logits [B, T, 4 H, 4 W]."""
    text = text.expand(len(dense), -1, -1, -1)
    cost = torch.einsum("bchw,btpc->bpthw", F.normalize(dense, dim=1), F.normalize(text, dim=-1))
    kept = None
    count = text.shape[1]
    if count > module.class_length:
        best = cost.permute(0, 2, 3, 4, 1).flatten(2).amax(dim=-1)
        kept = best.topk(module.class_length, dim=-1, sorted=False).indices
        text = torch.gather(text, 1, kept[..., None, None].expand(-1, -1, *text.shape[2:]))
        cost = torch.einsum("bchw,btpc->bpthw", F.normalize(dense, dim=1), F.normalize(text, dim=-1))
    b, p, t, h, w = cost.shape
    x = module.embed_cost(cost.transpose(1, 2).reshape(b * t, p, h, w))
    x = x.view(b, t, -1, h, w).transpose(1, 2)
    appearance = None if module.appearance_projection is None else module.appearance_projection(dense)
    guided = None
    if module.text_projection is not None:
        mean = F.normalize(text, dim=-1).mean(dim=-2)
        guided = module.text_projection(mean / mean.norm(dim=-1, keepdim=True))
    for layer in module.layers:
        x = classes(layer.classes, spatial(layer.spatial, x, appearance), guided)
    logits = decode(module.decoder, x, guidance)
    if kept is None:
        return logits
    out = logits.new_full((b, count, *logits.shape[-2:]), -100.0)
    return out.scatter_(1, kept[:, :, None, None].expand_as(logits), logits)


class Direct:
    """The whole model of a built ``OpenVocabSegmentor`` in the direct form, on that model's weights."""

    def __init__(self, model: Any) -> None:
        self.model = model
        backbone = model.backbone
        self.pop = None
        if hasattr(backbone.adapter, "tensor"):
            self.pop = Pop(
                backbone.adapter, backbone.text_tower.width, backbone.image_tower.layers, backbone.text_tower.layers
            )

    def text(self, tokens: Tensor) -> Tensor:
        """Unit embeddings of tokens [T, context length]: [T, 1, C]."""
        return encode_text(self.model.backbone, self.pop, tokens)[:, None]

    def logits(self, images: Tensor, text: Tensor) -> Tensor:
        """Normalised images [B, 3, H, W] at CLIP's resolution -> [B, T, h, w]."""
        dense, guidance = encode_image(self.model.backbone, self.pop, images)
        return head(self.model.decode_head.aggregator, dense, guidance, text)

    def loss(self, images: Tensor, labels: Tensor, tokens: Tensor, ignore: int = 255) -> Tensor:
        """Binary cross-entropy over every class of every pixel, with one-hot targets."""
        logits = self.logits(images, self.text(tokens))
        logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear").permute(0, 2, 3, 1)
        target = torch.zeros_like(logits)
        valid = labels != ignore
        target[valid] = F.one_hot(labels[valid], logits.shape[-1]).float()
        return F.binary_cross_entropy_with_logits(logits, target)

    def slide(
        self, image: Tensor, text: Tensor, canvas: int = 640, window: int = 384, overlap: float = 0.333
    ) -> Tensor:
        """Scores [T, canvas, canvas] of one normalised image [3, H, W]: windows by unfold, and the whole view."""
        stride = int(window * (1 - overlap))
        resized = F.interpolate(image[None], size=(canvas, canvas), mode="bilinear")
        views = F.unfold(resized, window, stride=stride)[0].T.reshape(-1, 3, window, window)
        views = torch.cat([views, F.interpolate(image[None], size=(window, window), mode="bilinear")])
        side = self.model.clip_resolution
        logits = self.logits(F.interpolate(views, size=(side, side), mode="bilinear"), text)
        scores = F.interpolate(logits, size=(window, window), mode="bilinear").sigmoid()
        whole = F.interpolate(scores[-1:], size=(canvas, canvas), mode="bilinear")
        ones = F.unfold(torch.ones(1, 1, canvas, canvas, device=image.device), window, stride=stride)
        count = F.fold(ones, canvas, window, stride=stride)
        summed = F.fold(scores[:-1].flatten(1).T[None].view(1, -1, len(views) - 1), canvas, window, stride=stride)
        return ((summed / count + whole) / 2)[0]
