"""The scenes with masks: what is a thing, and what proposals are shown."""

from __future__ import annotations

import numpy as np

from hclip_mmseg.demo_assets.scenes import BACKGROUNDS, SCENE_CLASSES, TRAIN_NAMES
from hclip_mmseg.mask_classification import MasksFromLabels, ScenePanopticDataset

RENDERED = [dict(type="mmseg.RenderScene")]


def test_objects_are_things_and_training_names_list_them_first():
    train = ScenePanopticDataset(split="train", length=1, image_size=96, pipeline=RENDERED)
    whole = ScenePanopticDataset(split="val", length=1, image_size=96, pipeline=RENDERED)
    for found, names in ((train, TRAIN_NAMES), (whole, SCENE_CLASSES)):
        assert found.metainfo["classes"] == names
        assert set(names) - set(found.metainfo["thing_classes"]) == set(names) & set(BACKGROUNDS)
        labels = found[0]["thing_labels"]
        assert tuple(names[label] for label in labels) == found.metainfo["thing_classes"]
    assert train[0]["thing_labels"] == tuple(range(54))


def test_masks_are_the_pixels_of_labels():
    labels = np.array([[3, 3, 9, 9], [3, 0, 9, 255]], np.uint8)
    given = dict(gt_seg_map=labels, thing_labels=(0, 3, 5))
    found = MasksFromLabels()(dict(given))
    assert found["gt_bboxes_labels"].tolist() == [0, 3]
    assert np.array_equal(found["gt_masks"].masks, [labels == 0, labels == 3])
    assert found["gt_bboxes"].tensor.tolist() == [[1, 1, 2, 2], [0, 0, 2, 2]]
    assert np.array_equal(found["gt_seg_map"], labels)

    nameless = MasksFromLabels(agnostic=True)(dict(given))
    assert nameless["gt_bboxes_labels"].tolist() == [0, 0, 1], "a background is a mask of its own"
    assert np.array_equal(nameless["gt_masks"].masks, [labels == 0, labels == 3, labels == 9])
    assert (nameless["gt_seg_map"] == 255).all()

    everything = MasksFromLabels()(dict(gt_seg_map=labels))
    assert everything["gt_bboxes_labels"].tolist() == [0, 3, 9]
