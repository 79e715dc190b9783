"""Plain CLIP as a segmentor: every token takes the name it is most like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.models.decode_heads.open_vocab_decode_head import OpenVocabDecodeHead
from hclip_mmseg.models.features import HeadInputs


@MODELS.register_module()
class CosineHead(OpenVocabDecodeHead):
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
            text_channels,
            loss_decode or dict(type="CrossEntropyLoss"),
            ignore_index=ignore_index,
            align_corners=align_corners,
        )
        self.trains = loss_decode is not None
        self.scale = scale

    def most_similar(self, inputs: Sequence[Tensor]) -> tuple[Tensor, None]:
        """Logits [B, T, h, w] of all names, the mean over templates; none is left out."""
        given = HeadInputs.of(inputs)
        text = F.normalize(F.normalize(given.text, dim=-1).mean(dim=1), dim=-1)
        dense = F.normalize(given.dense, dim=1)
        return self.scale * (dense.transpose(1, 3) @ text.T.to(dense.dtype)).transpose(1, 3), None

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """As :meth:`OpenVocabDecodeHead.loss_by_feat`.

        Raises:
            NotImplementedError: without a ``loss_decode``.
        """
        if not self.trains:
            raise NotImplementedError(
                "CosineHead has nothing to train; use it with tools/test.py or tools/predict.py, or give it a "
                "loss_decode"
            )
        return super().loss_by_feat(seg_logits, batch_data_samples)
