import itertools

import numpy as np
import pytest
from mmengine.registry import init_default_scope

from hclip_mmseg.datasets.haze import Haze
from hclip_mmseg.datasets.scenes import SceneDataset
from hclip_mmseg.demo_assets.scenes import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT_NAMES,
    MIN_VISIBLE_PIXELS,
    SCENE_CLASSES,
    SHAPES,
    TEXTURES,
    TRAIN_NAMES,
    describe,
    render_scene,
)

PIPELINE = [
    dict(type="RenderScene"),
    dict(type="PackSegInputs", meta_keys=("img_path", "ori_shape", "img_shape", "caption")),
]


def objects_of(names):
    return [tuple(name.split()) for name in names if name not in BACKGROUNDS]


def test_names_are_split_disjointly_and_compositionally():
    assert not set(TRAIN_NAMES) & set(HELD_OUT_NAMES)
    assert SCENE_CLASSES == TRAIN_NAMES + HELD_OUT_NAMES
    every = {f"{c} {t} {s}" for c, t, s in itertools.product(COLOURS, TEXTURES, SHAPES)} | set(BACKGROUNDS)
    assert set(SCENE_CLASSES) == every and len(SCENE_CLASSES) == len(every)
    train, held_out = objects_of(TRAIN_NAMES), objects_of(HELD_OUT_NAMES)
    assert len(held_out) * 4 == len(train) + len(held_out)
    for part, words in enumerate((COLOURS, TEXTURES, SHAPES)):
        assert {name[part] for name in train} == set(words)
        assert {name[part] for name in held_out} == set(words)
    for first, second in ((0, 1), (0, 2), (1, 2)):  # each held-out name is new only as a whole
        pairs = {(name[first], name[second]) for name in train}
        assert pairs >= {(name[first], name[second]) for name in held_out}
    assert set(BACKGROUNDS) < set(TRAIN_NAMES)  # nothing else could tell what a background's name means


def test_a_scene_is_a_function_of_seed_and_index():
    first, again = render_scene(3, 5, 96), render_scene(3, 5, 96)
    assert np.array_equal(first.image, again.image) and np.array_equal(first.labels, again.labels)
    assert (first.names, first.caption) == (again.names, again.caption)
    assert not np.array_equal(first.image, render_scene(3, 6, 96).image)
    assert not np.array_equal(first.image, render_scene(4, 5, 96).image)


@pytest.mark.parametrize("size", [32, 64, 192])
def test_present_names_are_those_that_are_visible(size):
    for index in range(12):
        scene = render_scene(1, index, size)
        assert scene.image.shape == (size, size, 3) and scene.image.dtype == np.uint8
        assert scene.labels.shape == (size, size) and scene.labels.dtype == np.uint8
        areas = np.bincount(scene.labels.ravel(), minlength=len(SCENE_CLASSES))
        shown = {SCENE_CLASSES[label] for label in np.flatnonzero(areas)}
        assert set(scene.names) <= shown
        # what is not announced is a sliver of background
        for name in shown - set(scene.names):
            assert name in BACKGROUNDS and areas[SCENE_CLASSES.index(name)] < MIN_VISIBLE_PIXELS
        for name in objects_of(scene.names):
            assert areas[SCENE_CLASSES.index(" ".join(name))] >= 0.5 * MIN_VISIBLE_PIXELS


def test_pixels_under_an_objects_label_have_its_colours():
    light = np.array([242, 242, 238])
    for index in range(20):
        scene = render_scene(2, index, 128)
        for colour, texture, shape in objects_of(scene.names):
            mask = scene.labels == SCENE_CLASSES.index(f"{colour} {texture} {shape}")
            pixels = scene.image[mask].astype(float)
            far_from_colour = np.abs(pixels - COLOURS[colour]).max(1) > 75
            if texture == "plain":
                assert far_from_colour.mean() < 0.02
            else:
                assert 0.02 < far_from_colour.mean() < 0.8  # there is a second colour ...
                second = pixels[far_from_colour]
                assert (np.abs(second - light).max(1) < 60).mean() > 0.9  # ... and it is the light one


def test_pixels_outside_the_masks_are_the_background_alone():
    """The same scene without its objects agrees wherever no object is labelled."""
    changed = 0
    for index in range(10):
        full = render_scene(5, index, 96, num_objects=(2, 2), num_backgrounds=(1, 1))
        background = [name for name in full.names if name in BACKGROUNDS]
        outside = full.labels == SCENE_CLASSES.index(background[0])
        tone = full.image[outside].astype(float).mean(0)
        inside = full.image[~outside].astype(float)
        changed += (np.abs(inside - tone).max(1) > 40).mean() > 0.5
        # stuff varies, but no saturated object colour is left outside the masks
        spread = full.image[outside].astype(float).max(1) - full.image[outside].astype(float).min(1)
        assert (spread > 150).mean() < 0.01
    assert changed >= 8


def test_names_restrict_what_is_rendered():
    for index in range(10):
        scene = render_scene(7, index, 128, names=TRAIN_NAMES)
        assert set(scene.names) <= set(TRAIN_NAMES)
        assert scene.labels.max() < len(TRAIN_NAMES)
    only = ("red plain circle", "blue plain star", "snow")
    scene = render_scene(7, 0, 128, names=only, num_objects=(2, 2))
    assert set(scene.names) <= set(only) and "snow" in scene.names


def test_captions_mention_exactly_what_is_present():
    for index in range(60):
        scene = render_scene(8, index, 96, num_objects=(0, 4))
        mentioned = {name for name in SCENE_CLASSES if name in scene.caption}
        assert mentioned == set(scene.names), scene.caption


def test_every_name_is_rendered_and_described():
    rng = np.random.default_rng(0)
    for name in SCENE_CLASSES:
        assert name in describe([name], rng)
    seen = {name for index in range(400) for name in render_scene(9, index, 64, num_objects=(1, 2)).names}
    assert seen == set(SCENE_CLASSES)


def test_number_of_objects_and_backgrounds():
    for index in range(20):
        scene = render_scene(10, index, 192, num_objects=(3, 3), num_backgrounds=(1, 1), radius=(10, 14))
        assert len(objects_of(scene.names)) == 3
        assert len(scene.names) == 4


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        (dict(size=16), ValueError, "size"),
        (dict(size=64, num_objects=(3, 2)), ValueError, "num_objects"),
        (dict(size=64, num_objects=(0, 100)), ValueError, "num_objects"),
        (dict(size=64, num_backgrounds=(0, 1)), ValueError, "num_backgrounds"),
        (dict(size=64, names=("red plain star",), num_objects=(1, 1)), ValueError, "num_backgrounds"),
        (dict(size=64, radius=(20, 10)), ValueError, "radius"),
        (dict(size=64, names=("pink star",)), KeyError, "pink star"),
    ],
)
def test_bad_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        render_scene(0, 0, **arguments)


class TestSceneDataset:
    @pytest.fixture(autouse=True)
    def scope(self):
        init_default_scope("mmseg")

    def test_train_split_shows_and_names_train_names_only(self):
        dataset = SceneDataset(split="train", length=12, image_size=96, pipeline=PIPELINE)
        assert len(dataset) == 12
        assert tuple(dataset.metainfo["classes"]) == TRAIN_NAMES
        assert len(dataset.metainfo["palette"]) == len(TRAIN_NAMES)
        assert tuple(dataset.metainfo["held_out"]) == ()
        for item in dataset:
            labels = item["data_samples"].gt_sem_seg.data
            assert labels.max() < len(TRAIN_NAMES)  # nothing is ignored either

    def test_val_split_mixes_all_names(self):
        dataset = SceneDataset(split="val", length=30, image_size=96, pipeline=PIPELINE)
        assert tuple(dataset.metainfo["classes"]) == SCENE_CLASSES
        assert tuple(dataset.metainfo["held_out"]) == HELD_OUT_NAMES
        labels = {int(v) for item in dataset for v in item["data_samples"].gt_sem_seg.data.unique()}
        assert min(labels) < len(TRAIN_NAMES) <= max(labels)

    def test_items_pass_through_the_usual_pipeline(self):
        dataset = SceneDataset(split="val", length=3, image_size=96, seed=2, pipeline=PIPELINE)
        item = dataset[1]
        arguments = dataset.get_data_info(1)["scene"]
        scene = render_scene(**arguments)
        assert np.array_equal(item["inputs"].permute(1, 2, 0).numpy(), scene.image[..., ::-1])  # BGR
        assert np.array_equal(item["data_samples"].gt_sem_seg.data[0].numpy(), scene.labels)
        assert item["data_samples"].caption == scene.caption
        assert item["data_samples"].ori_shape == (96, 96)

    def test_splits_and_seeds_are_different_scenes(self):
        series = {
            SceneDataset(split=split, length=1, seed=seed).get_data_info(0)["scene"]["seed"]
            for split in ("train", "val")
            for seed in (0, 1)
        }
        assert len(series) == 4

    def test_classes_given_in_metainfo_relabel(self):
        classes = ("snow", "sand")
        dataset = SceneDataset(
            split="val", length=12, image_size=64, metainfo=dict(classes=classes), pipeline=PIPELINE
        )
        for index, item in enumerate(dataset):
            original = render_scene(**dataset.get_data_info(index)["scene"]).labels
            labels = item["data_samples"].gt_sem_seg.data[0].numpy()
            for new, name in enumerate(classes):
                assert np.array_equal(labels == new, original == SCENE_CLASSES.index(name))
            assert set(np.unique(labels)) <= {0, 1, 255}

    @pytest.mark.parametrize(
        "arguments, words",
        [
            (dict(split="test", length=1), "test"),
            (dict(split="val", length=0), "length"),
            (dict(split="val", length=1, seed=-1), "seed"),
        ],
    )
    def test_bad_arguments_are_named(self, arguments, words):
        with pytest.raises(ValueError, match=words):
            SceneDataset(**arguments)


def test_haze_mixes_with_grey():
    image = np.array([[[0, 100, 255]]], np.uint8)
    assert Haze(0.5).transform(dict(img=image))["img"].tolist() == [[[110, 160, 238]]]
    hazy = Haze(0.5, scenes_only=True)
    assert hazy.transform(dict(img=image))["img"] is image
    assert hazy.transform(dict(img=image, scene={}))["img"].tolist() == [[[110, 160, 238]]]
    assert np.array_equal(Haze(0).transform(dict(img=image))["img"], image)
    with pytest.raises(ValueError, match="at least 0 and below 1, not 1"):
        Haze(1)
