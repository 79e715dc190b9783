"""Segmentation by a frozen CLIP: patches compared with names, regions from their correlation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.models.name_groups import NameGroups, one_each
from hclip_mmseg.models.open_vocab_model import OpenVocabModel
from hclip_mmseg.models.score_maps import resized, score_of_label, unflipped
from hclip_mmseg.training_free.backbone import PatchView
from hclip_mmseg.training_free.byte_images import Normalisation
from hclip_mmseg.training_free.last_attention import within_regions
from hclip_mmseg.training_free.patch_labels import labels_of_patches
from hclip_mmseg.training_free.patch_pass import PatchPass, patch_logits
from hclip_mmseg.training_free.pixel_labels import pixel_labels
from hclip_mmseg.training_free.protocol import benchmark_of, build_protocol, recognised
from hclip_mmseg.training_free.refinement import Evidence
from hclip_mmseg.training_free.region_finder import RegionFinder, Search
from hclip_mmseg.training_free.regions import vote
from hclip_mmseg.training_free.resolution import at_resolution
from hclip_mmseg.training_free.windowed import Found, WindowedSegmentation
from hclip_mmseg.vocabularies import Names, Vocabulary, load_vocabulary, read_vocabulary
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
        protocol: how images are looked at and labels decided, such as ``dict(type='sclip')``; see
            :class:`~.protocol.Protocol`. None, or ``dict(type='cliptrase')``: whole images at ``resolution``, CLIP's
            own scale.
        windowed: arguments of :class:`~.windowed.WindowedSegmentation`, such as ``dict(smoothing=dict(type='PAMR'))``;
            with a protocol of windows.
        data_preprocessor: MMSegmentation's.

    Raises:
        ValueError: if parts are set that do not go together: which, and what to do.
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
        protocol: Mapping[str, Any] | None = None,
        windowed: Mapping[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
        train_cfg: None = None,  # these two are set by MMSegmentation's init_model, to None
        pretrained: None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.text_encoder = MODELS.build(text_encoder)
        self.text_encoder.read_with(self.backbone.tokenizer)
        self.text_encoder.check_averages(type(self).__name__)
        self.region_finder = None if regions is None else RegionFinder(**regions)
        self.refinement = None if refinement is None else MODELS.build(refinement)
        self.resolution, self.reach = resolution, reach
        self.times_cls = times_cls if isinstance(times_cls, bool) else [load_vocabulary(n).asked for n in times_cls]
        self.images_at_once, self.score_memory = images_at_once, score_memory
        if reach not in REACHES:
            raise ValueError(f"reach must be one of {', '.join(REACHES)}, not {reach!r}")
        if reach != "all" and not self.backbone.correlates:
            raise ValueError(
                f"reach={reach!r} is of tokens that are compared with their like: set backbone.attention='sclip', or "
                "another such as 'cliptrase'"
            )
        for name, least in (("resolution", 1), ("images_at_once", 1), ("score_memory", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"model.{name} must be at least {least}, not {value!r}")
        self.windowed = self._windowed(protocol, windowed)
        self._given: Vocabulary | None = None

    def _windowed(
        self, protocol: Mapping[str, Any] | None, parts: Mapping[str, Any] | None
    ) -> WindowedSegmentation | None:
        """What runs the protocol, its parts checked; None for CLIPtrase's."""
        built = build_protocol(protocol)
        if built is None:
            if self.backbone.method is not None:
                kind = type(self.backbone.method).__name__
                raise ValueError(f"{kind} reads windows: set protocol=dict(type='sclip'), or another but 'cliptrase'")
            if parts:
                raise ValueError(f"{', '.join(parts)}: set protocol=dict(type='sclip') too, or another but 'cliptrase'")
            return None
        if self.times_cls:
            raise ValueError("times_cls is part of the protocol 'cliptrase': leave it out with another protocol")
        if self.reach != "all":
            raise ValueError(f"reach={self.reach!r} is for whole images: leave protocol out, or reach")
        windowed = WindowedSegmentation(built, **(parts or {}))
        windowed.check(self.backbone)
        self.backbone.image_tower.interpolation = "published"
        return windowed

    def set_vocabulary(self, names: Names, templates: str | Sequence[str] | None = None) -> None:
        """See ``OpenVocabModel``; with a protocol every name of a class is asked for by itself.

        Raises:
            ValueError: as there, or if the protocol has a threshold for background and there is none.
        """
        if self.windowed is None:
            super().set_vocabulary(names, templates)
            return
        vocabulary = read_vocabulary(names)
        given = recognised(vocabulary.titles) if vocabulary.members is None else vocabulary
        self.windowed.protocol.settings(given)
        asked = vocabulary if vocabulary.members is None else Vocabulary(vocabulary.asked, repeats=True)
        super().set_vocabulary(asked, templates)
        self._given = given

    @property
    def asked(self) -> Vocabulary:
        """What the model looks for, with the class of every name where a benchmark or whoever set it says so."""
        if self._given is None or self._given.asked != self.vocabulary:
            self._given = recognised(self.vocabulary)
        return self._given

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

    def text(self) -> Tensor:
        """Unit-norm embeddings of the names, [T, embed_dim]."""
        embeddings: Tensor = self.text_encoder(self.backbone.encode_text, self.backbone.text_parameters())
        return embeddings.squeeze(1)

    def patch_logits(self, view: PatchView) -> Tensor:
        """Cosine of every patch's token and every name times CLIP's scale: [B, T, rows, columns]."""
        return patch_logits(view, self.text(), self.backbone.logit_scale.exp(), self._multiplies_by_cls())

    def _multiplies_by_cls(self) -> bool:
        return self.times_cls if isinstance(self.times_cls, bool) else self.vocabulary in self.times_cls

    @torch.no_grad()
    def image_pass(self) -> PatchPass:
        """The pass over whole images for the present names, to be exported or compiled: patches, without regions.

        Raises:
            ValueError: if the model was given no vocabulary, or its protocol looks at windows.
        """
        if self.windowed is not None:
            raise InputError(
                "only whole images can be exported or compiled in one pass: set model.protocol=None and "
                "model.windowed=None"
            )
        scale = self.backbone.logit_scale.exp()
        return PatchPass(self.backbone.image_side(), self.text(), scale, self._multiplies_by_cls())

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
        segment = self._segment if self.windowed is None else self._segment_windows
        for images, samples in self._batches(inputs, data_samples):
            now = segment(images, samples)
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
        regions: Sequence[Search | None] = [None] * len(samples)
        if self.region_finder is not None:
            features = self.region_finder.features_of(images, view)
            regions = self.region_finder.start(features, sizes, grid)
        return [partial(self._store, *of_one) for of_one in zip(samples, images, logits, sizes, regions, strict=True)]

    def _segment_windows(self, images: Tensor, samples: Sequence[SegDataSample]) -> list[Callable[[], None]]:
        """As :meth:`_segment`, by the protocol."""
        assert self.windowed is not None
        finish: list[Callable[[], None]] = []
        normalisation = Normalisation.of(self.data_preprocessor)
        for image, sample in zip(images, samples, strict=True):
            size = tuple(sample.metainfo.get("ori_shape", image.shape[-2:])[:2])
            regions = None
            if self.region_finder is not None:
                whole = self.at_resolution(image[None])
                view = self.backbone.look(whole)
                (regions,) = self.region_finder.start(self.region_finder.features_of(whole, view), [size], view.grid)
            found = self.windowed(
                self.backbone, self.text(), self.asked, image, size, sample.metainfo, normalisation
            )
            finish.append(partial(self._store_windows, sample, image, found, regions))
        return finish

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
        self,
        sample: SegDataSample,
        image: Tensor,
        logits: Tensor,
        size: tuple[int, int],
        regions: Search | None,
    ) -> None:
        groups: NameGroups = sample.metainfo.get("name_groups") or one_each(self.vocabulary)
        probabilities = groups.class_maps(logits.softmax(dim=0))
        own, classes = probabilities.classes, len(groups.names)
        if not len(own):
            labels = torch.full(size, label_of_no_class(classes), device=logits.device)
        elif not groups.merges and len(own) == len(logits):
            labels = pixel_labels(logits, size)
        else:
            labels = own[pixel_labels(probabilities.scores if groups.merges else logits[own], size)]

        @cache
        def maps() -> Tensor:
            return probabilities.scores.new_zeros(classes, *logits.shape[1:]).index_copy_(0, own, probabilities.scores)

        self._finish(sample, labels, maps, groups, regions if len(own) else None, image)
        sample.set_metainfo({"presence": probabilities.presence})

    def _store_windows(
        self, sample: SegDataSample, image: Tensor, found: Found, regions: Search | None
    ) -> None:
        """As :meth:`_store`, of labels that the protocol decided on."""
        groups: NameGroups = sample.metainfo.get("name_groups") or one_each(self.vocabulary)
        if groups.merge == "mean" or groups.least_presence is not None:
            raise InputError(
                "a protocol decides by the best name, and on absent names by windowed.absent_below: leave merge='mean' "
                "and drop_absent out, or the config's protocol"
            )
        labels = torch.tensor(groups.folds, device=found.labels.device)[found.labels] if groups.merges else found.labels

        @cache  # they are looked at up to three times
        def maps() -> Tensor:
            return groups.merged(found.scored.probabilities(found.scale))[1]

        self._finish(sample, labels, maps, groups, regions, image)
        if "name_groups" in sample.metainfo:
            sample.set_metainfo({"presence": maps().flatten(1).amax(dim=1)})

    def _finish(
        self,
        sample: SegDataSample,
        labels: Tensor,
        maps: Callable[[], Tensor],
        groups: NameGroups,
        regions: Search | None,
        image: Tensor,
    ) -> None:
        """Puts the labels [H, W], corrected, and where wanted the probabilities of classes into the sample."""
        classes, size = len(groups.names), (labels.shape[0], labels.shape[1])
        found = None if regions is None else regions()
        if found is not None:
            labels = vote(labels, found, classes)
        labels = unflipped(labels, sample.metainfo)
        if self.refinement is not None and bool((labels < classes).any()):
            labels = self.refinement(labels, self._evidence(sample.metainfo, classes, maps, size, image))
        wanted = sample.metainfo.get("keep_scores", True)
        if wanted and 4 * classes * labels.numel() <= self.score_memory:
            scores = unflipped(resized(maps(), size), sample.metainfo)
            sample.set_data({"seg_logits": PixelData(data=scores)})
        sample.set_data({"pred_sem_seg": PixelData(data=labels[None])})
        if "name_groups" in sample.metainfo:
            score = score_of_label(unflipped(maps(), sample.metainfo), labels)
            sample.pred_sem_seg.set_data(dict(score=score[None]))
        sample.set_metainfo({"vocabulary": groups.names})

    def _evidence(
        self,
        metainfo: Mapping[str, Any],
        classes: int,
        maps: Callable[[], Tensor],
        size: tuple[int, int],
        image: Tensor,
    ) -> Evidence:
        return Evidence(
            metainfo,
            classes,
            lambda: unflipped(resized(maps(), size), metainfo),
            lambda: unflipped(image, metainfo),
            benchmark_of(self.asked),
        )
