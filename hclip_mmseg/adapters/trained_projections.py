"""Projections trained whole, as CAT-Seg fine-tunes CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hclip_mmseg.adapters.base import PROJECTIONS, Adapter, Block, BlockOperation, Numbers, Tower, tower_sizes


class TrainedProjections(Adapter):
    """Puts trained weights in the place of some projections' frozen ones (CAT-Seg, section 3.4).

    The weights start as CLIP's; CLIP's own stay beside them, untouched.

    Args:
        projections: the projections that are trained, of 'q', 'k', 'v' and 'out'.
        sizes: see :func:`~hclip_mmseg.adapters.base.tower_sizes`.

    Attributes:
        weights: tower -> layer -> projection -> [out, in].

    Raises:
        ValueError: on an unknown projection, or none.
    """

    has_strength = True
    takes_rounded = True

    def __init__(self, *, projections: Sequence[str] = ("q", "v"), **sizes: Any) -> None:
        super().__init__()
        unknown = [projection for projection in projections if projection not in PROJECTIONS]
        if unknown or not projections:
            raise ValueError(f"projections must be some of {list(PROJECTIONS)}, got {list(projections)}")

        def weights(width: int) -> nn.ParameterDict:
            return nn.ParameterDict({projection: nn.Parameter(torch.zeros(width, width)) for projection in projections})

        self.weights = nn.ModuleDict(
            {
                tower: nn.ModuleDict({str(layer): weights(size.width) for layer in range(size.layers)})
                for tower, size in tower_sizes(**sizes).items()
            }
        )

    @torch.no_grad()
    def start_from(self, blocks: Mapping[Tower, Sequence[Block]]) -> None:
        """Copies CLIP's weights; see :class:`~hclip_mmseg.adapters.base.Adapter`."""
        for tower, layers in blocks.items():
            for layer, block in enumerate(layers):
                frozen = [*block.attn.in_proj_weight.chunk(3), block.attn.out_proj.weight]
                for projection, weight in zip(PROJECTIONS, frozen, strict=True):
                    trained = self._trained(tower, layer, projection)
                    if trained is not None:
                        trained.copy_(weight)

    def adapted_weight(self, tower: Tower, layer: int, projection: str, weight: Tensor) -> Tensor:
        """The trained weight where there is one, else the frozen."""
        trained = self._trained(tower, layer, projection)
        return weight if trained is None else self.part(weight, trained)

    def parameters_at(self, at: BlockOperation) -> list[Numbers]:
        """The trained weight of a projection."""
        trained = self._trained(at.tower, at.layer, at.operation)
        return [] if trained is None else [Numbers(f"weights.{at.tower}.{at.layer}.{at.operation}")]

    def _trained(self, tower: Tower, layer: int, projection: str) -> Tensor | None:
        if tower not in self.weights:
            return None
        parameters = self.weights[tower][str(layer)]  # type: ignore[index]
        return parameters[projection] if projection in parameters else None
