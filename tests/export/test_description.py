"""What a file says of itself, and files that say nothing of use."""

from __future__ import annotations

import json

import pytest
from tiny_models import tiny_segmentor

from hclip_mmseg.datasets.published_resize import PublishedResize
from hclip_mmseg.export.description import Description
from hclip_mmseg.export.writing import check_form, describe

NAMES = ("cat", "red star", "grass")


@pytest.fixture(scope="module")
def description():
    return describe(tiny_segmentor(names=NAMES), [PublishedResize(640, 2560)], versions=dict(torch="2"))


def test_a_description_is_read_as_it_was_written(description):
    assert Description.of_text(description.to_text(), "a.onnx") == description
    assert description.vocabulary == NAMES and len(set(description.colours)) == 3
    assert description.mean == (120.0,) * 3 and description.std == (60.0,) * 3
    assert description.size == (64, 64) and description.batch == 1
    assert description.resize == dict(short_side=640, max_size=2560)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(format=0), "of another release"),
        (dict(kind="masks"), "kind 'masks' is none of views, patches, boxes"),
        (dict(kind="boxes"), "scale"),
        (dict(vocabulary=[]), "no list of class names"),
        (dict(folds=[0, 1, 3]), "its folds are no indices of class names"),
        (dict(std=[0, 1, 1]), "std above 0"),
        (dict(patch=0), "patch is 0"),
        (dict(settings=dict(mode="whole")), "canvas"),
        (dict(more=1), "more"),
    ],
)
def test_a_wrong_description_is_named(description, changes, said):
    text = json.dumps({**json.loads(description.to_text()), **changes})
    with pytest.raises(ValueError, match=rf"the description in a\.onnx cannot be read: .*{said}"):
        Description.of_text(text, "a.onnx")


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"format": 1}'])
def test_what_is_no_description_is_named(text):
    with pytest.raises(ValueError, match=r"the description in a\.onnx cannot be read"):
        Description.of_text(text, "a.onnx")


def test_files_of_others_are_named():
    with pytest.raises(ValueError, match=r"a\.onnx was not exported by this project"):
        Description.of_text(None, "a.onnx")


def test_what_cannot_be_written_is_said_before():
    with pytest.raises(ValueError, match="no class names"):
        describe(tiny_segmentor())
    with pytest.raises(ValueError, match="a Linear cannot be exported"):
        import torch

        describe(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="clip_resolution=None"):
        describe(tiny_segmentor(names=NAMES, test_cfg=dict(mode="slide", clip_resolution=None)))
    with pytest.raises(ValueError, match="'caffe' is none of onnx, torchscript, pt2"):
        check_form("caffe")


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr("hclip_mmseg.export.writing.find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(ValueError, match=r"ONNX needs onnxscript, .*hclip-mmseg\[export\]"):
        check_form("onnx")
    check_form("pt2")
