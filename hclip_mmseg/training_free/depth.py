"""Where in CLIP's depth global patches arise."""

from __future__ import annotations

import torch
from torch import Tensor

from hclip_mmseg.clip.attention import attend, finish_block
from hclip_mmseg.training_free.backbone import TrainingFreeBackbone

GLOBAL = 5.0
"""A patch counts as global in a block that pays it at least so many times an even share of its attention."""


def mean_attention(q: Tensor, k: Tensor, heads: int) -> Tensor:
    """softmax(q k^T) of every head, averaged over heads.

    Args:
        q, k: [tokens, width] of one image.
        heads: number of heads.

    Returns:
        [tokens, tokens], rows of sum 1.
    """
    split_q, split_k = (x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (q, k))
    scores = split_q @ split_k.mT * split_q.shape[-1] ** -0.5
    return scores.softmax(dim=-1).mean(dim=0)


def received_attention(attention: Tensor) -> Tensor:
    """How much of the other patches' attention each patch gets.

    Args:
        attention: [1 + patches, 1 + patches] of rows of sum 1, the CLS token's first.

    Returns:
        [patches], as a multiple of what an even attention to all tokens would give.
    """
    among = attention[1:, 1:]
    return (among.sum(dim=0) - among.diagonal()) / (len(among) - 1) * len(attention)


@torch.no_grad()
def attention_by_depth(backbone: TrainingFreeBackbone, image: Tensor) -> tuple[Tensor, Tensor]:
    """CLIP's own attention, block by block.

    Args:
        backbone: whose blocks run in CLIP's own form here, whatever its last block's form is.
        image: one normalised image [3, H, W]; sides are multiples of the patch.

    Returns:
        [layers, patches] what each patch gets in each block, see :func:`received_attention`, and
        [1 + patches, 1 + patches] the whole attention of the last block but one.
    """
    tower, projections = backbone.image_tower, backbone.projections("image")
    x, received, whole = tower.embed(image[None]), [], None
    for index, block in enumerate(tower.blocks):
        q, k, v = projections(index).qkv(block.ln_1(x))
        attention = mean_attention(q[0], k[0], block.attn.num_heads)
        received.append(received_attention(attention))
        if index == tower.layers - 2:
            whole = attention
        x = finish_block(block, x, attend(q, k, v, block.attn.num_heads), projections(index))
    assert whole is not None
    return torch.stack(received), whole
