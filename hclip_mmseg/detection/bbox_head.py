"""The region head's network: an embedding and a box for every region."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmdet.registry import MODELS
from torch import Tensor, nn

from hclip_mmseg.detection.score_fusion import with_background

# MMDetection's, but for the embeddings: they are made unit vectors, and tiny ones would get huge gradients
FULLY_CONNECTED = ("shared_fcs", "cls_fcs", "reg_fcs", "fc_cls")
INIT = [
    dict(type="Normal", std=0.001, override=dict(name="fc_reg")),
    dict(type="Xavier", distribution="uniform", override=[dict(name=name) for name in FULLY_CONNECTED]),
]


@MODELS.register_module()
class OpenVocabBBoxHead(ConvFCBBoxHead):
    """Region embeddings compared with text embeddings, and class-agnostic boxes (F-ViT of CLIPSelf and CLIM).

    Logits are a learnable temperature times the cosine to each name's text embedding, and to one learnable embedding
    that stands for background, the last column.

    Args:
        text_channels: width of the text embeddings.
        temperature: its value at the start; the logarithm is what is trained.
        background_weight: weight of background regions in the loss.
        num_shared_convs, num_shared_fcs: layers before both outputs.
        num_cls_fcs, num_reg_fcs: layers behind them, before each.
        kwargs: of MMDetection's ``ConvFCBBoxHead``; ``num_classes`` is the vocabulary's, set by the region head.
    """

    def __init__(
        self,
        *,
        text_channels: int,
        temperature: float = 50.0,
        background_weight: float = 0.6,
        num_shared_convs: int = 4,
        num_shared_fcs: int = 2,
        num_cls_fcs: int = 0,
        num_reg_fcs: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_shared_convs=num_shared_convs,
            num_shared_fcs=num_shared_fcs,
            num_cls_fcs=num_cls_fcs,
            num_reg_fcs=num_reg_fcs,
            num_classes=0,
            reg_class_agnostic=True,
            init_cfg=INIT,
            **kwargs,
        )
        self.fc_cls = nn.Linear(self.cls_last_dim, text_channels)
        self.background = nn.Parameter(torch.randn(1, text_channels))
        self.log_temperature = nn.Parameter(torch.full((1,), math.log(temperature)))
        self.background_weight = background_weight

    def forward(self, x: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Regions' features [N, channels, 7, 7] and unit text embeddings [T, C] -> logits [N, T + 1], deltas [N, 4]."""
        embeddings, deltas = self.embed(x)
        with torch.autocast(x.device.type, enabled=False):  # bf16 would round logits near 50 to quarters
            return self.compare(embeddings.float(), text), deltas.float()

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Regions' features [N, channels, 7, 7] -> embeddings of any length [N, C] and deltas [N, 4]."""
        embeddings, deltas = super().forward(x)
        return embeddings, deltas

    def compare(self, embeddings: Tensor, text: Tensor) -> Tensor:
        """Embeddings of any length [N, C] and unit text embeddings [T, C] -> logits [N, T + 1]."""
        cosine = F.normalize(embeddings, dim=-1) @ with_background(text, self.background).T
        return self.log_temperature.exp() * cosine

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        *targets: Any,
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """MMDetection's losses, background weighted by ``background_weight``; see ``BBoxHead.loss``."""
        weights = torch.where(labels == self.num_classes, self.background_weight * label_weights, label_weights)
        return super().loss(cls_score, bbox_pred, rois, labels, weights, *targets, **kwargs)
