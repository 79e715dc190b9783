"""ProxyCLIP: another vision model says which patches belong together, CLIP what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.training_free.dense import DenseMethod, DenseTokens, ImageContext, Trunk


@MODELS.register_module()
class ProxyAttention(DenseMethod):
    """CLIP's values mixed by the cosines of another model's patches (Lan et al., ECCV 2024, section 3.3).

    A = softmax(gamma (C - beta mean C)) over the pairs above beta times the window's mean cosine, the same for every
    head; the values, resized bilinearly to the other model's grid, become out(A v), without residual and MLP.

    Args:
        features: config of the other model, such as ``dict(type='TimmPatchFeatures', model='vit_base_patch8_224.dino',
            weights='dino.pth')``; it is run at the windows' size.
        beta: of the mean.
        gamma: of the softmax.
        together: whether the mean is over all windows that are run at once, as in Trident's code, and not over each.
    """

    def __init__(
        self, features: Mapping[str, Any], beta: float = 1.2, gamma: float = 3.0, together: bool = False
    ) -> None:
        super().__init__()
        self.features = MODELS.build(dict(features))
        self.beta, self.gamma, self.together = beta, gamma, together

    def forward(self, trunk: Trunk, pixels: Tensor, context: ImageContext) -> DenseTokens:
        """See :class:`DenseMethod`; on the other model's grid."""
        grid = self.features.grid_of(*pixels.shape[-2:])
        features = self.features(pixels, grid)[:, 1:]
        x, _ = trunk.run(pixels)
        values = resized_tokens(trunk.values(x)[:, 1:], trunk.tower.grid_of(*pixels.shape[-2:]), grid)
        mean = features.mean(dim=1).square().sum(dim=1).mean() if self.together else None
        weights = [proxy_weights(own, self.beta, self.gamma, mean) for own in features]
        context.keep("affinity", weights[0], grid)
        mixed = [own @ v for own, v in zip(weights, values, strict=True)]
        return DenseTokens(trunk.out(torch.stack(mixed)), grid)


def proxy_weights(features: Tensor, beta: float, gamma: float, mean: Tensor | None = None) -> Tensor:
    """ProxyCLIP's attention of one window.

    Args:
        features: [patches, C] of unit norm.
        beta, gamma: see :class:`ProxyAttention`.
        mean: what products are compared with; None: the mean of all products of this window.

    Returns:
        [patches, patches], rows of sum 1; a patch always attends to itself.
    """
    if mean is None:
        centre = features.mean(dim=0)
        mean = centre @ centre
    scores = gamma * (features @ features.T - beta * mean)
    left_out = scores < 0
    left_out.fill_diagonal_(False)
    return scores.masked_fill_(left_out, -torch.inf).softmax(dim=-1)


def resized_tokens(tokens: Tensor, grid: tuple[int, int], to: tuple[int, int]) -> Tensor:
    """Patches' tokens [B, patches, C] of one grid, bilinear on another, corners not aligned."""
    if grid == to:
        return tokens
    maps = tokens.transpose(1, 2).unflatten(2, grid)
    return F.interpolate(maps, size=to, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)
