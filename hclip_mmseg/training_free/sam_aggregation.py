"""Trident: tokens of a whole image mixed by what SAM's last attention joins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from hclip_mmseg.models.score_maps import resized
from hclip_mmseg.training_free.dense import ImageContext
from hclip_mmseg.training_free.per_benchmark import PerBenchmark, Setting
from hclip_mmseg.training_free.segment_anything import SAMView, read_sam

MOST_THRESHOLD = 0.9


@MODELS.register_module()
class SAMAggregation(nn.Module):
    """Stitched tokens F, on SAM's patches, become A F (Trident, ICCV 2025, section 3.3).

    A is the mean over heads of SAM's attention in its last block, without the pairs whose values have a cosine of no
    more than t in that head; its rows are divided by their sums. t of a row is ``factor`` times the mean of its cosines
    over patches and heads, at most 0.9.

    Args:
        weights: SAM's file, see :func:`~.segment_anything.read_sam`.
        factor: of the mean cosine; 1.2 as published, and 3.0 on Cityscapes, 0.0 on PAS-20.
        negative: what a negative t becomes; None: it stays, as it does on benchmarks that a mapping does not name. The
            published code takes 0.6 on A-150 and Cityscapes.
        strips: upright parts of the image that SAM sees one by one, at a larger scale; 2 on Cityscapes.
    """

    part: ClassVar[str] = "aggregation"

    def __init__(
        self, weights: str, factor: Setting = 1.2, negative: Setting | None = None, strips: Setting = 1
    ) -> None:
        super().__init__()
        self.sam = read_sam(weights)
        self.factor = PerBenchmark(factor, "SAMAggregation.factor")
        kept = {} if negative is None else negative
        kept = {"default": math.nan, **kept} if isinstance(kept, Mapping) else kept
        self.negative = PerBenchmark(kept, "SAMAggregation.negative")
        self.strips = PerBenchmark(strips, "SAMAggregation.strips")

    def forward(self, maps: Tensor, context: ImageContext) -> Tensor:
        """Stitched token maps [1, C, rows, columns] of an image -> [1, C, rows, columns] on SAM's patches."""
        count = int(self.strips.at(context.benchmark))
        image = context.image if context.original is None else context.original
        edges = [round(image.shape[-1] * place / count) for place in range(count + 1)]
        parts = [image] if count == 1 else [image[..., a:b] for a, b in zip(edges, edges[1:], strict=False)]
        views = [self.sam.look(part) for part in parts]
        rows = views[0].grid[0]
        on_grid = resized(maps[0], (rows, sum(view.grid[1] for view in views)))
        mixed, start = [], 0
        for view in views:
            own = resized(on_grid[..., start : start + view.grid[1]], view.grid)
            weights = self.weights(view, context.benchmark)
            context.keep("attention of SAM", weights, view.grid)
            mixed.append(resized((weights @ own.flatten(1).T).T.unflatten(1, view.grid), (rows, view.grid[1])))
            start += view.grid[1]
        return torch.cat(mixed, dim=-1)[None]

    def weights(self, view: SAMView, benchmark: str = "") -> Tensor:
        """A of what SAM sees, [patches, patches] of the image without padding."""
        attention = self.sam.sam.image_encoder.blocks[-1].attn
        (rows, columns), side = view.grid, len(view.tokens)
        q, k, v = attention.qkv(view.tokens.flatten(0, 1)).unflatten(-1, (3, attention.num_heads, -1)).unbind(1)
        inside = torch.zeros(side, side, dtype=torch.bool, device=q.device)
        inside[:rows, :columns] = True
        inside = inside.flatten().nonzero()[:, 0]
        unit = F.normalize(v[inside], dim=-1)  # [patches, heads, C]
        least = self.factor.at(benchmark) * torch.einsum("phc,hc->p", unit, unit.mean(dim=0)) / attention.num_heads
        least = least.clamp(max=MOST_THRESHOLD)
        negative = self.negative.at(benchmark)
        if not math.isnan(negative):
            least = least.masked_fill(least < 0, negative)
        height, width = (_relative(table, side) for table in (attention.rel_pos_h, attention.rel_pos_w))
        total = torch.zeros(len(inside), len(inside), device=q.device)
        for head in range(attention.num_heads):
            own = q[inside, head]
            scores = attention.scale * own @ k[:, head].T
            scores = scores.unflatten(1, (side, side))
            scores += torch.einsum("pc,pkc->pk", own, height[inside // side])[:, :, None]
            scores += torch.einsum("pc,pkc->pk", own, width[inside % side])[:, None]
            seen = scores.flatten(1).softmax(dim=-1)[:, inside]
            of_head = unit[:, head]
            total += seen.masked_fill_(of_head @ of_head.T <= least[:, None], 0)
        total.diagonal().clamp_(min=torch.finfo(total.dtype).tiny)  # a patch that joins nothing keeps itself
        return total / total.sum(dim=-1, keepdim=True)


def _relative(table: Tensor, side: int) -> Tensor:
    """Embeddings of the distance between two rows (or columns), [side, side, C], of SAM's table [2 side - 1, C]."""
    place = torch.arange(side, device=table.device)
    return table[place[:, None] - place + side - 1]
