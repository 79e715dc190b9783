"""ADE20K's panoptic annotation from its semantic and its instances' label maps."""

import json

import numpy as np
import pytest
from miniature_benchmarks import save, save_image
from miniature_panoptic import write_panoptic
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from hclip_mmseg.datasets.benchmarks import BENCHMARKS
from hclip_mmseg.datasets.preparation.panoptic import THINGS
from hclip_mmseg.datasets.preparation.processes import Options
from hclip_mmseg.datasets.preparation.registry import PREPARATIONS, find_preparation
from hclip_mmseg.mask_classification import OpenVocabPanopticDataset
from hclip_mmseg.vocabularies import load_vocabulary

NAMES = load_vocabulary("ade20k_150").names


def run(root, **options):
    return find_preparation("ADE20K-panoptic").run(root, Options(partial=True, **options))


@pytest.fixture
def ade(tmp_path):
    """Left half wall, right half sky with two beds (one above the other) and a flag; a person without instance."""
    semantic = np.zeros((8, 12), np.uint8)
    semantic[:, :6], semantic[:, 6:] = 1, 3
    instances = np.zeros((8, 12, 3), np.uint8)
    for rows, columns, label, kind, number in (
        (slice(0, 2), slice(7, 10), 8, 1, 5),
        (slice(2, 4), slice(7, 10), 8, 1, 2),
        (slice(5, 8), slice(4, 8), 150, 100, 1),
    ):
        semantic[rows, columns] = label
        instances[rows, columns] = kind, number, 0
    semantic[0, 0] = 13  # a person
    semantic[7, 11] = 0
    for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        save_image(tmp_path / f"images/{split}/{name}.jpg", semantic)
        save(tmp_path / f"annotations/{split}/{name}.png", semantic)
        save(tmp_path / f"annotations_instance/{split}/{name}.png", instances)
    return tmp_path


def test_things_are_the_hundred_of_mmdetection():
    from mmdet.datasets.ade20k import ADE20KPanopticDataset

    # MMDetection spells some of the names otherwise
    theirs = [name.split(",")[0] for name in ADE20KPanopticDataset.METAINFO["thing_classes"]]
    ours = [NAMES[label] for label in THINGS]
    assert len(ours) == 100
    differing = [pair for pair in zip(theirs, ours, strict=True) if pair[0] != pair[1]]
    assert ("window", "windowpane") in differing and len(differing) <= 9


def test_segments_are_what_was_drawn(ade):
    run(ade)
    content = json.loads((ade / "ade20k_panoptic_val.json").read_text())
    assert content["images"] == [dict(id=1, file_name="ADE_val_00000001.jpg", height=8, width=12)]
    assert [one["name"] for one in content["categories"]] == list(NAMES)
    assert {one["id"] for one in content["categories"] if one["isthing"]} == set(THINGS)
    annotation = content["annotations"][0]
    assert (annotation["image_id"], annotation["file_name"]) == (1, "ADE_val_00000001.png")
    found = [
        (NAMES[one["category_id"]], one["area"], one["bbox"], one["iscrowd"]) for one in annotation["segments_info"]
    ]
    # wall has 48 pixels but 1 of the person and 6 of the flag; sky 48 but 12 of beds, 6 of the flag, 1 of nothing
    assert sorted(found) == [
        ("bed", 6, [7, 0, 3, 2], 0),
        ("bed", 6, [7, 2, 3, 2], 0),
        ("flag", 12, [4, 5, 4, 3], 0),
        ("sky", 29, [6, 0, 6, 8], 0),
        ("wall", 41, [0, 0, 6, 8], 0),
    ]
    colours = np.asarray(Image.open(ade / "ade20k_panoptic_val/ADE_val_00000001.png")).astype(int)
    ids = colours[..., 0] + 256 * colours[..., 1] + 256**2 * colours[..., 2]
    assert ids[0, 0] == ids[7, 11] == 0 and len({ids[0, 8], ids[2, 8], ids[6, 5], ids[7, 6], ids[7, 0], ids[7, 9]}) == 5


def test_the_config_reads_what_is_made(ade):
    benchmark = BENCHMARKS["ADE20K-panoptic"]
    assert benchmark.missing(ade)
    run(ade, jobs=2)
    assert not benchmark.missing(ade)
    config = Config.fromfile(benchmark.config_path).test_dataloader.dataset.to_dict()
    dataset = DATASETS.build({**config, "data_root": str(ade), "_scope_": "mmdet", "serialize_data": False})
    assert isinstance(dataset, OpenVocabPanopticDataset)
    assert dataset.metainfo["classes"] == NAMES and len(dataset.metainfo["thing_classes"]) == 100
    assert len(dataset) == 1 and dataset[0]["inputs"].shape[0] == 3


def test_it_goes_on_and_is_checked(ade):
    run(ade)
    assert run(ade) == ["ADE20K panoptic: 1 in training, 1 in validation; 0 made now, 2 were there"]
    lines = run(ade, check=True)
    assert lines[1:] == [
        f"ade20k_panoptic_{split}.json: 1 images; all label maps match it" for split in ("train", "val")
    ]
    path = ade / "ade20k_panoptic_val/ADE_val_00000001.png"
    colours = np.asarray(Image.open(path)).copy()
    colours[0, 0] = 0, 5, 0
    Image.fromarray(colours).save(path)
    with pytest.raises(ValueError, match="1 of 1 label maps do not match .*panoptic_val.json.*segment 1280"):
        run(ade, check=True)
    (ade / "ade20k_panoptic_train.json").write_text("{")
    with pytest.raises(ValueError, match="panoptic_train.json is no panoptic annotation file in COCO's form"):
        run(ade, check=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda semantic, instances: semantic.__setitem__((0, 0), 151), "has the label 151; 0 to 150 are ADE20K's"),
        (lambda semantic, instances: instances.__setitem__((0, 0), (101, 1, 0)), "more than 100 kinds"),
        (lambda semantic, instances: instances.__setitem__((0, 0), (0, 9, 0)), "things of no kind"),
    ],
)
def test_bad_numbers_are_refused(ade, change, message):
    paths = [ade / f"{folder}/validation/ADE_val_00000001.png" for folder in ("annotations", "annotations_instance")]
    pixels = [np.asarray(Image.open(path)).copy() for path in paths]
    change(*pixels)
    for path, changed in zip(paths, pixels, strict=True):
        Image.fromarray(changed).save(path)
    with pytest.raises(ValueError, match=message):
        run(ade)
    assert not (ade / "ade20k_panoptic_val.json").exists()


def test_missing_instances_are_named_before_any_work(ade):
    (ade / "annotations_instance/validation/ADE_val_00000001.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 files of instances are missing.*ADE_val_00000001.png"):
        run(ade)
    assert not (ade / "ade20k_panoptic_train").exists()


def test_coco_and_mapillary_are_checked(tmp_path):
    write_panoptic(tmp_path / "made")
    made, annotations = tmp_path / "made", tmp_path / "coco/annotations"
    annotations.mkdir(parents=True)
    (made / "panoptic_val").rename(annotations / "panoptic_val2017")
    (made / "panoptic_val.json").rename(annotations / "panoptic_val2017.json")
    preparation = find_preparation("COCO-panoptic")
    assert preparation.run(tmp_path / "coco", Options(partial=True)) == [
        "panoptic_val2017.json: 3 images; all label maps match it"
    ]
    with pytest.raises(ValueError, match="has 3 images, not 5,000"):
        preparation.run(tmp_path / "coco", Options())
    folder = tmp_path / "mapillary/validation/v1.2/panoptic"
    folder.parent.mkdir(parents=True)
    (made / "panoptic_train").rename(folder)
    (made / "panoptic_train.json").rename(folder / "panoptic_2018.json")
    assert find_preparation("Mapillary-panoptic").run(tmp_path / "mapillary", Options(partial=True)) == [
        "panoptic_2018.json: 3 images; all label maps match it"
    ]
    next(folder.glob("*.png")).unlink()
    with pytest.raises(FileNotFoundError, match="1 label maps of .*panoptic_2018.json are missing"):
        find_preparation("Mapillary-panoptic").run(tmp_path / "mapillary", Options(partial=True))
    with pytest.raises(FileNotFoundError, match="panoptic_annotations_trainval2017.zip"):
        preparation.run(tmp_path, Options())


def test_every_benchmark_can_be_prepared():
    assert {benchmark.preparation for benchmark in BENCHMARKS.values()} <= set(PREPARATIONS)
