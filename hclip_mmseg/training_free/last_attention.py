"""The last block of a frozen CLIP, made to say what each patch shows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.adapters.base import Block
from hclip_mmseg.clip.attention import Projections, attend, finish_block, run_block, run_dense_block

CORRELATED = {"sclip": "qk", "cliptrase": "qkv"}
FORMS = ("clip", "value", *CORRELATED)
SIMILARITIES = ("inner", "cosine")


def run_last_block(
    block: Block,
    x: Tensor,
    projections: Projections,
    form: str,
    similarity: str = "inner",
    allowed: Tensor | None = None,
) -> Tensor:
    """The last block with one of four attentions.

    - 'clip': CLIP's own, softmax(q k^T);
    - 'value': none; out(v(ln_1(x))) stands alone, without residual and MLP (MaskCLIP, section 3);
    - 'sclip': softmax(q q^T) + softmax(k k^T) (SCLIP, section 3.2);
    - 'cliptrase': softmax(q q^T) + softmax(k k^T) + softmax(v v^T) (CLIPtrase, section 3.2).

    Every product is scaled by head_dim^-0.5 inside its softmax; the weighted sums are of v. Residual and MLP of the
    block follow in all forms but 'value'.

    Args:
        block: an ``open_clip`` ResidualAttentionBlock.
        x: [batch, 1 + patches, width], the CLS token first.
        projections: what computes q, k, v and out.
        form: as above.
        similarity: of 'sclip' and 'cliptrase': 'inner', the product itself, or 'cosine', where the vectors of every
            head are first brought to one length, that of a vector of ones.
        allowed: bool [batch, 1 + patches, 1 + patches], which tokens each may attend to; None for all. At least
            itself. For 'sclip' and 'cliptrase'.

    Returns:
        [batch, 1 + patches, width].

    Raises:
        ValueError: on another form or similarity, or where ``allowed`` is given for a form that cannot use it.
    """
    check_form(form, similarity)
    if form not in CORRELATED:
        if allowed is not None or similarity != "inner":
            raise ValueError(f"the form {form!r} of the last block correlates nothing; choose 'sclip' or 'cliptrase'")
        return run_block(block, x, projections) if form == "clip" else run_dense_block(block, x, projections, "value")
    heads = block.attn.num_heads
    q, k, v = projections.qkv(projections.normed("ln_1", block.ln_1(x)))
    bias = None
    if allowed is not None:
        bias = torch.zeros(allowed.shape, dtype=x.dtype, device=x.device).masked_fill_(~allowed, -torch.inf)
    mixed = torch.zeros_like(v)
    for name, own in zip("qkv", (q, k, v), strict=True):
        if name in CORRELATED[form]:
            if similarity == "cosine":
                own = _of_one_length(own, heads)
            mixed += attend(own, own, v, heads, bias=bias)
    return finish_block(block, x, mixed, projections)


def check_form(form: str, similarity: str) -> None:
    """Raises a ValueError on a form or similarity that :func:`run_last_block` does not know."""
    if form not in FORMS:
        raise ValueError(f"no form {form!r} of the last block's attention; choose from {', '.join(FORMS)}")
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity must be 'inner' or 'cosine', not {similarity!r}")


def _of_one_length(x: Tensor, heads: int) -> Tensor:
    split = x.unflatten(-1, (heads, -1))
    return (F.normalize(split, dim=-1) * split.shape[-1] ** 0.5).flatten(-2)


def within_regions(labels: Tensor) -> Tensor:
    """Which tokens may attend to each other where only patches of one region may.

    Args:
        labels: [batch, patches] the region of each patch.

    Returns:
        bool [batch, 1 + patches, 1 + patches]; the CLS token attends to all, no patch to it.
    """
    batch, patches = labels.shape
    allowed = torch.zeros(batch, 1 + patches, 1 + patches, dtype=torch.bool, device=labels.device)
    allowed[:, 0] = True
    allowed[:, 1:, 1:] = labels[:, :, None] == labels[:, None, :]
    return allowed
