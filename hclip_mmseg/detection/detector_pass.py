"""What a detector computes between an image and its last suppression, as a module that depends on its input alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import Tensor, nn
from torchvision.ops import nms, roi_align

from hclip_mmseg.detection.roi_head import OpenVocabRoIHead
from hclip_mmseg.models.clip_backbone import CLIPBackbone


class DetectorPass(nn.Module):
    """Image -> boxes, and their scores for fixed names: a detector up to the suppression of boxes of one class.

    The number of boxes is fixed, so that every shape of a graph is; the scores of those that are none are 0.
    Boxes are cut to the input, padding included. Computes what MMDetection's ``RPNHead`` and ``StandardRoIHead`` do.

    Args:
        backbone: the image side of CLIP; see ``HCLIPBackbone.image_side``.
        neck: block outputs -> the pyramid.
        rpn_head, roi_head: the detector's.
        text: unit text embeddings [T, C].
    """

    text: Tensor

    def __init__(
        self, backbone: CLIPBackbone, neck: nn.Module, rpn_head: RPNHead, roi_head: OpenVocabRoIHead, text: Tensor
    ) -> None:
        super().__init__()
        self.backbone, self.neck, self.rpn_head, self.roi_head = backbone, neck, rpn_head, roi_head
        self.register_buffer("text", text)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """A normalised image [1, 3, H, W], whose sides are multiples of the patch -> boxes and scores.

        Returns:
            Boxes [N, 4] as (x1, y1, x2, y2) in pixels of the input, and their scores [N, T] in 0..1.
        """
        size = (images.shape[-2], images.shape[-1])
        features = self.backbone(images)
        maps = self.neck(features.blocks)
        proposals, found = self.proposals(maps, size)
        rois = F.pad(proposals, (1, 0))  # all of image 0
        extractor = self.roi_head.bbox_roi_extractor
        head = self.roi_head.bbox_head
        embeddings, deltas = head.embed(pooled(extractor, maps[: extractor.num_inputs], rois))
        regions = pooled(self.roi_head.region_extractor, [F.normalize(features.dense, dim=1)], rois).flatten(1)
        scores = self.roi_head.fused_scores(regions, self.text, head.compare(embeddings, self.text))[:, :-1]
        boxes = head.bbox_coder.decode(proposals, deltas)
        return clipped(boxes, size), torch.where(found[:, None], scores, 0.0)

    def proposals(self, maps: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The pyramid's maps -> the best proposals [N, 4], and [N] which of them are any; see ``RPNHead``."""
        head, cfg = self.rpn_head, self.rpn_head.test_cfg
        levels = list(zip(*head(maps), strict=True))
        anchors = head.prior_generator.grid_priors([logits.shape[-2:] for logits, _ in levels], device=maps[0].device)
        boxes, scores, shifts = [], [], []
        for level, (logits, deltas) in enumerate(levels):
            flat = logits[0].permute(1, 2, 0).reshape(-1).sigmoid()
            best = flat.topk(min(cfg.nms_pre, len(flat)))
            chosen = deltas[0].permute(1, 2, 0).reshape(-1, 4)[best.indices]
            boxes.append(clipped(head.bbox_coder.decode(anchors[level][best.indices], chosen), size))
            scores.append(best.values)
            shifts.append(torch.full_like(best.values, level * (max(size) + 1.0)))  # boxes of two levels never meet
        box, score, shift = torch.cat(boxes), torch.cat(scores), torch.cat(shifts)
        kept = nms(box + shift[:, None], score, cfg.nms.iou_threshold)
        # marks and not a choice: the number of boxes that are kept would be the graph's only open shape
        marks = torch.zeros_like(score).scatter(0, kept, 1.0) > 0
        sides = box[:, 2:] - box[:, :2]
        valid = marks & (sides > max(cfg.min_bbox_size, 0)).all(dim=1)
        best = torch.where(valid, score, -1.0).topk(min(cfg.max_per_img, len(score)))
        return box[best.indices], best.values >= 0


def pooled(extractor: SingleRoIExtractor, maps: Sequence[Tensor], rois: Tensor) -> Tensor:
    """Maps of each level [1, C, h, w] and RoIs [N, 5] -> features [N, C, s, s], each region from its own level.

    All levels pool all regions, those of other levels shrunk to a point: a graph has no branches.
    """
    levels = extractor.map_roi_levels(rois, len(maps)) if len(maps) > 1 else torch.zeros_like(rois[:, 0])
    parts = []
    for level, (features, layer) in enumerate(zip(maps, extractor.roi_layers, strict=True)):
        own = (levels == level).to(rois)
        part = roi_align(
            features, rois * own[:, None], layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned
        )
        parts.append(part * own[:, None, None, None])
    return torch.stack(parts).sum(dim=0)


def clipped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes [N, 4] cut to an image of (height, width) pixels."""
    height, width = size
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
