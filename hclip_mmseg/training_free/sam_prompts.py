"""Trident: regions of a label map given to SAM as prompts, and its masks put in their place."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from hclip_mmseg.models.score_maps import resized
from hclip_mmseg.training_free.per_benchmark import PerBenchmark, Setting
from hclip_mmseg.training_free.refinement import Evidence
from hclip_mmseg.training_free.regions import sampled
from hclip_mmseg.training_free.segment_anything import SAMView, read_sam


class Prompts(NamedTuple):
    """Prompts of one class, in pixels of the label map that they were made of.

    Attributes:
        regions: bool [n, h, w].
        boxes: left, top, right, bottom of each, the last ones inside, [n, 4].
        points: (x, y) of the most probable pixel of each, [n, 2].
    """

    regions: Tensor
    boxes: Tensor
    points: Tensor


class Found(NamedTuple):
    """What SAM found for prompts.

    Attributes:
        kept: bool [n], those that SAM is sure of.
        masks: logits [kept, H, W].
    """

    kept: Tensor
    masks: Tensor


@MODELS.register_module()
class SAMPrompts(nn.Module):
    """Corrects a label map by asking SAM for each of its regions (Trident, ICCV 2025, section 3.4).

    At half the size, pixels whose best probability is below ``threshold`` are left out. Each connected region of a
    class is a prompt: its box, its most probable pixel, and the class's probabilities as a mask. A class's new
    probability is the largest of sigmoid(mask) times its own over the masks of which SAM is sure, within these masks;
    the most probable class is the label. Where no mask is, the label stays.

    Args:
        weights: SAM's file, see :func:`~.segment_anything.read_sam`.
        threshold: 0.2 as published on PAS-20 and VOC21, 0.15 on PC-59 and PC-60, 0.25 on COCO-Object, 0.1 on
            Cityscapes, 0.05 on A-150 and COCO-Stuff.
        least_area: pixels of a region at half the size.
        mask_scale: of the probabilities in the mask that is given to SAM.
        least_iou: of a mask, by SAM's own estimate.
        failed: of regions whose mask is left out: 'surer', CLIP's label stays where its probability is above the new
            ones; 'published', they are looked at no further, which is what the published code comes to.
        prompts_at_once: bounds the memory.
    """

    def __init__(
        self,
        weights: str,
        threshold: Setting = 0.2,
        least_area: int = 225,
        mask_scale: float = 0.005,
        least_iou: float = 0.8,
        failed: str = "surer",
        prompts_at_once: int = 16,
    ) -> None:
        super().__init__()
        if failed not in ("surer", "published"):
            raise ValueError(f"SAMPrompts.failed must be 'surer' or 'published', not {failed!r}")
        self.sam = read_sam(weights)
        self.threshold = PerBenchmark(threshold, "SAMPrompts.threshold")
        self.least_area, self.mask_scale, self.least_iou = least_area, mask_scale, least_iou
        self.failed, self.prompts_at_once = failed, prompts_at_once

    @torch.no_grad()
    def forward(self, labels: Tensor, evidence: Evidence) -> Tensor:
        """The corrected label map.

        Args:
            labels: int64 [H, W].
            evidence: of the image.
        """
        size = (labels.shape[0], labels.shape[1])
        probabilities = evidence.probabilities().float()
        threshold = self.threshold.at(evidence.benchmark)
        half = (max(size[0] // 2, 1), max(size[1] // 2, 1))
        small = F.interpolate(probabilities[None], size=half, mode="bilinear", align_corners=False)[0]
        coarse = sampled(labels, half)
        coarse = coarse.masked_fill(small.amax(dim=0) < threshold, -1)
        view = self.sam.look(evidence.image())
        renewed = torch.zeros_like(probabilities)
        failed = torch.zeros(size, dtype=torch.bool, device=labels.device)
        for label in coarse.unique().tolist():
            if not 0 <= label < evidence.classes or small[label].max() < threshold:
                continue
            prompts = prompts_of(coarse == label, small[label], self.least_area)
            if prompts is None:
                continue
            found = self._ask(view, prompts, small[label], threshold, size)
            if len(found.masks):
                within = (found.masks > self.sam.sam.mask_threshold).any(dim=0)
                renewed[label] = found.masks.sigmoid().amax(dim=0) * probabilities[label] * within
            lost = prompts.regions[~found.kept].any(dim=0)
            failed |= F.interpolate(lost[None, None].float(), size=size, mode="nearest")[0, 0] > 0
        best, new = renewed.max(dim=0)
        corrected = new.where(best > 0, labels)
        if self.failed == "surer":
            corrected = labels.where(failed & (probabilities.amax(dim=0) > best), corrected)
        return corrected

    def _ask(
        self, view: SAMView, prompts: Prompts, probability: Tensor, threshold: float, size: tuple[int, int]
    ) -> Found:
        """SAM's masks, at the labels' size, for the regions of a class with its probability at half the size [h, w]."""
        sam, device = self.sam.sam, probability.device
        side = sam.prompt_encoder.mask_input_size[0]
        own = (max(side * view.pixels[0] // self.sam.side, 1), max(side * view.pixels[1] // self.sam.side, 1))
        mask = resized(probability[None], own)
        mask = torch.where(mask > threshold, self.mask_scale * mask, torch.zeros_like(mask))
        mask = F.pad(mask, (0, side - own[1], 0, side - own[0]))[None]
        scale = torch.tensor(
            [view.pixels[1] / probability.shape[1], view.pixels[0] / probability.shape[0]], device=device
        )
        kept, masks = [], []
        for start in range(0, len(prompts.boxes), self.prompts_at_once):
            part = slice(start, start + self.prompts_at_once)
            boxes = prompts.boxes[part] * scale.repeat(2)
            points = (prompts.points[part] * scale)[:, None]
            sparse, dense = sam.prompt_encoder(
                points=(points, torch.ones(points.shape[:2], device=device)), boxes=boxes, masks=mask
            )
            found, sure = sam.mask_decoder(
                image_embeddings=view.features,
                image_pe=sam.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            of_part = sure[:, 0] > self.least_iou
            kept.append(of_part)
            masks.append(sam.postprocess_masks(found[of_part], view.pixels, size)[:, 0])
        return Found(torch.cat(kept), torch.cat(masks))


def prompts_of(region: Tensor, probability: Tensor, least_area: int) -> Prompts | None:
    """Prompts for the parts of a region that hang together, over corners too.

    Args:
        region: bool [h, w].
        probability: of its class, [h, w].
        least_area: pixels that a part must have.

    Returns:
        None where no part is large enough.
    """
    count, numbers = cv2.connectedComponents(region.cpu().numpy().astype(np.uint8), connectivity=8)
    parts = torch.from_numpy(numbers).to(region.device)
    regions = [part for part in (parts == number for number in range(1, count)) if int(part.sum()) >= least_area]
    if not regions:
        return None
    stacked = torch.stack(regions)
    boxes = []
    for part in stacked:
        rows, columns = part.nonzero(as_tuple=True)
        boxes.append(torch.stack([columns.min(), rows.min(), columns.max(), rows.max()]))
    place = probability.masked_fill(~stacked, -1).flatten(1).argmax(dim=1)
    points = torch.stack([place % region.shape[1], place // region.shape[1]], dim=-1)
    return Prompts(stacked, torch.stack(boxes).float(), points.float())
