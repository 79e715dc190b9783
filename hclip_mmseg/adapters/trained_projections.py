"""Projections trained whole, as CAT-Seg fine-tunes CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hclip_mmseg.adapters.base import PROJECTIONS, Adapter, Tower


class TrainedProjections(Adapter):
    """Puts trained weights in the place of some projections' frozen ones (CAT-Seg, section 3.4).

    The weights start as CLIP's; CLIP's own stay beside them, untouched.

    Args:
        image_layers, text_layers: number of blocks of the towers.
        image_width, text_width: their widths.
        projections: the projections that are trained, of 'q', 'k', 'v' and 'out'.

    Attributes:
        weights: tower -> layer -> projection -> [out, in].

    Raises:
        ValueError: on an unknown projection, or none.
    """

    def __init__(
        self,
        *,
        image_layers: int,
        text_layers: int,
        image_width: int,
        text_width: int,
        projections: Sequence[str] = ("q", "v"),
    ) -> None:
        super().__init__()
        unknown = [projection for projection in projections if projection not in PROJECTIONS]
        if unknown or not projections:
            raise ValueError(f"projections must be some of {list(PROJECTIONS)}, got {list(projections)}")

        def tower(layers: int, width: int) -> nn.ModuleDict:
            return nn.ModuleDict(
                {
                    str(layer): nn.ParameterDict(
                        {projection: nn.Parameter(torch.zeros(width, width)) for projection in projections}
                    )
                    for layer in range(layers)
                }
            )

        self.weights = nn.ModuleDict(
            {"image": tower(image_layers, image_width), "text": tower(text_layers, text_width)}
        )

    @torch.no_grad()
    def start_from(self, attentions: Mapping[Tower, Sequence[nn.MultiheadAttention]]) -> None:
        """Copies CLIP's weights; see :class:`~hclip_mmseg.adapters.base.Adapter`."""
        for tower, layers in attentions.items():
            for layer, attention in enumerate(layers):
                frozen = [*attention.in_proj_weight.chunk(3), attention.out_proj.weight]
                for projection, weight in zip(PROJECTIONS, frozen, strict=True):
                    trained = self._trained(tower, layer, projection)
                    if trained is not None:
                        trained.copy_(weight)

    def adapted_weight(self, tower: Tower, layer: int, projection: str, weight: Tensor) -> Tensor:
        """The trained weight where there is one, else the frozen."""
        trained = self._trained(tower, layer, projection)
        return weight if trained is None else trained

    def _trained(self, tower: Tower, layer: int, projection: str) -> Tensor | None:
        parameters = self.weights[tower][str(layer)]  # type: ignore[index]
        return parameters[projection] if projection in parameters else None
