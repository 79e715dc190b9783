"""Panoptic data sets in COCO's form, asked for by words, and checked against their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from os import scandir
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import CocoPanopticDataset
from mmdet.datasets.api_wrappers import COCOPanoptic
from mmdet.datasets.transforms import LoadPanopticAnnotations
from mmengine.fileio import get, get_local_path, join_path
from mmseg.registry import DATASETS, TRANSFORMS
from numpy.typing import NDArray

from hclip_mmseg.compat.panoptic_api import VOID, rgb2id
from hclip_mmseg.datasets.annotation_files import boxes_and_areas, label_map_of, read_panoptic
from hclip_mmseg.files.images import read_pixels
from hclip_mmseg.vocabularies import Names, read_vocabulary


@DATASETS.register_module()
class OpenVocabPanopticDataset(CocoPanopticDataset):
    """MMDetection's panoptic dataset, whose classes are its annotation file's own, in that file's order.

    Classes, their order and which of them are things follow from ``categories`` in the file, so that files of other
    tools, which sort them otherwise, are read right, and so are those whose label maps have names of their own
    (``annotations[].file_name``). What such a file may lack: see
    :func:`~hclip_mmseg.datasets.annotation_files.read_panoptic`.

    Metainfo ``classes`` holds the categories as the file calls them, ``vocabulary`` the words that a model is asked
    for.

    Args:
        vocabulary: a list of words for these categories; see
            :func:`~hclip_mmseg.vocabularies.read_vocabulary`. None takes the categories for words.
        samples: how many label maps are compared with the file at once, before any work; all others are when they are
            loaded, by ``LoadPanopticSegments``.
        kwargs: of ``CocoPanopticDataset``.

    Raises:
        ValueError: if label maps are missing or do not match the annotation file, or categories are not those of the
            vocabulary: the first that is wrong.
    """

    METAINFO: dict[str, Any] = {}
    HOW_TO_GET = "docs/mask_classification.md says where panoptic data is from and how it is laid out"

    def __init__(self, *, vocabulary: Names | None = None, samples: int = 4, **kwargs: Any) -> None:
        self.words = None if vocabulary is None else read_vocabulary(vocabulary)
        self.samples = samples
        super().__init__(**kwargs)
        if self.words is not None and not self._fully_initialized:
            self._metainfo["vocabulary"] = self.words.titles

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry an image."""
        annotations = self._read()
        self.cat_ids = annotations.get_cat_ids()
        categories = [annotations.cats[key] for key in self.cat_ids]
        names = [category["name"] for category in categories]
        self._metainfo.update(
            classes=tuple(names),
            thing_classes=tuple(category["name"] for category in categories if category["isthing"]),
            stuff_classes=tuple(category["name"] for category in categories if not category["isthing"]),
            vocabulary=tuple(self._words_of(name) for name in names),
        )
        self.cat2label = {key: label for label, key in enumerate(self.cat_ids)}
        self.cat_img_map = dict(annotations.cat_img_map)
        self.coco = annotations
        # MMDetection finds an image's segments by their ids, which are not unique and take minutes for large sets
        files = {annotation["image_id"]: annotation["file_name"] for annotation in annotations.dataset["annotations"]}
        data = []
        for key, image in annotations.imgs.items():
            segments = annotations.img_ann_map.get(key, [])
            label_map = self._label_map(files.get(key) or label_map_of(image["file_name"]))
            self._complete(segments, label_map, key)
            entry = self.parse_data_info(dict(raw_img_info={**image, "img_id": key}, raw_ann_info=segments))
            entry["seg_map_path"] = label_map
            # MMDetection leaves segments without an area out, which label maps may still have
            entry["segment_ids"] = [segment["id"] for segment in segments]
            data.append(entry)
        del self.coco
        self._check_files(data)
        return data

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the segments of an image, things and stuff."""
        return [segment["category"] for segment in self.get_data_info(idx)["segments_info"]]

    def _label_map(self, name: str) -> str | None:
        """Path of a label map, called as the annotation file calls it; MMDetection goes by the image's name."""
        folder = self.data_prefix.get("seg")
        return join_path(folder, name) if folder else None

    def _complete(self, segments: Sequence[dict[str, Any]], label_map: str | None, image: Any) -> None:
        """Fill in boxes and areas that the annotation file lacks, from the label map."""
        lacking = [(segment, key) for segment in segments for key in ("bbox", "area") if segment.get(key) is None]
        if not lacking:
            return
        segment, key = lacking[0]
        where = f"{self.ann_file}: segment {segment['id']} of image {image} lacks {key!r}"
        if label_map is None:
            raise ValueError(f"{where}, and data_prefix.seg names no label maps to take it from")
        try:
            found = boxes_and_areas(read_ids(label_map, self.backend_args))
        except FileNotFoundError as error:
            raise ValueError(f"{where}, and there is no label map {label_map} to take it from") from error
        for segment in segments:  # one that is not in the map is told of when the map is loaded
            segment["bbox"], segment["area"] = found.get(segment["id"], ([0, 0, 0, 0], 0))

    def _read(self) -> COCOPanoptic:
        annotations = COCOPanoptic()
        with get_local_path(self.ann_file, backend_args=self.backend_args) as path:
            annotations.dataset = read_panoptic(path, self.ann_file)
        with redirect_stdout(StringIO()):  # it prints its progress
            annotations.createIndex()
        annotations.img_ann_map, annotations.cat_img_map = annotations.imgToAnns, annotations.catToImgs
        return annotations

    def _words_of(self, category: str) -> str:
        if self.words is None:
            return category
        table = dict(zip(self.words.categories or self.words.names, self.words.titles, strict=True))
        if category not in table:
            raise ValueError(
                f"{self.ann_file} has a category {category!r}, which the vocabulary {self.words.name} has no words "
                "for; is it the file of another data set?"
            )
        return table[category]

    def _check_files(self, data: Sequence[dict[str, Any]]) -> None:
        maps = [entry for entry in data if entry["seg_map_path"]]
        folders = {Path(entry["seg_map_path"]).parent for entry in maps}
        there = {Path(file.path) for folder in folders if folder.is_dir() for file in scandir(folder)}
        missing = [entry["seg_map_path"] for entry in maps if Path(entry["seg_map_path"]) not in there]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(maps)} label maps of {self.ann_file} are not there, the first {missing[0]}; "
                "do the file and data_prefix.seg belong together?"
            )
        chosen = np.linspace(0, len(maps) - 1, min(self.samples, len(maps))).round().astype(int)
        for index in chosen:
            check_segments(maps[index], self.backend_args)


def read_ids(path: str, backend_args: dict[str, Any] | None = None) -> NDArray[np.int32]:
    """The segments' ids [H, W] in a panoptic label map."""
    content = get(path, backend_args=backend_args)
    return rgb2id(read_pixels(BytesIO(content), path, upright=False))


def check_segments(entry: Mapping[str, Any], backend_args: dict[str, Any] | None = None) -> None:
    """Compares a label map with what the annotation file says of it.

    Args:
        entry: ``seg_map_path``, ``segment_ids`` (of all segments in the file), ``height``, ``width``.
        backend_args: of MMEngine's file reading.

    Raises:
        ValueError: if the size, or the segments of map and file differ.
    """
    path = entry["seg_map_path"]
    ids = read_ids(path, backend_args)
    size = (entry["height"], entry["width"])
    if ids.shape != size:
        raise ValueError(f"{path} is {ids.shape[0]} x {ids.shape[1]}, the annotation file says {size[0]} x {size[1]}")
    drawn, listed = set(np.unique(ids).tolist()) - {VOID}, set(entry["segment_ids"])
    for extra, where, other in (
        (drawn - listed, "label map", "annotation file"),
        (listed - drawn, "annotation file", "label map"),
    ):
        if extra:
            raise ValueError(
                f"{path} does not match its annotation file: segment {min(extra)} is in the {where} and not in the "
                f"{other} ({len(extra)} such of {len(drawn | listed)}); were they made together?"
            )


@TRANSFORMS.register_module()
class LoadPanopticSegments(LoadPanopticAnnotations):
    """MMDetection's ``LoadPanopticAnnotations``, behind :func:`check_segments`."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See ``LoadPanopticAnnotations``."""
        if results.get("seg_map_path") is not None:
            check_segments(results, self.backend_args)
        loaded: dict[str, Any] = super().transform(results)
        labels = loaded.get("gt_seg_map")
        if labels is not None and labels.max(initial=0) < 256:
            loaded["gt_seg_map"] = labels.astype(np.uint8)  # as MMDetection's docs say, and Pillow needs
        return loaded
