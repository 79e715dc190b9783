"""The sizes at which each paper's rows see images, from their configs, against Pillow and cv2 alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from miniature_panoptic import write_panoptic
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmseg.registry import TRANSFORMS
from PIL import Image

from hclip_mmseg.benchmarks.choice import pipeline_for
from hclip_mmseg.datasets.benchmarks import BENCHMARKS
from hclip_mmseg.datasets.published_resize import nearest_labels, shortest_edge_size, take_out_published_resize
from hclip_mmseg.mask_classification import OpenVocabPanopticDataset

STREETS = ("Cityscapes", "Mapillary", "Mapillary-panoptic")


def noise(height: int, width: int, channels: int | None = 3) -> np.ndarray:
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(height).integers(0, 256, shape, dtype=np.uint8)


def image_steps(pipeline) -> list:
    """The steps up to the labels': what becomes of an image."""
    kinds = [step["type"].split(".")[-1] for step in pipeline]
    loaders = ("LoadLabelMap", "LoadPanopticSegments", "LoadAnnotations")
    end = min(kinds.index(kind) for kind in loaders if kind in kinds)
    return list(pipeline)[:end]


def run(steps, path, scope: str = "mmseg"):
    init_default_scope(scope)
    return Compose([TRANSFORMS.build(dict(step, _scope_=scope)) for step in steps])(dict(img_path=str(path)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((375, 500), (640, 853)), ((480, 640), (640, 853)), ((1000, 640), (1000, 640)), ((300, 1500), (512, 2560)),
     ((1200, 901), (852, 640)), ((5, 400), (32, 2560)), ((1, 9000), (1, 2560))],
)  # fmt: skip
def test_sizes_are_rounded_half_up(size, expected):
    assert shortest_edge_size(*size, 640, 2560) == expected


@pytest.mark.parametrize("kind", ["wide", "tall", "large", "long", "grey"])
def test_segmentors_see_pillows_copy_of_640(kind, repository, tmp_path):
    shape = dict(wide=(60, 91), tall=(91, 60), large=(701, 900), long=(20, 200), grey=(60, 91))[kind]
    path = tmp_path / "image.png"
    Image.fromarray(noise(*shape, channels=None if kind == "grey" else 3)).save(path)
    for name in ("cat_seg/cat-seg", "hclip/hclip", "peft/lora"):
        config = Config.fromfile(repository / f"configs/{name}_vitb16_coco-stuff.py")
        found = run(image_steps(config.test_dataloader.dataset.pipeline), path)["img"]
        height, width = shape
        scale = min(640 / min(shape), 2560 / max(shape))
        size = int(width * scale + 0.5), int(height * scale + 0.5)
        copy = Image.open(path).convert("RGB").resize(size, Image.Resampling.BILINEAR)
        assert np.array_equal(found[..., ::-1], np.asarray(copy)), name
        for benchmark in ("A-150", "PC-459", "COCO-Stuff", "PAS-20"):
            own = Config.fromfile(BENCHMARKS[benchmark].config_path).test_dataloader.dataset.pipeline
            steps = image_steps(pipeline_for(own, benchmark, config))
            assert np.array_equal(run(steps, path)["img"], found), benchmark


def test_direct_leaves_images_as_they_are_and_is_for_segmentors(repository, tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(noise(60, 91)).save(path)
    config = Config.fromfile(repository / "configs/hclip/hclip_vitb16_coco-stuff.py")
    take_out_published_resize(config)
    assert run(image_steps(config.test_dataloader.dataset.pipeline), path)["img"].shape == (60, 91, 3)
    for benchmark in ("A-150", "PC-459", "COCO-Stuff"):
        own = Config.fromfile(BENCHMARKS[benchmark].config_path).test_dataloader.dataset.pipeline
        assert run(image_steps(pipeline_for(own, benchmark, config)), path)["img"].shape == (60, 91, 3)
    with pytest.raises(ValueError, match="a MAFTPlus takes it as its config's test pipeline resizes it"):
        take_out_published_resize(
            Config.fromfile(repository / "configs/maft_plus/maft-plus_convnext-l_coco-stuff.py")
        )


def test_mask_classifiers_see_pillows_copy_of_800_or_1024(repository, tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(noise(60, 91)).save(path)
    for name in ("maft-plus_convnext-l_coco-stuff", "maft-plus-published_convnext-l_coco-panoptic",
                 "baseline_convnext-l_coco-stuff", "baseline-ensemble_convnext-l_coco-stuff"):  # fmt: skip
        config = Config.fromfile(repository / f"configs/maft_plus/{name}.py")
        assert config.model.view is None, "the model resizes nothing again"
        own = config.test_dataloader.dataset.pipeline
        assert run(image_steps(own), path, "mmdet")["img"].shape == (800, 1213, 3)
        for benchmark in ("A-150", "COCO-Stuff", "PC-459", "ADE20K-panoptic", *STREETS):
            pipeline = Config.fromfile(BENCHMARKS[benchmark].config_path).test_dataloader.dataset.pipeline
            found = run(image_steps(pipeline_for(pipeline, benchmark, config)), path, "mmdet")["img"]
            size = (1553, 1024) if benchmark in STREETS and "baseline" in name else (1213, 800)
            copy = Image.open(path).resize(size, Image.Resampling.BILINEAR)
            assert np.array_equal(found[..., ::-1], np.asarray(copy)), (name, benchmark)


def test_maft_plus_s_panoptic_training_reads_segments_along(repository, tmp_path):
    root = write_panoptic(tmp_path)
    config = Config.fromfile(repository / "configs/maft_plus/maft-plus_convnext-l_coco-panoptic.py")
    init_default_scope("mmdet")
    prefix = dict(img="train/", seg="panoptic_train/")
    pipeline = config.train_dataloader.dataset.pipeline
    dataset = OpenVocabPanopticDataset(
        data_root=str(root), ann_file="panoptic_train.json", data_prefix=prefix, pipeline=pipeline
    )
    packed = dataset[0]
    sample = packed["data_samples"]
    assert packed["inputs"].dtype == torch.uint8, "resized by Pillow"
    labels = sample.gt_sem_seg.sem_seg[0].numpy()
    assert labels.shape == packed["inputs"].shape[1:] == sample.gt_instances.masks.masks.shape[1:]
    for label, mask in zip(sample.gt_instances.labels.tolist(), sample.gt_instances.masks.masks, strict=True):
        assert (labels[mask.astype(bool)] == label).mean() > 0.98, "masks and labels are resized alike"


def test_ov_coco_s_images_are_padded_to_640(repository, tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(noise(48, 64)).save(path)
    config = Config.fromfile(repository / "configs/detection/hclip_vitb16_ov-coco.py")
    found = run(image_steps(config.test_dataloader.dataset.pipeline), path, "mmdet")
    resized = cv2.resize(cv2.imread(str(path)).astype(np.float32), (640, 480))
    assert found["img"].shape == (640, 640, 3) and found["img_shape"] == (640, 640)
    assert np.array_equal(found["img"][:480], resized)
    assert np.allclose(found["img"][480:], [122.7709383, 116.7460125, 104.09373615])


def test_labels_take_the_nearest_pixel_by_torch_s_rule():
    labels = noise(37, 50, channels=None)
    found = nearest_labels(labels, (96, 130))
    rows, columns = np.arange(96) * 37 // 96, np.arange(130) * 50 // 130
    assert np.array_equal(found, labels[rows][:, columns]) and found.dtype == labels.dtype
