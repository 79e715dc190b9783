"""CLIP as MAFT+ trains and uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.clip import ConvNeXtTower, build_clip
from hclip_mmseg.clip.convnext_tower import STAGES
from hclip_mmseg.mask_classification.maft_plus.frozen_trunk import FrozenTrunk
from hclip_mmseg.models.clip_backbone import CLIPBackbone


@MODELS.register_module()
class MAFTPlusCLIP(CLIPBackbone):
    """A CLIP with a ConvNeXt, whose stages are tuned while its text tower and its projection stay frozen (MAFT+).

    Args:
        clip: arguments of :func:`~hclip_mmseg.clip.build_clip`: ``model`` (such as 'convnext_large_d_320' or
            'convnext_base_w_320'), ``pretrained``.
        frozen_stages: see :class:`~hclip_mmseg.clip.convnext_tower.ConvNeXtTower`; 4 freezes
            all of CLIP.
        keep_frozen: whether a frozen copy of the image tower stands by, for representation compensation.
        checkpoint_stages: compute the stages again in the backward pass, for less memory.

    Raises:
        FileNotFoundError, ValueError: as ``build_clip`` and ``ConvNeXtTower``.
    """

    def __init__(
        self,
        clip: Mapping[str, Any],
        frozen_stages: int = -1,
        keep_frozen: bool = False,
        checkpoint_stages: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        model = build_clip(**clip, timm_trunk=True)
        self.image_tower = ConvNeXtTower(model.visual, frozen_stages, checkpoint_stages)
        self.take_text(model, clip["model"])
        self.frozen_trunk = FrozenTrunk(self.image_tower) if keep_frozen else None
        self.trains = frozen_stages < STAGES

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images normalised as CLIP takes them, [B, 3, H, W] -> the stages' maps, strides 4, 8, 16, 32."""
        maps: tuple[Tensor, ...] = self.image_tower(images)
        return maps

    def project(self, features: Tensor) -> Tensor:
        """Features of the last stage [..., C] -> embeddings [..., embed_dim], not normalised."""
        return self.image_tower.project(features)
