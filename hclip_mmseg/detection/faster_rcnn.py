"""The detector that joins image and vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.detectors import FasterRCNN
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from hclip_mmseg.detection.detector_pass import DetectorPass
from hclip_mmseg.detection.features import PyramidFeatures
from hclip_mmseg.detection.patch_pyramid import PYRAMID_MAPS, PatchPyramid
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.models.missing_scope import needs_scope
from hclip_mmseg.models.open_vocab_model import OpenVocabModel
from hclip_mmseg.vocabularies import Names
from hclip_mmseg.vocabularies.labels import check_labels


@needs_scope("mmdet")
@MODELS.register_module()
class OpenVocabFasterRCNN(OpenVocabModel, FasterRCNN):
    """Finds the things that it is asked for by name: Faster R-CNN on CLIP (F-ViT of CLIPSelf and CLIM).

    Backbone and text encoder are those of the segmentor. The backbone's inner blocks make the pyramid that proposals
    and boxes come from; its dense tokens are CLIP's word on a region at test time.

    Args:
        text_encoder: the neck that owns the vocabulary.
        pretrained: nothing; MMSegmentation's own ``init_model`` hands None to every model.
        backbone: a ``CLIPBackbone`` that gives :class:`~hclip_mmseg.models.features.DenseFeatures` with block maps.
        kwargs: of MMDetection's ``FasterRCNN``; ``roi_head`` is an ``OpenVocabRoIHead``.

    Raises:
        ValueError: if the other parts are set up for another image tower: what to set.
    """

    gives_label_maps = False

    def __init__(
        self, *, text_encoder: dict[str, Any], backbone: dict[str, Any], pretrained: None = None, **kwargs: Any
    ) -> None:
        super().__init__(backbone=backbone, **kwargs)
        self.text_encoder = MODELS.build(text_encoder)
        self.text_encoder.read_with(self.backbone.tokenizer)
        self._check_tower()
        self.roi_head.set_names(self.vocabulary)

    def _check_tower(self) -> None:
        """Check, before any work, that pyramid and region head are set up for the backbone's image tower."""
        blocks = len(getattr(self.backbone, "out_layers", ()))
        if blocks != PYRAMID_MAPS:
            raise InputError(
                f"the detector's pyramid is made of the outputs of {PYRAMID_MAPS} blocks of a vision transformer, and "
                f"{type(self.backbone).__name__} gives {blocks}: take HCLIPBackbone with four out_layers"
            )
        tower, head = self.backbone.image_tower, self.roi_head
        strides = list(head.region_extractor.featmap_strides)
        own: dict[str, tuple[object, object]] = {
            "roi_head.bbox_head.text_channels": (head.bbox_head.background.shape[1], self.backbone.embed_dim),
            "roi_head.region_extractor.featmap_strides": (strides, [tower.patch_size]),
        }
        pyramid = self.neck[0] if isinstance(self.neck, nn.Sequential) else self.neck
        if isinstance(pyramid, PatchPyramid):
            own["neck.0.channels, as each of neck.1.in_channels,"] = (pyramid.channels, tower.width)
        wrong = [f"{name} is {value} and must be {wanted}" for name, (value, wanted) in own.items() if value != wanted]
        if wrong:
            raise InputError(
                f"the detector is set up for another image tower than the backbone's, whose patches are of "
                f"{tower.patch_size} pixels: {'; '.join(wrong)}"
            )

    def set_vocabulary(self, names: Names, templates: str | Sequence[str] | None = None) -> None:
        """As :meth:`OpenVocabModel.set_vocabulary`; the region head is told the names too."""
        super().set_vocabulary(names, templates)
        self.roi_head.set_names(self.vocabulary)

    @torch.no_grad()
    def image_pass(self) -> DetectorPass:
        """The pass over one image for the present names and weights, to be exported or compiled; shares the weights.

        Raises:
            ValueError: if the model was given no vocabulary.
        """
        text = self.text_encoder(self.backbone.encode_text, self.backbone.text_parameters())
        unit = F.normalize(text.mean(dim=1), dim=-1)
        return DetectorPass(self.backbone.image_side(), self.neck, self.rpn_head, self.roi_head, unit)

    def extract_feat(self, batch_inputs: Tensor) -> PyramidFeatures:
        """Normalised images [B, 3, H, W], sides multiples of the patch -> pyramid, dense tokens and text."""
        features = self.backbone(batch_inputs)
        text = self.text_encoder(self.backbone.encode_text, self.backbone.text_parameters())
        return PyramidFeatures(self.neck(features.blocks), features.dense, F.normalize(text.mean(dim=1), dim=-1))

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict[str, Tensor]:
        """Losses of proposals and regions.

        Raises:
            ValueError: if a label is outside the vocabulary: which label, in which image.
        """
        for sample in batch_data_samples:
            check_labels(sample.gt_instances.labels, len(self.vocabulary), sample.metainfo)
        return super().loss(batch_inputs, batch_data_samples)

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        """Detections of images, in ``pred_instances``.

        Each sample's metainfo gets ``vocabulary``, the names that labels stand for, and ``base_names``, those of them
        that boxes were shown for in training.
        """
        samples = super().predict(batch_inputs, batch_data_samples, rescale)
        base = tuple(name for name in self.vocabulary if self.roi_head.is_base(name))
        for sample in samples:
            sample.set_metainfo(dict(vocabulary=self.vocabulary, base_names=base))
        return samples
