"""The cost-aggregation head as a decode head of MMSegmentation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.models.cost_aggregation import CostAggregator
from hclip_mmseg.models.decode_heads.open_vocab_decode_head import OpenVocabDecodeHead
from hclip_mmseg.models.features import HeadInputs


@MODELS.register_module()
class CostAggregationHead(OpenVocabDecodeHead):
    """Cost volume, aggregation and guided decoding (CAT-Seg, section 3). Defaults: the published shape.

    Args:
        text_channels: width C of dense tokens and text embeddings (512 in ViT-B/16, 768 in ViT-L/14).
        templates: number P of prompt templates that stand apart in the cost volume.
        aggregator: the other arguments of :class:`~hclip_mmseg.models.cost_aggregation.CostAggregator`, such as
            ``dict(dim=128, layers=2)``.
        prior: probability, in (0, 1), that the untrained head starts each class at (Lin et al., Focal Loss, section
            3.3), which spares a short run from first learning that most classes are absent; None: as published.
        loss_decode, ignore_index, align_corners, init_cfg: as in every decode head of MMSegmentation.
        aggregator_options: the aggregator's arguments beside those of the head, the older way to write them.

    Raises:
        TypeError: if the aggregator has no such argument.
        ValueError: if an argument of the aggregator is given both ways, or ``prior`` is no probability.
    """

    def __init__(
        self,
        text_channels: int = 512,
        templates: int = 1,
        aggregator: Mapping[str, Any] | None = None,
        prior: float | None = None,
        loss_decode: dict[str, Any] | None = None,
        ignore_index: int = 255,
        align_corners: bool = False,
        init_cfg: dict[str, Any] | None = None,
        **aggregator_options: Any,
    ) -> None:
        twice = sorted(set(aggregator or {}) & set(aggregator_options))
        if twice:
            raise ValueError(
                f"{', '.join(twice)} of the head's aggregator is given twice, in aggregator=dict(...) and beside it; "
                "give it in aggregator alone"
            )
        options = {**(aggregator or {}), **aggregator_options}
        super().__init__(
            text_channels,
            loss_decode or dict(type="AllClassesBCELoss"),
            channels=options.get("dim", 128),
            ignore_index=ignore_index,
            align_corners=align_corners,
            init_cfg=init_cfg,
        )
        self.aggregator = CostAggregator(text_channels=text_channels, templates=templates, **options)
        if prior is not None:
            if not 0 < prior < 1:
                raise ValueError(f"prior is a probability between 0 and 1, not {prior}")
            bias = self.aggregator.decoder.score.bias
            assert bias is not None
            torch.nn.init.constant_(bias, math.log(prior / (1 - prior)))

    def check_inputs(self, width: int, guidance: Sequence[int], templates: int) -> None:
        """See :class:`~hclip_mmseg.models.decode_heads.OpenVocabDecodeHead`."""
        cost, projections = self.aggregator.embed_cost, self.aggregator.decoder.guidance_projections
        self.check_decoder("aggregator", cost, projections, width, guidance, templates)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """(dense [B, C, H, W], guidance maps ..., text [T, P, C]) -> logits [B, T, 4 H, 4 W]."""
        given = HeadInputs.of(inputs)
        logits: Tensor = self.aggregator(given.dense, given.guidance, given.text)
        return logits

    def most_similar(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """As :meth:`forward`, without making maps for the classes that are left out.

        Returns:
            logits [B, K, 4 H, 4 W] and the [B, K] classes that they belong to, or None where K = T.
        """
        given = HeadInputs.of(inputs)
        return self.aggregator.most_similar(given.dense, given.guidance, given.text)
