"""What masks and their classes are trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.models import Mask2FormerHead
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

CLASS_LOSS = dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=2.0, reduction="mean")
MASK_LOSS = dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=5.0, reduction="mean")
DICE_LOSS = dict(
    type="DiceLoss", use_sigmoid=True, activate=True, reduction="mean", naive_dice=True, eps=1.0, loss_weight=5.0
)
ASSIGNER = dict(
    type="HungarianAssigner",
    match_costs=[
        dict(type="ClassificationCost", weight=2.0),
        dict(type="CrossEntropyLossCost", weight=5.0, use_sigmoid=True),
        dict(type="DiceCost", weight=5.0, pred_act=True, eps=1.0),
    ],
)


@MODELS.register_module()
class MaskClassificationLoss(Mask2FormerHead):
    """2 cross-entropy + 5 dice + 5 binary cross-entropy after Hungarian matching (FISA, its loss).

    MMDetection's matching and losses of Mask2Former, without its network, for a number of classes that is known only
    when they are called. Dice and binary cross-entropy are taken at sampled points.

    Args:
        void_weight: weight of masks of nothing in the cross-entropy.
        num_points, oversample_ratio, importance_sample_ratio: of the points, as in ``Mask2FormerHead``.
        loss_cls, loss_mask, loss_dice, assigner: MMDetection's modules.
    """

    def __init__(
        self,
        void_weight: float = 0.1,
        num_points: int = 12544,
        oversample_ratio: float = 3.0,
        importance_sample_ratio: float = 0.75,
        loss_cls: Mapping[str, Any] = CLASS_LOSS,
        loss_mask: Mapping[str, Any] = MASK_LOSS,
        loss_dice: Mapping[str, Any] = DICE_LOSS,
        assigner: Mapping[str, Any] = ASSIGNER,
    ) -> None:
        BaseModule.__init__(self)
        self.void_weight = void_weight
        self.num_points = num_points
        self.oversample_ratio, self.importance_sample_ratio = oversample_ratio, importance_sample_ratio
        self.loss_cls, self.loss_mask = MODELS.build(dict(loss_cls)), MODELS.build(dict(loss_mask))
        self.loss_dice = MODELS.build(dict(loss_dice))
        self.assigner = TASK_UTILS.build(dict(assigner))
        self.sampler = TASK_UTILS.build(dict(type="MaskPseudoSampler"))

    def init_weights(self) -> None:
        """Nothing: there are no weights."""

    def forward(
        self, logits: Tensor, masks: Tensor, targets: Sequence[InstanceData], metas: Sequence[dict[str, Any]]
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            logits: [B, Q, T + 1], void last.
            masks: mask logits [B, Q, h, w].
            targets: of each image ``labels`` [n] below T and ``masks`` [n, H, W] in {0, 1}.
            metas: of each image.

        Returns:
            ``loss_cls``, ``loss_mask``, ``loss_dice``.
        """
        self.num_queries, self.num_classes = logits.shape[1], logits.shape[2] - 1
        self.class_weight = [1.0] * self.num_classes + [self.void_weight]
        self.loss_cls.class_weight = self.class_weight
        return self.loss_by_feat([logits], [masks], list(targets), list(metas))
