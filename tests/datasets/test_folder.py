"""Data sets of one's own in folders, and several of them in one training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from PIL import Image

from hclip_mmseg.apis.data_files import missing_files
from hclip_mmseg.apis.settings import explained
from hclip_mmseg.datasets import FolderDataset, MixedDataset
from hclip_mmseg.datasets.replay import Draw

NAMES = ("crack, fissure", "rust", "paint")
PIPELINE = [dict(type="LoadImageFromFile"), dict(type="LoadLabelMap"), dict(type="PackSegInputs")]


def write(root, labels, suffixes=(".jpg",), places=None, maps=".png"):
    """Images and label maps, half of a map the first label of an image, half its second."""
    for index, pair in enumerate(labels):
        name = (places or [f"{number:03d}" for number in range(len(labels))])[index]
        image, label_map = root / f"images/{name}{suffixes[index % len(suffixes)]}", root / f"labels/{name}{maps}"
        for path in (image, label_map):
            path.parent.mkdir(parents=True, exist_ok=True)
        numbers = np.repeat(np.array(pair, np.uint8), 4)[None].repeat(8, 0)
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(image)
        Image.fromarray(numbers).save(label_map)
    return root


def dataset(root, **changes):
    prefix = dict(img_path="images", seg_map_path="labels")
    return FolderDataset(**{"data_root": str(root), "data_prefix": prefix, "classes": NAMES, **changes})


def labels_of(data):
    return [sample["data_samples"].gt_sem_seg.data.unique().tolist() for sample in data]


def test_any_suffix_and_folders_below(tmp_path):
    write(tmp_path, [(0, 1), (1, 2), (2, 255)], (".jpg", ".PNG", ".tif"), ["site/a.1", "b", "c"])
    data = dataset(tmp_path, pipeline=PIPELINE)
    assert [data.get_data_info(i)["img_path"].rsplit("/", 1)[1] for i in range(3)] == ["b.PNG", "c.tif", "a.1.jpg"]
    assert labels_of(data) == [[1, 2], [2, 255], [0, 1]]
    assert data.metainfo["classes"] == NAMES and data.ignore_index == 255


def test_held_out_classes_are_ignored_in_training_and_told_apart_in_evaluation(tmp_path):
    write(tmp_path, [(0, 1), (1, 2)])
    training = dataset(tmp_path, pipeline=PIPELINE, held_out=["crack"])
    assert training.metainfo["classes"] == ("rust", "paint") and training.metainfo["held_out"] == ()
    assert labels_of(training) == [[0, 255], [0, 1]]
    testing = dataset(tmp_path, pipeline=PIPELINE, held_out=["crack, fissure"], test_mode=True)
    assert testing.metainfo["classes"] == NAMES and testing.metainfo["held_out"] == ("crack, fissure",)
    assert labels_of(testing) == [[0, 1], [1, 2]]


def test_lists_with_and_without_suffix(tmp_path):
    write(tmp_path, [(0, 1)] * 4)
    (tmp_path / "some.txt").write_text("003\n001.jpg\n\n")
    data = dataset(tmp_path, ann_file="some.txt")
    assert [data.get_data_info(i)["img_path"][-7:] for i in range(len(data))] == ["003.jpg", "001.jpg"]


def test_smaller_subsets_lie_in_larger_ones(tmp_path):
    write(tmp_path, [(0, 1)] * 12)

    def drawn(**how):
        data = dataset(tmp_path, **how)
        return {data.get_data_info(i)["img_path"] for i in range(len(data))}

    assert len(drawn(subset=0.25)) == 3 and drawn(subset=0.25) < drawn(subset=6) < drawn(subset=11)
    assert drawn(subset=6) != drawn(subset=6, subset_seed=1)
    assert len(drawn(subset=0.01)) == 1


def test_images_of_rare_classes_are_repeated(tmp_path):
    write(tmp_path, [(0, 1)] * 15 + [(0, 2)])
    data = dataset(tmp_path, repeat_below=0.5)
    names = [data.get_data_info(i)["img_path"][-7:-4] for i in range(len(data))]
    assert names.count("015") == 3, "sqrt(0.5 / (1 / 16)) = 2.83"
    assert all(names.count(f"{index:03d}") == 1 for index in range(15))
    assert len(dataset(tmp_path, repeat_below=0.5, test_mode=True)) == 16
    assert len(dataset(tmp_path, repeat_below=0.5, held_out=["paint"])) == 16, "what is not trained is not rare"


def test_more_classes_than_8_bits_hold(tmp_path):
    names = [f"name {number}" for number in range(300)]
    assert dataset(write(tmp_path, [(0, 1)]), classes=names).ignore_index == 65535


@pytest.mark.parametrize(
    ("spoil", "changes", "said"),
    [
        (lambda root: (root / "labels/001.png").unlink(), {}, "1 of 3 images in .* have no label map .* 001.jpg"),
        (lambda root: (root / "images/001.png").touch(), {}, "two images of one name"),
        (lambda root: None, dict(img_suffix=".bmp"), "no file ends in '.bmp', and there are 3 in '.jpg'"),
        (lambda root: None, dict(held_out=["glass"]), r"'glass' is held out, but is none of the classes \(crack, rust"),
        (lambda root: None, dict(held_out=NAMES), "all 3 classes are held out"),
        (lambda root: None, dict(subset=4), "more images than the 3"),
        (lambda root: None, dict(subset=0), "a number of images"),
        (lambda root: None, dict(repeat_below=2), "above 0 and at most 1"),
        (lambda root: (root / "l.txt").write_text("001\n9\n"), dict(ann_file="l.txt"), "1 images that are not .* 9"),
        (lambda root: None, dict(ann_file="none.txt"), "no list of images"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, spoil, changes, said):
    spoil(write(tmp_path, [(0, 1)] * 3))
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        dataset(tmp_path, **changes)


def test_a_run_is_not_stopped_by_the_check_of_suffixes(tmp_path):
    write(tmp_path, [(0, 1)] * 2, (".tif",))
    settings = dict(
        type="FolderDataset",
        classes=NAMES,
        data_root=str(tmp_path),
        data_prefix=dict(img_path="images", seg_map_path="labels"),
    )
    assert not list(missing_files(settings, trains=True))


# ---- several vocabularies in one training


@pytest.fixture
def two(tmp_path):
    own = dataset(write(tmp_path / "own", [(0, 1), (1, 2)]), pipeline=PIPELINE)
    other = dataset(
        write(tmp_path / "other", [(0, 1)] * 10),
        pipeline=PIPELINE,
        classes=["sky", "Rust", "dog", "grass"],
        held_out=["sky"],
    )
    return own, other


def test_labels_become_places_in_the_joint_vocabulary(two):
    mixed = MixedDataset(two)
    assert mixed.metainfo["classes"] == ("crack, fissure", "rust", "paint", "dog", "grass")
    assert len(mixed) == 12
    own, other = mixed[1]["data_samples"], mixed[2]["data_samples"]
    assert own.asked == (0, 1, 2) and own.gt_sem_seg.data.unique().tolist() == [1, 2]
    assert other.asked == (1, 3, 4) and other.gt_sem_seg.data.unique().tolist() == [1, 255]


def test_a_ratio_shows_all_of_the_second_set_over_several_passes(two):
    mixed = MixedDataset(two, ratio=(1, 2))
    assert len(mixed) == 6
    shown = [
        mixed[Draw(2 + place, passed * 6 + 2 + place, 0)]["data_samples"].img_path
        for passed in range(5)
        for place in range(4)
    ]
    assert len(set(shown[:4])) == 4 and len(set(shown[:10])) == 10
    assert all("other" in path for path in shown)


def test_mixing_says_what_is_wrong(two):
    with pytest.raises(ValueError, match="one number above 0 for each of the 2"):
        MixedDataset(two, ratio=(1,))
    with pytest.raises(ValueError, match="at least one"):
        MixedDataset([])


def test_it_is_built_from_settings_with_a_benchmark(tmp_path, coco_stuff):
    write(tmp_path, [(0, 1)] * 3)
    benchmark = dict(
        type="COCOStuff171Dataset", data_root=str(coco_stuff), pipeline=PIPELINE,
        data_prefix=dict(img_path="images/train2017", seg_map_path="annotations/train2017"),
    )  # fmt: skip
    own = dict(type="FolderDataset", data_root=str(tmp_path), classes=NAMES, pipeline=PIPELINE,
               data_prefix=dict(img_path="images", seg_map_path="labels"))  # fmt: skip
    mixed = DATASETS.build(dict(type="MixedDataset", datasets=[own, benchmark]))
    assert len(mixed.metainfo["classes"]) == 174
    sample = mixed[3]["data_samples"]
    assert len(sample.asked) == 171 and min(sample.asked) == 3
    labels = set(sample.gt_sem_seg.data.unique().tolist()) - {255}
    assert labels and labels <= set(sample.asked)


@pytest.mark.parametrize(
    ("ignored", "kind"), [(["label_map"], ValueError), (["classes", "palette", "held_out"], TypeError)]
)
def test_who_joins_them_otherwise_is_told_of_it(two, ignored, kind):
    with pytest.raises(kind) as caught:
        DATASETS.build(dict(type="ConcatDataset", datasets=list(two), ignore_keys=ignored))
    assert explained(str(caught.value)).startswith("ConcatDataset joins data sets of the same class names alone; Mixed")


def test_a_training_step_of_two_vocabularies(two, tmp_path):
    from tiny_models import tiny_segmentor

    order = dict(type="DefaultSampler", shuffle=False)
    loader = Runner.build_dataloader(dict(batch_size=12, sampler=order, dataset=MixedDataset(two), num_workers=0))
    model = tiny_segmentor(names=loader.dataset.metainfo["classes"]).train()
    batch = model.data_preprocessor(next(iter(loader)), True)
    found = model.loss(**batch)
    found["decode.loss_bce"].backward()
    gradient = model.backbone.adapter.tensor.grad.clone()
    expected, summed = 0, 0
    for data, rows in zip(two, (range(2), range(2, 12)), strict=True):
        alone = tiny_segmentor(names=data.metainfo["classes"]).train()
        loaded = Runner.build_dataloader(dict(batch_size=len(data), sampler=order, dataset=data, num_workers=0))
        loss = alone.loss(**alone.data_preprocessor(next(iter(loaded)), True))["decode.loss_bce"] * len(rows) / 12
        loss.backward()
        expected, summed = expected + loss.detach(), summed + alone.backbone.adapter.tensor.grad
    torch.testing.assert_close(found["decode.loss_bce"].detach(), expected)
    torch.testing.assert_close(gradient, summed, rtol=1e-4, atol=1e-7)
