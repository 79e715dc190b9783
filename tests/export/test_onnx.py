"""Models in ONNX, run by onnxruntime and numpy, against the models themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_models import backbone_config, tiny_segmentor
from training_free.tiny_training_free import tiny_training_free

from hclip_mmseg.apis import OnnxInferencer
from hclip_mmseg.export.writing import write_model
from hclip_mmseg.models.name_groups import NameGroups

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f'{package} is not installed: pip install "hclip-mmseg[export]"')

NAMES = ("cat", "red star", "grass", "sky")
MANY = tuple(f"thing {number}" for number in range(20))  # more than the tiny head's class_length of 16
VIEWS = dict(canvas=96, window=64, clip_resolution=64)


def photograph(height: int, width: int) -> np.ndarray:
    """BGR uint8 [H, W, 3] of flat areas and noise."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (-(-height // 16), -(-width // 16), 3)).repeat(16, 0).repeat(16, 1)
    return np.clip(coarse[:height, :width] + random.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def expected_of(model, image, **meta):
    bgr = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    sample = SegDataSample(metainfo=dict(ori_shape=image.shape[:2], **meta))
    with torch.no_grad():
        return model.test_step(dict(inputs=[bgr], data_samples=[sample]))[0]


def assert_same(found, expected, names, scores=1e-4, labels=0.999):
    assert found.vocabulary == names
    np.testing.assert_allclose(found.scores, expected.seg_logits.data.numpy(), rtol=0, atol=scores)
    same = found.labels == expected.pred_sem_seg.data[0].numpy()
    assert same.mean() >= labels
    if "score" in expected.pred_sem_seg:
        certainty = expected.pred_sem_seg.score[0].numpy()
        np.testing.assert_allclose(found.certainty[same], certainty[same], rtol=0, atol=scores)
    presence = expected.metainfo["presence"].numpy()
    np.testing.assert_allclose(list(found.presence.values()), presence, rtol=0, atol=scores)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Writes a model as ONNX: ``written(model, **options)`` -> (inferencer, lines)."""

    def write(model, **options):
        file = tmp_path_factory.mktemp("onnx") / "model.onnx"
        lines = write_model(model, file, "onnx", **options)
        return OnnxInferencer(file, threads=1), lines

    return write


@pytest.fixture(scope="module")
def segmentor(written):
    """A segmentor of more names than its head holds at once, its file opened, and what was said of it."""
    model = tiny_segmentor(names=MANY, test_cfg=dict(mode="slide_whole", score_threshold=0.4, **VIEWS))
    return model, *written(model)


@pytest.fixture(scope="module")
def training_free(written):
    """A training-free model without its regions, its file opened, and what was said of it."""
    model = tiny_training_free(attention="cliptrase")
    opened = written(model)
    model.region_finder = None
    return model, *opened


@pytest.mark.parametrize("mode", ["slide_whole", "slide", "whole"])
def test_a_segmentor_looks_at_images_as_the_model_does(segmentor, mode, monkeypatch):
    model, inferencer, lines = segmentor
    assert "scores differ by" in lines[1]
    monkeypatch.setattr(model, "mode", mode)
    settings = {**inferencer.onnx.description.settings, "mode": mode}
    monkeypatch.setattr(inferencer.onnx, "description", replace(inferencer.onnx.description, settings=settings))
    for size in ((50, 70), (96, 96), (150, 210)):
        image = photograph(*size)
        (found,) = inferencer([image], scores=True)
        assert_same(found, expected_of(model, image), MANY)


@pytest.mark.parametrize("kind", ["segmentor", "training-free"])
def test_a_class_of_several_names_has_the_best_ones_score(kind, segmentor, training_free, monkeypatch):
    model, inferencer, _ = segmentor if kind == "segmentor" else training_free
    folds = tuple(index % 3 for index in range(len(model.vocabulary)))
    groups = NameGroups(("one", "two", "three"), folds)
    described = replace(inferencer.onnx.description, vocabulary=groups.names, folds=folds)
    monkeypatch.setattr(inferencer.onnx, "description", described)
    image = photograph(70, 90)
    (found,) = inferencer([image], scores=True)
    assert_same(found, expected_of(model, image, name_groups=groups), groups.names)


def test_a_dynamic_file_in_16_bits_takes_all_views_at_once(written, monkeypatch):
    model = tiny_segmentor(names=NAMES, test_cfg=dict(mode="slide_whole", **VIEWS))
    inferencer, _ = written(model, dynamic=True, half=True)
    assert inferencer.onnx.description.half
    sizes, run = [], inferencer.onnx.run
    monkeypatch.setattr(inferencer.onnx, "run", lambda images: sizes.append(len(images)) or run(images))
    image = photograph(100, 80)
    (found,) = inferencer([image], scores=True)
    assert sizes == [5]
    assert_same(found, expected_of(model, image), NAMES, scores=5e-3, labels=0.99)


def test_plain_clip_without_a_trained_head(written):
    model = tiny_segmentor(
        names=NAMES,
        backbone=backbone_config(adapter=None, guidance_layers=(), guidance_channels=(), residual="value"),
        decode_head=dict(type="CosineHead", text_channels=32),
        test_cfg=dict(mode="slide_whole", **VIEWS),
    )
    inferencer, _ = written(model)
    image = photograph(60, 90)
    (found,) = inferencer([image], scores=True)
    assert_same(found, expected_of(model, image), NAMES)


def test_a_training_free_model_takes_every_size(training_free):
    model, inferencer, lines = training_free
    assert "any size" in lines[0]
    assert lines[-1] == "not in the file: regions and their votes; it gives the patches' labels"
    for size in ((64, 64), (50, 90), (160, 100)):
        image = photograph(*size)
        (found,) = inferencer([image], scores=True)
        assert_same(found, expected_of(model, image), model.vocabulary)


def test_an_unknown_option_of_a_call_is_said_at_once(training_free):
    _, inferencer, _ = training_free
    with pytest.raises(ValueError, match="^OnnxInferencer has no option 'score'; did you mean 'scores'"):
        inferencer([], score=True)
    with pytest.raises(ValueError, match=r"^OnnxInferencer has no option 'threshold' .its options are scores, batch_"):
        inferencer([], threshold=0.5)


def test_errors_of_images_and_files(segmentor, tmp_path):
    inferencer = segmentor[1]
    failed = []
    small = np.zeros((4, 90, 3), np.uint8)
    results = list(inferencer([small, photograph(40, 40)], on_error=lambda source, error: failed.append(str(error))))
    assert [result.source for result in results] == ["image 1"]
    assert failed == ["image 0 is 4 x 90 pixels, smaller than one patch of 8 x 8"]
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"broken\.onnx is no ONNX model that onnxruntime can run"):
        OnnxInferencer(tmp_path / "broken.onnx")
    with pytest.raises(FileNotFoundError, match="no exported model at"):
        OnnxInferencer(tmp_path / "none.onnx")


def test_a_model_of_others_is_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["logits"])],
        "other",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"other\.onnx was not exported by this project"):
        OnnxInferencer(tmp_path / "other.onnx")
