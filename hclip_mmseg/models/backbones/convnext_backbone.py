"""CLIP's ConvNeXt for heads that aggregate a cost volume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.clip import ConvNeXtTower, build_clip
from hclip_mmseg.clip.convnext_tower import STAGES
from hclip_mmseg.models.clip_backbone import CLIPBackbone
from hclip_mmseg.models.features import DenseFeatures


@MODELS.register_module()
class ConvNeXtBackbone(CLIPBackbone):
    """A ConvNeXt of open_clip with its text tower, in the place of ``HCLIPBackbone`` under a CAT-Seg head.

    A hierarchical encoder keeps places that a transformer's patches lose (SED, Xie et al., CVPR 2024, section 3.2):
    dense tokens are the last stage's map, each position projected as if it were the pooled feature of an image; the
    maps of the stages before guide the decoder, at twice, four and eight times the size, without upsampling layers.

    Args:
        clip: arguments of :func:`~hclip_mmseg.clip.build_clip`: ``model``, such as 'convnext_base_w_320', and
            ``pretrained``.
        frozen_stages: which stages of the image tower stay frozen, see
            :class:`~hclip_mmseg.clip.convnext_tower.ConvNeXtTower`; -1 trains all, as SED does, 4 none. Text is frozen.
        checkpoint_stages: compute the stages' blocks again in the backward pass, for less memory.
        guidance_stages: how many of the stages before the last guide the decoder: 2 for CAT-Seg's head, 3 for SED's.

    Raises:
        ValueError: if the image tower is no ConvNeXt whose strides double, ``guidance_stages`` is not 0 to 3, or as
            :func:`~hclip_mmseg.clip.build_clip`.
    """

    def __init__(
        self,
        clip: Mapping[str, Any],
        frozen_stages: int = -1,
        checkpoint_stages: bool = False,
        guidance_stages: int = 2,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        model = build_clip(**clip, timm_trunk=True)
        self.image_tower = ConvNeXtTower(model.visual, frozen_stages, checkpoint_stages)
        last = self.image_tower.strides[-1]
        if self.image_tower.strides[1:] != [last // 4, last // 2, last]:
            raise ValueError(f"the stages' strides {self.image_tower.strides} must double to guide the decoder")
        if not 0 <= guidance_stages <= STAGES - 1:
            raise ValueError(f"guidance_stages must be 0 to {STAGES - 1}, not {guidance_stages}")
        self.guidance_stages = guidance_stages
        self.take_text(model, clip["model"])

    @property
    def guidance_channels(self) -> tuple[int, ...]:
        """See :class:`~hclip_mmseg.models.clip_backbone.CLIPBackbone`."""
        return tuple(self.image_tower.channels[-2::-1][: self.guidance_stages])

    def forward(self, images: Tensor) -> DenseFeatures:
        """Dense features of images.

        Args:
            images: normalised [B, 3, H, W]; sides are multiples of the last stride, 32.

        Returns:
            guidance maps of the third, second and first stage, as many as ``guidance_stages``: [B, C, 2 h, 2 w],
            [B, C, 4 h, 4 w] and [B, C, 8 h, 8 w], then the projected map of the last [B, embed_dim, h, w].
        """
        *before, last = self.image_tower(images)
        dense = self.image_tower.project(last.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return DenseFeatures(dense, before[::-1][: self.guidance_stages])
