"""Plain CLIP as a segmentor: every token takes the name it is most like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class CosineHead(BaseDecodeHead):
    """Cosine of dense tokens and text embeddings; the head itself has nothing to train.

    Args:
        text_channels: width C of dense tokens and text embeddings.
        scale: factor on the cosine; at CLIP's own 100 the segmentor's sigmoid would tie at 1 in fp32.
        loss_decode: loss for training what gives the tokens and embeddings, as an auxiliary head does; None for none.
        ignore_index, align_corners: as in every decode head of MMSegmentation.
    """

    def __init__(
        self,
        text_channels: int = 512,
        scale: float = 1.0,
        loss_decode: dict[str, Any] | None = None,
        ignore_index: int = 255,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels=text_channels,
            channels=1,
            num_classes=1,
            out_channels=1,
            threshold=0.5,
            dropout_ratio=0,
            loss_decode=loss_decode or dict(type="CrossEntropyLoss"),
            ignore_index=ignore_index,
            align_corners=align_corners,
            init_cfg=None,
        )
        del self.conv_seg
        self.trains = loss_decode is not None
        self.scale = scale

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """(dense [B, C, H, W], ..., text [T, P, C]) -> logits [B, T, H, W], the mean over templates."""
        dense, *_, text = inputs
        text = F.normalize(F.normalize(text, dim=-1).mean(dim=1), dim=-1)
        return self.scale * (F.normalize(dense, dim=1).transpose(1, 3) @ text.T).transpose(1, 3)

    def most_similar(self, inputs: Sequence[Tensor]) -> tuple[Tensor, None]:
        """As :meth:`forward`; no class is left out."""
        return self.forward(inputs), None

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """The loss at the labels' resolution.

        Raises:
            NotImplementedError: without a ``loss_decode``.
        """
        if not self.trains:
            raise NotImplementedError(
                "CosineHead has nothing to train; use it with tools/test.py or tools/predict.py, or give it a "
                "loss_decode"
            )
        losses: dict[str, Tensor] = super().loss_by_feat(seg_logits, batch_data_samples)
        return losses
