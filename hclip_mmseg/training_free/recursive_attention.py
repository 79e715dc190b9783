"""RADSeg's last block: attention again, by what the first attention made alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.clip.attention import attend
from hclip_mmseg.training_free.dense import DenseMethod, DenseTokens, ImageContext, Trunk
from hclip_mmseg.training_free.last_attention import Form, finish_last_block


@MODELS.register_module()
class RecursiveAttention(DenseMethod):
    """Self-correlating recursive attention (SCRA; RADSeg, section 3.2).

    y = out(softmax(s q k^T) v), in heads of unit norm; R = softmax(scale y y^T), negative products left out; the
    block's attention gives out(R v).

    Args:
        scale: of the products.
        residual: whether the block's input is added, as published.
        mlp: whether the block's MLP follows, as published.
    """

    def __init__(self, scale: float = 10.0, residual: bool = True, mlp: bool = True) -> None:
        super().__init__()
        self.scale, self.form = scale, Form(("qk",), residual=residual, mlp=mlp)

    def forward(self, trunk: Trunk, pixels: Tensor, context: ImageContext) -> DenseTokens:
        """See :class:`DenseMethod`."""
        x, _ = trunk.run(pixels)
        block, projections = trunk.tower.blocks[trunk.last], trunk.projections(trunk.last)
        heads = block.attn.num_heads
        q, k, v = trunk.qkv(x, trunk.last)
        y = projections.out(attend(q, k, v, heads)).unflatten(-1, (heads, -1)).transpose(1, 2)
        y = F.normalize(y, dim=-1)
        scores = self.scale * y @ y.mT
        weights = scores.masked_fill(scores < 0, -torch.inf).softmax(dim=-1)
        context.keep("attention", weights, trunk.tower.grid_of(*pixels.shape[-2:]))
        mixed = weights @ v.unflatten(-1, (heads, -1)).transpose(1, 2)
        x = finish_last_block(block, x, mixed.transpose(1, 2).flatten(2), projections, self.form)
        return DenseTokens(x[:, 1:], trunk.tower.grid_of(*pixels.shape[-2:]))
