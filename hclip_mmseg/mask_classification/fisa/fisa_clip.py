"""CLIP as FISA uses it: a text tower, and an image tower that embeds mask proposals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from hclip_mmseg.adapters import Adapter, build_adapter
from hclip_mmseg.adapters.base import Numbers
from hclip_mmseg.clip import EvaTower, ImageTower, VisionTower, build_clip, image_tower_of
from hclip_mmseg.clip.towers import why_not_image
from hclip_mmseg.mask_classification.fisa.distribution_adapter import DistributionAdapter
from hclip_mmseg.mask_classification.fisa.mask_bias import BiasGradient
from hclip_mmseg.mask_classification.fisa.mask_token_tower import MaskTokenTower
from hclip_mmseg.mask_classification.fisa.seve import SEVE
from hclip_mmseg.mask_classification.fisa.tuned_queries import TunedQueries
from hclip_mmseg.models.clip_backbone import CLIPBackbone


@MODELS.register_module()
class FISACLIP(CLIPBackbone):
    """Mask embeddings from CLIP with SEVE and the Distribution Adapter, trained as SIMO says (FISA, Eqs. 1 to 5).

    The equations are those of :class:`~hclip_mmseg.mask_classification.fisa.mask_token_tower.MaskTokenTower`.

    Args:
        clip: arguments of :func:`~hclip_mmseg.clip.build_clip`: ``model``, ``pretrained``, ``quick_gelu``. The image
            tower is a vision transformer of open_clip or an EVA01 of timm, as in EVA01-g-14-plus.
        resolution: side of the square that CLIP sees, a multiple of the patch; positions are resized bilinearly.
        seve: arguments of :class:`~hclip_mmseg.mask_classification.fisa.seve.SEVE` (widths and layers are filled in),
            or None for mask tokens that know nothing of the names.
        distribution_adapter: arguments of
            :class:`~hclip_mmseg.mask_classification.fisa.distribution_adapter.DistributionAdapter`, or None.
        tuning: what of the image tower is trained: 'queries' (SIMO: f_q of mask tokens), 'none', 'full' (all of the
            tower, for image tokens too), or an adapter of its projections, such as ``dict(type='LoRA', rank=64)``.
        train_text: whether the text tower is trained too.
        bias_gradient: see :func:`~hclip_mmseg.mask_classification.fisa.mask_bias.mask_bias`.
        checkpoint_blocks: compute blocks again in the backward pass where image or text tokens are trained, for
            less memory.

    Raises:
        ValueError: on another ``tuning``, a resolution that is no multiple of the patch, or as the parts raise.
    """

    def __init__(
        self,
        clip: Mapping[str, Any],
        resolution: int = 896,
        seve: Mapping[str, Any] | None = None,
        distribution_adapter: Mapping[str, Any] | None = None,
        tuning: str | Mapping[str, Any] = "queries",
        train_text: bool = False,
        bias_gradient: BiasGradient = "none",
        checkpoint_blocks: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        model = build_clip(**clip, timm_trunk=True)
        read = None if why_not_image(model.visual) else image_tower_of(model.visual, "bilinear")
        tower = _checked(read, clip["model"]).requires_grad_(tuning == "full")
        if resolution < 1 or resolution % tower.patch_size:
            raise ValueError(f"resolution must be a multiple of the patch of {tower.patch_size}, not {resolution}")
        self.resolution = resolution
        self.checkpoint_text = checkpoint_blocks
        self.take_text(model, clip["model"], trained=train_text)
        sizes = dict(width=tower.width, class_width=tower.embed_dim, layers=tower.layers)
        self.mask_tokens = MaskTokenTower(
            tower,
            None if seve is None else SEVE(**{**sizes, **seve}),
            TunedQueries(tower) if tuning == "queries" else None,
            self._adapter(tuning, tower),
            bias_gradient,
            checkpoint_blocks,
        )
        self.distribution_adapter = (
            nn.Identity() if distribution_adapter is None else DistributionAdapter(**distribution_adapter)
        )

    def _adapter(self, tuning: str | Mapping[str, Any], tower: ImageTower | EvaTower) -> Adapter | None:
        if isinstance(tuning, str):
            if tuning not in ("none", "queries", "full"):
                raise ValueError(f"tuning must be 'none', 'queries', 'full' or an adapter's config, not {tuning!r}")
            return None
        adapter = build_adapter(
            {**tuning, "text": False},
            image_layers=tower.layers,
            text_layers=self.text_tower.layers,
            image_width=tower.width,
            text_width=self.text_tower.width,
        )
        adapter.start_from({"image": tower.blocks})
        for norm in tower.missing_norms():
            adapter.without_norm("image", norm)
        return adapter

    @property
    def image_tower(self) -> ImageTower | EvaTower:
        """The tower that mask tokens pass through."""
        return self.mask_tokens.tower

    def adapt(self, mask_logits: Tensor) -> Tensor:
        """The Distribution Adapter: mask logits [B, Q, h, w] -> those that are predicted and attended by."""
        adapted: Tensor = self.distribution_adapter(mask_logits)
        return adapted

    def forward(self, images: Tensor, mask_logits: Tensor, class_tokens: Tensor | None = None) -> Tensor:
        """Embeddings of proposals.

        Args:
            images: normalised as CLIP takes them, [B, 3, H, W] of any size; resized to a square.
            mask_logits: adapted mask logits [B, Q, h, w] of the same part of the image.
            class_tokens: text embeddings [T, embed_dim] of the vocabulary, for SEVE.

        Returns:
            [B, Q, embed_dim], not normalised.
        """
        size = (self.resolution, self.resolution)
        if tuple(images.shape[-2:]) != size:
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
        embeddings: Tensor = self.mask_tokens(images, mask_logits, class_tokens)
        return embeddings

    def dead_parameters(self) -> list[Numbers]:
        """The trained numbers of the adapter that change nothing.

        Returns:
            Names of parameters of this module, with the places of those numbers in them.
        """
        adapter = self.mask_tokens.adapter
        dead = [] if adapter is None else adapter.dead_parameters()
        return [Numbers(f"mask_tokens.adapter.{numbers.parameter}", numbers.where) for numbers in dead]

    def trained_parts(self) -> dict[str, int]:
        """How many numbers each part of FISA trains; parts that train nothing are left out."""
        parts = {
            "SEVE": self.mask_tokens.seve,
            "Distribution Adapter": self.distribution_adapter,
            "query projections (SIMO)": self.mask_tokens.queries,
            "adapters, image tower": self.mask_tokens.adapter,
            "image tower": self.mask_tokens.tower,
            "text tower": self.text_tower,
        }
        counts = {
            name: sum(p.numel() for p in module.parameters() if p.requires_grad)
            for name, module in parts.items()
            if module is not None
        }
        return {name: number for name, number in counts.items() if number}


def _checked(tower: VisionTower | None, model: object) -> ImageTower | EvaTower:
    """The image tower, None if it is no vision transformer, if mask tokens can take the place of its CLS token.

    Raises:
        ValueError: if it has none, or is not read there, or turns tokens by their places.
    """
    read_at_cls = isinstance(tower, ImageTower) and tower.pooling == "tok"
    if isinstance(tower, EvaTower):
        read_at_cls = tower.prefix == 1 and tower.trunk.attn_pool is None and tower.trunk.global_pool == "token"
        read_at_cls = read_at_cls and tower.rotation(tower.grid_size) is None
    if not isinstance(tower, ImageTower | EvaTower) or not read_at_cls:
        raise ValueError(
            f"mask tokens take the place of a CLS token that CLIP is read at, where no positions are rotary; the image "
            f"tower of {model!r} has none such: choose ViT-L-14-336 or EVA01-g-14-plus"
        )
    return tower
