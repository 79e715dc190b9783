"""The segmentor that joins CLIP, proposals and the vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from hclip_mmseg.mask_classification.classification import class_logits, class_scores
from hclip_mmseg.mask_classification.inference import without_padding
from hclip_mmseg.mask_classification.maft_plus.content_dependent_transfer import ContentDependentTransfer
from hclip_mmseg.mask_classification.maft_plus.geometric_ensemble import geometric_ensemble, shares_a_name
from hclip_mmseg.mask_classification.maft_plus.mask_aware_loss import MaskAwareLoss
from hclip_mmseg.mask_classification.maft_plus.mask_pooling import mask_pooling
from hclip_mmseg.mask_classification.maft_plus.representation_compensation import RepresentationCompensation
from hclip_mmseg.mask_classification.maft_plus.self_distillation import SelfDistillation
from hclip_mmseg.mask_classification.mask_classifier import MaskClassifier
from hclip_mmseg.mask_classification.view import viewed
from hclip_mmseg.models.missing_scope import needs_scope
from hclip_mmseg.vocabularies import read_names


@dataclass
class Proposals:
    """What the model makes of a batch of images.

    Attributes:
        dense: CLIP's last map [B, C, H / 32, W / 32].
        words: text embeddings of the vocabulary's words, [W, D].
        transferred: the same as each image changes them, [B, W, D]; ``words`` where nothing changes them.
        embeddings: the proposal head's, [B, Q, D], of each of its layers in training, of the last one in inference.
        masks: mask logits of each layer, [B, Q, H / 4, W / 4].
    """

    dense: Tensor
    words: Tensor
    transferred: Tensor
    embeddings: list[Tensor]
    masks: list[Tensor]


@needs_scope("mmdet")
@MODELS.register_module()
class MAFTPlus(MaskClassifier):
    """Collaborative optimisation of CLIP's image and text sides for mask proposals (MAFT+).

    CLIP's ConvNeXt gives maps; a Mask2Former proposes masks from them, through which no gradient reaches CLIP. CLIP's
    last map is pooled in each mask, projected and compared with text embeddings that content-dependent transfer has
    adapted to the image. CLIP is tuned by the mask-aware loss and held near itself by representation compensation.

    The proposal head compares embeddings of its own with the plain text embeddings and with a trained one for void.
    In inference void's probability is the head's, that of the names is CLIP's.

    Args:
        backbone: a ``MAFTPlusCLIP``.
        head: an ``OpenVocabMask2FormerHead``; the width of its embeddings and the maps' channels and strides are
            filled in.
        text_encoder: the neck that owns the words.
        cdt: arguments of ``ContentDependentTransfer``, or None for the plain text embeddings.
        rc: arguments of ``RepresentationCompensation``, or None.
        distillation: arguments of ``SelfDistillation``, which MAFT has in the place of ``rc``, or None.
        mask_aware_loss: arguments of ``MaskAwareLoss``, or None where neither CLIP nor text embeddings are tuned.
        criterion: of the proposals, a ``MaskClassificationLoss``.
        ensemble: None, or ``alpha``, ``beta`` and ``trained`` (the training names, or the name of their vocabulary):
            scores of names become FC-CLIP's geometric mean of the head's and CLIP's.
        view: shorter side and greatest longer side of images in inference, in pixels; None takes them as they come.
        data_preprocessor: MMDetection's, with CLIP's mean and deviation.
        test_cfg: see :class:`~hclip_mmseg.mask_classification.mask_classifier.MaskClassifier`.

    Raises:
        ValueError: if a loss is configured that could train nothing, losses lack for what is tuned, or ``ensemble`` has
            other entries, lacks ``trained``, or has weights outside of 0..1.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        head: Mapping[str, Any],
        text_encoder: Mapping[str, Any],
        cdt: Mapping[str, Any] | None = None,
        rc: Mapping[str, Any] | None = None,
        mask_aware_loss: Mapping[str, Any] | None = None,
        criterion: Mapping[str, Any] | None = None,
        ensemble: Mapping[str, Any] | None = None,
        view: Sequence[int] | None = (800, 1333),
        distillation: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
        train_cfg: None = None,  # these two are set by MMSegmentation's init_model, to None
        pretrained: None = None,
    ) -> None:
        super().__init__(text_encoder, data_preprocessor, test_cfg, init_cfg)
        compared = rc is not None or distillation is not None
        self.backbone = MODELS.build({**backbone, "keep_frozen": compared})
        self.text_encoder.read_with(self.backbone.tokenizer)
        tower, width = self.backbone.image_tower, self.backbone.embed_dim
        if compared and not self.backbone.trains:
            raise ValueError(
                f"{'distillation' if rc is None else 'rc'} is given though the image tower is frozen; give None or a "
                "smaller frozen_stages"
            )
        if (mask_aware_loss is not None) != (self.backbone.trains or cdt is not None):
            raise ValueError(
                "mask_aware_loss trains the image tower and cdt: give it where one of them is trained, and None "
                "where neither is"
            )
        pixel_decoder = {**head["pixel_decoder"], "strides": tower.strides}
        self.head = MODELS.build(
            {**head, "embed_dim": width, "in_channels": tower.channels, "pixel_decoder": pixel_decoder}
        )
        self.void = nn.Parameter(torch.randn(1, width) / width**0.5)
        self.cdt = None if cdt is None else ContentDependentTransfer(width, **cdt)
        self.rc = None if rc is None else RepresentationCompensation(**rc)
        self.distillation = None if distillation is None else SelfDistillation(**distillation)
        self.mask_aware_loss = None if mask_aware_loss is None else MaskAwareLoss(**mask_aware_loss)
        self.criterion = MODELS.build(criterion or dict(type="MaskClassificationLoss"))
        self.view = view
        self.ensemble = None if ensemble is None else _checked(ensemble)

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Maps of CLIP's image tower."""
        maps: tuple[Tensor, ...] = self.backbone(batch_inputs)
        return maps

    def propose(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]) -> Proposals:
        """Normalised images [B, 3, H, W] -> maps, words and proposals."""
        maps = self.extract_feat(batch_inputs)
        words = self.text_encoder(self.backbone.encode_text, self.backbone.text_parameters())[:, 0]
        transferred = words
        if self.cdt is not None:
            projected = self.backbone.project(maps[-1].permute(0, 2, 3, 1))
            transferred = self.cdt(words, projected.permute(0, 3, 1, 2))
        embeddings, masks = self.head([each.detach() for each in maps], batch_data_samples)
        return Proposals(maps[-1], words, transferred, embeddings, masks)

    def head_logits(self, proposals: Proposals, layer: int = -1) -> Tensor:
        """Class logits [B, Q, T + 1] of the proposal head's embeddings in one of its layers."""
        columns = torch.cat([proposals.words, F.normalize(self.void, dim=-1)])
        return class_logits(proposals.embeddings[layer], columns, self.synonyms, self.head.logit_scale)

    def clip_logits(self, proposals: Proposals) -> Tensor:
        """Class logits [B, Q, T + 1] of CLIP's features in the last layer's masks; void's are of no use."""
        embeddings = self.backbone.project(mask_pooling(proposals.dense, proposals.masks[-1]))
        words = proposals.transferred
        columns = torch.cat([words, self.void.detach().to(words).expand(*words.shape[:-2], 1, -1)], dim=-2)
        return class_logits(embeddings, columns, self.synonyms, self.backbone.logit_scale)

    def loss(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """Losses of proposals, of CLIP's scores, and of CLIP's drift.

        Args:
            batch_inputs: normalised images [B, 3, H, W].
            batch_data_samples: see :meth:`targets`.

        Raises:
            ValueError: as :meth:`targets`.
        """
        targets = self.targets(batch_data_samples)
        metas = [sample.metainfo for sample in batch_data_samples]
        proposals = self.propose(batch_inputs, batch_data_samples)
        losses = {}
        layers = len(proposals.masks)
        for layer, masks in enumerate(proposals.masks):
            prefix = "" if layer == layers - 1 else f"d{layer}."
            found = self.criterion(self.head_logits(proposals, layer), masks, targets, metas)
            losses.update({prefix + name: value for name, value in found.items()})
        if self.mask_aware_loss is not None:
            logits = self.clip_logits(proposals)
            losses["loss_mask_aware"] = self.mask_aware_loss(logits, proposals.masks[-1], targets)
        if self.backbone.frozen_trunk is not None:
            frozen = self.backbone.frozen_trunk(batch_inputs)
            if self.rc is not None:
                losses["loss_rc"] = self.rc(proposals.dense, frozen)
            if self.distillation is not None:
                scored = (self._image_logits(each, proposals.words) for each in (proposals.dense, frozen))
                losses["loss_distillation"] = self.distillation(*scored)
        return losses

    def _image_logits(self, dense: Tensor, words: Tensor) -> Tensor:
        """Class logits [B, T] of whole images, from CLIP's last map [B, C, h, w]."""
        embeddings = self.backbone.project(dense.mean(dim=(-2, -1)))[:, None]
        columns = torch.cat([words, words[:1]])  # a column for void, which is not read
        return class_logits(embeddings, columns, self.synonyms, self.backbone.logit_scale)[:, 0, :-1]

    def scored_masks(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`~hclip_mmseg.mask_classification.mask_classifier.MaskClassifier`; one image after another."""
        for image, sample in zip(batch_inputs, batch_data_samples, strict=True):
            height, width = sample.metainfo["img_shape"][:2]
            shown, size = viewed(image[:, :height, :width], self.view, self.backbone.image_tower.strides[-1])
            proposals = self.propose(shown, [sample])
            masks = without_padding(proposals.masks[-1][0], (shown.shape[-2], shown.shape[-1]), size)
            yield self._scores(proposals)[0], masks

    def _scores(self, proposals: Proposals) -> Tensor:
        """[B, Q, T + 1], void last."""
        inner, logits = self.head_logits(proposals), self.clip_logits(proposals)
        void = inner.softmax(dim=-1)[..., -1]
        if self.ensemble is not None:
            options = dict(self.ensemble)
            seen = shares_a_name(self.vocabulary, options.pop("trained"))
            names = geometric_ensemble(inner[..., :-1], logits[..., :-1], seen, **options)
            logits = torch.cat([names, logits[..., -1:]], dim=-1)
        return class_scores(logits, void)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Class logits and mask logits."""
        proposals = self.propose(batch_inputs, batch_data_samples)
        return self.clip_logits(proposals), proposals.masks[-1]


def _checked(ensemble: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(ensemble) - {"alpha", "beta", "trained"})
    if unknown:
        raise ValueError(f"unknown entries in model.ensemble: {', '.join(unknown)}; it takes alpha, beta and trained")
    if ensemble.get("trained") is None:
        raise ValueError(
            "model.ensemble lacks 'trained', the names that were trained with: a list or a file of them, or "
            "the name of a benchmark's list, such as 'coco_stuff_171'"
        )
    for key in ("alpha", "beta"):
        weight = ensemble.get(key, 0)
        if not isinstance(weight, (int, float)) or not 0 <= weight <= 1:
            raise ValueError(f"model.ensemble.{key} is a weight from 0 to 1, not {weight!r}")
    return dict(ensemble, trained=read_names(ensemble["trained"], repeats=True))
