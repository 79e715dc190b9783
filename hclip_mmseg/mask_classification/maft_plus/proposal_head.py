"""The head that proposes masks and embeds them by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from mmdet.models import Mask2FormerHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from torch import Tensor, nn

from hclip_mmseg.mask_classification.maft_plus.mask_pooling import mask_pooling


@MODELS.register_module()
class OpenVocabMask2FormerHead(Mask2FormerHead):
    """MMDetection's Mask2Former head with embeddings in the place of class scores (FC-CLIP, Sec. 3.3; MAFT+).

    A proposal's embedding is an MLP of its query plus the projected mean of the mask features inside of it. What is
    done with it, comparing it with names and with void, is left to the segmentor, so the head knows no vocabulary.

    Args:
        embed_dim: width of the embeddings, CLIP's.
        feat_channels: width of the queries.
        kwargs: of ``Mask2FormerHead``; what it says of classes is not used.

    Attributes:
        logit_scale: the logarithm of the inverse temperature of its own scores.
    """

    def __init__(self, embed_dim: int, feat_channels: int = 256, out_channels: int = 256, **kwargs: Any) -> None:
        unused = dict(type="CrossEntropyLoss", class_weight=None)
        config = ConfigDict(feat_channels=feat_channels, out_channels=out_channels, loss_cls=unused, **kwargs)
        super().__init__(**config)
        self.cls_embed = nn.Identity()
        self.mask_pooling_projection = nn.Sequential(nn.LayerNorm(out_channels), nn.Linear(out_channels, feat_channels))
        self.class_embed = nn.Sequential(
            nn.Linear(feat_channels, feat_channels),
            nn.ReLU(),
            nn.Linear(feat_channels, feat_channels),
            nn.ReLU(),
            nn.Linear(feat_channels, embed_dim),
        )
        self.logit_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

    def forward(self, x: Sequence[Tensor], batch_data_samples: Sequence[Any]) -> tuple[list[Tensor], list[Tensor]]:
        """Proposals of the decoder's layers.

        Args:
            x: the backbone's maps, [B, C, H / stride, W / stride].
            batch_data_samples: not read.

        Returns:
            Embeddings [B, Q, embed_dim] of each layer in training, of the last one alone in inference; and mask logits
            [B, Q, H / 4, W / 4] of each layer.
        """
        embed, masks = super().forward(x, batch_data_samples)
        return [each() for each in (embed if self.training else embed[-1:])], masks

    def _forward_head(
        self, decoder_out: Tensor, mask_feature: Tensor, attn_mask_target_size: tuple[int, int]
    ) -> tuple[Callable[[], Tensor], Tensor, Tensor]:
        """What embeds the proposals, their mask logits [B, Q, h, w] and the next layer's attention mask."""
        queries, masks, attention = super()._forward_head(decoder_out, mask_feature, attn_mask_target_size)
        return partial(self._embeddings, queries, mask_feature, masks), masks, attention

    def _embeddings(self, queries: Tensor, mask_feature: Tensor, masks: Tensor) -> Tensor:
        inside = self.mask_pooling_projection(mask_pooling(mask_feature, masks))
        embeddings: Tensor = self.class_embed(inside + queries)
        return embeddings
