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

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.mask_classification.classification import SynonymTable
from hclip_mmseg.mask_classification.inference import (
    instances,
    panoptic_ids,
    semantic_best,
    semantic_scores,
)
from hclip_mmseg.mask_classification.oracle import ORACLES, certain_logits, masks_of_labels, matched_scores
from hclip_mmseg.models.name_groups import NameGroups, one_each
from hclip_mmseg.models.open_vocab_model import OpenVocabModel
from hclip_mmseg.models.score_maps import resized, unflipped
from hclip_mmseg.vocabularies import Names, Vocabulary, read_vocabulary
from hclip_mmseg.vocabularies.labels import check_labels, label_of_no_class

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
    oracle=None,
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
            (100); ``score_memory``: bytes up to which the scores of all names are kept as ``seg_logits`` (0);
            ``oracle``: 'classifier' or 'generator', the part that gives way to the ground truth, which test data
            must hold then; see :mod:`~hclip_mmseg.mask_classification.oracle` (None).

    Raises:
        ValueError: on any other entry in ``test_cfg``, an oracle that the model does not know, or if ``text_encoder``
            keeps templates apart.
    """

    gives_panoptic = True
    oracles: Sequence[str] = ("classifier",)

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
        oracle = self.results["oracle"]
        if oracle is not None and oracle not in self.oracles:
            hint = f"{type(self).__name__} scores no masks but its own" if oracle in ORACLES else "there is none such"
            raise ValueError(f"test_cfg.oracle is one of {', '.join(self.oracles)} or None, not {oracle!r}: {hint}")
        self.text_encoder = MODELS.build(text_encoder)
        self.text_encoder.check_averages(type(self).__name__)
        self.synonyms = SynonymTable(Vocabulary(()))
        self.things = torch.zeros(0, dtype=torch.bool)
        if self.text_encoder.vocabulary:
            self.set_vocabulary(Vocabulary(self.text_encoder.vocabulary, stuff=self.text_encoder.stuff, repeats=True))

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

    def truth(self, sample: Any) -> InstanceData:
        """``labels`` and ``masks`` of a test image, at its original size.

        Args:
            sample: as in :meth:`targets`, or with a label map alone, whose labels have one mask each.

        Raises:
            InputError: if it holds neither.
            ValueError: as :meth:`targets`.
        """
        if "gt_instances" in sample:
            return self._target(sample)
        if "gt_sem_seg" not in sample:
            raise InputError(
                f"test_cfg.oracle needs the ground truth of {sample.metainfo.get('img_path', 'an image')}, which the "
                "data does not hold: take it for a test on a benchmark"
            )
        return masks_of_labels(sample.gt_sem_seg.data[0], len(self.vocabulary))

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
            says, and in their meta information ``vocabulary``, the names that labels stand for, ``things``, and
            ``presence`` [T], the highest score that a mask has for each. In classes where the sample's meta information
            has ``name_groups``.
        """
        found = self.scored_masks(batch_inputs, batch_data_samples)
        for sample, (scores, masks) in zip(batch_data_samples, found, strict=True):
            if rescale:
                masks = resized(masks, tuple(sample.metainfo["ori_shape"][:2]))
            masks = unflipped(masks, sample.metainfo)
            if self.results["oracle"] == "classifier":
                scores = matched_scores(masks, self.truth(sample), len(self.vocabulary))
            elif self.results["oracle"] == "generator":
                masks = certain_logits(self.truth(sample).masks)  # without the loss of being resized twice
            self._store(sample, scores, masks.sigmoid_())  # in place: they are the largest of all
        return list(batch_data_samples)

    def _store(self, sample: Any, scores: Tensor, masks: Tensor) -> None:
        groups: NameGroups = sample.metainfo.get("name_groups") or one_each(self.vocabulary)
        counted = groups.things or tuple(self.things.tolist())
        wanted, things = self.results, torch.tensor(counted, device=scores.device)
        # what speaks for a class is its best mask: a class is absent where no mask is taken for it
        classes, own, presence = groups.class_maps(scores[:, :-1].T)
        names = own.new_zeros(len(groups.names), len(scores)).index_copy_(0, classes, own).T.contiguous()
        if wanted["semantic"]:
            if 4 * names.shape[1] * masks[0].numel() <= wanted["score_memory"]:
                maps = semantic_scores(names, masks)
                sample.set_field(PixelData(data=maps), "seg_logits", dtype=PixelData)
            labels, best = (found[None] for found in semantic_best(names, masks))
            if not len(classes):
                labels = torch.full_like(labels, label_of_no_class(len(groups.names)))
            sample.pred_sem_seg = PixelData(data=labels, sem_seg=labels, score=best)
        if wanted["panoptic"]:
            judged = torch.cat([names, scores[:, -1:]], dim=1)
            ids = panoptic_ids(judged, masks, things, wanted["object_threshold"], wanted["overlap_threshold"])
            sample.set_field(PixelData(sem_seg=ids[None]), "pred_panoptic_seg", dtype=PixelData)
        if wanted["instance"]:
            found = instances(names, masks, things, wanted["max_instances"])
            sample.set_field(found, "pred_instances", dtype=InstanceData)
        chosen = tuple(name for name, thing in zip(groups.names, counted, strict=True) if thing)
        sample.set_metainfo(dict(vocabulary=groups.names, things=chosen, presence=presence))
