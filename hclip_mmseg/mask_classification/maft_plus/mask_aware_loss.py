"""Scores of masks that say how well the mask fits (MAFT+, Sec. 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor, nn

from hclip_mmseg.mask_classification.mask_overlaps import mask_ious
from hclip_mmseg.models.score_maps import resized

FORMS = ("paper", "published")


@torch.no_grad()
def soft_ious(masks: Tensor, targets: Tensor, chunk: int = 16) -> Tensor:
    """The published code's overlaps, in which a proposal is a map of probabilities.

    Args:
        masks: mask logits [Q, h, w]; their sigmoids are resized bilinearly.
        targets: [n, H, W] in {0, 1}.
        chunk: how many proposals are resized at once.

    Returns:
        [n, Q]: the sum of the probabilities in the mask, over the sums of both without it, plus 1e-7.
    """
    truth = targets.flatten(1).float()
    size = (targets.shape[-2], targets.shape[-1])
    ious = []
    for part in masks.float().sigmoid().split(chunk):
        inside = resized(part, size).flatten(1)
        common = truth @ inside.T
        ious.append(common / (truth.sum(1, keepdim=True) + inside.sum(1) - common + 1e-7))
    return torch.cat(ious, dim=1)


def rescaled(ious: Tensor) -> Tensor:
    """[n, Q], each mask's smallest IoU with a proposal made 0 and its largest 1; 0 where all are alike."""
    low, high = ious.amin(dim=1, keepdim=True), ious.amax(dim=1, keepdim=True)
    return (ious - low) / (high - low + 1e-8)


def counted_pairs(ious: Tensor, labels: Tensor) -> Tensor:
    """Which pairs of a ground-truth mask and a proposal count.

    Of the masks of one class, only the one that a proposal overlaps most counts for this proposal: one score cannot
    follow the overlaps with all instances. Where every class has one mask, as in semantic segmentation, all count.

    Args:
        ious: [n, Q].
        labels: of the masks, [n].

    Returns:
        bool [n, Q]; of equal overlaps the first counts.
    """
    counted = torch.zeros_like(ious, dtype=torch.bool)
    for label in labels.unique():
        same = (labels == label).nonzero()[:, 0]
        best = same[ious[same].argmax(dim=0)]
        counted[best, torch.arange(ious.shape[1], device=ious.device)] = True
    return counted


class MaskAwareLoss(nn.Module):
    """Smooth L1 between scores of a mask's class and overlaps with the mask, over all proposals (MAFT+, Eq. 1).

    Scores are softmax over the names, without void. Overlaps are rescaled to 0..1 over the proposals of a mask, as the
    published code does.

    Args:
        weight: of the loss.
        type: 'paper' takes :func:`mask_ious` and the mean over the pairs of the batch that count, see
            :func:`counted_pairs`; 'published' takes :func:`soft_ious` and the mean over all pairs.

    Raises:
        ValueError: on another type.
    """

    def __init__(self, weight: float = 1.0, type: str = "paper") -> None:
        super().__init__()
        if type not in FORMS:
            raise ValueError(f"mask_aware_loss.type must be one of {', '.join(FORMS)}, not {type!r}")
        self.weight, self.form = weight, type

    def forward(self, logits: Tensor, masks: Tensor, targets: Sequence[InstanceData]) -> Tensor:
        """Loss of a batch.

        Args:
            logits: of the proposals, [B, Q, T + 1], void last.
            masks: mask logits [B, Q, h, w].
            targets: of each image ``labels`` [n] below T and ``masks`` [n, H, W] in {0, 1}.

        Returns:
            The weighted loss, a scalar; 0 where no image has a mask.
        """
        with torch.autocast(logits.device.type, enabled=False):
            scores = logits[..., :-1].float().softmax(dim=-1)
            found, wanted = [], []
            for own, proposals, target in zip(scores, masks, targets, strict=True):
                if not len(target.labels):
                    continue
                if self.form == "published":
                    ious = soft_ious(proposals, target.masks)
                    counted = torch.ones_like(ious, dtype=torch.bool)
                else:
                    ious = mask_ious(proposals, target.masks)
                    counted = counted_pairs(ious, target.labels)
                found.append(own[:, target.labels].T[counted])
                wanted.append(rescaled(ious)[counted])
            if not found:
                return 0 * scores.sum()
            return self.weight * F.smooth_l1_loss(torch.cat(found), torch.cat(wanted))
