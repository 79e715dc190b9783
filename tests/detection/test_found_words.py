"""Images and words in, boxes out."""

from __future__ import annotations

import json
import runpy
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("mmdet", reason="MMDetection is not installed")

import mmcv
from mmdet.structures import DetDataSample
from mmengine.config import Config
from PIL import Image
from tiny_detectors import detector_config, tiny_detector

from hclip_mmseg.apis.detection_inferencer import DetectionInferencer

WORDS = "cat, red star, traffic light"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, repository):
    """The path of a config and of a checkpoint of a random tiny detector."""
    folder = tmp_path_factory.mktemp("trained")
    cfg = Config.fromfile(repository / "configs/detection/hclip_vitb16_ov-coco.py")
    cfg.model = detector_config()
    for step in cfg.test_dataloader.dataset.pipeline:
        step.update({"Resize": dict(scale=(96, 96)), "Pad": dict(size=(96, 96))}.get(step.type, {}))
    cfg.dump(folder / "tiny.py")
    torch.save({"state_dict": tiny_detector(seed=3).state_dict()}, folder / "tiny.pth")
    return folder / "tiny.py", folder / "tiny.pth"


@pytest.fixture(scope="module")
def inferencer(trained):
    return DetectionInferencer(*trained, device="cpu")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Twice as wide as the detector takes it."""
    path = tmp_path_factory.mktemp("images") / "street.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (80, 192, 3), dtype=np.uint8)).save(path)
    return path


def test_boxes_are_the_models_in_pixels_of_the_image(inferencer, image):
    (result,) = inferencer(image, WORDS)
    assert result.vocabulary == ("cat", "red star", "traffic light")
    halved = mmcv.imresize(mmcv.imread(str(image)).astype(np.float32), (96, 40))
    mean = (122.7709383, 116.7460125, 104.09373615)
    canvas = mmcv.impad(halved, shape=(96, 96), pad_val=mean)
    assert np.array_equal(result.image, np.asarray(Image.open(image))), "the image itself is kept"
    sample = DetDataSample(metainfo=dict(ori_shape=(80, 192), img_shape=(96, 96), scale_factor=(0.5, 0.5)))
    bgr = torch.from_numpy(np.ascontiguousarray(canvas.transpose(2, 0, 1)))
    with torch.no_grad():
        expected = inferencer.model.test_step(dict(inputs=[bgr], data_samples=[sample]))[0].pred_instances
    assert tuple(inferencer.model.vocabulary) == (*result.vocabulary, "grass"), "a name of training is compared too"
    expected = expected[(expected.labels < 3) & (expected.bboxes[:, 1] < 80)]  # not those in the padding
    assert len(expected) == len(result.boxes) > 0
    limits = torch.tensor([192.0, 80.0, 192.0, 80.0])
    cut = torch.minimum(expected.bboxes, limits)
    assert np.array_equal(result.boxes.corners, cut.numpy())
    x1, y1, x2, y2 = result.boxes.corners.T
    assert x2.max() > 96 and x2.max() <= 192 and y2.max() > 40 and y2.max() <= 80


def test_a_path_and_the_array_that_mmcv_reads_give_the_same(inferencer, image):
    one, other = inferencer([image, mmcv.imread(str(image))], WORDS)
    assert np.array_equal(one.boxes.corners, other.boxes.corners) and other.source == "image 1"


def test_a_word_alone_is_not_found_everywhere(inferencer, image):
    """Among one name its share of all would be the whole."""
    (alone,) = inferencer(image, "kite")
    (beside,) = inferencer(image, "kite, cat, grass, red star")
    assert alone.vocabulary == ("kite",) and set(alone.best()) <= {"kite"}
    kites = beside.boxes[beside.boxes.labels == 0]
    assert np.array_equal(alone.boxes.scores, kites.scores)
    assert inferencer.model.vocabulary == ("kite", "cat", "grass", "red star")


def test_rules_for_boxes(inferencer, image):
    (plain,) = inferencer(image, WORDS)
    (result,) = inferencer(image, "cat, red star", background="traffic light")
    assert result.vocabulary == ("cat", "red star", "background")
    own = plain.boxes[plain.boxes.labels < 2]
    assert len(own) and np.array_equal(result.boxes.corners, own.corners)
    limit = float(np.median(own.scores))
    (above,) = inferencer(image, "cat, red star", background="traffic light", threshold=limit)
    assert len(above.boxes) == (own.scores >= np.float32(limit)).sum()
    (absent,) = inferencer(image, WORDS, drop_absent=1.0)
    assert len(absent.boxes) == 0 and set(absent.presence) == set(plain.vocabulary)
    with pytest.raises(ValueError, match="other has no meaning here: what no box holds is left out"):
        inferencer.set_vocabulary(WORDS, other=True, threshold=0.5)


def test_what_was_found_and_what_is_drawn(inferencer, image):
    (result,) = inferencer(image, WORDS)
    best = result.best()
    for word, score in best.items():
        labels = result.boxes.labels == result.vocabulary.index(word)
        assert score == result.boxes.scores[labels].max()
    assert list(best.values()) == sorted(best.values(), reverse=True)
    middle = float(np.median(result.boxes.scores))
    assert len(result.above(middle).boxes) == (result.boxes.scores >= middle).sum()
    assert np.array_equal(result.overlay(min_score=1), result.image), "nothing reaches that score"
    drawn = result.overlay(min_score=middle)
    assert drawn.shape == result.image.shape and not np.array_equal(drawn, result.image)


def test_without_a_checkpoint_there_is_nothing_to_find(trained):
    with pytest.raises(ValueError, match="OpenVocabFasterRCNN finds nothing without training: give a checkpoint"):
        DetectionInferencer(trained[0], device="cpu")


def test_the_script_writes_boxes_and_words(trained, image, repository, tmp_path, monkeypatch, capsys):
    config, checkpoint = map(str, trained)
    monkeypatch.chdir(tmp_path)
    script = str(repository / "tools/predict.py")
    command = [script, str(image), "absent.png", "--vocab", WORDS, "--config", config, "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [*command, "--checkpoint", checkpoint, "--min-score", "0"])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_path(script, run_name="__main__")
    said = capsys.readouterr()
    assert "1 of 2 images done" in said.out and "no image at" in said.err
    found = json.loads((tmp_path / "predictions/street.json").read_text())["boxes"]
    scores = [one["score"] for one in found]
    assert scores == sorted(scores, reverse=True) and {one["name"] for one in found} <= set(WORDS.split(", "))
    assert all(0 <= x1 <= x2 <= 192 and 0 <= y1 <= y2 <= 80 for x1, y1, x2, y2 in (one["box"] for one in found))
    assert f"{found[0]['name']} {scores[0]:.2f}" in said.out
    assert np.asarray(Image.open(tmp_path / "predictions/street_overlay.png")).shape == (80, 192, 3)
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(script, run_name="__main__")
    assert "give a checkpoint" in capsys.readouterr().err.splitlines()[-1]
