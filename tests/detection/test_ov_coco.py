"""OV-COCO as a data set, and that training never meets a box of a novel name."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("mmdet", reason="MMDetection is not installed")

from miniature_coco import write_coco
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from tiny_detectors import tiny_detector

from hclip_mmseg.apis import checks
from hclip_mmseg.datasets.annotation_files import read_instances
from hclip_mmseg.datasets.preparation.ov_coco import keep_names, prepare_ov_coco
from hclip_mmseg.vocabularies import load_vocabulary

BASE, NOVEL = load_vocabulary("ov_coco_48").names, load_vocabulary("ov_coco_17").names
PIPELINE = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(64, 64), keep_ratio=True),
    dict(type="PackDetInputs"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = write_coco(tmp_path_factory.mktemp("data") / "coco")
    prepare_ov_coco(root)
    return root


def dataset(root, file, split="train2017", **changes):
    init_default_scope("mmdet")
    config = dict(
        type="OVCocoDataset", data_root=str(root), ann_file=f"annotations/{file}", data_prefix=dict(img=f"{split}/"),
        pipeline=PIPELINE,
    )  # fmt: skip
    return DATASETS.build({**config, **changes})


def named(data):
    return [
        [(data.metainfo["classes"][one["bbox_label"]], one["bbox"], one["ignore_flag"]) for one in info["instances"]]
        for info in (data.get_data_info(index) for index in range(len(data)))
    ]


def test_labels_stand_for_their_names_in_our_order(root):
    data = dataset(root, "ov-coco/instances_val2017_all.json", "val2017", test_mode=True)
    official = json.loads((root / "annotations/instances_val2017.json").read_text())
    names = {one["id"]: one["name"] for one in official["categories"]}
    for index, found in enumerate(named(data)):
        image = data.get_data_info(index)["img_id"]
        expected = [
            (names[one["category_id"]], [x, y, x + w, y + h], one["iscrowd"])
            for one in official["annotations"]
            if one["image_id"] == image and names[one["category_id"]] in BASE + NOVEL
            for x, y, w, h in [one["bbox"]]
        ]
        assert found == expected and expected, "crowds and thin boxes are kept for evaluation"
    assert data.metainfo["held_out"] == NOVEL and len(data.metainfo["palette"]) == 65
    backwards = dataset(root, "instances_val2017.json", "val2017", names=tuple(reversed(BASE)), test_mode=True)
    assert {name for found in named(backwards) for name, *_ in found} == {"person", "bottle"}


def test_names_beside_the_classes_are_asked_for_and_have_no_labels(root):
    data = dataset(root, "ov-coco/instances_val2017_all.json", "val2017", asked="coco_object_80", test_mode=True)
    classes, vocabulary = data.metainfo["classes"], data.metainfo["vocabulary"]
    assert len(classes) == 65 and vocabulary[:65] == classes
    assert sorted(vocabulary) == sorted(load_vocabulary("coco_object_80").names)
    assert {name for found in named(data) for name, *_ in found} <= set(classes)


@pytest.mark.parametrize("file", ["ov-coco/instances_train2017_base.json", "instances_train2017.json"])
def test_training_reads_base_boxes_only_whatever_the_file_holds(root, file):
    data = dataset(root, file, names="ov_coco_48")
    assert data.metainfo["classes"] == BASE and data.metainfo["held_out"] == ()
    found = named(data)
    assert {name for one in found for name, *_ in one} == {"person", "bottle"}
    assert all(box[2] - box[0] >= 1 for one in found for _, box, _ in one), "too thin to train on"


def test_novel_boxes_never_reach_the_training_loss(tmp_path):
    """The losses are the same with and without novel boxes in the file, and not with other base boxes."""
    root = write_coco(tmp_path / "coco")
    official = json.loads((root / "annotations/instances_train2017.json").read_text())
    ids = {one["name"]: one["id"] for one in official["categories"]}
    novel = {ids[name] for name in NOVEL}
    without = {**official, "annotations": [one for one in official["annotations"] if one["category_id"] not in novel]}
    fewer = {**official, "annotations": [one for one in without["annotations"] if one["category_id"] != ids["bottle"]]}
    losses = []
    for number, content in enumerate((official, without, fewer)):
        (root / f"annotations/{number}.json").write_text(json.dumps(content))
        data = dataset(root, f"{number}.json", names="ov_coco_48")
        model = tiny_detector(names=data.metainfo["classes"])
        batch = model.data_preprocessor(pseudo_collate([data[1], data[3]]), True)
        torch.manual_seed(0)
        found = model.loss(batch["inputs"], batch["data_samples"])
        losses.append({name: torch.stack(list(x)) if isinstance(x, list) else x for name, x in found.items()})
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])
    assert not torch.equal(losses[0]["loss_cls"], losses[2]["loss_cls"])


def test_boxes_of_two_categories_of_one_name_are_all_read(tmp_path):
    """As exports of annotation tools have them, and without the keys that can be computed."""
    corners = [10, 10, 20, 10, 20, 30, 10, 30]
    boxes = [dict(id=n, image_id=1, category_id=n % 3 + 1, bbox=[20 * n, 10, 10, 10]) for n in range(6)]
    boxes.append(dict(id=6, image_id=1, category_id=2, segmentation=[corners]))
    names = ("cat", "dog", "cat ")
    content = dict(
        images=[dict(id=1, file_name="1.jpg", height=480, width=640)],
        categories=[dict(id=number, name=name) for number, name in enumerate(names, 1)],
        annotations=boxes,
    )
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/own.json").write_text(json.dumps(content))
    for changes in (dict(test_mode=True), dict(filter_cfg=dict(filter_empty_gt=True))):
        (found,) = named(dataset(tmp_path, "own.json", names=("cat", "dog"), **changes))
        assert sorted(name for name, *_ in found) == ["cat"] * 4 + ["dog"] * 3
        assert ("dog", [10, 10, 20, 30], 0) in found
    assert len(keep_names(read_instances(tmp_path / "annotations/own.json"), ["cat"])["annotations"]) == 4


def test_a_file_of_other_names_is_refused(root):
    with pytest.raises(ValueError, match="no categories airplane, bus, .*prepared for other names"):
        dataset(root, "ov-coco/instances_train2017_base.json", names="ov_coco_65")
    with pytest.raises(ValueError, match="given 2 times"):
        dataset(root, "instances_train2017.json", names=("cat", "cat"))


def test_files_that_were_not_prepared_are_named_with_the_command(tmp_path, repository):
    cfg = Config.fromfile(repository / "configs/detection/frozen_vitb16_ov-coco.py")
    cfg.model.backbone.clip.pretrained = None
    cfg.train_dataloader.dataset.data_root = str(write_coco(tmp_path / "coco"))
    with pytest.raises(FileNotFoundError, match=r"2017_base\.json is missing.*prepare_dataset.py ov-coco"):
        checks.check_run(cfg, ["train"])
