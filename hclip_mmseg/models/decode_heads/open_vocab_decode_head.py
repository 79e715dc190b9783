"""What heads that score names share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from torch import Tensor, nn

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.models.cost_aggregation import scores_of_all


class OpenVocabDecodeHead(BaseDecodeHead):
    """A decode head without a class list: it scores as many names as it is given text embeddings.

    A subclass says how: :meth:`most_similar`. Inputs are :class:`~hclip_mmseg.models.features.HeadInputs`, or a plain
    tuple in their order.

    Args:
        text_channels: width C of dense tokens and text embeddings.
        channels: MMSegmentation's, the width of the layer before the scores.
        loss_decode: the losses on all names' scores.
        ignore_index, align_corners, init_cfg: as in every decode head of MMSegmentation.
    """

    def __init__(
        self,
        text_channels: int,
        loss_decode: dict[str, Any] | Sequence[dict[str, Any]],
        channels: int = 1,
        ignore_index: int = 255,
        align_corners: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            in_channels=text_channels,
            channels=channels,
            num_classes=1,
            out_channels=1,
            threshold=0.5,
            dropout_ratio=0,
            loss_decode=loss_decode,
            ignore_index=ignore_index,
            align_corners=align_corners,
            init_cfg=init_cfg,
        )
        del self.conv_seg  # classes are not weights of the head

    def check_recordable(self) -> None:
        """Check that what the head computes is one graph for all images; the default is one.

        Raises:
            ValueError: if it depends on the numbers in an image: what to set.
        """

    def check_inputs(self, width: int, guidance: Sequence[int], templates: int) -> None:
        """Check, before any work, that the head can read what the other parts of a model give; the default takes all.

        Args:
            width: of dense tokens and text embeddings.
            guidance: channels of the maps that guide the decoder, from coarse to fine.
            templates: how many embeddings each name has.

        Raises:
            ValueError: if it cannot: which setting differs, and what to set.
        """

    def check_decoder(
        self, name: str, cost: nn.Conv2d, projections: Any, width: int, guidance: Sequence[int], templates: int
    ) -> None:
        """What :meth:`check_inputs` checks of a head that decodes a cost volume by guidance maps.

        Args:
            name: of the setting of the head that holds its decoder's.
            cost: embeds the cost volume, which has a channel for each template.
            projections: of the guidance maps, each of which begins with a convolution.
            width, guidance, templates: see :meth:`check_inputs`.
        """
        for setting, own, given in (
            ("text_channels", self.in_channels, width),
            ("templates", cost.in_channels, templates),
            (f"{name}.guidance_channels", tuple(part[0].in_channels for part in projections), tuple(guidance)),
        ):
            if own != given:
                raise InputError(
                    f"the decode head is set up for {setting}={own}, and the model's other parts give {given}: set "
                    f"model.decode_head.{setting}={given}"
                )

    @abstractmethod
    def most_similar(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Score the names that the head looks at: all of them, or in each image those that are most like it.

        Returns:
            logits [B, K, H, W] and the [B, K] indices of the names that they belong to, or None where K = T.
        """

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """(dense [B, C, h, w], guidance maps ..., text [T, P, C]) -> logits [B, T, H, W].

        A name that :meth:`most_similar` leaves out scores -100.
        """
        return scores_of_all(*self.most_similar(inputs), classes=inputs[-1].shape[-3])

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """The losses at the labels' resolution, and the pixel accuracy at the logits'."""
        labels = self._stack_batch_gt(batch_data_samples).squeeze(1)
        with torch.no_grad():
            coarse = F.interpolate(labels[:, None].float(), size=seg_logits.shape[-2:], mode="nearest")[:, 0]
            valid = coarse != self.ignore_index
            right = (seg_logits.argmax(dim=1) == coarse) & valid
            accuracy = 100.0 * right.sum() / valid.sum().clamp(min=1)
        logits = F.interpolate(
            seg_logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=self.align_corners
        )
        losses: dict[str, Tensor] = {}
        for loss in self.loss_decode if isinstance(self.loss_decode, nn.ModuleList) else [self.loss_decode]:
            name, value = str(loss.loss_name), loss(*_taken(loss, logits, labels), ignore_index=self.ignore_index)
            losses[name] = losses[name] + value if name in losses else value
        return {**losses, "acc_seg": accuracy}


def _taken(loss: nn.Module, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [B, T, H, W] and labels [B, H, W] as a loss takes them.

    Where it has to be deterministic, cross-entropy takes pixels in a row, [N, T] and [N]: torch's form for images is
    not on a GPU.
    """
    if torch.are_deterministic_algorithms_enabled() and isinstance(loss, CrossEntropyLoss):
        if not (loss.use_sigmoid or loss.use_mask):
            return logits.movedim(1, -1).flatten(0, 2), labels.flatten()
    return logits, labels
