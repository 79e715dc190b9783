"""What tools/visualize.py shows of the methods of the field."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_features  # noqa: F401 (registers)
import torch
from mmseg.structures import SegDataSample
from PIL import Image
from tiny_sam import write_tiny_sam
from tiny_training_free import NAMES, tiny_training_free

from hclip_mmseg.apis.visualize import draw_method
from hclip_mmseg.training_free import proxy_attention
from hclip_mmseg.training_free.method_explanation import explain_method

OTHER = dict(type="TinyPatchFeatures")
PIXELS = np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
METHODS = {
    "naclip": ("naclip", {}, ["attention"]),
    "maskclip": ("value", {}, ["attention"]),
    "sclip": ("sclip", {}, ["attention"]),
    "gem": (dict(type="GEMAttention", depth=2), {}, ["attention"]),
    "proxy": (dict(type="ProxyAttention", features=OTHER), {}, ["affinity"]),
    "recursive": (dict(type="RecursiveAttention"), {}, ["attention"]),
    "resclip": (
        dict(type="ResidualAttention", layers=(1, 2), feedback=dict(smooth=False)),
        {},
        ["attention", "alike in a first result"],
    ),
    "sc-clip": (
        dict(type="SelfCalibration", similar=2, aggregate=1, collected=(1, 2)),
        {},
        ["attention", "similarity of a middle block"],
    ),
    "scga": (
        "naclip",
        dict(stitch=True, aggregation=dict(type="GlobalAggregation")),
        ["attention", "global aggregation"],
    ),
    "lposs": (
        "value",
        dict(propagation=dict(type="LabelPropagation", features=OTHER)),
        ["attention", "graph of patches"],
    ),
}


def model_of(attention, windowed, **changes):
    protocol = dict(type="sclip", short_side=48, window=32, stride=16)
    return tiny_training_free(attention=attention, windowed=windowed, protocol=protocol, regions=None, **changes)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_shows_what_its_patches_take(method, tmp_path):
    attention, windowed, titles = METHODS[method]
    model = model_of(attention, windowed)
    shown = explain_method(model, PIXELS, [(0, 0), (63, 47)], most_names=3)
    assert sorted(shown.taken) == sorted(titles)
    assert all(maps.shape[0] == 2 and maps.min() >= -1 and np.isfinite(maps).all() for maps in shown.taken.values())
    if method not in ("resclip", "sclip"):  # whose rows sum to more
        for title in {"attention", "affinity", "global aggregation"} & set(titles):
            assert (shown.taken[title].reshape(2, -1).sum(axis=1) <= 1 + 1e-4).all()
    batch = dict(
        inputs=[torch.from_numpy(PIXELS[..., ::-1].transpose(2, 0, 1).copy())],
        data_samples=[SegDataSample(metainfo=dict(ori_shape=(48, 64)))],
    )
    result = model.test_step(batch)[0]
    np.testing.assert_array_equal(shown.labels, result.pred_sem_seg.data[0])
    assert len(shown.names) == 3 and shown.vocabulary == NAMES
    for name, probability in shown.names.items():
        np.testing.assert_allclose(probability, result.seg_logits.data[NAMES.index(name)], atol=1e-6)
    figures = draw_method(shown, tmp_path, "a")
    assert [file for _, file in figures] == ["a_masks.png", "a_names.png", "a_points.png"]
    assert all(np.asarray(Image.open(tmp_path / file)).std() > 0 for _, file in figures)


def test_maps_are_rows_of_the_affinity(tmp_path):
    model = model_of(dict(type="ProxyAttention", features=OTHER), {})
    shown = explain_method(model, PIXELS, [(20, 30)])
    bgr = torch.from_numpy(PIXELS[..., ::-1].transpose(2, 0, 1).copy())
    image = model.data_preprocessor(dict(inputs=[bgr]), False)["inputs"]
    features = model.backbone.method.features(image, (12, 16))[0, 1:]
    expected = proxy_attention.proxy_weights(features, 1.2, 3.0)[30 * 12 // 48 * 16 + 20 * 16 // 64]
    np.testing.assert_allclose(shown.taken["affinity"][0].ravel(), expected, atol=1e-5)


def test_regions_and_sam_are_shown(tmp_path):
    regions = np.zeros((48, 64), np.uint8)
    regions[:, 32:], regions[:20, :20] = 1, 2
    Image.fromarray(regions).save(tmp_path / "photo.png")
    folder = dict(type="RegionFolder", folder=str(tmp_path))
    attention = dict(type="RegionScope", features=OTHER, regions=folder, layers=(1,))
    shown = explain_method(model_of(attention, {}, refinement=folder), PIXELS, path="elsewhere/photo.jpg")
    assert list(shown.regions) == ["regions of the attention", "regions of the result"]
    np.testing.assert_array_equal(shown.regions["regions of the result"], regions.astype(int) - 1)
    figures = draw_method(shown, tmp_path, "b")
    assert figures[-1] == ("Regions read from a folder.", "b_regions.png")
    assert 1 <= len(shown.points) <= 3
    weights = str(write_tiny_sam(tmp_path / "sam.pth"))
    aggregation = dict(stitch=True, aggregation=dict(type="SAMAggregation", weights=weights))
    shown = explain_method(model_of("value", aggregation), PIXELS, [(1, 1)])
    assert shown.taken["attention of SAM"].sum() == pytest.approx(1, abs=1e-4)


def test_what_cannot_be_shown_is_named():
    with pytest.raises(ValueError, match="no protocol of the field"):
        explain_method(tiny_training_free(), PIXELS)
    with pytest.raises(ValueError, match=r"the point \(64, 0\) \(x, y\) is outside"):
        explain_method(model_of("value", {}), PIXELS, [(64, 0)])
