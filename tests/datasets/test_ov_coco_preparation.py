"""OV-COCO's files: which boxes are in them."""

from __future__ import annotations

import json

import pytest
from miniature_coco import write_coco

from hclip_mmseg.datasets.preparation.ov_coco import keep_names, prepare_ov_coco
from hclip_mmseg.vocabularies import load_vocabulary

KINDS = {"base": {"person", "bottle"}, "novel": {"cat", "dog", "tie"}, "all": {"person", "bottle", "cat", "dog", "tie"}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = write_coco(tmp_path_factory.mktemp("data") / "coco")
    prepare_ov_coco(root)
    return root


def read(root, name):
    return json.loads((root / "annotations" / name).read_text())


@pytest.mark.parametrize("split, kind", [("train", "base"), ("val", "base"), ("val", "novel"), ("val", "all")])
def test_a_file_holds_the_boxes_of_its_names_and_no_others(root, split, kind):
    made = read(root, f"ov-coco/instances_{split}2017_{kind}.json")
    official = read(root, f"instances_{split}2017.json")
    name_of = {one["id"]: one["name"] for one in official["categories"]}
    expected = [one for one in official["annotations"] if name_of[one["category_id"]] in KINDS[kind]]
    assert made["annotations"] == expected and expected
    listed = {"base": "ov_coco_48", "novel": "ov_coco_17", "all": "ov_coco_65"}[kind]
    assert [one["name"] for one in made["categories"]] == list(load_vocabulary(listed).names)
    assert all(name_of[one["id"]] == one["name"] for one in made["categories"]), "COCO's own ids"
    with_box = {one["image_id"] for one in expected}
    assert [one["id"] for one in made["images"]] == [i["id"] for i in official["images"] if i["id"] in with_box]


def test_training_knows_nothing_of_novel_names(root):
    text = (root / "annotations/ov-coco/instances_train2017_base.json").read_text()
    assert all(f'"{name}"' not in text for name in load_vocabulary("ov_coco_17").names)


def test_images_without_such_a_box_are_left_out():
    content = dict(
        images=[dict(id=1), dict(id=2)],
        categories=[dict(id=7, name="cat"), dict(id=8, name="dog")],
        annotations=[dict(image_id=1, category_id=7), dict(image_id=2, category_id=8)],
    )
    assert keep_names(content, ["dog"])["images"] == [dict(id=2)]
    with pytest.raises(ValueError, match="no categories cow"):
        keep_names(content, ["cow"])


def test_what_is_missing_or_broken_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"instances_train2017\.json and instances_val2017\.json.*unpack"):
        prepare_ov_coco(tmp_path)
    write_coco(tmp_path / "coco")
    path = tmp_path / "coco/annotations/instances_val2017.json"
    path.write_text(path.read_text()[:-50])
    with pytest.raises(ValueError, match="truncated"):
        prepare_ov_coco(tmp_path / "coco")
    assert not (tmp_path / "coco/annotations/ov-coco/instances_val2017_all.json").exists()
