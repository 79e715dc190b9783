"""Block outputs of a vision transformer as a pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmcv.cnn import build_norm_layer
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

PYRAMID_MAPS = 4
"""How many blocks' outputs make the pyramid."""


@MODELS.register_module()
class PatchPyramid(BaseModule):
    """Brings four maps of one size to four scales, for an FPN behind it (F-ViT of CLIPSelf and CLIM).

    Transposed convolutions twice, once, nothing, and max-pooling: with patches of 16 pixels the strides are 4, 8,
    16 and 32.

    Args:
        channels: of all maps, the transformer's width.
        norm_cfg: the norm between the two convolutions of the finest map.
    """

    def __init__(self, channels: int, norm_cfg: Mapping[str, Any], init_cfg: dict[str, Any] | None = None) -> None:
        super().__init__(init_cfg)
        self.channels = channels

        def up() -> nn.Module:
            return nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2)

        norm = build_norm_layer(dict(norm_cfg), channels)[1]
        # a last row or column without a partner is kept, so that grids of any shape have a coarsest map
        down = nn.MaxPool2d(2, ceil_mode=True)
        self.scales = nn.ModuleList([nn.Sequential(up(), norm, nn.GELU(), up()), up(), nn.Identity(), down])

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps [B, channels, h, w] -> maps of 4 h, 2 h, h and h / 2 rows, and columns likewise.

        Raises:
            ValueError: if they are not four.
        """
        if len(maps) != len(self.scales):
            raise ValueError(
                f"PatchPyramid takes the outputs of four blocks, and got {len(maps)}; set the backbone's out_layers"
            )
        return tuple(scale(x) for scale, x in zip(self.scales, maps, strict=True))
