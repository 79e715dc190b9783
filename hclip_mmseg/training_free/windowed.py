"""Labels of an image by a method's protocol: windows, scores of names, decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from hclip_mmseg.models.score_maps import resized
from hclip_mmseg.training_free.backbone import TrainingFreeBackbone
from hclip_mmseg.training_free.byte_images import Normalisation
from hclip_mmseg.training_free.decisions import Decision, ScoredImage, decide
from hclip_mmseg.training_free.dense import DenseTokens, ImageContext, PatchWeights
from hclip_mmseg.training_free.protocol import Protocol, Settings, benchmark_of, class_of_each_name, has_background
from hclip_mmseg.training_free.windows import Windows, WindowScores, at_protocol_size
from hclip_mmseg.vocabularies import Vocabulary


class Found(NamedTuple):
    """What is found in one image.

    Attributes:
        labels: int64 [H, W], indices of the names.
        scored: the score maps that they come from.
        scale: factor of the scores in the softmax.
    """

    labels: Tensor
    scored: ScoredImage
    scale: float


def build_part(name: str, config: Mapping[str, Any]) -> Any:
    """The part of a config that stands in ``windowed`` under a name.

    Raises:
        ValueError: if it says by its ``part`` that it belongs under another name.
    """
    part = MODELS.build(dict(config))
    belongs = getattr(part, "part", name)
    if belongs != name:
        kind = type(part).__name__
        raise ValueError(f"windowed.{name}: {kind} belongs under windowed.{belongs}")
    return part


class WindowedSegmentation(nn.Module):
    """What the methods of the field share beside CLIP's last block.

    Args:
        protocol: how images are looked at.
        stitch: whether the windows' tokens are averaged into one map of the image before names are compared with
            them; else the windows' score maps are averaged. Methods of the whole image stitch by themselves.
        aggregation: config of what mixes the stitched tokens of an image, such as ``dict(type='GlobalAggregation')``.
        propagation: config of what spreads the scores of all patches, such as ``dict(type='LabelPropagation')``.
        smoothing: config of what smooths score maps along the image's edges, such as ``dict(type='PAMR')``.
        absent_below: see :class:`~.decisions.Decision`.
        windows_at_once: windows that CLIP is run on together; bounds the memory.

    Raises:
        ValueError: if a part stands in the place of another, or a number is out of its range.
    """

    def __init__(
        self,
        protocol: Protocol,
        stitch: bool = False,
        aggregation: Mapping[str, Any] | None = None,
        propagation: Mapping[str, Any] | None = None,
        smoothing: Mapping[str, Any] | None = None,
        absent_below: float = 0.0,
        windows_at_once: int = 8,
    ) -> None:
        super().__init__()
        if not 0 <= absent_below < 1:
            raise ValueError(f"absent_below must be a probability from 0 to below 1, not {absent_below!r}")
        if windows_at_once < 1:
            raise ValueError(f"windows_at_once must be at least 1, not {windows_at_once!r}")
        self.protocol, self.stitch = protocol, stitch
        self.absent_below, self.windows_at_once = absent_below, windows_at_once
        parts = dict(aggregation=aggregation, propagation=propagation, smoothing=smoothing)
        for name, config in parts.items():
            setattr(self, name, None if config is None else build_part(name, config))

    def check(self, backbone: TrainingFreeBackbone) -> None:
        """Raises a ValueError if tokens are to be aggregated that nothing stitches."""
        whole = backbone.method is not None and backbone.method.whole_image
        if self.get_part("aggregation") is not None and not (self.stitch or whole):
            raise ValueError("aggregation mixes the tokens of a whole image: set stitch=True")

    def get_part(self, name: str) -> Any:
        """'aggregation', 'propagation' or 'smoothing'; None where there is none."""
        return getattr(self, name)

    def scores(
        self,
        backbone: TrainingFreeBackbone,
        text: Tensor,
        image: Tensor,
        settings: Settings,
        metainfo: Mapping[str, Any],
        benchmark: str = "",
        kept: dict[str, PatchWeights] | None = None,
        normalisation: Normalisation | None = None,
    ) -> tuple[WindowScores, Tensor]:
        """Cosines of all patches and names, and the image at the protocol's size.

        Args:
            backbone: CLIP.
            text: [names, C], of unit norm.
            image: normalised [3, H, W].
            settings: of the protocol.
            metainfo: of the image.
            benchmark: name of the benchmark's list that is asked for; "" for others.
            kept: see :class:`~.dense.ImageContext`.
            normalisation: of the image; see :func:`~.byte_images.resized_image`.
        """

        def classify(dense: DenseTokens) -> Tensor:
            tokens = F.normalize(dense.projected(backbone.image_tower), dim=-1)
            return (tokens @ text.to(tokens.dtype).T).transpose(1, 2).unflatten(2, dense.grid)

        original, image = image, at_protocol_size(image, settings, normalisation)
        windows = Windows.of((image.shape[-2], image.shape[-1]), settings)
        context = ImageContext(image, windows, classify, metainfo, 0, original, benchmark, kept)
        pixels = windows.cut(image)
        if backbone.method is not None and backbone.method.whole_image:
            dense = [backbone.dense(pixels, context)]
            stitched = dense[0].maps()
        else:
            parts = enumerate(pixels.split(self.windows_at_once))
            contexts = ((part, replace(context, first=index * self.windows_at_once)) for index, part in parts)
            if not self.stitch:
                found = torch.cat([classify(backbone.dense(*part)) for part in contexts])
                return self._propagated(WindowScores(found, windows), context), image
            dense = [backbone.dense(*part) for part in contexts]
            stitched = windows.stitched(torch.cat([part.maps() for part in dense]))[None]
        aggregation = self.get_part("aggregation")
        if aggregation is not None:
            stitched = aggregation(stitched, context)
        scores = classify(DenseTokens.of_maps(stitched, dense[0].normed))
        return self._propagated(WindowScores(scores, windows.whole(), settings.straight), context), image

    def _propagated(self, scores: WindowScores, context: ImageContext) -> WindowScores:
        propagation = self.get_part("propagation")
        return scores if propagation is None else propagation(scores, context)

    @torch.no_grad()
    def forward(
        self,
        backbone: TrainingFreeBackbone,
        text: Tensor,
        vocabulary: Vocabulary,
        image: Tensor,
        size: tuple[int, int],
        metainfo: Mapping[str, Any],
        normalisation: Normalisation | None = None,
    ) -> Found:
        """Labels of one image at its own size.

        Args:
            backbone: CLIP.
            text: [names, C], of unit norm.
            vocabulary: what is asked for; the names are ``vocabulary.asked``.
            image: normalised [3, H, W].
            size: height and width of the result.
            metainfo: of the image.
            normalisation: of the image; see :func:`~.byte_images.resized_image`.
        """
        settings = self.protocol.settings(vocabulary)
        benchmark = benchmark_of(vocabulary)
        scores, image = self.scores(
            backbone, text, image, settings, metainfo, benchmark, normalisation=normalisation
        )
        smoothing = self.get_part("smoothing")
        own = (image.shape[-2], image.shape[-1])
        at = own if getattr(smoothing, "at_protocol_size", False) else size
        smooth = None if smoothing is None else smoothing.prepared(resized(image, at))

        def maps(chosen: slice) -> Tensor:
            found = scores.maps(chosen, at)
            return found if smooth is None else resized(smooth(found), size)

        scored = ScoredImage(maps, size, len(vocabulary.asked))
        decision = Decision(
            settings.logit_scale,
            class_of_each_name(vocabulary),
            has_background(vocabulary),
            settings.prob_thd,
            settings.area_thd,
            self.absent_below,
        )
        return Found(decide(scored, decision), scored, settings.logit_scale)
