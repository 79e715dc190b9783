"""The cost-aggregation head as a decode head of MMSegmentation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.models.cost_aggregation import CostAggregator


@MODELS.register_module()
class CostAggregationHead(BaseDecodeHead):
    """Cost volume, aggregation and guided decoding (design: section 5). Defaults: the published shape.

    The head knows nothing of the backbone and has no class list: it scores as many classes as it is given
    text embeddings.

    Args:
        text_channels: width C of dense tokens and text embeddings (512 in ViT-B/16, 768 in ViT-L/14).
        templates: number P of prompt templates that stand apart in the cost volume.
        dim, layers, heads, window, appearance_dim, text_guidance_dim, class_length, class_pooling,
        decoder_channels, guidance_channels, guidance_projections, inference_chunk, training_chunk: see
            :class:`~hclip_mmseg.models.cost_aggregation.CostAggregator`.
        prior: probability, in (0, 1), that the untrained head starts each class at (Lin et al., Focal Loss, section
            3.3), which spares a short run from first learning that most classes are absent; None: as published.
        loss_decode, ignore_index, align_corners, init_cfg: as in every decode head of MMSegmentation.
    """

    def __init__(
        self,
        text_channels: int = 512,
        templates: int = 1,
        dim: int = 128,
        layers: int = 2,
        heads: int = 4,
        window: int = 12,
        appearance_dim: int = 128,
        text_guidance_dim: int = 128,
        class_length: int = 256,
        class_pooling: int = 2,
        decoder_channels: Sequence[int] = (64, 32),
        guidance_channels: Sequence[int] = (256, 128),
        guidance_projections: Sequence[int] = (32, 16),
        inference_chunk: int = 32,
        training_chunk: int | None = 32,
        prior: float | None = None,
        loss_decode: dict[str, Any] | None = None,
        ignore_index: int = 255,
        align_corners: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            in_channels=text_channels,
            channels=dim,
            num_classes=1,
            out_channels=1,
            threshold=0.5,
            dropout_ratio=0,
            loss_decode=loss_decode or dict(type="AllClassesBCELoss"),
            ignore_index=ignore_index,
            align_corners=align_corners,
            init_cfg=init_cfg,
        )
        del self.conv_seg
        self.aggregator = CostAggregator(
            text_channels=text_channels,
            templates=templates,
            dim=dim,
            layers=layers,
            heads=heads,
            window=window,
            appearance_dim=appearance_dim,
            text_guidance_dim=text_guidance_dim,
            class_length=class_length,
            class_pooling=class_pooling,
            decoder_channels=tuple(decoder_channels),
            guidance_channels=tuple(guidance_channels),
            guidance_projections=tuple(guidance_projections),
            inference_chunk=inference_chunk,
            training_chunk=training_chunk,
        )
        if prior is not None:
            if not 0 < prior < 1:
                raise ValueError(f"prior is a probability between 0 and 1, not {prior}")
            torch.nn.init.constant_(self.aggregator.decoder.score.bias, math.log(prior / (1 - prior)))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """(dense [B, C, H, W], guidance maps ..., text [T, P, C]) -> logits [B, T, 4 H, 4 W]."""
        dense, *guidance, text = inputs
        return self.aggregator(dense, tuple(guidance), text)

    def most_similar(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """As :meth:`forward`, without making maps for the classes that are left out.

        Returns:
            logits [B, K, 4 H, 4 W] and the [B, K] classes that they belong to, or None where K = T.
        """
        dense, *guidance, text = inputs
        return self.aggregator.most_similar(dense, tuple(guidance), text)

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """The loss at the labels' resolution, and the pixel accuracy at the logits'."""
        labels = self._stack_batch_gt(batch_data_samples).squeeze(1)
        with torch.no_grad():
            coarse = F.interpolate(labels[:, None].float(), size=seg_logits.shape[-2:], mode="nearest")[:, 0]
            valid = coarse != self.ignore_index
            right = (seg_logits.argmax(dim=1) == coarse) & valid
            accuracy = 100.0 * right.sum() / valid.sum().clamp(min=1)
        logits = F.interpolate(
            seg_logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=self.align_corners
        )
        loss = self.loss_decode(logits, labels, ignore_index=self.ignore_index)
        return {self.loss_decode.loss_name: loss, "acc_seg": accuracy}
