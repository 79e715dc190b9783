"""CLIP's image tower where it is a ConvNeXt of timm, as in open_clip's convnext_large_d_320."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.timm_model import TimmModel
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from hclip_mmseg.files.showing import with_article

STAGES = 4


class ConvNeXtTower(nn.Module):
    """A ConvNeXt that gives its stages' maps, and the projection that follows it (MAFT+, Sec. 3.1).

    Takes over the modules of ``visual``; parameter names stay open_clip's (``trunk.stages.0.blocks.0.conv_dw.weight``
    ...), so a state dict moves in either direction. The tower is always run as in inference: stochastic depth would
    make the features that representation compensation compares differ by chance.

    What trains is the stem, the stages behind ``frozen_stages`` and the norm behind the last stage. The projection to
    the space of texts, the head's norm and its MLP or linear layer, stays frozen.

    Args:
        visual: open_clip's wrapper of a timm ConvNeXt with average pooling.
        frozen_stages: -1 trains everything but the projection, 0 freezes the stem, n the stem and the first n stages,
            4 the whole tower.
        checkpoint_stages: compute the stages' blocks again in the backward pass, for less memory.

    Raises:
        ValueError: if it is another trunk, or ``frozen_stages`` is out of range.
    """

    def __init__(self, visual: TimmModel, frozen_stages: int = -1, checkpoint_stages: bool = False) -> None:
        super().__init__()
        trunk = getattr(visual, "trunk", None)
        if not isinstance(trunk, ConvNeXt):
            raise ValueError(
                f"the image tower is {with_article(type(trunk or visual).__name__)}, not a ConvNeXt; choose one such "
                "as convnext_large_d_320"
            )
        if not -1 <= frozen_stages <= STAGES:
            raise ValueError(f"frozen_stages must be in -1..{STAGES}, not {frozen_stages}")
        self.trunk: Any = trunk
        self.head: nn.Sequential = visual.head
        self.trunk.set_grad_checkpointing(checkpoint_stages)
        self.requires_grad_(False)
        trained: list[nn.Module] = [*self.trunk.stages[max(frozen_stages, 0) :]]
        if frozen_stages < 0:
            trained.append(self.trunk.stem)
        if frozen_stages < STAGES:
            trained.append(self.trunk.norm_pre)
        for part in trained:
            part.requires_grad_(True)
        self.embed_dim = int(self.project(torch.zeros(1, self.channels[-1])).shape[-1])
        self.eval()

    @property
    def patch_size(self) -> int:
        """Stride of the last stage's map in pixels: what a patch is to a transformer."""
        return self.strides[-1]

    @property
    def channels(self) -> list[int]:
        """Channels of the stages' maps."""
        return [int(info["num_chs"]) for info in self.trunk.feature_info]

    @property
    def strides(self) -> list[int]:
        """Strides of the stages' maps."""
        return [int(info["reduction"]) for info in self.trunk.feature_info]

    def train(self, mode: bool = True) -> ConvNeXtTower:
        """Stays as in inference; see the class."""
        return super().train(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalised images [B, 3, H, W] -> four maps [B, C, H / stride, W / stride].

        Raises:
            ValueError: if a side is no positive multiple of the last stride.
        """
        height, width = images.shape[-2:]
        stride = self.strides[-1]
        if min(height, width) < stride or height % stride or width % stride:
            raise ValueError(
                f"the image tower takes images whose sides are multiples of {stride} pixels, got {height} x {width}; "
                f"set pad_size_divisor={stride} in the data preprocessor"
            )
        x = self.trunk.stem(images.to(next(self.trunk.stem.parameters()).dtype))
        maps = []
        for stage in self.trunk.stages:
            x = stage(x)
            maps.append(x)
        maps[-1] = self.trunk.norm_pre(x)
        return tuple(maps)

    def project(self, features: Tensor) -> Tensor:
        """Features of the last stage [..., C], pooled or of single positions -> embeddings [..., embed_dim].

        Each is treated as the pooled feature of an image of its own; not normalised.
        """
        pooled = self.trunk.forward_head(features.reshape(-1, features.shape[-1], 1, 1))
        embeddings: Tensor = self.head(pooled)
        return embeddings.view(*features.shape[:-1], -1)
