"""The rendered scenes as boxes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mmdet", reason="MMDetection is not installed")

from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope

import hclip_mmseg.detection  # noqa: F401 (registers)
from hclip_mmseg.datasets.scene_detection import HELD_OUT_OBJECTS, OBJECTS, TRAIN_OBJECTS
from hclip_mmseg.demo_assets.scenes import BACKGROUNDS, SCENE_CLASSES, render_scene

PIPELINE = [
    dict(type="mmseg.RenderScene"),
    dict(type="BoxesFromLabels"),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "instances")),
]


def dataset(split, length=6, **changes):
    init_default_scope("mmdet")
    return DATASETS.build(dict(type="SceneDetectionDataset", split=split, length=length, pipeline=PIPELINE, **changes))


@pytest.mark.parametrize("split", ["train", "val"])
def test_each_object_is_the_box_of_its_pixels_under_its_phrase(split):
    data = dataset(split, image_size=96, radius=(14, 22))
    for index in range(len(data)):
        sample = data[index]["data_samples"]
        scene = render_scene(**data.get_data_info(index)["scene"])
        expected = {}
        for y, x in np.ndindex(scene.labels.shape):
            name = SCENE_CLASSES[scene.labels[y, x]]
            if name not in BACKGROUNDS:
                x1, y1, x2, y2 = expected.get(name, (x, y, x + 1, y + 1))
                expected[name] = (min(x1, x), min(y1, y), max(x2, x + 1), max(y2, y + 1))
        assert expected
        instances = sample.gt_instances
        boxes, labels = instances.bboxes.numpy().tolist(), instances.labels.tolist()
        found = {data.metainfo["classes"][label]: tuple(box) for box, label in zip(boxes, labels, strict=True)}
        assert found == expected and len(labels) == len(expected)
        assert [(one["bbox"], one["bbox_label"]) for one in sample.instances] == list(zip(boxes, labels, strict=True))


def test_no_box_of_a_held_out_name_is_shown_in_training():
    assert set(TRAIN_OBJECTS) | set(HELD_OUT_OBJECTS) == set(OBJECTS) == set(SCENE_CLASSES) - set(BACKGROUNDS)
    train, val = dataset("train", 40), dataset("val", 40)
    assert train.metainfo["classes"] == TRAIN_OBJECTS and train.metainfo["held_out"] == ()
    assert val.metainfo["classes"] == OBJECTS and val.metainfo["held_out"] == HELD_OUT_OBJECTS
    shown = {label for data in train for label in data["data_samples"].gt_instances.labels.tolist()}
    asked = {label for data in val for label in data["data_samples"].gt_instances.labels.tolist()}
    assert shown <= set(range(54)) and max(asked) >= 54


def test_scenes_without_objects_have_no_boxes():
    sample = dataset("train", num_objects=(0, 0))[0]["data_samples"]
    assert sample.gt_instances.bboxes.shape == (0, 4) and sample.instances == []


def test_a_wrong_split_is_refused():
    with pytest.raises(ValueError, match="split 'test'"):
        dataset("test")
