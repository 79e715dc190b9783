"""Segmentation by a frozen CLIP: patches compared with names, regions from their correlation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from hclip_mmseg.models.name_groups import NameGroups, one_each
from hclip_mmseg.models.open_vocab_model import OpenVocabModel
from hclip_mmseg.models.score_maps import resized, score_of_label, unflipped
from hclip_mmseg.training_free.backbone import PatchView
from hclip_mmseg.training_free.last_attention import within_regions
from hclip_mmseg.training_free.patch_labels import labels_of_patches
from hclip_mmseg.training_free.patch_pass import PatchPass, patch_logits
from hclip_mmseg.training_free.pixel_labels import pixel_labels
from hclip_mmseg.training_free.region_finder import RegionFinder
from hclip_mmseg.training_free.regions import vote
from hclip_mmseg.training_free.resolution import at_resolution
from hclip_mmseg.vocabularies import load_vocabulary
from hclip_mmseg.vocabularies.labels import label_of_no_class

REACHES = ("all", "own", "labels")


@MODELS.register_module()
class TrainingFreeSegmentor(OpenVocabModel, BaseSegmentor):
    """Segments an image into the names it is asked for, with CLIP's weights alone (CLIPtrase, section 3).

    Args:
        backbone: a ``TrainingFreeBackbone``.
        text_encoder: the neck that owns the prompts; it has no weights.
        regions: arguments of :class:`~.region_finder.RegionFinder`, such as ``dict(epsilon=0.7, min_samples=3)``;
            None for patches alone.
        resolution: the shorter side that images are brought to, in pixels; both sides are rounded to patches.
        times_cls: whether the patches' logits are multiplied by the CLS token's; or the names of the vocabularies
            for which they are, as published for PAS-20.
        reach: which patches each patch's attention in the last block reaches: 'all'; 'own', itself alone; 'labels',
            those of the same region in the ground truth, a bound for what correlation can give.
        refinement: config of what corrects the label map at the end, such as ``dict(type='SAMMaskFolder', ...)``.
        images_at_once: images of one size that are run together; None for one on a CPU, where it costs no time and
            its regions can be searched beside the next, and eight elsewhere.
        score_memory: bytes up to which the scores of all names are kept in the result as ``seg_logits``.
        data_preprocessor: MMSegmentation's.
    """

    training_free = True

    def __init__(
        self,
        backbone: dict[str, Any],
        text_encoder: dict[str, Any],
        regions: dict[str, Any] | None = None,
        resolution: int = 224,
        times_cls: bool | Sequence[str] = False,
        reach: str = "all",
        refinement: dict[str, Any] | None = None,
        images_at_once: int | None = None,
        score_memory: int = 1 << 26,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
        train_cfg: None = None,  # these two are set by MMSegmentation's init_model, to None
        pretrained: None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.text_encoder = MODELS.build(text_encoder)
        self.text_encoder.check_averages(type(self).__name__)
        self.region_finder = None if regions is None else RegionFinder(**regions)
        self.refinement = None if refinement is None else MODELS.build(refinement)
        self.resolution, self.reach = resolution, reach
        self.times_cls = times_cls if isinstance(times_cls, bool) else [load_vocabulary(n).asked for n in times_cls]
        self.images_at_once, self.score_memory = images_at_once, score_memory
        if reach not in REACHES:
            raise ValueError(f"reach must be one of {', '.join(REACHES)}, not {reach!r}")

    def extract_feat(self, inputs: Tensor) -> PatchView:
        """Normalised images [B, 3, H, W] -> what CLIP says of them, correlations included."""
        return self.backbone.look(inputs)

    def encode_decode(self, inputs: Tensor, batch_data_samples: Any = None) -> Tensor:
        """Normalised images [B, 3, H, W] -> logits of all names [B, T, H, W], of patches alone."""
        return F.interpolate(self._forward(inputs), size=inputs.shape[-2:], mode="bilinear", align_corners=False)

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        """Normalised images [B, 3, H, W] -> logits of all names [B, T, h, w]."""
        return self.patch_logits(self.backbone.look(self.at_resolution(inputs), correlate=False))

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """Raises NotImplementedError: nothing is trained."""
        raise NotImplementedError("TrainingFreeSegmentor has nothing to train; use tools/test.py or tools/predict.py")

    def at_resolution(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] at the model's resolution; see :func:`~.resolution.at_resolution`."""
        return at_resolution(images, self.resolution, self.backbone.image_tower.patch_size)

    def patch_logits(self, view: PatchView) -> Tensor:
        """Cosine of every patch's token and every name times CLIP's scale: [B, T, rows, columns]."""
        return patch_logits(view, self._text(), self.backbone.logit_scale.exp(), self._multiplies_by_cls())

    def _text(self) -> Tensor:
        """Unit-norm embeddings of the names [T, C]."""
        return self.text_encoder(self.backbone.encode_text, self.backbone.text_parameters()).squeeze(1)

    def _multiplies_by_cls(self) -> bool:
        return self.times_cls if isinstance(self.times_cls, bool) else self.vocabulary in self.times_cls

    @torch.no_grad()
    def image_pass(self) -> PatchPass:
        """The pass over images for the present names, to be exported or compiled: patches alone, without regions.

        Raises:
            ValueError: if the model was given no vocabulary.
        """
        scale = self.backbone.logit_scale.exp()
        return PatchPass(self.backbone.image_side(), self._text(), scale, self._multiplies_by_cls())

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """Segments images; while one's patches are clustered, the next ones go through CLIP.

        Args:
            inputs: normalised images [B, 3, H, W].
            data_samples: their meta information; ``ori_shape`` is the size of the results; where ``keep_scores`` is
                False, ``seg_logits`` is left out. For reach 'labels' with ``gt_sem_seg``.

        Returns:
            For each image ``pred_sem_seg`` [1, H, W], ``seg_logits`` [T, H, W] (the patches' probabilities; see
            ``score_memory``), ``vocabulary``, the names that the labels stand for, and ``presence`` [T], the highest
            probability of each. In classes where the sample's meta information has ``name_groups``.
        """
        if data_samples is None:
            data_samples = [SegDataSample(metainfo=dict(ori_shape=tuple(inputs.shape[-2:]))) for _ in inputs]
        waiting: list[Callable[[], None]] = []
        for images, samples in self._batches(inputs, data_samples):
            now = self._segment(images, samples)
            for finish in waiting:
                finish()
            waiting = now
        for finish in waiting:
            finish()
        return list(data_samples)

    def _batches(
        self, inputs: Tensor, samples: Sequence[SegDataSample]
    ) -> Iterator[tuple[Tensor, list[SegDataSample]]]:
        """Images without the padding of their batch, those of one size together."""
        at_once = self.images_at_once or (1 if inputs.device.type == "cpu" else 8)
        images: list[Tensor] = []
        own: list[SegDataSample] = []
        for image, sample in zip(inputs, samples, strict=True):
            meta = sample.metainfo
            left, right, top, bottom = meta.get("img_padding_size", meta.get("padding_size", (0, 0, 0, 0)))
            image = image[:, top : image.shape[1] - bottom, left : image.shape[2] - right]
            if images and (images[0].shape != image.shape or len(images) == at_once):
                yield torch.stack(images), own
                images, own = [], []
            images.append(image)
            own.append(sample)
        if images:
            yield torch.stack(images), own

    def _segment(self, images: Tensor, samples: Sequence[SegDataSample]) -> list[Callable[[], None]]:
        """Runs CLIP on images and starts the search for regions; what is returned puts the results into samples."""
        sizes = [tuple(sample.metainfo.get("ori_shape", images.shape[-2:])[:2]) for sample in samples]
        images = self.at_resolution(images)
        grid = self.backbone.image_tower.grid_of(*images.shape[-2:])
        view = self.backbone.look(images, self.region_finder is not None, self._allowed(samples, grid, images.device))
        logits = self.patch_logits(view)
        regions: list[Future[Tensor | None] | None] = [None] * len(samples)
        if self.region_finder is not None:
            features = self.region_finder.features_of(images, view)
            regions = [self.region_finder.start(*pair, grid) for pair in zip(features, sizes, strict=True)]

        return [partial(self._store, *of_one) for of_one in zip(samples, logits, sizes, regions, strict=True)]

    def _allowed(self, samples: Sequence[SegDataSample], grid: tuple[int, int], device: torch.device) -> Tensor | None:
        if self.reach == "all":
            return None
        patches = grid[0] * grid[1]
        if self.reach == "own":
            labels = torch.arange(patches)[None].expand(len(samples), -1)
        elif any("gt_sem_seg" not in sample for sample in samples):
            raise ValueError("reach='labels' needs label maps in the data: the pipeline must load annotations")
        else:
            labels = torch.stack([labels_of_patches(sample.gt_sem_seg.data[0], grid) for sample in samples])
        return within_regions(labels.to(device))

    def _store(
        self, sample: SegDataSample, logits: Tensor, size: tuple[int, int], regions: Future[Tensor | None] | None
    ) -> None:
        groups: NameGroups = sample.metainfo.get("name_groups") or one_each(self.vocabulary)
        probabilities = groups.class_maps(logits.softmax(dim=0))
        own, classes = probabilities.classes, len(groups.names)
        if not len(own):
            labels = torch.full(size, label_of_no_class(classes), device=logits.device)
        else:
            labels = own[pixel_labels(probabilities.scores if groups.merges else logits[own], size)]
            found = None if regions is None else regions.result()
            if found is not None:
                labels = vote(labels, found, classes)
            labels = unflipped(labels, sample.metainfo)
            if self.refinement is not None:
                labels = self.refinement(labels, sample.metainfo, classes)
        all_maps = probabilities.scores.new_zeros(classes, *logits.shape[1:]).index_copy_(0, own, probabilities.scores)
        wanted = sample.metainfo.get("keep_scores", True)
        if wanted and 4 * classes * size[0] * size[1] <= self.score_memory:
            scores = unflipped(resized(all_maps, size), sample.metainfo)
            sample.set_data({"seg_logits": PixelData(data=scores)})
        sample.set_data({"pred_sem_seg": PixelData(data=labels[None])})
        if "name_groups" in sample.metainfo:
            score = score_of_label(unflipped(all_maps, sample.metainfo), labels)
            sample.pred_sem_seg.set_data(dict(score=score[None]))
        sample.set_metainfo({"vocabulary": groups.names, "presence": probabilities.presence})
