"""From an image to scores with an exported file: onnxruntime runs the network, numpy does what stands around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hclip_mmseg.datasets.published_resize import shortest_edge_size
from hclip_mmseg.export.description import KEY, Description
from hclip_mmseg.export.onnx_boxes import best_boxes, on_canvas
from hclip_mmseg.export.resampling import Floats, Size, antialiased, bilinear
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.models.segmentors.views import View, views_of
from hclip_mmseg.results import Boxes

CHUNK_BYTES = 1 << 27
"""Bytes that resized maps take at once."""


class Scores(NamedTuple):
    """Scores of an image's classes, at a size of the model's own.

    Attributes:
        maps: [K, h, w] in 0..1.
        classes: [K] the class that each map belongs to, ascending; all others score 0.
        compared: [K, h, w], of which the largest decides on a pixel: ``maps``, or a training-free model's logits.
    """

    maps: Floats
    classes: NDArray[np.int64]
    compared: Floats


class OnnxModel:
    """An exported segmentor, training-free model or detector.

    Args:
        file: as hclip-export writes it.
        threads: of onnxruntime; None: its own choice.
        providers: onnxruntime's, such as ``["CUDAExecutionProvider"]``; None: those of the CPU.

    Raises:
        FileNotFoundError, ValueError: if onnxruntime is not installed, there is no such file, or it is not of this
            project.
    """

    def __init__(self, file: str | Path, threads: int | None = None, providers: Sequence[str] | None = None) -> None:
        runtime = _onnxruntime()
        if not Path(file).is_file():
            raise FileNotFoundError(f"no exported model at {Path(file).absolute()}")
        options = runtime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = runtime.InferenceSession(
                str(file), options, providers=list(providers or ["CPUExecutionProvider"])
            )
        except Exception as error:  # onnxruntime's own kinds of errors have no common name
            raise InputError(f"{file} is no ONNX model that onnxruntime can run: {error}") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.description = Description.of_text(metadata.get(KEY), str(file))
        self._input = self._session.get_inputs()[0].name

    def run(self, images: Floats) -> list[Any]:
        """Normalised images [B, 3, H, W] of the file's own size -> logits [B, K, h, w] and, if K < T, names [B, K].

        A detector's file: one image -> boxes [N, 4] in its pixels, and scores [N, T].
        """
        return self._session.run(None, {self._input: np.ascontiguousarray(images, np.float32)})

    def score(self, image: NDArray[np.uint8]) -> Scores:
        """Score all classes in an image, RGB uint8 [H, W, 3]."""
        normalised = self._normalised(self._resized(image))
        return self._score_patches(normalised) if self.description.kind == "patches" else self._score_views(normalised)

    def detect(self, image: NDArray[np.uint8]) -> Boxes:
        """The boxes of a detector's file in an image, RGB uint8 [H, W, 3]."""
        settings, size = self.description.settings, self.description.size
        assert size is not None
        canvas, (across, down) = on_canvas(image, size, settings)
        corners, scores = self.run(self._normalised(canvas)[None])
        corners = corners / np.array([across, down, across, down], np.float32)
        folds = np.array(self.description.folds)
        return best_boxes(corners, scores, folds, (image.shape[0], image.shape[1]), settings)

    def labels(self, scores: Scores, size: Size) -> tuple[NDArray[np.int64], Floats]:
        """The class of every pixel [H, W], 255 (65535 of more than 255) below ``score_threshold``; and its score."""
        best: Floats = np.full(size, -np.inf, np.float32)
        labels: NDArray[np.int64] = np.zeros(size, np.int64)
        for start, part in _in_chunks(scores.compared, size):
            index = part.argmax(axis=0)
            value = np.take_along_axis(part, index[None], axis=0)[0]
            better = value > best
            best = np.where(better, value, best)
            labels = np.where(better, index + start, labels)
        if scores.compared is not scores.maps:
            for start, part in _in_chunks(scores.maps, size):
                here = (labels >= start) & (labels < start + len(part))
                index = np.where(here, labels - start, 0)
                best = np.where(here, np.take_along_axis(part, index[None], axis=0)[0], best)
        labels = scores.classes[labels]
        threshold = self.description.settings.get("score_threshold")
        if threshold is not None:
            labels = np.where(best >= threshold, labels, 255 if len(self.description.vocabulary) <= 255 else 65535)
        return labels, best

    def maps(self, scores: Scores, size: Size) -> Floats:
        """Scores of all classes [T, H, W] in 0..1."""
        found = np.zeros((len(self.description.vocabulary), *size), np.float32)
        for start, part in _in_chunks(scores.maps, size):
            found[scores.classes[start : start + len(part)]] = part
        return found

    def presence(self, scores: Scores) -> dict[str, float]:
        """Class name -> its highest score anywhere in the image, 0..1."""
        highest = np.zeros(len(self.description.vocabulary), np.float32)
        highest[scores.classes] = scores.maps.max(axis=(1, 2))
        return dict(zip(self.description.vocabulary, highest.tolist(), strict=True))

    def _merged(self, maps: Floats, names: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
        """Maps of names [N, h, w] as maps of classes, the best name's at every place, and the classes."""
        own = np.array(self.description.folds)[names]
        if not self.description.merges:
            return maps, own
        classes, places = np.unique(own, return_inverse=True)
        merged: Floats = np.full((len(classes), *maps.shape[1:]), -np.inf, np.float32)
        np.maximum.at(merged, places, maps)
        return merged, classes

    def _resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        resize = self.description.resize
        if resize is None:
            return image
        height, width = image.shape[:2]
        size = shortest_edge_size(height, width, resize["short_side"], resize["max_size"])
        if size == (height, width):
            return image
        return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], Image.Resampling.BILINEAR))

    def _normalised(self, image: NDArray[np.uint8] | Floats) -> Floats:
        mean, std = (np.array(values, np.float32) for values in (self.description.mean, self.description.std))
        normalised: Floats = ((image.astype(np.float32) - mean) / std).transpose(2, 0, 1)
        return normalised

    def _score_patches(self, image: Floats) -> Scores:
        patch, size = self.description.patch, self.description.size
        if size is None:
            scale = self.description.settings["resolution"] / min(image.shape[-2:])
            rows, columns = (max(round(side * scale / patch), 1) * patch for side in image.shape[-2:])
            size = rows, columns
        if size != image.shape[-2:]:
            image = antialiased(image, size, "bicubic")
        logits = self.run(image[None])[0][0]
        powers = np.exp(logits - logits.max(axis=0))
        maps, classes = self._merged(powers / powers.sum(axis=0), np.arange(len(logits)))
        return Scores(maps, classes, maps if self.description.merges else logits)

    def _score_views(self, image: Floats) -> Scores:
        settings = self.description.settings
        mode, window, side = settings["mode"], settings["window"], settings["canvas"]
        size: Size = (image.shape[-2], image.shape[-1])
        if mode == "whole" or side:
            size = (window, window) if mode == "whole" else (side, side)
            image = shrunk(image, min(size))
        canvas = bilinear(image, size)
        height, width = size
        views = views_of(height, width, mode, window, max(int(window * (1 - settings["overlap"])), 1))
        results = list(self._view_results(image, canvas, views))
        kept = [names for _, names in results if names is not None]
        names = np.unique(np.concatenate(kept)) if kept else np.arange(len(self.description.folds))
        maps: Floats = np.zeros((len(names), *size), np.float32)
        count = np.zeros(size, np.float32)
        for view in views:
            rows, columns = _place(view)
            if not view.whole:
                count[rows, columns] += 1
        both = any(view.whole for view in views) and not all(view.whole for view in views)
        for view, (logits, own) in zip(views, results, strict=True):
            rows, columns = _place(view)
            part = self._view_scores(view, logits) * np.float32(0.5 if both else 1.0)
            if not view.whole:
                part /= count[rows, columns]
            if own is None:
                maps[:, rows, columns] += part
            else:
                maps[np.searchsorted(names, own), rows, columns] += part
        merged, classes = self._merged(maps, names)
        return Scores(merged, classes, merged)

    def _view_scores(self, view: View, logits: Floats) -> Floats:
        """A view's scores on its place of the canvas; the sigmoid is late in windows only."""
        settings = self.description.settings
        if settings["mode"] != "whole":
            side = settings["window"]
            logits = bilinear(logits, (side, side) if view.whole else (view.height, view.width))
        scores = np.reciprocal(1 + np.exp(-logits)).astype(np.float32, copy=False)
        return bilinear(scores, (view.height, view.width))

    def _view_results(
        self, image: Floats, canvas: Floats, views: Sequence[View]
    ) -> Iterator[tuple[Floats, NDArray[np.int64] | None]]:
        maps = self.description.settings["class_maps"]
        most = max(maps // min(len(self.description.folds), maps), 1)
        at_once = self.description.batch or most
        for start in range(0, len(views), at_once):
            batch = np.stack([self._cut(image, canvas, view) for view in views[start : start + at_once]])
            missing = (self.description.batch or len(batch)) - len(batch)
            if missing > 0:
                batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
            logits, *kept = self.run(batch)
            for index in range(len(batch) - max(missing, 0)):
                yield logits[index], kept[0][index] if kept else None

    def _cut(self, image: Floats, canvas: Floats, view: View) -> Floats:
        """The pixels of a view [3, h, w] at the file's own size; a whole view is taken from the image itself."""
        settings = self.description.settings
        if settings["mode"] == "whole":
            pixels = image
        elif view.whole:
            pixels = bilinear(image, (settings["window"], settings["window"]))
        else:
            rows, columns = _place(view)
            pixels = canvas[:, rows, columns]
        side = settings["clip_resolution"]
        return bilinear(pixels, (side, side))


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            'exported models are run by onnxruntime, which is not installed: pip install "hclip-mmseg[export]"'
        ) from error
    return onnxruntime


def _place(view: View) -> tuple[slice, slice]:
    return slice(view.top, view.top + view.height), slice(view.left, view.left + view.width)


def _in_chunks(maps: Floats, size: Size) -> Iterator[tuple[int, Floats]]:
    """(first map, [chunk, H, W] resized bilinearly) for chunks of maps [K, h, w]."""
    chunk = max(CHUNK_BYTES // (4 * size[0] * size[1]), 1)
    for start in range(0, len(maps), chunk):
        yield start, bilinear(maps[start : start + chunk], size)


def shrunk(image: Floats, side: int) -> Floats:
    """An image [3, H, W] whose shorter side is longer than ``side``, brought down to it; others as they are."""
    height, width = image.shape[-2:]
    if min(height, width) <= side:
        return image
    scale = side / min(height, width)
    return antialiased(image, (round(height * scale), round(width * scale)))
