"""The region head: pooling, losses, and at test time CLIP's own word on every region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi, scale_boxes
from mmengine.structures import InstanceData
from torch import Tensor

from hclip_mmseg.clip import prompt_name
from hclip_mmseg.detection.features import PyramidFeatures
from hclip_mmseg.detection.score_fusion import clip_scores, fuse_scores, with_background
from hclip_mmseg.vocabularies import Names, read_names


@MODELS.register_module()
class OpenVocabRoIHead(StandardRoIHead):
    """MMDetection's region head on embeddings of words.

    At test time a region's score for a name is the geometric mean of the head's own softmax and CLIP's: the dense
    tokens, made unit vectors, are averaged over the region (RoIAlign to 1 x 1) and compared with all names and with the
    background (F-VLM, Eqs. 2 to 4; CLIM's code).

    Args:
        region_extractor: pools the dense tokens, one level of the patch's stride.
        base_names: the names that boxes were shown for in training, by which the metric too tells base from novel; as
            ``read_names`` takes them.
        clip_temperature: of CLIP's scores.
        base_exponent, novel_exponent: CLIP's weight in the mean for base names and background, and for all others.
        kwargs: of MMDetection's ``StandardRoIHead``.
    """

    def __init__(
        self,
        *,
        region_extractor: dict[str, Any],
        base_names: Names,
        clip_temperature: float = 75.0,
        base_exponent: float = 0.1,
        novel_exponent: float = 0.8,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.region_extractor = MODELS.build(region_extractor)
        self.base_names = frozenset(read_names(base_names))
        self.clip_temperature = clip_temperature
        self.base_exponent, self.novel_exponent = base_exponent, novel_exponent
        self.names: tuple[str, ...] = ()

    def set_names(self, names: Sequence[str]) -> None:
        """Sets the names that labels stand for, in label order; background comes behind them."""
        self.names = tuple(names)
        self.bbox_head.num_classes = len(self.names)

    def is_base(self, name: str) -> bool:
        """Whether boxes of a name were shown in training."""
        return prompt_name(name) in self.base_names

    def competitors(self, names: Sequence[str]) -> list[str]:
        """The names of training that are not among others: regions are compared with them too."""
        return sorted(self.base_names - set(names))

    def exponents(self) -> Tensor:
        """CLIP's weight for each name, [T]."""
        return torch.tensor([self.base_exponent if self.is_base(name) else self.novel_exponent for name in self.names])

    def _bbox_forward(self, x: PyramidFeatures, rois: Tensor) -> dict[str, Tensor]:
        """MMDetection's hook: RoIs [N, 5] -> logits [N, T + 1], deltas [N, 4] and the pooled features."""
        # fp32, as the extractor rounds the boxes to the maps' type and bf16 holds no pixels above 256
        maps = [level.float() for level in x[: self.bbox_roi_extractor.num_inputs]]
        pooled = self.bbox_roi_extractor(maps, rois)
        cls_score, bbox_pred = self.bbox_head(pooled, x.text)
        return dict(cls_score=cls_score, bbox_pred=bbox_pred, bbox_feats=pooled)

    def pool_regions(self, dense: Tensor, rois: Tensor) -> Tensor:
        """Mean unit token of each region: [B, C, h, w], RoIs [N, 5] -> [N, C]."""
        return self.region_extractor([F.normalize(dense.float(), dim=1)], rois).flatten(1)

    def region_scores(self, x: PyramidFeatures, rois: Tensor, logits: Tensor) -> Tensor:
        """Scores [N, T + 1] of RoIs [N, 5] with the head's logits [N, T + 1]; the last column is background.

        CLIP too compares regions with the background, which leans on the detector as base names do (CLIM's code).
        """
        return self.fused_scores(self.pool_regions(x.dense, rois), x.text, logits)

    def fused_scores(self, regions: Tensor, text: Tensor, logits: Tensor) -> Tensor:
        """Scores [N, T + 1] from regions' tokens [N, C], unit text embeddings [T, C] and logits [N, T + 1]."""
        clip = clip_scores(regions, with_background(text, self.bbox_head.background), self.clip_temperature)
        weights = torch.cat([self.exponents(), torch.tensor([self.base_exponent])])
        return fuse_scores(logits.softmax(dim=-1), clip, weights.to(logits))

    def predict_bbox(
        self,
        x: PyramidFeatures,
        batch_img_metas: list[dict[str, Any]],
        rpn_results_list: list[InstanceData],
        rcnn_test_cfg: Any,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """MMDetection's step from proposals to detections: ``bboxes`` [n, 4], ``scores`` [n], ``labels`` [n]."""
        proposals = [result.bboxes for result in rpn_results_list]
        rois = bbox2roi(proposals)
        outputs = self._bbox_forward(x, rois)
        scores = self.region_scores(x, rois, outputs["cls_score"])
        counts = [len(boxes) for boxes in proposals]
        parts = zip(
            rois[:, 1:].split(counts),
            outputs["bbox_pred"].split(counts),
            scores.split(counts),
            batch_img_metas,
            strict=True,
        )
        return [self._detections(*part, rcnn_test_cfg, rescale) for part in parts]

    def _detections(
        self, boxes: Tensor, deltas: Tensor, scores: Tensor, meta: dict[str, Any], cfg: Any, rescale: bool
    ) -> InstanceData:
        found = self.bbox_head.bbox_coder.decode(boxes, deltas, max_shape=meta["img_shape"])
        if rescale and "scale_factor" in meta:
            found = scale_boxes(found, [1 / factor for factor in meta["scale_factor"]])
        kept, labels = multiclass_nms(found, scores, cfg.score_thr, cfg.nms, cfg.max_per_img)
        return InstanceData(bboxes=kept[:, :4], scores=kept[:, 4], labels=labels)
