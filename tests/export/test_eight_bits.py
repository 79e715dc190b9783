"""Files whose large matrices are in eight bits, against those in 32 and against the models."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from tiny_models import tiny_segmentor

from hclip_mmseg.apis import OnnxInferencer, build_model
from hclip_mmseg.demo_assets.scenes import SCENE_CLASSES, render_scene
from hclip_mmseg.export import eight_bits
from hclip_mmseg.export.eight_bits import store_in_eight_bits
from hclip_mmseg.export.writing import write_model

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f'{package} is not installed: pip install "hclip-mmseg[export]"')


def scenes(seed, count, **options):
    return [render_scene(seed, index, 192, **options).image for index in range(count)]


@pytest.fixture(scope="module")
def frozen(repository):
    """The embedded CLIP as a training-free model of the scenes' class names."""
    model = build_model(repository / "configs/cliptrase/sclip_tiny_scenes.py")
    model.set_vocabulary(SCENE_CLASSES[:20])
    return model


@pytest.fixture(scope="module")
def written(frozen, tmp_path_factory):
    """The file in 32 bits, the one in 8, and what is said of it: one export."""
    whole, eight = (tmp_path_factory.mktemp("files") / name for name in ("whole.onnx", "eight.onnx"))

    def keep_and_store(file, *arguments):
        shutil.copy(file, whole)
        return store_in_eight_bits(file, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hclip_mmseg.export.writing.store_in_eight_bits", keep_and_store)
        lines = write_model(frozen, eight, "onnx", int8=True)
    return whole, eight, lines


@pytest.fixture(scope="module")
def whole(written):
    return written[0]


def test_trained_weights_keep_their_labels_in_a_third_of_the_bytes(frozen, written):
    """Unseen scenes, and the model itself in torch."""
    import torch
    from mmseg.structures import SegDataSample

    whole, file, lines = written
    inferencer = OnnxInferencer(file, threads=1)
    found = inferencer.onnx.description.int8
    assert "large matrices in 8 bits, other weights in 16: " in lines[2]
    assert f"{found['share']:.2%} of the pixels of 8 rendered scenes (not calibrated on) keep their label" in lines[2]
    assert "before you rely" not in lines[2]
    assert found["images"] == 8 and found["share"] >= 0.999 and found["matrices"] >= found["of"] / 2
    assert file.stat().st_size < 0.4 * whole.stat().st_size
    unseen = scenes(9, 12, num_objects=(2, 3), radius=(32.0, 52.0))
    samples = [SegDataSample(metainfo=dict(ori_shape=(192, 192))) for _ in unseen]
    pixels = [torch.from_numpy(image[..., ::-1].transpose(2, 0, 1).copy()) for image in unseen]
    with torch.no_grad():
        expected = frozen.test_step(dict(inputs=pixels, data_samples=samples))
    results = inferencer([image[..., ::-1] for image in unseen])
    same = [
        (result.labels == sample.pred_sem_seg.data[0].numpy()).mean()
        for result, sample in zip(results, expected, strict=True)
    ]
    assert np.mean(same) >= 0.999


def test_nothing_is_rounded_while_it_is_run(whole, tmp_path):
    """The weights are those of 32 bits but for half a step each, whatever onnxruntime makes of the graph."""
    import onnx
    import onnxruntime

    file = tmp_path / "eight.onnx"
    shutil.copy(whole, file)
    store_in_eight_bits(file, scenes(0, 2), threads=1)
    stored = onnx.load(file)
    assert {node.domain for node in stored.graph.node} == {""}
    images = np.random.default_rng(0).normal(size=(1, 3, 192, 192)).astype(np.float32)
    logits = []
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        logits.append(session.run(None, {session.get_inputs()[0].name: images})[0])
    np.testing.assert_allclose(*logits, rtol=1e-3, atol=1e-3)


def test_matrices_go_back_to_16_bits_until_the_labels_stay(whole, tmp_path, monkeypatch):
    """The agreement is what is made up here: too low until half of the matrices are back."""
    shares = iter((0.9, 0.95, 0.99, 0.9995))
    monkeypatch.setattr(eight_bits, "_alike", lambda before, after: next(shares))
    file = tmp_path / "eight.onnx"
    shutil.copy(whole, file)
    line = store_in_eight_bits(file, scenes(0, 1), threads=1)
    found = OnnxInferencer(file, threads=1).onnx.description.int8
    assert found["share"] == 0.9995 and found["matrices"] == found["of"] // 2
    assert "of 1 image (calibrated on, too: give more)" in line


def test_a_file_whose_labels_do_not_stay_says_so(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(eight_bits, "_alike", lambda before, after: 0.98)
    file = tmp_path / "eight.onnx"
    shutil.copy(whole, file)
    line = store_in_eight_bits(file, scenes(0, 2), threads=1)
    assert "98.00%" in line and "fewer than 99.9%: look at its results before you rely on it" in line
    assert OnnxInferencer(file, threads=1).onnx.description.int8["matrices"] == 0


def test_transposed_matrices_of_gemm_are_rounded_by_their_outputs(tmp_path):
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weight, bias = random.normal(size=(48, 64)).astype(np.float32), random.normal(size=48).astype(np.float32)
    places = np.linspace(0, 999.9, 2048, dtype=np.float32)  # coarse in 16 bits: they stay as they are
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "weight", "bias"], ["y"], transB=1),
            helper.make_node("Identity", ["places"], ["where"]),
        ],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 64])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "where")],
        [
            numpy_helper.from_array(array, name)
            for array, name in ((weight, "weight"), (bias, "bias"), (places, "places"))
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (factor,) = eight_bits._factors(model)
    x = random.normal(size=(5, 64)).astype(np.float32)
    rounded = eight_bits._round(model, factor, (x.T @ x).astype(np.float64))
    onnx.save(eight_bits._stored(model, {factor: rounded}), tmp_path / "product.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "product.onnx", providers=["CPUExecutionProvider"])
    y, where = session.run(None, {"x": x})
    exact = x @ weight.T + bias
    assert 0 < np.abs(y - exact).max() < 0.02
    np.testing.assert_array_equal(where, places)


def test_eight_bits_go_with_onnx_alone(tmp_path):
    model = tiny_segmentor(names=("cat", "grass"))
    for form, options in (("pt2", {}), ("onnx", dict(half=True))):
        with pytest.raises(ValueError, match=r"--int8 is for ONNX.*leave out --half and --format"):
            write_model(model, tmp_path / "x", form, int8=True, **options)
    assert not list(tmp_path.iterdir())
