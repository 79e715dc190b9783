"""A detector in ONNX, with numpy around it, against the detector itself."""

from __future__ import annotations

import json

import mmcv
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from test_onnx import photograph
from tiny_detectors import BASE, tiny_detector

from hclip_mmseg.apis import OnnxInferencer
from hclip_mmseg.apis.detection_inferencer import boxes_of
from hclip_mmseg.export.canvas import Canvas, canvas_of
from hclip_mmseg.export.description import KEY, Description
from hclip_mmseg.export.onnx_boxes import best_boxes, on_canvas, suppressed
from hclip_mmseg.export.writing import describe, write_model
from hclip_mmseg.models.name_groups import NameGroups

NAMES = ("cat", "grass", "dog")
CANVAS = Canvas((64, 64), (64, 64), (10.0, 20.0, 30.0), rounded=True)


@pytest.fixture(scope="module")
def detector():
    model = tiny_detector((*NAMES, "red star"))
    model.test_cfg.rcnn.score_thr = 0.0
    return model


def detected(model, image):
    """What the model finds in an image that is brought to the canvas before."""
    height, width = image.shape[:2]
    resized = mmcv.imrescale(image, CANVAS.scale)
    canvas = np.empty((*CANVAS.size, 3), np.uint8)
    canvas[:] = CANVAS.pad[::-1]
    canvas[: resized.shape[0], : resized.shape[1]] = resized
    scale = (resized.shape[1] / width, resized.shape[0] / height)
    sample = DetDataSample(metainfo=dict(ori_shape=(height, width), img_shape=CANVAS.size, scale_factor=scale))
    pixels = torch.from_numpy(canvas.transpose(2, 0, 1).copy())
    with torch.no_grad():
        (found,) = model.test_step(dict(inputs=[pixels], data_samples=[sample]))
    return boxes_of(found.pred_instances, height, width)


@pytest.mark.parametrize("size", [(64, 64), (40, 100), (90, 61)])
@torch.no_grad()
def test_the_pass_finds_the_detectors_own_boxes(detector, size):
    """The graph's module in torch: proposals and scores as MMDetection's heads compute them."""
    image = photograph(*size)
    described = describe(detector, CANVAS)
    assert Description.of_text(described.to_text(), "boxes.onnx") == described
    canvas, (across, down) = on_canvas(image[..., ::-1], CANVAS.size, described.settings)
    normal = (canvas - np.float32(described.mean)) / np.float32(described.std)
    corners, scores = detector.image_pass()(torch.from_numpy(normal.transpose(2, 0, 1)[None]))
    corners = corners.numpy() / np.array([across, down, across, down], np.float32)
    found = best_boxes(corners, scores.numpy(), np.arange(4), size, described.settings)
    assert_same(found, detected(detector, image))


def assert_same(found, expected):
    assert len(found) == len(expected) > 5
    for corners, score, label in zip(expected.corners, expected.scores, expected.labels, strict=True):
        near = (np.abs(found.corners - corners) < 0.02).all(axis=1) & (np.abs(found.scores - score) < 1e-4)
        assert (near & (found.labels == label)).any()  # in any order: rounding may swap near ties


def test_a_file_finds_the_detectors_own_boxes_of_the_names_asked_for(detector, tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f'{package} is not installed: pip install "hclip-mmseg[export]"')
    groups = NameGroups((*NAMES, "red star"), (0, 1, 2, 3))
    lines = write_model(detector, tmp_path / "boxes.onnx", "onnx", CANVAS, groups=groups, reported=3)
    assert "3 class names, 1 image of 64 x 64 pixels" in lines[0] and "of the boxes are the same" in lines[1]
    inferencer = OnnxInferencer(tmp_path / "boxes.onnx", threads=1)
    image = photograph(40, 100)
    (result,) = inferencer([image])
    expected = detected(detector, image)
    assert result.vocabulary == NAMES and result.labels is None
    assert_same(result.boxes, expected[expected.labels < 3])
    best = {name: expected.scores[expected.labels == label].max(initial=0) for label, name in enumerate(NAMES)}
    assert result.presence == pytest.approx(best, abs=1e-4)
    entry = json.loads(json.dumps(result.to_coco(7)))[0]
    assert entry["image_id"] == 7 and entry["score"] == pytest.approx(float(result.boxes.scores[0]), abs=1e-4)


def test_what_a_detectors_file_cannot_be(detector, tmp_path):
    for option in ("dynamic", "half"):
        with pytest.raises(ValueError, match="one image at once, in 32 bits"):
            write_model(detector, tmp_path / "x.onnx", "pt2", CANVAS, **{option: True})
    assert not list(tmp_path.iterdir())


def test_the_competitors_are_the_names_of_training_that_are_not_asked_for(detector):
    assert detector.roi_head.competitors(["cat", "dog"]) == sorted(set(BASE) - {"cat"})


def test_a_box_that_a_better_one_covers_is_suppressed():
    corners = np.array([[0, 0, 10, 10], [0, 0, 10, 6], [0, 5, 10, 14], [20, 20, 30, 30]], np.float32)
    assert suppressed(corners, 0.5).tolist() == [0, 2, 3]  # IoUs with the first: 0.6, 5 / 14
    assert suppressed(corners, 0.6).tolist() == [0, 1, 2, 3]  # no more than the threshold
    assert suppressed(corners[:0], 0.5).tolist() == []


def test_the_canvas_of_a_pipeline():
    resize = dict(type="Resize", scale=(64, 48), keep_ratio=True)
    assert canvas_of([resize], 32) == Canvas((64, 64), (64, 48), None, rounded=True)
    pad = dict(type="mmdet.Pad", size=(80, 48), pad_val=dict(img=(1, 2, 3)))  # width and height, BGR
    load = dict(type="LoadImageFromFile", to_float32=True)
    assert canvas_of([load, resize, pad], 16) == Canvas((48, 80), (64, 48), (3.0, 2.0, 1.0), rounded=False)
    for wrong in ([], [dict(resize, keep_ratio=False)]):
        with pytest.raises(ValueError, match="a step Resize with scale"):
            canvas_of(wrong, 16)


@pytest.mark.parametrize("form", ["pt2", "torchscript"])
@torch.no_grad()
def test_torchs_own_files_hold_the_same_pass(detector, form, tmp_path):
    write_model(detector, tmp_path / "boxes", form, CANVAS)
    extra = {KEY: ""}
    if form == "pt2":
        loaded = torch.export.load(str(tmp_path / "boxes"), extra_files=extra).module()
    else:
        loaded = torch.jit.load(str(tmp_path / "boxes"), _extra_files=extra)
    assert Description.of_text(extra[KEY], "boxes").vocabulary == detector.vocabulary
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    for found, expected in zip(loaded(images), detector.image_pass()(images), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
