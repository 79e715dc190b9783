"""MMEngine's ``ClassBalancedDataset`` over our data sets: images of rare classes come more often."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from miniature_coco import write_coco
from miniature_panoptic import write_panoptic
from mmengine.dataset import ClassBalancedDataset
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

import hclip_mmseg.detection
import hclip_mmseg.mask_classification  # noqa: F401

LOAD = [dict(type="LoadImageFromFile"), dict(type="LoadLabelMap"), dict(type="PackSegInputs")]
RENDER = [dict(type="RenderScene"), dict(type="PackSegInputs")]
THRESHOLD = 0.9


def labels_in(dataset, index) -> set[int]:
    """What the loaded label map of an image shows."""
    labels = np.unique(dataset[index]["data_samples"].gt_sem_seg.data.numpy()).tolist()
    return {label for label in labels if label < len(dataset.metainfo["classes"])}


def repeats_of(shown: list[set[int]], threshold: float) -> list[int]:
    """How often each image comes: ceil of the greatest max(1, sqrt(t / f)) of its classes (Gupta et al., LVIS, 4.1)."""
    frequency = {label: count / len(shown) for label, count in Counter(x for own in shown for x in own).items()}
    factors = [max([math.sqrt(threshold / frequency[label]) for label in own], default=1) for own in shown]
    return [math.ceil(max(1, factor)) for factor in factors]


def test_images_of_rare_classes_are_repeated(coco_stuff):
    init_default_scope("mmseg")
    folders = dict(img_path="images/train2017", seg_map_path="annotations/train2017")
    stuff = dict(type="COCOStuff171Dataset", data_root=str(coco_stuff), data_prefix=folders, pipeline=LOAD)
    chosen = dict(stuff, metainfo=dict(classes=("grass", "car")))
    scenes = dict(type="SceneDataset", split="train", length=6, image_size=64, pipeline=RENDER)
    panoptic = dict(type="ScenePanopticDataset", split="val", length=6, image_size=64, pipeline=RENDER)
    for settings in (stuff, chosen, scenes, panoptic):
        dataset = DATASETS.build(settings)
        shown = [labels_in(dataset, index) for index in range(len(dataset))]
        assert [set(dataset.get_cat_ids(index)) for index in range(len(dataset))] == shown
        balanced = ClassBalancedDataset(dataset, oversample_thr=THRESHOLD)
        assert Counter(balanced.repeat_indices) == dict(enumerate(repeats_of(shown, THRESHOLD)))
        assert balanced.get_cat_ids(len(balanced) - 1) == dataset.get_cat_ids(len(dataset) - 1)
    with pytest.raises(ValueError, match=r"jpg has no label map"):
        DATASETS.build(dict(stuff, data_prefix=dict(img_path="images/train2017"))).get_cat_ids(0)


def test_boxes_and_segments_are_counted_too(tmp_path):
    init_default_scope("mmdet")
    segments = hclip_mmseg.mask_classification.OpenVocabPanopticDataset(
            data_root=str(write_panoptic(tmp_path / "panoptic")),
            ann_file="panoptic_val.json", data_prefix=dict(img="val/", seg="panoptic_val/"), pipeline=[],
    )  # fmt: skip
    content = json.loads((tmp_path / "panoptic/panoptic_val.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    listed = {
        one["image_id"]: {names[s["category_id"]] for s in one["segments_info"]} for one in content["annotations"]
    }
    for index in range(len(segments)):
        found = {segments.metainfo["classes"][label] for label in segments.get_cat_ids(index)}
        assert found == listed[segments.get_data_info(index)["img_id"]]

    coco = write_coco(tmp_path / "coco")
    boxes = hclip_mmseg.detection.OVCocoDataset(
        names="person, dog", data_root=str(coco), ann_file="annotations/instances_train2017.json",
        data_prefix=dict(img="train2017/"), pipeline=[],
    )  # fmt: skip
    scenes = hclip_mmseg.detection.SceneDetectionDataset(
        split="train", length=4, image_size=64, pipeline=[dict(type="mmseg.RenderScene"), dict(type="BoxesFromLabels")]
    )
    for index in range(len(scenes)):
        assert set(scenes.get_cat_ids(index)) == {one["bbox_label"] for one in scenes[index]["instances"]}
    for dataset in (segments, boxes, scenes):
        shown = [set(dataset.get_cat_ids(index)) for index in range(len(dataset))]
        balanced = ClassBalancedDataset(dataset, oversample_thr=THRESHOLD)
        assert Counter(balanced.repeat_indices) == dict(enumerate(repeats_of(shown, THRESHOLD)))
