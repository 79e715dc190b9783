"""The segmentor that joins image, vocabulary and head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce_dict
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from hclip_mmseg.models import device_memory
from hclip_mmseg.models.cost_aggregation.chunks import SHARE
from hclip_mmseg.models.decode_heads import OpenVocabDecodeHead
from hclip_mmseg.models.features import HeadInputs
from hclip_mmseg.models.losses.held_names import HeldNamesLoss
from hclip_mmseg.models.name_groups import NameGroups, one_each
from hclip_mmseg.models.open_vocab_model import OpenVocabModel
from hclip_mmseg.models.score_maps import resized, resized_in_chunks, unflipped
from hclip_mmseg.models.segmentors.scored_names import relabelled, scored_groups
from hclip_mmseg.models.segmentors.segmentor_pass import CompiledViews, SegmentorPass
from hclip_mmseg.models.segmentors.views import (
    CutImage,
    ScoreCanvas,
    View,
    check_views,
    shrunk,
    views_of,
)
from hclip_mmseg.vocabularies.labels import check_labels, label_of_no_class

CHECKED = "names_checked"
"""In a sample's meta information: how many names its labels were found to belong to."""
CLASS_MAPS_ON_CPU = 256
VIEW_BYTES = 32
"""Bytes that a class map takes in inference, a pixel of its view."""


@MODELS.register_module()
class OpenVocabSegmentor(OpenVocabModel, EncoderDecoder):
    """Segments an image into the names it is asked for (docs/cat_seg.md, Views of an image).

    Args:
        backbone: a ``CLIPBackbone`` that gives :class:`~hclip_mmseg.models.features.DenseFeatures`.
        text_encoder: the neck that owns the vocabulary.
        decode_head: an ``OpenVocabDecodeHead``; what it is set up for must be what the other parts give.
        auxiliary_head: a head, or a list of them, whose losses on the same maps are added in training; such as
            ``CosineHead`` with a ``loss_decode``, which draws dense tokens to their names' embeddings. None: as
            published.
        data_preprocessor: MMSegmentation's.
        train_cfg: ``sampled_names``: how many names a training step scores, those in the batch's labels and
            others drawn at random; None for the whole vocabulary, as published. ``hold``: arguments of
            :class:`~hclip_mmseg.models.losses.held_names.HeldNamesLoss`, which keeps text embeddings of names that are
            not trained where CLIP has them; None: as published.
        test_cfg: how an image is looked at:

            - mode: 'slide_whole' (default), 'slide' or 'whole';
            - canvas: side that the image is resized to before windows are cut, or None to keep its size (640);
              larger images are shrunk with antialiasing;
            - window, overlap: side of a window, which is also the size that a whole view's scores are made
              at, and the part of it that neighbours share (384, 0.333);
            - clip_resolution: side that every image and view is resized to for the image tower (384); None
              takes them as they are;
            - class_maps: how many class maps the head works on at once over all views; bounds the memory ('auto': 256
              on a CPU; on a GPU as many as fit, of all images of a batch);
            - score_memory: bytes up to which the scores of all names are kept in the result as
              ``seg_logits`` (2 GiB); above, the result holds the label map alone;
            - score_threshold: pixels whose best score is below get the label 255, or 65535
              where there are more than 255 names (None);
            - compile: arguments of torch.compile for the pass over views, such as dict(mode='reduce-overhead') for
              CUDA graphs, or True (False).
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        text_encoder: dict[str, Any],
        decode_head: dict[str, Any],
        auxiliary_head: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        train_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
        pretrained: None = None,  # MMSegmentation's init_model sets it, to None
    ) -> None:
        super().__init__(
            backbone=backbone,
            decode_head=decode_head,
            auxiliary_head=auxiliary_head,
            data_preprocessor=data_preprocessor,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        self.text_encoder = MODELS.build(text_encoder)
        self.text_encoder.read_with(self.backbone.tokenizer)
        if isinstance(self.decode_head, OpenVocabDecodeHead):
            apart = self.text_encoder.keep_apart()
            self.decode_head.check_inputs(self.backbone.embed_dim, self.backbone.guidance_channels, apart)
        training = dict(train_cfg or {})
        self.sampled_names: int | None = training.pop("sampled_names", None)
        hold = training.pop("hold", None)
        self.held_names = None if hold is None else HeldNamesLoss(self.backbone, self.templates, **hold)
        if training:
            raise ValueError(
                f"unknown entries in the model's train_cfg: {', '.join(map(str, training))}; it takes sampled_names "
                "and hold. How long to train stands in the config's own train_cfg, beside model"
            )
        settings = dict(test_cfg or {})
        self.mode = settings.pop("mode", "slide_whole")
        self.canvas = settings.pop("canvas", 640)
        self.window = settings.pop("window", 384)
        self.overlap = settings.pop("overlap", 0.333)
        self.clip_resolution = settings.pop("clip_resolution", 384)
        self.class_maps = settings.pop("class_maps", "auto")
        self.score_memory = settings.pop("score_memory", 2 << 30)
        self.score_threshold = settings.pop("score_threshold", None)
        self.compiled_views = CompiledViews(settings.pop("compile", False))
        if settings:
            raise ValueError(
                f"unknown entries in the model's test_cfg: {', '.join(map(str, settings))}; it takes mode, canvas, "
                "window, overlap, clip_resolution, class_maps, score_memory, score_threshold and compile"
            )
        check_views(self.mode, self.canvas, self.window, self.overlap, self.clip_resolution)
        self.data_preprocessor.register_forward_pre_hook(self._check_batch, with_kwargs=True)

    def extract_feat(self, inputs: Tensor, names: Tensor | None = None) -> HeadInputs:
        """Normalised images [B, 3, H, W] -> what the head takes: (dense, guidance ..., text [T, P, C]).

        Args:
            inputs: the images.
            names: indices of the only names that are wanted, or None for all.
        """
        text = self.text_encoder(self.backbone.encode_text, self.backbone.text_parameters(), names)
        features = self.backbone(self._at_clip_resolution(inputs))
        return HeadInputs(features.dense, features.guidance, text)

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """The head's losses; see ``train_cfg`` of the class for the names that are scored.

        Samples of a ``MixedDataset`` are scored on their own data set's names (``asked`` in their meta information);
        losses are the mean over the samples.

        Raises:
            ValueError: if a label is outside the vocabulary: which label, in which image.
        """
        ignore = self.decode_head.ignore_index
        self._check_labels(data_samples)
        groups = scored_groups(data_samples, len(self.vocabulary), self.sampled_names, ignore)
        held = {} if self.held_names is None else {"hold.loss_hold": self.held_names(self.backbone, self.vocabulary)}
        if groups is None:
            return self._losses(self.extract_feat(inputs), data_samples) | held
        if len(groups) == 1:
            names = groups[0].names
            samples = relabelled(data_samples, names, len(self.vocabulary), ignore)
            return self._losses(self.extract_feat(inputs, names), samples) | held
        encoded = torch.cat([group.names for group in groups]).unique()
        features = self.extract_feat(inputs, encoded)
        total: dict[str, Tensor] = {}
        for group in groups:
            of_group = HeadInputs(
                features.dense[group.rows],
                tuple(part[group.rows] for part in features.guidance),
                features.text[torch.searchsorted(encoded, group.names)],
            )
            samples = [data_samples[row] for row in group.rows]
            losses = self._losses(of_group, relabelled(samples, group.names, len(self.vocabulary), ignore))
            for name, value in losses.items():
                total[name] = total.get(name, 0) + value * (len(group.rows) / len(data_samples))
        return total | held

    def _losses(self, features: HeadInputs, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Those of the head, and of auxiliary heads, for samples whose labels are places in ``features.text``."""
        losses = self.decode_head.loss(features, data_samples, self.train_cfg)
        losses = {f"decode.{name}": value for name, value in losses.items()}
        if self.with_auxiliary_head:
            losses |= self._auxiliary_head_forward_train(features, data_samples)
        return losses

    def _check_batch(self, preprocessor: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Check the labels of a batch for training where it lies in main memory: asking a GPU would wait for it."""
        data, training = (*arguments, *options.values(), False)[:2]
        if training and self.training and data.get("data_samples"):
            self._check_labels(data["data_samples"])

    def _check_labels(self, samples: Sequence[SegDataSample]) -> None:
        """Check that labels belong to the vocabulary, once a sample and vocabulary."""
        names = len(self.vocabulary)
        for sample in samples:
            if sample.metainfo.get(CHECKED) != names:
                check_labels(sample.gt_sem_seg.data, names, sample.metainfo, self.decode_head.ignore_index)
                sample.set_metainfo({CHECKED: names})

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """This process's loss, to be differentiated, and what is logged: means over all processes.

        So several processes log the curve that one would with the same global batch.
        """
        loss, logged = super().parse_losses(losses)
        means = {name: value.detach().clone() for name, value in logged.items()}
        all_reduce_dict(means, op="mean")
        return loss, means

    def _at_clip_resolution(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] resized to the side that the image tower is run at; as they are if that is None."""
        size = (self.clip_resolution, self.clip_resolution)
        if self.clip_resolution is None or tuple(images.shape[-2:]) == size:
            return images
        return F.interpolate(images, size=size, mode="bilinear", align_corners=False)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict[str, Any]]) -> Tensor:
        """Normalised images [B, 3, H, W] -> logits [B, T, H, W], in one view of any size."""
        logits = self._forward(inputs)
        return F.interpolate(logits, size=inputs.shape[-2:], mode="bilinear", align_corners=self.align_corners)

    def image_pass(self) -> SegmentorPass:
        """The pass over views for the present names and weights, to be exported or compiled; shares the weights.

        Raises:
            ValueError: if the model was given no vocabulary, or its head is no graph of fixed parts.
        """
        self.decode_head.check_recordable()
        with torch.no_grad():
            text = self.text_encoder(self.backbone.encode_text, self.backbone.text_parameters())
        return SegmentorPass(self.backbone.image_side(), self.decode_head, text)

    def score(self, image: Tensor) -> ScoreCanvas:
        """Scores of an image, after the sigmoid, averaged over its views.

        Args:
            image: one normalised image [3, H, W].

        Returns:
            The canvas, its ``scores`` [K, h, w] in [0, 1] at the canvas's size for the K ``classes`` that
            any view scored.
        """
        return next(self.scores([image]))

    @torch.no_grad()
    def scores(self, images: Sequence[Tensor]) -> Iterator[ScoreCanvas]:
        """The canvas of each image, as :meth:`score` gives it; on a GPU views of several images run as one batch.

        Args:
            images: normalised images [3, H, W] of any sizes, on one device.
        """
        text = self.text_encoder(self.backbone.encode_text, self.backbone.text_parameters())
        together = len(images) if device_memory.has_memory_of_its_own(text.device) else 1
        for start in range(0, len(images), together):
            cut = [self._cut_image(image) for image in images[start : start + together]]
            results = self._view_results(cut, text)
            for image in cut:
                yield self._canvas_of(image, list(islice(results, len(image.views))), len(text))

    def _cut_image(self, image: Tensor) -> CutImage:
        size = self._canvas_size(image)
        if self.mode == "whole" or self.canvas:
            # a whole view is read from the image itself, at the tower's resolution
            image = shrunk(image, max(*size, self.clip_resolution or 0) if self.mode == "whole" else min(size))
        views = views_of(*size, self.mode, self.window, max(int(self.window * (1 - self.overlap)), 1))
        return CutImage(image, resized(image, size), views)

    def _view_results(self, images: Sequence[CutImage], text: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
        """(logits [K, h, w], classes [K] or None) of each view of each image."""
        views = [(image, view) for image in images for view in image.views]
        at_once = self._views_at_once(len(text), text.device)
        for start in range(0, len(views), at_once):
            pixels = [self._pixels(image, view) for image, view in views[start : start + at_once]]
            for _, alike in groupby(pixels, key=lambda part: part.shape):
                yield from self._score_views(torch.cat(list(alike)), text)

    def _canvas_of(self, image: CutImage, results: list[tuple[Tensor, Tensor | None]], names: int) -> ScoreCanvas:
        kept = [classes for _, classes in results if classes is not None]
        classes = torch.cat(kept).unique() if kept else torch.arange(names, device=image.canvas.device)
        board = ScoreCanvas((image.canvas.shape[-2], image.canvas.shape[-1]), image.views, classes)
        for view, (logits, of_view) in zip(image.views, results, strict=True):
            board.add(view, logits, of_view, self._intermediate_size(view))
        return board

    def _canvas_size(self, image: Tensor) -> tuple[int, int]:
        if self.mode == "whole":
            return self.window, self.window
        return (self.canvas, self.canvas) if self.canvas else (image.shape[-2], image.shape[-1])

    def _views_at_once(self, classes: int, device: torch.device) -> int:
        maps, fewest = self.class_maps, 1
        if maps == "auto":
            maps = CLASS_MAPS_ON_CPU
            allowed = device_memory.allowance(device, SHARE)
            if allowed is not None:
                # of few names the image tower takes more than the maps
                maps, fewest = max(allowed // (VIEW_BYTES * (self.clip_resolution or self.window) ** 2), 1), 16
        return max(maps // max(min(classes, maps), fewest), 1)

    def _intermediate_size(self, view: View) -> tuple[int, int] | None:
        """The size of logits before the sigmoid: the published code takes it late in windows only."""
        if self.mode == "whole":
            return None
        return (self.window, self.window) if view.whole else (view.height, view.width)

    def _score_views(self, views: Tensor, text: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
        """(logits [K, h, w], classes [K] or None) of each of the views [V, 3, H, W], run as one batch."""
        logits, kept = self.compiled_views(self.backbone, self.decode_head, views, text)
        return zip(logits, [None] * len(logits) if kept is None else kept, strict=True)

    def _pixels(self, image: CutImage, view: View) -> Tensor:
        """The pixels of a view [1, 3, H, W]; a whole view is taken from the image itself."""
        if self.mode == "whole":
            pixels = image.pixels
        elif view.whole:
            pixels = resized(image.pixels, (self.window, self.window))
        else:
            pixels = image.canvas[:, view.top : view.top + view.height, view.left : view.left + view.width]
        return self._at_clip_resolution(pixels[None])

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """Segments images.

        Args:
            inputs: normalised images [B, 3, H, W].
            data_samples: their meta information; ``ori_shape`` is the size of the results; where ``keep_scores`` is
                False, ``seg_logits`` is left out.

        Returns:
            For each image ``pred_sem_seg`` [1, H, W] with each label's ``score``, ``seg_logits`` [T, H, W] (scores in
            [0, 1]; see ``score_memory``), ``vocabulary``, the names that the labels stand for, and ``presence`` [T],
            the highest score of each. In classes where the sample's meta information has ``name_groups``.
        """
        if data_samples is None:
            data_samples = [SegDataSample(metainfo=dict(ori_shape=inputs.shape[-2:])) for _ in inputs]
        height, width = inputs.shape[-2:]
        images = []
        for image, sample in zip(inputs, data_samples, strict=True):
            left, right, top, bottom = sample.get("img_padding_size", sample.get("padding_size", (0, 0, 0, 0)))
            images.append(image[:, top : height - bottom, left : width - right])
        for board, sample in zip(self.scores(images), data_samples, strict=True):
            board.scores = unflipped(board.scores, sample.metainfo)
            self._store(sample, board, tuple(sample.get("ori_shape", (height, width))[:2]))
        return list(data_samples)

    def _store(self, sample: SegDataSample, board: ScoreCanvas, size: tuple[int, int]) -> None:
        groups: NameGroups = sample.metainfo.get("name_groups") or one_each(self.vocabulary)
        found, classes = groups.class_maps(board.scores, board.classes), len(groups.names)
        wanted = sample.metainfo.get("keep_scores", True)
        if wanted and 4 * classes * size[0] * size[1] <= self.score_memory:
            scores = board.scores.new_zeros(classes, *size)
            for start, part in resized_in_chunks(found.scores, size):
                scores[found.classes[start : start + len(part)]] = part
            sample.set_data({"seg_logits": PixelData(data=scores)})
        label, best = found.best(size, label_of_no_class(classes))
        if self.score_threshold is not None:
            label = label.where(best >= self.score_threshold, label_of_no_class(classes))
        sample.set_data({"pred_sem_seg": PixelData(data=label[None], score=best[None])})
        sample.set_metainfo({"vocabulary": groups.names, "presence": found.presence})
