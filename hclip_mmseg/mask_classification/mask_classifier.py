"""What segmentors that classify mask proposals share: words, targets, results."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmdet.models.detectors.base import BaseDetector
from mmdet.registry import MODELS
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from hclip_mmseg.mask_classification.classification import SynonymTable
from hclip_mmseg.mask_classification.inference import (
    instances,
    panoptic_ids,
    semantic_labels,
    semantic_scores,
)
from hclip_mmseg.models.open_vocab_model import OpenVocabModel
from hclip_mmseg.models.score_maps import resized, unflipped
from hclip_mmseg.vocabularies import Names, Vocabulary, read_vocabulary
from hclip_mmseg.vocabularies.labels import check_labels

IGNORED = 255
"""The label of pixels that belong to no segment, as MMDetection's panoptic sets have it."""

RESULTS = dict(
    semantic=True,
    panoptic=True,
    instance=False,
    object_threshold=0.8,
    overlap_threshold=0.8,
    max_instances=100,
    score_memory=0,
)


class MaskClassifier(OpenVocabModel, BaseDetector):
    """Open-vocabulary segmentation by classifying masks: semantic, panoptic and instances.

    A subclass proposes and classifies: :meth:`loss` in training, :meth:`scored_masks` in inference.

    Args:
        text_encoder: the neck that owns the class names.
        data_preprocessor: MMDetection's.
        test_cfg: ``semantic``, ``panoptic``, ``instance``: which results are wanted (True, True, False);
            ``object_threshold``, ``overlap_threshold``: see
            :func:`~hclip_mmseg.mask_classification.inference.panoptic_ids` (0.8, 0.8); ``max_instances``
            (100); ``score_memory``: bytes up to which the scores of all names are kept as ``seg_logits`` (0).

    Raises:
        ValueError: on any other entry in ``test_cfg``, or if ``text_encoder`` keeps templates apart.
    """

    gives_panoptic = True

    def __init__(
        self,
        text_encoder: Mapping[str, Any],
        data_preprocessor: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        unknown = set(test_cfg or {}) - set(RESULTS)
        if unknown:
            raise ValueError(f"unknown entries in test_cfg: {', '.join(sorted(unknown))}")
        self.results = {**RESULTS, **(test_cfg or {})}
        self.text_encoder = MODELS.build(text_encoder)
        self.text_encoder.check_averages(type(self).__name__)
        self.synonyms = SynonymTable(Vocabulary(()))
        self.things = torch.zeros(0, dtype=torch.bool)
        if self.text_encoder.vocabulary:
            self.set_vocabulary(self.text_encoder.vocabulary)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The names that the model looks for, in label order."""
        return self.synonyms.names

    @property
    def smallest_side(self) -> int:
        """1 pixel: images are resized to what the model takes."""
        return 1

    def set_vocabulary(
        self,
        names: Names,
        templates: str | Sequence[str] | None = None,
        things: Sequence[str] | None = None,
    ) -> None:
        """Replaces what the model looks for; each synonym of a name is looked for.

        Args:
            names: see :func:`~hclip_mmseg.vocabularies.read_vocabulary`; all are things unless it says so. Two
                may have the same name.
            templates: prompt templates, None keeps the present ones.
            things: those of the names that are counted one by one; None: as the vocabulary says.

        Raises:
            ValueError: if names are empty or too long, or things are none of them; nothing changes then.
        """
        vocabulary = read_vocabulary(names, repeats=True)
        if things is not None:
            vocabulary = vocabulary.with_stuff([title for title in vocabulary.titles if title not in set(things)])
        table = SynonymTable(vocabulary)
        self.text_encoder.set_vocabulary(Vocabulary(table.words, whole=True), templates)
        self.synonyms = table
        self.things = torch.tensor(vocabulary.things)

    def targets(self, batch_data_samples: Sequence[Any]) -> list[InstanceData]:
        """``labels`` [n] and ``masks`` [n, H, W] in {0, 1} of each image, things and stuff together.

        Args:
            batch_data_samples: with ``gt_instances`` (``labels``, ``masks``) of things and ``gt_sem_seg`` of stuff.

        Raises:
            ValueError: if a label is outside the vocabulary: which label, in which image.
        """
        return [self._target(sample) for sample in batch_data_samples]

    def _target(self, sample: Any) -> InstanceData:
        names = len(self.vocabulary)
        own = sample.gt_instances
        semantic = sample.gt_sem_seg.sem_seg if "gt_sem_seg" in sample else None
        check_labels(own.labels, names, sample.metainfo)
        masks = own.masks.to_tensor(dtype=torch.bool, device=own.labels.device)
        if semantic is None:
            return InstanceData(labels=own.labels, masks=masks.long())
        check_labels(semantic, names, sample.metainfo, IGNORED)
        # the pixels of things without a mask, crowds, are left out
        there = [label for label in semantic.unique().tolist() if label != IGNORED and not self.things[label]]
        stuff = torch.tensor(there, dtype=own.labels.dtype, device=own.labels.device)
        masks = torch.cat([masks, semantic[0] == stuff[:, None, None]])
        return InstanceData(labels=torch.cat([own.labels, stuff]), masks=masks.long())

    @abstractmethod
    def scored_masks(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]) -> Iterator[tuple[Tensor, Tensor]]:
        """For each image the masks' scores [Q, T + 1], void last, which sum to 1, and their logits [Q, H, W].

        Mask logits have the size of the image as the model takes it, without padding; see
        :func:`~hclip_mmseg.mask_classification.inference.without_padding`. They are the caller's to change.
        """

    @torch.no_grad()
    def predict(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any], rescale: bool = True) -> list[Any]:
        """Segments images.

        Args:
            batch_inputs: normalised images [B, 3, H, W].
            batch_data_samples: their meta information.
            rescale: whether results have the size of the original image.

        Returns:
            The samples with ``pred_sem_seg`` (labels), ``pred_panoptic_seg``, ``pred_instances``, as ``test_cfg``
            says, and in their meta information ``vocabulary``, the names that labels stand for, and ``things``.
        """
        found = self.scored_masks(batch_inputs, batch_data_samples)
        for sample, (scores, masks) in zip(batch_data_samples, found, strict=True):
            if rescale:
                masks = resized(masks, tuple(sample.metainfo["ori_shape"][:2]))
            masks = unflipped(masks, sample.metainfo)
            self._store(sample, scores, masks.sigmoid_())  # in place: they are the largest of all
        return list(batch_data_samples)

    def _store(self, sample: Any, scores: Tensor, masks: Tensor) -> None:
        wanted, names, things = self.results, scores[:, :-1], self.things.to(scores.device)
        if wanted["semantic"]:
            if 4 * names.shape[1] * masks[0].numel() <= wanted["score_memory"]:
                maps = semantic_scores(names, masks)
                sample.set_field(PixelData(data=maps), "seg_logits", dtype=PixelData)
            labels = semantic_labels(names, masks)[None]
            sample.pred_sem_seg = PixelData(data=labels, sem_seg=labels)
        if wanted["panoptic"]:
            ids = panoptic_ids(scores, masks, things, wanted["object_threshold"], wanted["overlap_threshold"])
            sample.set_field(PixelData(sem_seg=ids[None]), "pred_panoptic_seg", dtype=PixelData)
        if wanted["instance"]:
            found = instances(names, masks, things, wanted["max_instances"])
            sample.set_field(found, "pred_instances", dtype=InstanceData)
        chosen = tuple(name for name, thing in zip(self.vocabulary, self.things.tolist(), strict=True) if thing)
        sample.set_metainfo(dict(vocabulary=self.vocabulary, things=chosen))
