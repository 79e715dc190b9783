"""The segmentor that joins proposals, CLIP and the vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor

from hclip_mmseg.files import checkpoints
from hclip_mmseg.files.paths import locate
from hclip_mmseg.mask_classification.classification import MaskClasses, class_scores
from hclip_mmseg.mask_classification.inference import without_padding
from hclip_mmseg.mask_classification.mask_classifier import MaskClassifier
from hclip_mmseg.mask_classification.oracle import ORACLES, certain_logits
from hclip_mmseg.models.missing_scope import needs_scope
from hclip_mmseg.models.score_maps import resized


@needs_scope("mmdet")
@MODELS.register_module()
class FISA(MaskClassifier):
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
        test_cfg: see :class:`~hclip_mmseg.mask_classification.mask_classifier.MaskClassifier`.
    """

    oracles = ORACLES

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
        train_cfg: None = None,  # these two are set by MMSegmentation's init_model, to None
        pretrained: None = None,
    ) -> None:
        super().__init__(text_encoder, data_preprocessor, test_cfg, init_cfg)
        if not hasattr(self.data_preprocessor, "mean"):
            raise ValueError("data_preprocessor needs mean and std: from them images are normalised for CLIP")
        self.generator = MODELS.build(generator)
        self.train_generator = train_generator
        self.generator.requires_grad_(train_generator)
        self.generator.panoptic_head.cls_embed.requires_grad_(False)
        self.backbone = MODELS.build(backbone)
        self.text_encoder.read_with(self.backbone.tokenizer)
        self.classes = MaskClasses(self.backbone.embed_dim)
        self.criterion = MODELS.build(criterion or dict(type="MaskClassificationLoss"))

    def init_weights(self) -> None:
        """Loads the generator's checkpoint, if its ``init_cfg`` names one.

        Raises:
            FileNotFoundError: if it is a file that is not there: where it was looked for.
            ValueError: if it is not of this generator: what it lacks.
        """
        start: dict[str, Tensor] = {}
        for file in checkpoints.generator_files(self.generator.init_cfg):
            found = locate(file["checkpoint"])
            if found is None:
                raise FileNotFoundError(checkpoints.no_generator(file["checkpoint"]))
            own, state = self.generator.state_dict(), checkpoints.read_state_dict(found)
            start.update({name: state[name] for name in state if name in own})
            checkpoints.check_fits(self.generator, start, found)
            file["checkpoint"] = str(found)
        super().init_weights()
        if start:  # whose names may have been freed of a prefix, which MMEngine does not do
            self.generator.load_state_dict(start)

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
        return self.classes(embeddings, words, self.synonyms, self.backbone.logit_scale)

    def _as_clip_takes(self, images: Tensor) -> Tensor:
        mean, std = (images.new_tensor(x)[:, None, None] * 255 for x in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
        preprocessor = self.data_preprocessor
        return (images * preprocessor.std + preprocessor.mean - mean) / std

    def loss(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """Losses of classes and masks.

        Args:
            batch_inputs: normalised images [B, 3, H, W].
            batch_data_samples: see :meth:`targets`.

        Raises:
            ValueError: as :meth:`targets`.
        """
        targets = self.targets(batch_data_samples)
        masks = self.propose(batch_inputs, batch_data_samples)
        logits = self.classify(batch_inputs, masks)
        return self.criterion(logits, masks, targets, [sample.metainfo for sample in batch_data_samples])

    def scored_masks(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`~hclip_mmseg.mask_classification.mask_classifier.MaskClassifier`; CLIP sees no padding."""
        padded = (batch_inputs.shape[-2], batch_inputs.shape[-1])
        given = self.results["oracle"] == "generator"
        proposals = batch_inputs if given else self.propose(batch_inputs, batch_data_samples)
        for image, masks, sample in zip(batch_inputs, proposals, batch_data_samples, strict=True):
            height, width = sample.metainfo["img_shape"][:2]
            if given:
                masks = resized(certain_logits(self.truth(sample).masks), (height, width))
            else:
                masks = without_padding(masks, padded, (height, width))
            logits = self.classify(image[None, :, :height, :width], masks[None])[0]
            yield class_scores(logits), masks

    def _forward(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Class logits and mask logits."""
        masks = self.propose(batch_inputs, batch_data_samples)
        return self.classify(batch_inputs, masks), masks
