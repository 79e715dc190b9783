"""SED's decoder as a decode head of MMSegmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.models.cost_aggregation import GradualFusionDecoder
from hclip_mmseg.models.decode_heads.open_vocab_decode_head import OpenVocabDecodeHead
from hclip_mmseg.models.features import HeadInputs


@MODELS.register_module()
class GradualFusionHead(OpenVocabDecodeHead):
    """Cost volume of all templates and gradual fusion (SED: Xie et al., CVPR 2024). Defaults: published for ConvNeXt-B.

    For a ``ConvNeXtBackbone`` with ``guidance_stages=3`` and a ``TextEncoderNeck`` with ``average=False``.

    Args:
        text_channels: width C of dense tokens and text embeddings (640 in ConvNeXt-B, 768 in ConvNeXt-L).
        templates: number P of prompt templates.
        decoder: the other arguments of :class:`~hclip_mmseg.models.cost_aggregation.GradualFusionDecoder`, such as
            ``dict(kept_ranks=8)``.
        loss_decode, ignore_index, align_corners, init_cfg: as in every decode head of MMSegmentation; the loss is
            taken of the scores at each size.
    """

    def __init__(
        self,
        text_channels: int = 640,
        templates: int = 80,
        decoder: Mapping[str, Any] | None = None,
        loss_decode: dict[str, Any] | None = None,
        ignore_index: int = 255,
        align_corners: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            text_channels,
            loss_decode or dict(type="AllClassesBCELoss"),
            ignore_index=ignore_index,
            align_corners=align_corners,
            init_cfg=init_cfg,
        )
        self.decoder = GradualFusionDecoder(templates, **(decoder or {}))

    def check_recordable(self) -> None:
        """See :class:`~hclip_mmseg.models.decode_heads.OpenVocabDecodeHead`."""
        if self.decoder.kept_ranks is not None:
            raise InputError(
                "which names are rejected early depends on the image, and a file has one graph for all: set "
                "model.decode_head.decoder.kept_ranks=None"
            )

    def check_inputs(self, width: int, guidance: Sequence[int], templates: int) -> None:
        """See :class:`~hclip_mmseg.models.decode_heads.OpenVocabDecodeHead`."""
        cost, projections = self.decoder.embed_cost, self.decoder.guidance_projections
        self.check_decoder("decoder", cost, projections, width, guidance, templates)

    def most_similar(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """(dense [B, C, H, W], three guidance maps, text [T, P, C]) -> logits [B, K, 8 H, 8 W] and classes [B, K].

        The classes are None where none is rejected.
        """
        given = HeadInputs.of(inputs)
        return self.decoder.most_similar(given.dense, given.guidance, given.text)

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: Sequence[Any], train_cfg: Mapping[str, Any] | None = None
    ) -> dict[str, Tensor]:
        """The losses of the scores at each size; those before the last are named after their step, from 0."""
        given = HeadInputs.of(inputs)
        *before, last = self.decoder.all_scores(given.dense, given.guidance, given.text)
        losses = self.loss_by_feat(last, batch_data_samples)
        for step, logits in enumerate(before):
            own = self.loss_by_feat(logits, batch_data_samples)
            losses |= {f"{name}_step{step}": value for name, value in own.items() if "loss" in name}
        return losses
