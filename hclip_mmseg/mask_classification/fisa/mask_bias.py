"""Which image patches a mask token may attend to."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.mask_classification.fisa.proposal_chunks import over_proposals

BiasGradient = Literal["none", "straight_through"]
"""How gradients pass the mask bias; see :func:`mask_bias`."""


def patch_logits(mask_logits: Tensor, grid: tuple[int, int], patch_size: int, chunk: int = 16) -> Tensor:
    """The largest mask logit of any pixel of each patch.

    Args:
        mask_logits: [B, Q, h, w] of any size; resized bilinearly to the pixels that the image tower sees.
        grid: rows and columns of patches.
        patch_size: side of a patch in pixels.
        chunk: how many masks are resized at once.

    Returns:
        [B, Q, rows, columns].
    """
    return over_proposals(partial(_largest, grid=grid, patch_size=patch_size), mask_logits, chunk)


def _largest(mask_logits: Tensor, grid: tuple[int, int], patch_size: int) -> Tensor:
    size = (grid[0] * patch_size, grid[1] * patch_size)
    if tuple(mask_logits.shape[-2:]) != size:
        mask_logits = F.interpolate(mask_logits, size=size, mode="bilinear", align_corners=False)
    return F.max_pool2d(mask_logits, patch_size)


def mask_bias(
    mask_logits: Tensor,
    grid: tuple[int, int],
    patch_size: int,
    gradient: BiasGradient = "none",
    chunk: int = 16,
) -> Tensor:
    """The bias of the mask tokens' attention to the image tokens (FISA, Eq. 5).

    0 where the mask covers any pixel of the patch, -inf elsewhere; a mask that covers no patch attends to all.
    A mask covers a pixel where its logit, resized to the pixels that the image tower sees, is above 0.

    Args:
        mask_logits, grid, patch_size, chunk: see :func:`patch_logits`.
        gradient: the bias is a step, so it has no gradient ('none'). 'straight_through' gives it the gradient
            of log sigmoid of the patch's largest logit, so that the classification loss moves masks too.

    Returns:
        [B, Q, rows * columns].

    Raises:
        ValueError: on another ``gradient``.
    """
    if gradient not in ("none", "straight_through"):
        raise ValueError(f"the gradient of the mask bias must be 'none' or 'straight_through', not {gradient!r}")
    with torch.set_grad_enabled(torch.is_grad_enabled() and gradient == "straight_through"):
        logits = patch_logits(mask_logits, grid, patch_size, chunk).flatten(2)
    attended = logits.detach() > 0
    attended = attended | ~attended.any(dim=-1, keepdim=True)
    bias = torch.zeros_like(logits).masked_fill(~attended, -torch.inf)
    if gradient == "none":
        return bias
    soft = F.logsigmoid(logits)
    return bias + (soft - soft.detach())
