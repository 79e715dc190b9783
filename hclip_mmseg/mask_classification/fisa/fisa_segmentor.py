"""The segmentor that joins proposals, CLIP and the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.detectors.base import BaseDetector
from mmdet.models.utils import preprocess_panoptic_gt
from mmdet.registry import MODELS
from mmengine.structures import InstanceData, PixelData
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor

from hclip_mmseg.apis.paths import locate, looked_in
from hclip_mmseg.datasets.vocabularies import check_names
from hclip_mmseg.mask_classification.fisa.mask_classes import MaskClasses, SynonymTable
from hclip_mmseg.mask_classification.fisa.mask_results import (
    instances,
    panoptic_ids,
    semantic_labels,
    semantic_scores,
)


@MODELS.register_module()
class FISA(BaseDetector):
    """Open-vocabulary segmentation by classifying mask proposals: semantic, panoptic and instances (FISA).

    A Mask2Former proposes masks, its own labels are not used. The Distribution Adapter changes them, CLIP embeds them
    (``FISACLIP``), and the embeddings are compared with those of the names.

    Images are normalised by the data preprocessor as the proposals need them, and once more for CLIP. In training CLIP
    sees what the crop holds, padding included; in inference the image without padding.

    Args:
        backbone: a ``FISACLIP``.
        generator: MMDetection's Mask2Former; its ``init_cfg`` may name a checkpoint of MMDetection.
        text_encoder: the neck that owns the words.
        criterion: a ``MaskClassificationLoss``.
        train_generator: whether proposals are trained too.
        data_preprocessor: MMDetection's.
        test_cfg: ``semantic``, ``panoptic``, ``instance``: which results are wanted (True, True, False);
            ``object_threshold``, ``overlap_threshold``: see
            :func:`~hclip_mmseg.mask_classification.fisa.mask_results.panoptic_ids` (0.8, 0.8); ``max_instances``
            (100); ``score_memory``: bytes up to which the scores of all names are kept as ``seg_logits`` (0).
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        generator: Mapping[str, Any],
        text_encoder: Mapping[str, Any],
        criterion: Mapping[str, Any] | None = None,
        train_generator: bool = False,
        data_preprocessor: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.generator = MODELS.build(generator)
        self.train_generator = train_generator
        self.generator.requires_grad_(train_generator)
        self.generator.panoptic_head.cls_embed.requires_grad_(False)
        self.backbone = MODELS.build(backbone)
        self.classes = MaskClasses(self.backbone.embed_dim)
        self.text_encoder = MODELS.build(text_encoder)
        self.criterion = MODELS.build(criterion or dict(type="MaskClassificationLoss"))
        self.results = {
            **dict(semantic=True, panoptic=True, instance=False, object_threshold=0.8, overlap_threshold=0.8),
            **dict(max_instances=100, score_memory=0),
        }
        unknown = set(test_cfg or {}) - set(self.results)
        if unknown:
            raise ValueError(f"unknown entries in test_cfg: {', '.join(sorted(unknown))}")
        self.results.update(test_cfg or {})
        self._synonyms = SynonymTable(())
        self._things = torch.zeros(0, dtype=torch.bool)
        if self.text_encoder.vocabulary:
            self.set_vocabulary(self.text_encoder.vocabulary)
        if not hasattr(self.data_preprocessor, "mean"):
            raise ValueError("data_preprocessor needs mean and std: from them images are normalised for CLIP")

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The names that the model looks for, in label order."""
        return self._synonyms.names

    def set_vocabulary(
        self,
        names: Sequence[str],
        templates: str | Sequence[str] | None = None,
        things: Sequence[str] | None = None,
    ) -> None:
        """Replaces what the model looks for.

        Args:
            names: class names in label order; synonyms follow a name behind commas, and each is looked for.
            templates: prompt templates, None keeps the present ones.
            things: those of the names that are counted one by one; None for all.

        Raises:
            ValueError: if names are empty or too long, or things are no names; nothing changes then.
        """
        table = SynonymTable(check_names(names, repeats=True))
        stranger = [thing for thing in things or () if thing not in table.names]
        if stranger:
            raise ValueError(f"{stranger[0]!r} is given as a thing, but is none of the {len(table.names)} names")
        self.text_encoder.set_vocabulary(table.words, templates)
        self._synonyms = table
        self._things = torch.tensor([things is None or name in things for name in table.names])

    def init_weights(self) -> None:
        """Loads the generator's checkpoint, if its ``init_cfg`` names one.

        Raises:
            FileNotFoundError: if it is a file that is not there: where it was looked for.
        """
        settings = self.generator.init_cfg
        for one in [settings] if isinstance(settings, Mapping) else settings or []:
            path = one.get("checkpoint")
            if path is None or "://" in path:
                continue
            found = locate(path)
            if found is None:
                raise FileNotFoundError(
                    f"the proposals' checkpoint {Path(path).name} is not there: looked for at {looked_in(path)}. "
                    "MMDetection's model zoo has Mask2Former for COCO panoptic; model.generator.init_cfg=None starts "
                    "from random weights"
                )
            one["checkpoint"] = str(found)
        super().init_weights()

    def train(self, mode: bool = True) -> FISA:
        """Frozen proposals stay as in inference."""
        super().train(mode)
        if not self.train_generator:
            self.generator.eval()
        return self

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Maps of the generator's backbone."""
        return self.generator.extract_feat(batch_inputs)

    def propose(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]) -> Tensor:
        """Normalised images [B, 3, H, W] -> adapted mask logits [B, Q, H / 4, W / 4]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.train_generator):
            _, masks = self.generator.panoptic_head(self.extract_feat(batch_inputs), batch_data_samples)
        return self.backbone.adapt(masks[-1])

    def classify(self, images: Tensor, masks: Tensor) -> Tensor:
        """Images [B, 3, H, W] as the generator takes them, adapted mask logits [B, Q, h, w] -> logits [B, Q, T + 1]."""
        words = self.text_encoder(self.backbone.encode_text, self.backbone.text_parameters())[:, 0]
        embeddings = self.backbone(self._as_clip_takes(images), masks, words)
        return self.classes(embeddings, words, self._synonyms, self.backbone.logit_scale)

    def _as_clip_takes(self, images: Tensor) -> Tensor:
        mean, std = (images.new_tensor(x)[:, None, None] * 255 for x in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
        preprocessor = self.data_preprocessor
        return (images * preprocessor.std + preprocessor.mean - mean) / std

    def loss(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """Losses of classes and masks.

        Args:
            batch_inputs: normalised images [B, 3, H, W].
            batch_data_samples: with ``gt_instances`` (``labels``, ``masks``) of things and ``gt_sem_seg`` of stuff.

        Raises:
            ValueError: if a label is outside the vocabulary: which label, in which image.
        """
        targets = [self._target(sample) for sample in batch_data_samples]
        masks = self.propose(batch_inputs, batch_data_samples)
        logits = self.classify(batch_inputs, masks)
        return self.criterion(logits, masks, targets, [sample.metainfo for sample in batch_data_samples])

    def _target(self, sample: Any) -> InstanceData:
        """Labels and masks of things and stuff together."""
        names, things = len(self.vocabulary), int(self._things.sum())
        if not bool(self._things[:things].all()):
            raise ValueError("a vocabulary that is trained with must list things before stuff, as panoptic sets do")
        own = sample.gt_instances
        semantic = sample.gt_sem_seg.sem_seg if "gt_sem_seg" in sample else None
        labels, masks = preprocess_panoptic_gt(own.labels, own.masks, semantic, things, names - things)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < names:
            raise ValueError(
                f"{sample.metainfo.get('img_path', 'an image')} has labels {int(labels.min())} to {int(labels.max())}, "
                f"outside the vocabulary of {names} names; the dataset and the model's vocabulary do not belong "
                "together"
            )
        return InstanceData(labels=labels, masks=masks)

    @torch.no_grad()
    def predict(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any], rescale: bool = True) -> list[Any]:
        """Segments images.

        Args:
            batch_inputs: normalised images [B, 3, H, W].
            batch_data_samples: their meta information.
            rescale: whether results have the size of the original image.

        Returns:
            The samples with ``pred_sem_seg`` (labels), ``pred_panoptic_seg``, ``pred_instances``, as ``test_cfg``
            says, and ``vocabulary``, the names that labels stand for.
        """
        proposals = self.propose(batch_inputs, batch_data_samples)
        for image, masks, sample in zip(batch_inputs, proposals, batch_data_samples, strict=True):
            height, width = sample.metainfo["img_shape"][:2]
            masks = _resized(masks, tuple(batch_inputs.shape[-2:]))[:, :height, :width]
            logits = self.classify(image[None, :, :height, :width], masks[None])[0]
            if rescale:
                masks = _resized(masks, tuple(sample.metainfo["ori_shape"][:2]))
            self._store(sample, logits.softmax(dim=-1), masks.sigmoid())
        return list(batch_data_samples)

    def _store(self, sample: Any, scores: Tensor, masks: Tensor) -> None:
        wanted, names, things = self.results, scores[:, :-1], self._things.to(scores.device)
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
        sample.set_metainfo(dict(vocabulary=self.vocabulary))

    def _forward(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Class logits and mask logits."""
        masks = self.propose(batch_inputs, batch_data_samples)
        return self.classify(batch_inputs, masks), masks


def _resized(masks: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(masks.shape[-2:]) == size:
        return masks
    return F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]
